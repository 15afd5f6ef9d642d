/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_conv_paired.h"

/* What is worth code of its own, and what is not, the compiler guesses badly here, so it is told.
 */

#define LANE EDC_PAIRED_LANE_BITS
#define LANE_MASK ((1u << LANE) - 1u)
#define HALF (1ll << (LANE - 1))
#define START (HALF + (HALF << LANE)) /* of a sum: half of the lower two lanes */

static int32_t pack(int32_t first, int32_t second) { return second + first * (1 << LANE); }

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

static const uint64_t half_lanes[EDC_PAIRED_BLOCK] = {START, START, START, START};

/* Sums over the columns, a multiple of 4, from x to end of one block:
 * sums[i] = start[i] + sum of x[c] * w[c][i]; both may be one. Returns the end of the block's
 * weights. */
#if defined(__thumb__) && __ARM_ARCH_ISA_THUMB == 2 && !defined(EDC_KEEP_R9)
/* Eight registers of sums leave the compiler too few: it spills in the loop, and it does not load
 * two words at a time. Here all 14 are used, so the end is compared from memory. r9 is put back at
 * the end; EDC_KEEP_R9 is for systems whose interrupts count on it (-ffixed-r9). */
const int32_t *edc_paired_sums(const int32_t *x, const int32_t *w, const int32_t *end,
                               const uint64_t start[EDC_PAIRED_BLOCK],
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
        "push {r2, r4-r11, lr}\n"
        "subs r2, r2, r0\n"
        "ldmia r3, {r4-r11}\n"
        "lsls r2, r2, #27\n" /* whether 4 columns are over when they are taken by 8 */
        "bmi 2f\n"
        "1:\n" TWO_COLUMNS TWO_COLUMNS "2:\n" TWO_COLUMNS TWO_COLUMNS "ldr r2, [sp]\n"
        "cmp r0, r2\n"
        "bne 1b\n"
        "ldr r3, [sp, #40]\n"
        "stmia r3, {r4-r11}\n"
        "mov r0, r1\n"
        "pop {r2, r4-r11, pc}\n"
        ".size edc_paired_sums, . - edc_paired_sums\n"
        ".text\n");
