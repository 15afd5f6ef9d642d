/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_conv16_pairs.h"

#include "edc_requantize16.h"
#include "edc_taps.h"

typedef uint32_t EDC_MAY_ALIAS word; /* two int16 */
#if defined(__GNUC__) && defined(__ARM_FEATURE_UNALIGNED)
typedef uint32_t __attribute__((may_alias, aligned(2))) two_samples;
#define UNALIGNED 1
#else
#define UNALIGNED 0
#endif
#if UNALIGNED && defined(__ARM_FEATURE_SIMD32) && __ARM_FEATURE_SIMD32
#include <arm_acle.h>
#define SIMD 1 /* two 16-bit values in one register */
#else
#define SIMD 0
#endif

/* Sums over pairs of columns (an even number) from x [pairs][2 positions] to end:
 * sums[i][p] = bias[i] + sum of x[c][p] * w[c][i]. Returns the end of the weights. */
typedef const uint32_t *sum_function(const word *x, const uint32_t *w, const word *end,
                                     const int32_t bias[EDC_PAIRS_BLOCK],
                                     int32_t sums[EDC_PAIRS_BLOCK][EDC_PAIRS_TOGETHER]);

#if defined(__thumb__) && __ARM_ARCH_ISA_THUMB == 2 && defined(__ARM_FEATURE_DSP) &&               \
    __ARM_FEATURE_DSP && !defined(EDC_KEEP_R9)
/* All 14 registers are used, as in edc_pointwise.c. EDC_KEEP_R9: see edc_conv_paired.c. */
sum_function edc_words_sums;
sum_function edc_bytes16_sums;
#define PRODUCTS(low, high, a, b, c, d)                                                            \
  "smlad " a ", r12, " low ", " a "\n"                                                             \
  "smlad " b ", lr, " low ", " b "\n"                                                              \
  "smlad " c ", r12, " high ", " c "\n"                                                            \
  "smlad " d ", lr, " high ", " d "\n"
#define WORDS(a, b, c, d) "ldmia r1!, {r2, r3}\n" PRODUCTS("r2", "r3", a, b, c, d)
#define BYTES(a, b, c, d)                                                                          \
  "ldr r2, [r1], #4\n"                                                                             \
  "sxtb16 r3, r2\n"                                                                                \
  "sxtb16 r2, r2, ror #8\n" PRODUCTS("r3", "r2", a, b, c, d)
#define PAIR(two) "ldmia r0!, {r12, lr}\n" two("r4", "r5", "r6", "r7") two("r8", "r9", "r10", "r11")
#define SUMS(name, two)                                                                            \
  __asm__(".syntax unified\n"                                                                      \
          ".thumb\n"                                                                               \
          ".section .text." name ", \"ax\", %progbits\n"                                           \
          ".p2align 2\n"                                                                           \
          ".global " name "\n"                                                                     \
          ".hidden " name "\n"                                                                     \
          ".type " name ", %function\n"                                                            \
          ".thumb_func\n" name ":\n"                                                               \
          "push {r2, r4-r11, lr}\n"                                                                \
          "subs r2, r2, r0\n"                                                                      \
          "ldmia r3, {r4, r6, r8, r10}\n"                                                          \
          "mov r5, r4\n"                                                                           \
          "mov r7, r6\n"                                                                           \
          "mov r9, r8\n"                                                                           \
          "mov r11, r10\n"                                                                         \
          "lsls r2, r2, #27\n" /* whether 2 pairs are over when they are taken by 4 */             \
          "bmi 2f\n"                                                                               \
          "1:\n" PAIR(two) PAIR(two) "2:\n" PAIR(two) PAIR(two) "ldr r2, [sp]\n"                   \
                                                                "cmp r0, r2\n"                     \
                                                                "bne 1b\n"                         \
                                                                "ldr r3, [sp, #40]\n"              \
                                                                "stmia r3, {r4-r11}\n"             \
                                                                "mov r0, r1\n"                     \
                                                                "pop {r2, r4-r11, pc}\n"           \
                                                                ".size " name ", . - " name "\n"   \
                                                                ".text\n")
