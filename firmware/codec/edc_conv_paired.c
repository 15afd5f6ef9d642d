#include "edc_conv_paired.h"

#include "edc_requantize.h"

#define LANE EDC_PAIRED_LANE_BITS
#define LANE_MASK ((1u << LANE) - 1u)
#define HALF (1ll << (LANE - 1))
#define START (HALF + (HALF << LANE)) /* of a sum: half of the lower two lanes */

static int32_t pack(int32_t first, int32_t second) { return first + second * (1 << LANE); }

static int32_t sample(const edc_paired_layer *layer, const int8_t *in, int32_t position,
                      int32_t channel) {
  return position >= 0 && position < layer->in_width ? in[position * layer->in_channels + channel]
                                                     : layer->in_zero_point;
}

/* row [stride][in_channels]: samples 2 pair and 2 pair + 1 of each phase of the padded input. */
static void build_row(const edc_paired_layer *layer, const int8_t *in, int32_t pair, int32_t *row) {
  const int32_t channels = layer->in_channels;
  const int32_t stride = layer->stride;
  for (int32_t phase = 0; phase < stride; phase++) {
    const int32_t first = 2 * pair * stride + phase - layer->pad_left;
    const int32_t second = first + stride;
    if (first >= 0 && second < layer->in_width) {
      const int8_t *a = in + first * channels;
      const int8_t *b = in + second * channels;
      for (int32_t channel = 0; channel < channels; channel++) {
        *row++ = pack(*a++, *b++);
      }
    } else {
      for (int32_t channel = 0; channel < channels; channel++) {
        *row++ = pack(sample(layer, in, first, channel), sample(layer, in, second, channel));
      }
    }
  }
}

/* Sums over the columns (a multiple of 4) of one block: sums[i] = START + sum of x[c] * w[c][i]. */
static inline void multiply_block(const int32_t *x, const int32_t *w, int32_t columns,
                                  int64_t sums[EDC_PAIRED_BLOCK]) {
  int64_t a = START;
  int64_t b = START;
  int64_t c = START;
  int64_t d = START;
#if defined(__OPTIMIZE__) && defined(__ARM_ARCH_ISA_THUMB) && __ARM_ARCH_ISA_THUMB == 2 &&         \
    !defined(__PIC__)
  /* Eight registers of sums leave too few for the compiler, which spills two of them in the loop;
   * and it does not load two weights at a time. The end is compared from memory to save one. */
  const int32_t *const end = x + columns;
  int32_t column;
  register int32_t first __asm__("r4"); /* LDM wants ascending registers */
  register int32_t second __asm__("r5");
#define COLUMN                                                                                     \
  "ldr %[column], [%[x]], #4\n"                                                                    \
  "ldmia %[w]!, {%[first], %[second]}\n"                                                           \
  "smlal %Q[a], %R[a], %[column], %[first]\n"                                                      \
  "smlal %Q[b], %R[b], %[column], %[second]\n"                                                     \
  "ldmia %[w]!, {%[first], %[second]}\n"                                                           \
  "smlal %Q[c], %R[c], %[column], %[first]\n"                                                      \
  "smlal %Q[d], %R[d], %[column], %[second]\n"
  __asm__ volatile("1:\n" COLUMN COLUMN COLUMN COLUMN "ldr %[column], %[end]\n"
                   "cmp %[x], %[column]\n"
                   "bne 1b\n"
                   : [a] "+r"(a), [b] "+r"(b), [c] "+r"(c), [d] "+r"(d), [x] "+r"(x), [w] "+r"(w),
                     [column] "=&r"(column), [first] "=&r"(first), [second] "=&r"(second)
                   : [end] "m"(end)
                   : "cc", "memory");
#undef COLUMN
#else
  for (int32_t column = 0; column < columns; column++) {
    const int64_t value = x[column];
    a += value * w[0];
    b += value * w[1];
    c += value * w[2];
    d += value * w[3];
    w += EDC_PAIRED_BLOCK;
  }
#endif
  sums[0] = a;
  sums[1] = b;
  sums[2] = c;
  sums[3] = d;
}

/* What one sum of products says of two outputs. */
typedef struct {
  int32_t before; /* part of the odd output before */
  int32_t even;
  int32_t after; /* part of the odd output after */
} lanes;

/* Sums start at START, so `before` and `even` come with half a lane on top (in each part), which
 * the channels' bias has less: with it no lane is negative, and none borrows from the next. */
static inline lanes split(int64_t sum) {
  const uint32_t low = (uint32_t)sum;
  const uint32_t high = (uint32_t)((uint64_t)sum >> 32);
  const lanes found = {
      .before = (int32_t)(low & LANE_MASK),
      .even = (int32_t)((low >> LANE | high << (32 - LANE)) & LANE_MASK),
      .after = (int32_t)high >> (2 * LANE - 32),
  };
  return found;
}

static inline int8_t finish(edc_paired_channel channel, int32_t acc, int32_t bias) {
  return edc_saturate(
      edc_requantize_narrow(acc + channel.bias, channel.multiplier, (int)channel.down, bias));
}

