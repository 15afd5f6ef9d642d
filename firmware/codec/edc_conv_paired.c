#include "edc_conv_paired.h"

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

/* Sums over the columns, a multiple of 4, from x to end of one block: sums[i] = START + sum of
 * x[c] * w[c][i]. Returns the end of the block's weights. */
#if defined(__thumb__) && __ARM_ARCH_ISA_THUMB == 2
/* Eight registers of sums leave the compiler too few: it spills in the loop, and it does not load
 * two words at a time. Here all 14 are used, so the end is compared from memory. */
const int32_t *edc_paired_sums(const int32_t *x, const int32_t *w, const int32_t *end,
                               uint64_t sums[EDC_PAIRED_BLOCK]);
#define COLUMN(x)                                                                                  \
  "ldmia r1!, {r2, r3}\n"                                                                          \
  "smlal r4, r5, " x ", r2\n"                                                                      \
  "smlal r6, r7, " x ", r3\n"                                                                      \
  "ldmia r1!, {r2, r3}\n"                                                                          \
  "smlal r8, r9, " x ", r2\n"                                                                      \
  "smlal r10, r11, " x ", r3\n"
#define TWO_COLUMNS "ldmia r0!, {r12, lr}\n" COLUMN("r12") COLUMN("lr")
__asm__(".syntax unified\n"
        ".thumb\n"
        ".section .text.edc_paired_sums, \"ax\", %progbits\n"
        ".p2align 2\n"
        ".global edc_paired_sums\n"
        ".hidden edc_paired_sums\n"
        ".type edc_paired_sums, %function\n"
        ".thumb_func\n"
        "edc_paired_sums:\n"
        "push {r2-r11, lr}\n"
        "subs r2, r2, r0\n"
        "adr r3, 3f\n"
        "ldmia r3, {r4-r11}\n"
        "lsls r2, r2, #27\n" /* whether 4 columns are over when they are taken by 8 */
        "bmi 2f\n"
        "1:\n" TWO_COLUMNS TWO_COLUMNS "2:\n" TWO_COLUMNS TWO_COLUMNS "ldr r2, [sp]\n"
        "cmp r0, r2\n"
        "bne 1b\n"
        "ldr r3, [sp, #4]\n"
        "stmia r3, {r4-r11}\n"
        "mov r0, r1\n"
        "pop {r2-r11, pc}\n"
        ".p2align 2\n"
        "3: .word 0x100000, 0x200, 0x100000, 0x200, 0x100000, 0x200, 0x100000, 0x200\n" /* START */
        ".size edc_paired_sums, . - edc_paired_sums\n"
        ".text\n");
#undef TWO_COLUMNS
#undef COLUMN
_Static_assert(START == 0x20000100000, "the assembly's start");
#else
static const int32_t *edc_paired_sums(const int32_t *x, const int32_t *w, const int32_t *end,
                                      uint64_t sums[EDC_PAIRED_BLOCK]) {
  for (int32_t i = 0; i < EDC_PAIRED_BLOCK; i++) {
    sums[i] = START;
  }
  for (; x != end; x++) {
    for (int32_t i = 0; i < EDC_PAIRED_BLOCK; i++) {
      sums[i] += (uint64_t)((int64_t)*x * *w++);
    }
  }
  return w;
}
#endif

/* What one sum of products says of two outputs. */
typedef struct {
  uint32_t before; /* part of the odd output before */
  uint32_t even;
  uint32_t after; /* part of the odd output after, with a sign */
} lanes;

/* Sums start at START, so `before` and `even` come with half a lane on top, which the
 * channels know: with it no lane is negative, and none borrows from the next. */
static inline lanes split(uint64_t sum) {
  const uint32_t low = (uint32_t)sum;
  const uint32_t high = (uint32_t)(sum >> 32);
  const lanes found = {
      .before = low & LANE_MASK,
      .even = low >> LANE | (high & ((1u << (2 * LANE - 32)) - 1u)) << (32 - LANE),
      .after = (uint32_t)((int32_t)high >> (2 * LANE - 32)),
  };
  return found;
}

/* The even output of channel i of a block, and the odd one before. */
static inline void finish_channel(const edc_folded_channel *channel,
                                  uint64_t sums[][EDC_PAIRED_BLOCK], int32_t parts, uint32_t *carry,
                                  int8_t *odd, int8_t *even, int32_t i, int rectified,
                                  int32_t bias) {
  lanes found = split(sums[0][i]);
  for (int32_t part = 1; part < parts; part++) {
    const lanes more = split(sums[part][i]);
    found.before += more.before;
    found.even += more.even;
    found.after += more.after;
  }
  /* Both before either is stored, because a store of a byte might change the constants. */
  const int8_t first = edc_requantize_folded(channel + i, carry[i] + found.before, rectified, bias);
  const int8_t second = edc_requantize_folded(channel + i, found.even, rectified, bias);
  carry[i] = found.after;
  odd[i] = first;
  even[i] = second;
}