SUMS("edc_words_sums", WORDS);
SUMS("edc_bytes16_sums", BYTES);
#undef SUMS
#undef PAIR
#undef BYTES
#undef WORDS
#undef PRODUCTS
#else
static const uint32_t *edc_words_sums(const word *x, const uint32_t *w, const word *end,
                                      const int32_t bias[EDC_PAIRS_BLOCK],
                                      int32_t sums[EDC_PAIRS_BLOCK][EDC_PAIRS_TOGETHER]) {
  for (int32_t i = 0; i < EDC_PAIRS_BLOCK; i++) {
    sums[i][0] = bias[i];
    sums[i][1] = bias[i];
  }
  for (; x != end; x += EDC_PAIRS_TOGETHER) {
    for (int32_t i = 0; i < EDC_PAIRS_BLOCK; i++) {
      const int16_t first = (int16_t)*w;
      const int16_t second = (int16_t)(*w++ >> 16);
      sums[i][0] += (int16_t)x[0] * first + (int16_t)(x[0] >> 16) * second;
      sums[i][1] += (int16_t)x[1] * first + (int16_t)(x[1] >> 16) * second;
    }
  }
  return w;
}

typedef int16_t EDC_MAY_ALIAS half;

static const uint32_t *edc_bytes16_sums(const word *x, const uint32_t *w, const word *end,
                                        const int32_t bias[EDC_PAIRS_BLOCK],
                                        int32_t sums[EDC_PAIRS_BLOCK][EDC_PAIRS_TOGETHER]) {
  int32_t a = bias[0], b = a, c = bias[1], d = c, e = bias[2], f = e, g = bias[3], h = g;
  const half *sample = (const half *)x;
  const half *const last = (const half *)end;
  const int8_t *weight = (const int8_t *)w;
  do {
    for (int32_t column = 0; column < 2; column++) {
      const int32_t first = sample[column];
      const int32_t second = sample[column + 2];
      a += first * weight[2 * column];
      b += second * weight[2 * column];
      c += first * weight[2 * column + 1];
      d += second * weight[2 * column + 1];
      e += first * weight[2 * column + 4];
      f += second * weight[2 * column + 4];
      g += first * weight[2 * column + 5];
      h += second * weight[2 * column + 5];
    }
    sample += 2 * EDC_PAIRS_TOGETHER;
    weight += 2 * EDC_PAIRS_BLOCK;
  } while (sample != last);
  const int32_t found[EDC_PAIRS_BLOCK][EDC_PAIRS_TOGETHER] = {{a, b}, {c, d}, {e, f}, {g, h}};
  for (int32_t i = 0; i < EDC_PAIRS_BLOCK; i++) {
    sums[i][0] = found[i][0];
    sums[i][1] = found[i][1];
  }
  return (const uint32_t *)(const void *)weight;
}
#endif

/* Sums over pairs of columns (an even number) from x [pairs] to end for one position:
 * sums[i] = bias[i] + sum of x[c] * w[c][i]. Returns the end of the weights. */
#if defined(__thumb__) && __ARM_ARCH_ISA_THUMB == 1
/* The compiler spills. Here the loop takes the eight low registers, and sums are in high ones,
 * which can be added to and no more; each weight is used once, so its product takes its place. r9,
 * which some systems reserve, is left alone. */
const uint32_t *edc_single_sums(const word *x, const uint32_t *w, const word *end,
                                const int32_t bias[EDC_PAIRS_BLOCK], int32_t sums[EDC_PAIRS_BLOCK]);
#define PRODUCTS(w, a, b)                                                                          \
  "sxtb r6, " w "\n"                                                                               \
  "muls r6, r7, r6\n"                                                                              \
  "add " a ", r6\n"                                                                                \
  "asrs " w ", " w ", #8\n"                                                                        \
  "sxtb r6, " w "\n"                                                                               \
  "muls r6, r7, r6\n"                                                                              \
  "add " b ", r6\n"                                                                                \
  "asrs " w ", " w ", #8\n"                                                                        \
  "sxtb r6, " w "\n"                                                                               \
  "muls r6, r2, r6\n"                                                                              \
  "add " a ", r6\n"                                                                                \
  "asrs " w ", " w ", #8\n"                                                                        \
  "muls " w ", r2, " w "\n"                                                                        \
  "add " b ", " w "\n"