void edc_conv_paired(const edc_paired_layer *layer, const int8_t *in, int8_t *out,
                     int32_t *scratch) {
  const int32_t channels = layer->out_channels;
  const int32_t row = layer->stride * layer->in_channels;
  const int32_t used = layer->tap_pairs * row;
  const int32_t parts = layer->parts;
  const int32_t columns = layer->columns / parts; /* of one part */
  const int32_t bias = 2 * layer->out_zero_point + 1;
  int32_t *const window = scratch; /* [tap_pairs][row], the samples under the kernel */
  int32_t *const carry = window + layer->columns; /* [out_channels], `after` of the pair before */
  int8_t *const nowhere = (int8_t *)(carry + channels); /* [out_channels], outputs outside */

  for (int32_t pair = 1; pair < layer->tap_pairs; pair++) {
    build_row(layer, in, pair - 1, window + pair * row);
  }
  for (int32_t column = used; column < layer->columns; column++) {
    window[column] = 0;
  }
  for (int32_t channel = 0; channel < channels; channel++) {
    carry[channel] = 0;
  }
  int8_t *odd = nowhere;
  for (int32_t position = 0; position <= layer->out_width; position += 2) {
    for (int32_t column = 0; column < used - row; column++) {
      window[column] = window[column + row];
    }
    build_row(layer, in, position / 2 + layer->tap_pairs - 1, window + used - row);
    int8_t *even = position < layer->out_width ? out : nowhere;
    const int32_t *weights = layer->weights;
    const edc_paired_channel *channel = layer->channels;
    const edc_paired_channel *const last = channel + channels;
    int32_t *kept = carry;
    while (channel != last) {
      int64_t sums[EDC_PAIRED_PARTS_MAX][EDC_PAIRED_BLOCK];
      for (int32_t part = 0; part < parts; part++) {
        multiply_block(window + part * columns, weights, columns, sums[part]);
        weights += EDC_PAIRED_BLOCK * columns;
      }
      for (int32_t i = 0; i < EDC_PAIRED_BLOCK; i++) {
        /* Copied, because a store of a byte might change what a pointer leads to. */
        const edc_paired_channel constants = *channel++;
        lanes found = split(sums[0][i]);
        for (int32_t part = 1; part < parts; part++) {
          const lanes more = split(sums[part][i]);
          found.before += more.before;
          found.even += more.even;
          found.after += more.after;
        }
        const int32_t between = *kept + found.before;
        *kept++ = found.after;
        *odd++ = finish(constants, between, bias);
        *even++ = finish(constants, found.even, bias);
      }
    }
    odd = out + channels;
    out += 2 * channels;
  }
}

/* The samples that one word of the window holds, of one channel. */
static inline int32_t pair_at(const edc_paired_layer *layer, const int8_t *in, int32_t first,
                              int32_t stride) {
  const int32_t second = first + stride;
  const int32_t channels = layer->in_channels;
  const uint32_t width = layer->in_width;
  const int32_t a = (uint32_t)first < width ? in[first * channels] : layer->in_zero_point;
  const int32_t b = (uint32_t)second < width ? in[second * channels] : layer->in_zero_point;
  return pack(a, b);
}

/* One channel, whose window is EDC_PAIRED_BLOCK words: `stride` phases of each pair of samples. */
static inline void depthwise_channel(const edc_paired_layer *layer, const int8_t *in, int8_t *out,
                                     const int32_t *weights, edc_paired_channel constants,
                                     int32_t stride) {
  const int32_t channels = layer->in_channels;
  const int32_t bias = 2 * layer->out_zero_point + 1;
  int32_t window[EDC_PAIRED_BLOCK];
  int32_t carry = 0;
  int32_t first = -layer->pad_left;
  for (int32_t word = stride; word < EDC_PAIRED_BLOCK; word += stride) {
    for (int32_t phase = 0; phase < stride; phase++) {
      window[word + phase] = pair_at(layer, in, first + phase, stride);
    }
    first += 2 * stride;
  }
  for (int32_t position = 0; position <= layer->out_width; position += 2) {
    for (int32_t word = 0; word < EDC_PAIRED_BLOCK - stride; word++) {
      window[word] = window[word + stride];
    }
    for (int32_t phase = 0; phase < stride; phase++) {
      window[EDC_PAIRED_BLOCK - stride + phase] = pair_at(layer, in, first + phase, stride);
    }
    first += 2 * stride;
    int64_t sum = START + (int64_t)window[0] * weights[0];
    sum += (int64_t)window[1] * weights[1];
    sum += (int64_t)window[2] * weights[2];
    sum += (int64_t)window[3] * weights[3];
    const lanes parts = split(sum);
    if (position > 0) {
      out[-channels] = finish(constants, carry + parts.before, bias);
    }
    if (position < layer->out_width) {
      *out = finish(constants, parts.even, bias);
    }
    carry = parts.after;
    out += 2 * channels;
  }
}

void edc_depthwise_paired(const edc_paired_layer *layer, const int8_t *in, int8_t *out) {
  const int32_t *weights = layer->weights;
  for (int32_t channel = 0; channel < layer->out_channels; channel++) {
    /* With the stride a constant, the window stays in registers. */
    if (layer->stride == 1) {
      depthwise_channel(layer, in + channel, out + channel, weights, layer->channels[channel], 1);
    } else {
      depthwise_channel(layer, in + channel, out + channel, weights, layer->channels[channel], 2);
    }
    weights += EDC_PAIRED_BLOCK;
  }
}