#undef TWO_COLUMNS
#undef COLUMN
#else
static const int32_t *edc_paired_sums(const int32_t *x, const int32_t *w, const int32_t *end,
                                      const uint64_t start[EDC_PAIRED_BLOCK],
                                      uint64_t sums[EDC_PAIRED_BLOCK]) {
  for (int32_t i = 0; i < EDC_PAIRED_BLOCK; i++) {
    sums[i] = start[i];
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
  uint32_t before; /* part of the odd output before, with a sign */
  uint32_t even;
  uint32_t after; /* part of the odd output after */
} lanes;

/* Sums start at START, so `after` and `even` come with half a lane on top, which the channels know:
 * with it neither is negative, and none borrows from the next. */
static inline lanes split(uint64_t sum) {
  const uint32_t low = (uint32_t)sum;
  const uint32_t high = (uint32_t)(sum >> 32);
  const lanes found = {
      .before = (uint32_t)((int32_t)high >> (2 * LANE - 32)),
      .even = low >> LANE | (high & ((1u << (2 * LANE - 32)) - 1u)) << (32 - LANE),
      .after = low & LANE_MASK,
  };
  return found;
}

/* A block of channels, and where its outputs go. */
typedef struct {
  const edc_folded_channel *channel;
  uint32_t *carry; /* `after` of the pair before */
  int8_t *odd;     /* outputs of the odd position before */
  int8_t *even;
} block;

EDC_ALWAYS_INLINE void finish(block now, uint64_t sums[][EDC_PAIRED_BLOCK], int32_t parts,
                              int rectified, int32_t bias) {
#pragma GCC unroll 4
  for (int32_t i = 0; i < EDC_PAIRED_BLOCK; i++) {
    lanes found = split(sums[0][i]);
    for (int32_t part = 1; part < parts; part++) {
      const lanes more = split(sums[part][i]);
      found.before += more.before;
      found.even += more.even;
      found.after += more.after;
    }
    /* Both before either is stored, because a store of a byte might change the constants. */
    const int8_t odd =
        edc_requantize_folded(now.channel + i, now.carry[i] + found.before, rectified, bias);
    const int8_t even = edc_requantize_folded(now.channel + i, found.even, rectified, bias);
    now.carry[i] = found.after;
    now.odd[i] = odd;
    now.even[i] = even;
  }
}

/* The usual cases have code of their own, in which parts and rounding are constants. */
EDC_NEVER_INLINE void finish_one_part(block now, uint64_t sums[][EDC_PAIRED_BLOCK]) {
  finish(now, sums, 1, 1, 0);
}

EDC_NEVER_INLINE void finish_two_parts(block now, uint64_t sums[][EDC_PAIRED_BLOCK]) {
  finish(now, sums, 2, 1, 0);
}

EDC_NEVER_INLINE void finish_any(block now, uint64_t sums[][EDC_PAIRED_BLOCK], int32_t parts,
                                 const edc_paired_layer *layer) {
  finish(now, sums, parts, layer->rectified, 2 * layer->out_zero_point + 1);
}

/* The even outputs of a block, and the odd ones before. */
static inline void finish_block(block now, uint64_t sums[][EDC_PAIRED_BLOCK], int32_t parts,
                                const edc_paired_layer *layer) {
  if (layer->rectified && parts == 1) {
    finish_one_part(now, sums);
  } else if (layer->rectified && parts == 2) {
    finish_two_parts(now, sums);
  } else {
    finish_any(now, sums, parts, layer);
  }
}

/* All blocks of one even position and of the odd one before, of a layer whose sums have one part.
 */
EDC_NEVER_INLINE void run_one_part(const edc_paired_layer *layer, const int32_t *window,
                                   const block *first) {
  block now = *first;
  const edc_folded_channel *const end = layer->channels + layer->out_channels;
  const int32_t *weights = layer->weights;
  do {
    uint64_t sums[1][EDC_PAIRED_BLOCK];
    weights = edc_paired_sums(window, weights, window + layer->columns, half_lanes, sums[0]);
    finish(now, sums, 1, 1, 0);
    now.channel += EDC_PAIRED_BLOCK;
    now.carry += EDC_PAIRED_BLOCK;
    now.odd += EDC_PAIRED_BLOCK;
    now.even += EDC_PAIRED_BLOCK;
  } while (now.channel != end);
}

EDC_NEVER_INLINE void run_any(const edc_paired_layer *layer, const int32_t *window,
                              const block *first) {
  block now = *first;
  const edc_folded_channel *const end = layer->channels + layer->out_channels;
  const int32_t *weights = layer->weights;
  const uint8_t *count = layer->parts;
  do {
    uint64_t sums[EDC_PAIRED_PARTS_MAX][EDC_PAIRED_BLOCK];
    const int32_t parts = *count++;
    const int32_t *x = window;
    for (int32_t part = 0; part < parts; part++) {
      const int32_t *const last = x + (layer->columns >> parts / 2);
      weights = edc_paired_sums(x, weights, last, half_lanes, sums[part]);
      x = last;
    }
    finish_block(now, sums, parts, layer);
    now.channel += EDC_PAIRED_BLOCK;
    now.carry += EDC_PAIRED_BLOCK;
    now.odd += EDC_PAIRED_BLOCK;
    now.even += EDC_PAIRED_BLOCK;
  } while (now.channel != end);
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
  const int32_t kept = layer->resumes ? 0 : channels;
  for (int32_t column = used; column < layer->columns + kept; column++) {
    window[column] = 0;
  }
  int one_part = layer->rectified;
  for (int32_t i = 0; i < channels / EDC_PAIRED_BLOCK; i++) {
    one_part &= layer->parts[i] == 1;
  }
  int8_t *odd = layer->resumes ? out - channels : nowhere;
  const int32_t end = layer->out_width + (layer->pauses ? 0 : 1);
  for (int32_t position = 0; position < end; position += 2) {
    for (int32_t column = 0; column < used - row; column++) {
      window[column] = window[column + row];
    }
    build_row(layer, in, position / 2 + layer->tap_pairs - 1, window + used - row);
    int8_t *const even = position < layer->out_width ? out : nowhere;
    const block first = {layer->channels, carry, odd, even};
    if (one_part) {
      run_one_part(layer, window, &first);
    } else {
      run_any(layer, window, &first);
    }
    odd = out + channels;
    out += 2 * channels;
  }
}

/* The same for four positions: row [3][stride][in_channels], `columns` apart, of what the three
 * products of edc_conv_winograd want. */
static void build_rows(const edc_paired_layer *layer, const int8_t *in, int32_t quad,
                       int32_t *row) {
  const int32_t channels = layer->in_channels;
  const int32_t columns = layer->columns;
  const int32_t stride = layer->stride;
  const int32_t step = stride * channels; /* from one position to the next */
  for (int32_t phase = 0; phase < stride; phase++) {
    const int32_t first = 4 * quad * stride + phase - layer->pad_left;
    if (first >= 0 && first + 4 * stride < layer->in_width) {
      const int8_t *x = in + first * channels;
      const int8_t *const end = x + channels;
      for (; x != end; x++) {
        const int32_t odd = pack(x[step], x[3 * step]);
        row[0] = odd;
        row[columns] = pack(x[0], x[2 * step]) - odd;
        row[2 * columns] = pack(x[2 * step], x[4 * step]) - odd;
        row++;
      }
    } else {
      for (int32_t channel = 0; channel < channels; channel++) {
        int32_t x[5];
        for (int32_t i = 0; i < 5; i++) {
          x[i] = sample(layer, in, first + i * stride, channel);
        }
        const int32_t odd = pack(x[1], x[3]);
        row[0] = odd;
        row[columns] = pack(x[0], x[2]) - odd;
        row[2 * columns] = pack(x[2], x[4]) - odd;
        row++;
      }
    }
  }
}

void edc_conv_winograd(const edc_paired_layer *layer, const int8_t *in, int8_t *out,
                       int32_t *scratch) {
  const int32_t channels = layer->out_channels;
  const int32_t row = layer->stride * layer->in_channels;
  const int32_t used = layer->tap_pairs * row;
  int32_t *const window = scratch; /* [3][tap_pairs][row], the samples under the kernel */
  /* [2][out_channels], `after` of the four before */
  uint32_t *const carry = (uint32_t *)(window + 3 * layer->columns);
  int8_t *const nowhere = (int8_t *)(carry + 2 * channels); /* [out_channels], outputs outside */

  const int32_t zeros = 3 * layer->columns + (layer->resumes ? 0 : 2 * channels);
  for (int32_t column = 0; column < zeros; column++) {
    window[column] = 0;
  }
  for (int32_t quad = 1; quad < layer->tap_pairs; quad++) {
    build_rows(layer, in, quad - 1, window + quad * row);
  }
  const int32_t begin = layer->resumes ? -2 : 0;
  const int32_t end = layer->out_width + (layer->pauses ? 0 : 2);
  for (int32_t position = 0; position < end; position += 4) {
    for (int32_t column = 0; column < 3 * layer->columns; column += layer->columns) {
      for (int32_t word = column; word < column + used - row; word++) {
        window[word] = window[word + row];
      }
    }
    build_rows(layer, in, position / 4 + layer->tap_pairs - 1, window + used - row);
    int8_t *rows[4]; /* position - 2 to position + 1 */
    for (int32_t i = 0; i < 4; i++) {
      const int32_t at = position - 2 + i;
      rows[i] = at >= begin && at < layer->out_width ? out + at * channels : nowhere;
    }
    const int32_t *weights = layer->weights;
    for (int32_t channel = 0; channel < channels; channel += EDC_PAIRED_BLOCK) {
      uint64_t even[EDC_WINOGRAD_PARTS_MAX][EDC_PAIRED_BLOCK];
      uint64_t odd[EDC_WINOGRAD_PARTS_MAX][EDC_PAIRED_BLOCK];
      const int32_t parts = layer->parts[channel / EDC_PAIRED_BLOCK];
      const int32_t columns = layer->columns >> parts / 2; /* of a part */
      int32_t part = 0;
      do {
        const int32_t *x = window + part * columns;
        weights = edc_paired_sums(x, weights, x + columns, half_lanes, odd[part]);
        x += layer->columns;
        weights = edc_paired_sums(x, weights, x + columns, odd[part], even[part]);
        x += layer->columns;
        weights = edc_paired_sums(x, weights, x + columns, odd[part], odd[part]);
      } while (++part < parts);
      const edc_folded_channel *const constants = layer->channels + channel;
      uint32_t *const kept = carry + channel;
      const block first = {constants, kept, rows[0] + channel, rows[2] + channel};
      const block second = {constants, kept + channels, rows[1] + channel, rows[3] + channel};
      finish_block(first, even, parts, layer);
      finish_block(second, odd, parts, layer);
    }
  }
}

/* Row `at` on of the padded input, `count` rows, in a patch where some are outside. */
static const int8_t *rows_at(const edc_paired_layer *layer, const int8_t *in, int32_t at,
                             int32_t count, int8_t *patch) {
  const int32_t channels = layer->in_channels;
  if (at >= 0 && at + count <= layer->in_width) {
    return in + at * channels;
  }
  int8_t *end = patch;
  for (int32_t row = at; row < at + count; row++) {
    for (int32_t channel = 0; channel < channels; channel++) {
      *end++ = (int8_t)sample(layer, in, row, channel);
    }
  }
  return patch;
}

/* A window is EDC_PAIRED_BLOCK words: `stride` phases of each pair of samples. */
EDC_ALWAYS_INLINE void depthwise(const edc_paired_layer *layer, const int8_t *in, int8_t *out,
                                 int32_t *scratch, int32_t stride, int rectified) {
  const int32_t channels = layer->in_channels;
  const int32_t kept = EDC_PAIRED_BLOCK - stride; /* words of a window that stay */
  const int32_t bias = 2 * layer->out_zero_point + 1;
  int8_t *const nowhere = (int8_t *)(scratch + (kept + 1) * channels); /* outputs outside */
  int8_t *const patch = nowhere + channels;
  for (int32_t word = 0; !layer->resumes && word < (kept + 1) * channels; word++) {
    scratch[word] = 0;
  }
  /* The windows fill while positions are before the first. */
  const int32_t begin = layer->resumes ? 0 : 2 - 2 * layer->tap_pairs;
  const int32_t last = layer->out_width - layer->pauses;
  for (int32_t position = begin; position <= last; position += 2) {
    const int32_t fresh = (position + 2 * layer->tap_pairs - 2) * stride - layer->pad_left;
    const int8_t *x = rows_at(layer, in, fresh, 2 * stride, patch);
    int8_t *odd = position > 0 || layer->resumes ? out + (position - 1) * channels : nowhere;
    int8_t *even =
        position >= 0 && position < layer->out_width ? out + position * channels : nowhere;
    const int32_t *weights = layer->weights;
    const edc_folded_channel *constants = layer->channels;
    int32_t *state = scratch; /* [channels]: `after` of the pair before, words that stay */
    for (const int8_t *const end = x + channels; x != end; x++) {
      int32_t window[EDC_PAIRED_BLOCK];
      for (int32_t word = 0; word < kept; word++) {
        window[word] = state[1 + word];
      }
      for (int32_t phase = 0; phase < stride; phase++) {
        window[kept + phase] = pack(x[phase * channels], x[(stride + phase) * channels]);
      }
      uint64_t sum = START;
      for (int32_t word = 0; word < EDC_PAIRED_BLOCK; word++) {
        sum += (uint64_t)((int64_t)window[word] * *weights++);
      }
      const lanes found = split(sum);
      const uint32_t between = (uint32_t)state[0] + found.before;
      *odd++ = edc_requantize_folded(constants, between, rectified, bias);
      *even++ = edc_requantize_folded(constants++, found.even, rectified, bias);
      *state++ = (int32_t)found.after;
      for (int32_t word = 0; word < kept; word++) {
        *state++ = window[stride + word];
      }
    }
  }
}

void edc_depthwise_paired(const edc_paired_layer *layer, const int8_t *in, int8_t *out,
                          int32_t *scratch) {
  if (layer->stride == 1) {
    depthwise(layer, in, out, scratch, 1, layer->rectified);
  } else if (layer->rectified) {
    depthwise(layer, in, out, scratch, 2, 1);
  } else {
    depthwise(layer, in, out, scratch, 2, 0);
  }
}

EDC_ALWAYS_INLINE edc_paired_layer stripe_of(const void *constants, const edc_chunk *chunk) {
  edc_paired_layer layer = *(const edc_paired_layer *)constants;
  layer.in_width = chunk->in_width;
  layer.pad_left = chunk->pad_left;
  layer.out_width = chunk->out_width;
  layer.resumes = chunk->resumes;
  layer.pauses = chunk->pauses;
  return layer;
}

/* Apart from the call of a whole layer, which so needs no stack. */
EDC_NEVER_INLINE void edc_conv_paired_stripe(const void *constants, const edc_chunk *chunk,
                                             const int8_t *in, int8_t *out, int32_t *scratch) {
  const edc_paired_layer layer = stripe_of(constants, chunk);
  edc_conv_paired(&layer, in, out, scratch);
}

void edc_conv_paired_run(const void *constants, const edc_chunk *chunk, const int8_t *in,
                         int8_t *out, int32_t *scratch) {
  if (chunk == NULL) {
    edc_conv_paired(constants, in, out, scratch);
  } else {
    edc_conv_paired_stripe(constants, chunk, in, out, scratch);
  }
}

EDC_NEVER_INLINE void edc_conv_winograd_stripe(const void *constants, const edc_chunk *chunk,
                                               const int8_t *in, int8_t *out, int32_t *scratch) {
  const edc_paired_layer layer = stripe_of(constants, chunk);
  edc_conv_winograd(&layer, in, out, scratch);
}

void edc_conv_winograd_run(const void *constants, const edc_chunk *chunk, const int8_t *in,
                           int8_t *out, int32_t *scratch) {
  if (chunk == NULL) {
    edc_conv_winograd(constants, in, out, scratch);
  } else {
    edc_conv_winograd_stripe(constants, chunk, in, out, scratch);
  }
}

EDC_NEVER_INLINE void edc_depthwise_paired_stripe(const void *constants, const edc_chunk *chunk,
                                                  const int8_t *in, int8_t *out, int32_t *scratch) {
  const edc_paired_layer layer = stripe_of(constants, chunk);
  edc_depthwise_paired(&layer, in, out, scratch);
}

void edc_depthwise_paired_run(const void *constants, const edc_chunk *chunk, const int8_t *in,
                              int8_t *out, int32_t *scratch) {
  if (chunk == NULL) {
    edc_depthwise_paired(constants, in, out, scratch);
  } else {
    edc_depthwise_paired_stripe(constants, chunk, in, out, scratch);
  }
}