#define PAIR                                                                                       \
  "ldmia r0!, {r2}\n"                                                                              \
  "ldmia r1!, {r4, r5}\n"                                                                          \
  "sxth r7, r2\n"                                                                                  \
  "asrs r2, r2, #16\n" PRODUCTS("r4", "r8", "r10") PRODUCTS("r5", "r11", "r12")
__asm__(".syntax unified\n"
        ".thumb\n"
        ".section .text.edc_single_sums, \"ax\", %progbits\n"
        ".p2align 2\n"
        ".global edc_single_sums\n"
        ".hidden edc_single_sums\n"
        ".type edc_single_sums, %function\n"
        ".thumb_func\n"
        "edc_single_sums:\n"
        "push {r4-r7, lr}\n"
        "mov r4, r8\n"
        "mov r5, r10\n"
        "mov r6, r11\n"
        "push {r4-r6}\n"
        "ldmia r3!, {r4-r7}\n"
        "mov r8, r4\n"
        "mov r10, r5\n"
        "mov r11, r6\n"
        "mov r12, r7\n"
        "mov r3, r2\n"
        "1:\n" PAIR PAIR "cmp r0, r3\n"
        "bne 1b\n"
        "ldr r3, [sp, #32]\n"
        "mov r4, r8\n"
        "mov r5, r10\n"
        "mov r6, r11\n"
        "mov r7, r12\n"
        "stmia r3!, {r4-r7}\n"
        "mov r0, r1\n"
        "pop {r4-r6}\n"
        "mov r8, r4\n"
        "mov r10, r5\n"
        "mov r11, r6\n"
        "pop {r4-r7, pc}\n"
        ".size edc_single_sums, . - edc_single_sums\n"
        ".text\n");
#undef PAIR
#undef PRODUCTS
#else
static const uint32_t *edc_single_sums(const word *x, const uint32_t *w, const word *end,
                                       const int32_t bias[EDC_PAIRS_BLOCK],
                                       int32_t sums[EDC_PAIRS_BLOCK]) {
  for (int32_t i = 0; i < EDC_PAIRS_BLOCK; i++) {
    sums[i] = bias[i];
  }
  for (; x != end; x++) {
    const int32_t first = (int16_t)*x;
    const int32_t second = (int16_t)(*x >> 16);
    for (int32_t i = 0; i < EDC_PAIRS_BLOCK; i += 2) {
      sums[i] += first * (int8_t)*w + second * (int8_t)(*w >> 16);
      sums[i + 1] += first * (int8_t)(*w >> 8) + second * (int8_t)(*w >> 24);
      w++;
    }
  }
  return w;
}
#endif

/* The samples under the taps of a position, from `first` on in the padded input, two of them
 * `apart` behind the two before. */
static inline void gather(const edc_pairs_layer *layer, const int16_t *in, int32_t first,
                          int16_t *row, int32_t apart) {
  const uint32_t size = (uint32_t)layer->in_width * layer->in_channels;
  for (const int32_t end = first + layer->columns; first != end; first += 2) {
    row[0] = (uint32_t)first < size ? in[first] : 0;
    row[1] = (uint32_t)first + 1 < size ? in[first + 1] : 0;
    row += apart;
  }
}

/* The same for two positions inside the input. */
static void gather_both(const int16_t *a, const int16_t *b, int32_t columns, int16_t *row) {
  for (const int16_t *const end = a + columns; a != end; a += 4, b += 4) {
#if UNALIGNED
    const two_samples *const x = (const two_samples *)a;
    const two_samples *const y = (const two_samples *)b;
    word *const words = (word *)(void *)row;
    words[0] = x[0];
    words[1] = y[0];
    words[2] = x[1];
    words[3] = y[1];
#else
    row[0] = a[0];
    row[1] = a[1];
    row[2] = b[0];
    row[3] = b[1];
    row[4] = a[2];
    row[5] = a[3];
    row[6] = b[2];
    row[7] = b[3];
#endif
    row += 8;
  }
}

EDC_ALWAYS_INLINE int16_t finish(int32_t acc, int32_t multiplier, int high, int rectified) {
  const int32_t value = high ? edc_rescale_high(acc, multiplier)
                             : edc_rescale(acc, (int16_t)(multiplier >> 16), multiplier & 0xFF);
  return edc_saturate16(value, rectified);
}