/* All channels of one even position and of the odd one before. */
static inline void run_blocks(const edc_paired_layer *layer, const int32_t *window, uint32_t *carry,
                              int8_t *odd, int8_t *even, int32_t parts, int rectified) {
  const int32_t bias = 2 * layer->out_zero_point + 1;
  const int32_t columns = layer->columns / parts; /* of one part */
  const int32_t *weights = layer->weights;
  const edc_folded_channel *channel = layer->channels;
  const edc_folded_channel *const end = channel + layer->out_channels;
  do {
    uint64_t sums[EDC_PAIRED_PARTS_MAX][EDC_PAIRED_BLOCK];
    int32_t part = 0;
    do {
      const int32_t *const x = window + part * columns;
      weights = edc_paired_sums(x, weights, x + columns, sums[part]);
    } while (++part < parts);
#pragma GCC unroll 4
    for (int32_t i = 0; i < EDC_PAIRED_BLOCK; i++) {
      finish_channel(channel, sums, parts, carry, odd, even, i, rectified, bias);
    }
    channel += EDC_PAIRED_BLOCK;
    carry += EDC_PAIRED_BLOCK;
    odd += EDC_PAIRED_BLOCK;
    even += EDC_PAIRED_BLOCK;
  } while (channel != end);
}

void edc_conv_paired(const edc_paired_layer *layer, const int8_t *in, int8_t *out,
                     int32_t *scratch) {
  const int32_t channels = layer->out_channels;
  const int32_t row = layer->stride * layer->in_channels;
  const int32_t used = layer->tap_pairs * row;
  int32_t *const window = scratch; /* [tap_pairs][row], the samples under the kernel */
  /* [out_channels], `after` of the pair before */
  uint32_t *const carry = (uint32_t *)(window + layer->columns);
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
    int8_t *const even = position < layer->out_width ? out : nowhere;
    /* The usual cases as constants, which are worth their code. */
    if (layer->rectified && layer->parts == 1) {
      run_blocks(layer, window, carry, odd, even, 1, 1);
    } else if (layer->rectified && layer->parts == 2) {
      run_blocks(layer, window, carry, odd, even, 2, 1);
    } else {
      run_blocks(layer, window, carry, odd, even, layer->parts, layer->rectified);
    }
    odd = out + channels;
    out += 2 * channels;
  }
}

/* The samples that one word of the window holds, of one channel. */
static int32_t pair_at(const edc_paired_layer *layer, const int8_t *in, int32_t first) {
  return pack(sample(layer, in, first, 0), sample(layer, in, first + layer->stride, 0));
}

/* One channel, whose window is EDC_PAIRED_BLOCK words: `stride` phases of each pair of samples. */
static inline void depthwise_channel(const edc_paired_layer *layer, const int8_t *in, int8_t *out,
                                     const int32_t *weights, const edc_folded_channel *constants,
                                     int32_t stride, int rectified) {
  const int32_t channels = layer->in_channels;
  const int32_t bias = 2 * layer->out_zero_point + 1;
  const int32_t inside = layer->in_width - 2 * stride; /* last position whose samples all exist */
  const int32_t kept = EDC_PAIRED_BLOCK - stride;      /* words of the window that stay */
  int8_t nowhere;
  int8_t *odd = &nowhere;
  int32_t window[EDC_PAIRED_BLOCK];
  uint32_t carry = 0;
  int32_t first = -layer->pad_left;
  for (int32_t word = 0; word < kept; word += stride) {
    for (int32_t phase = 0; phase < stride; phase++) {
      window[word + phase] = pair_at(layer, in, first + phase);
    }
    first += 2 * stride;
  }
  for (int32_t left = layer->out_width; left >= 0; left -= 2) {
    if (first >= 0 && first <= inside) {
      const int8_t *x = in + first * channels;
      for (int32_t phase = 0; phase < stride; phase++) {
        window[kept + phase] = pack(x[phase * channels], x[(stride + phase) * channels]);
      }
    } else {
      for (int32_t phase = 0; phase < stride; phase++) {
        window[kept + phase] = pair_at(layer, in, first + phase);
      }
    }
    first += 2 * stride;
    uint64_t sum = START + (uint64_t)((int64_t)window[0] * weights[0]);
    sum += (uint64_t)((int64_t)window[1] * weights[1]);
    sum += (uint64_t)((int64_t)window[2] * weights[2]);
    sum += (uint64_t)((int64_t)window[3] * weights[3]);
    const lanes found = split(sum);
    const int8_t before = edc_requantize_folded(constants, carry + found.before, rectified, bias);
    const int8_t even = edc_requantize_folded(constants, found.even, rectified, bias);
    carry = found.after;
    window[0] = window[stride];
    window[1] = window[stride + 1];
    window[2] = window[3]; /* of stride 1 alone */
    *odd = before;
    if (left > 0) {
      *out = even;
    }
    odd = out + channels;
    out += 2 * channels;
  }
}

void edc_depthwise_paired(const edc_paired_layer *layer, const int8_t *in, int8_t *out) {
  const int32_t *weights = layer->weights;
  for (int32_t channel = 0; channel < layer->out_channels; channel++) {
    const edc_folded_channel *const constants = layer->channels + channel;
    /* With the stride a constant, the window stays in registers. */
    if (layer->stride == 1) {
      depthwise_channel(layer, in + channel, out + channel, weights, constants, 1,
                        layer->rectified);
    } else {
      depthwise_channel(layer, in + channel, out + channel, weights, constants, 2,
                        layer->rectified);
    }
    weights += EDC_PAIRED_BLOCK;
  }
}