/* A block of two positions. */
EDC_ALWAYS_INLINE void finish_block(const edc_pairs_channels *channels,
                                    int32_t sums[EDC_PAIRS_BLOCK][EDC_PAIRS_TOGETHER],
                                    int16_t *first, int16_t *second, int high, int rectified) {
#pragma GCC unroll 4
  for (int32_t i = 0; i < EDC_PAIRS_BLOCK; i++) {
    const int32_t multiplier = channels->multiplier[i];
    first[i] = finish(sums[i][0], multiplier, high, rectified);
    second[i] = finish(sums[i][1], multiplier, high, rectified);
  }
}

EDC_ALWAYS_INLINE void finish_as(const edc_pairs_layer *layer, const edc_pairs_channels *channels,
                                 int32_t sums[EDC_PAIRS_BLOCK][EDC_PAIRS_TOGETHER], int16_t *first,
                                 int16_t *second) {
  if (layer->high) {
    if (layer->rectified) {
      finish_block(channels, sums, first, second, 1, 1);
    } else {
      finish_block(channels, sums, first, second, 1, 0);
    }
  } else {
    finish_block(channels, sums, first, second, 0, layer->rectified);
  }
}

EDC_ALWAYS_INLINE void convolve(const edc_pairs_layer *layer, const int16_t *in, int16_t *out,
                                int32_t *scratch, sum_function *sum) {
  const int32_t channels = layer->out_channels;
  const int32_t columns = layer->columns;
  const int32_t step = layer->stride * layer->in_channels;
  const int32_t size = layer->in_width * layer->in_channels;
  int16_t *const window = (int16_t *)scratch;
  const word *const end = (const word *)scratch + columns;
  int16_t *const nowhere = window + 2 * columns; /* outputs outside */
  int32_t first = -layer->pad_left * layer->in_channels;
  for (int32_t left = layer->out_width; left > 0; left -= EDC_PAIRS_TOGETHER) {
    if (first >= 0 && left > 1 && first + step + columns <= size) {
      gather_both(in + first, in + first + step, columns, window);
    } else {
      gather(layer, in, first, window, 2 * EDC_PAIRS_TOGETHER);
      gather(layer, in, left > 1 ? first + step : first, window + 2, 2 * EDC_PAIRS_TOGETHER);
    }
    int16_t *second = left > 1 ? out + channels : nowhere;
    const uint32_t *weights = layer->weights;
    const edc_pairs_channels *block = layer->channels;
    int32_t sums[EDC_PAIRS_BLOCK][EDC_PAIRS_TOGETHER];
    int32_t rest = channels;
    for (; rest >= EDC_PAIRS_BLOCK; rest -= EDC_PAIRS_BLOCK) {
      weights = sum((const word *)scratch, weights, end, block->bias, sums);
      finish_as(layer, block, sums, out, second);
      block++;
      out += EDC_PAIRS_BLOCK;
      second += EDC_PAIRS_BLOCK;
    }
    if (rest > 0) {
      int16_t found[EDC_PAIRS_TOGETHER][EDC_PAIRS_BLOCK];
      (void)sum((const word *)scratch, weights, end, block->bias, sums);
      finish_as(layer, block, sums, found[0], found[1]);
      for (int32_t i = 0; i < rest; i++) {
        *out++ = found[0][i];
        *second++ = found[1][i];
      }
    }
    first += EDC_PAIRS_TOGETHER * step;
    out += channels;
  }
}

void edc_conv16_words(const edc_pairs_layer *layer, const int16_t *in, int16_t *out,
                      int32_t *scratch) {
  convolve(layer, in, out, scratch, edc_words_sums);
}

void edc_conv16_bytes(const edc_pairs_layer *layer, const int16_t *in, int16_t *out,
                      int32_t *scratch) {
  convolve(layer, in, out, scratch, edc_bytes16_sums);
}

void edc_conv16_single(const edc_pairs_layer *layer, const int16_t *in, int16_t *out,
                       int32_t *scratch) {
  const int32_t columns = layer->columns;
  const int32_t size = layer->in_width * layer->in_channels;
  int16_t *const window = (int16_t *)scratch;
  const word *const end = (const word *)scratch + columns / 2;
  const int rectified = layer->rectified;
  int32_t first = -layer->pad_left * layer->in_channels;
  for (int32_t left = layer->out_width; left > 0; left--) {
    if (first >= 0 && first + columns <= size) {
      int16_t *row = window;
      const int16_t *x = in + first;
      for (const int16_t *const last = x + columns; x != last; x += 4, row += 4) {
        row[0] = x[0];
        row[1] = x[1];
        row[2] = x[2];
        row[3] = x[3];
      }
    } else {
      gather(layer, in, first, window, 2);
    }
    const uint32_t *weights = layer->weights;
    const edc_pairs_channels *block = layer->channels;
    int32_t sums[EDC_PAIRS_BLOCK];
    int32_t rest = layer->out_channels;
    for (; rest >= EDC_PAIRS_BLOCK; rest -= EDC_PAIRS_BLOCK) {
      weights = edc_single_sums((const word *)scratch, weights, end, block->bias, sums);
#pragma GCC unroll 4
      for (int32_t i = 0; i < EDC_PAIRS_BLOCK; i++) {
        out[i] = finish(sums[i], block->multiplier[i], 0, rectified);
      }
      out += EDC_PAIRS_BLOCK;
      block++;
    }
    if (rest > 0) {
      (void)edc_single_sums((const word *)scratch, weights, end, block->bias, sums);
      for (int32_t i = 0; i < rest; i++) {
        *out++ = finish(sums[i], block->multiplier[i], 0, rectified);
      }
    }
    first += layer->stride * layer->in_channels;
  }
}

/* Four channels over `taps` taps, each `channels` behind the one before. */
EDC_ALWAYS_INLINE void sum_channels(const int16_t *x, const uint32_t *w, int32_t taps,
                                    int32_t channels, int32_t sums[EDC_PAIRS_BLOCK]) {
  int32_t a = sums[0];
  int32_t b = sums[1];
  int32_t c = sums[2];
  int32_t d = sums[3];
  for (; taps > 0; taps--) {
#if SIMD
    const two_samples *const samples = (const two_samples *)x;
    const uint32_t first = samples[0];
    const uint32_t second = samples[1];
    const uint32_t even = (uint32_t)__sxtb16((int8x4_t)*w); /* channels 0 and 2 */
    const uint32_t odd = (uint32_t)__sxtb16((int8x4_t)(*w >> 8 | *w << 24));
    a += (int16_t)first * (int16_t)even;
    b += (int16_t)(first >> 16) * (int16_t)odd;
    c += (int16_t)second * (int16_t)(even >> 16);
    d += (int16_t)(second >> 16) * (int16_t)(odd >> 16);
#else
    const int8_t *const weights = (const int8_t *)w;
    a += x[0] * weights[0];
    b += x[1] * weights[1];
    c += x[2] * weights[2];
    d += x[3] * weights[3];
#endif
    x += channels;
    w += channels / EDC_PAIRS_BLOCK;
  }
  sums[0] = a;
  sums[1] = b;
  sums[2] = c;
  sums[3] = d;
}

EDC_ALWAYS_INLINE void convolve_depthwise(const edc_pairs_layer *layer, const int16_t *in,
                                          int16_t *out, int high, int rectified) {
  const int32_t channels = layer->out_channels;
  int32_t first = -layer->pad_left;
  for (int32_t left = layer->out_width; left > 0; left--) {
    const edc_tap_range taps = edc_taps_from(first, layer->columns, layer->in_width);
    const int16_t *patch = in + (first + taps.first) * channels;
    const uint32_t *weights = layer->weights + taps.first * (channels / EDC_PAIRS_BLOCK);
    const edc_pairs_channels *block = layer->channels;
    for (int32_t rest = channels; rest > 0; rest -= EDC_PAIRS_BLOCK) {
      int32_t sums[EDC_PAIRS_BLOCK] = {block->bias[0], block->bias[1], block->bias[2],
                                       block->bias[3]};
      sum_channels(patch, weights, taps.last - taps.first, channels, sums);
#pragma GCC unroll 4
      for (int32_t i = 0; i < EDC_PAIRS_BLOCK; i++) {
        out[i] = finish(sums[i], block->multiplier[i], high, rectified);
      }
      out += EDC_PAIRS_BLOCK;
      patch += EDC_PAIRS_BLOCK;
      weights++;
      block++;
    }
    first += layer->stride;
  }
}

void edc_depthwise16_bytes(const edc_pairs_layer *layer, const int16_t *in, int16_t *out) {
  if (layer->high && layer->rectified) {
    convolve_depthwise(layer, in, out, 1, 1);
  } else if (layer->high) {
    convolve_depthwise(layer, in, out, 1, 0);
  } else {
    convolve_depthwise(layer, in, out, 0, layer->rectified);
  }
}

static inline edc_pairs_layer stripe_of(const void *constants, const edc_chunk *chunk) {
  edc_pairs_layer layer = *(const edc_pairs_layer *)constants;
  layer.in_width = chunk->in_width;
  layer.pad_left = chunk->pad_left;
  layer.out_width = chunk->out_width;
  return layer;
}

/* Apart from the call of a whole layer, which so needs no stack. */
EDC_NEVER_INLINE void edc_conv16_words_stripe(const void *constants, const edc_chunk *chunk,
                                              const int16_t *in, int16_t *out, int32_t *scratch) {
  const edc_pairs_layer layer = stripe_of(constants, chunk);
  edc_conv16_words(&layer, in, out, scratch);
}

void edc_conv16_words_run(const void *constants, const edc_chunk *chunk, const int8_t *in,
                          int8_t *out, int32_t *scratch) {
  const int16_t *const source = (const int16_t *)(const void *)in;
  int16_t *const target = (int16_t *)(void *)out;
  if (chunk == NULL) {
    edc_conv16_words(constants, source, target, scratch);
  } else {
    edc_conv16_words_stripe(constants, chunk, source, target, scratch);
  }
}

EDC_NEVER_INLINE void edc_conv16_bytes_stripe(const void *constants, const edc_chunk *chunk,
                                              const int16_t *in, int16_t *out, int32_t *scratch) {
  const edc_pairs_layer layer = stripe_of(constants, chunk);
  edc_conv16_bytes(&layer, in, out, scratch);
}

void edc_conv16_bytes_run(const void *constants, const edc_chunk *chunk, const int8_t *in,
                          int8_t *out, int32_t *scratch) {
  const int16_t *const source = (const int16_t *)(const void *)in;
  int16_t *const target = (int16_t *)(void *)out;
  if (chunk == NULL) {
    edc_conv16_bytes(constants, source, target, scratch);
  } else {
    edc_conv16_bytes_stripe(constants, chunk, source, target, scratch);
  }
}

EDC_NEVER_INLINE void edc_conv16_single_stripe(const void *constants, const edc_chunk *chunk,
                                               const int16_t *in, int16_t *out, int32_t *scratch) {
  const edc_pairs_layer layer = stripe_of(constants, chunk);
  edc_conv16_single(&layer, in, out, scratch);
}

void edc_conv16_single_run(const void *constants, const edc_chunk *chunk, const int8_t *in,
                           int8_t *out, int32_t *scratch) {
  const int16_t *const source = (const int16_t *)(const void *)in;
  int16_t *const target = (int16_t *)(void *)out;
  if (chunk == NULL) {
    edc_conv16_single(constants, source, target, scratch);
  } else {
    edc_conv16_single_stripe(constants, chunk, source, target, scratch);
  }
}

EDC_NEVER_INLINE void edc_depthwise16_bytes_stripe(const void *constants, const edc_chunk *chunk,
                                                   const int16_t *in, int16_t *out) {
  const edc_pairs_layer layer = stripe_of(constants, chunk);
  edc_depthwise16_bytes(&layer, in, out);
}

void edc_depthwise16_bytes_run(const void *constants, const edc_chunk *chunk, const int8_t *in,
                               int8_t *out, int32_t *scratch) {
  const int16_t *const source = (const int16_t *)(const void *)in;
  int16_t *const target = (int16_t *)(void *)out;
  (void)scratch;
  if (chunk == NULL) {
    edc_depthwise16_bytes(constants, source, target);
  } else {
    edc_depthwise16_bytes_stripe(constants, chunk, source, target);
  }
}
