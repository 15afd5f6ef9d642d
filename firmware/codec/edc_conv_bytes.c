/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_conv_bytes.h"

#if defined(__ARM_FEATURE_SIMD32) && __ARM_FEATURE_SIMD32 && defined(__ARM_FEATURE_UNALIGNED)
#include <arm_acle.h>
#define SIMD 1 /* two 16-bit values in one register */
typedef uint32_t __attribute__((may_alias, aligned(1))) unaligned_word;
#else
#define SIMD 0
#endif

#define START (1 << 24) /* of a sum, so that none is negative */

/* Sums over pairs of columns (an even number) from x [pairs][2 positions] to end:
 * sums[i][p] = START + sum of x[c][p] * w[c][i], both halves. Returns the end of the weights. */
#if defined(__thumb__) && __ARM_ARCH_ISA_THUMB == 2 && defined(__ARM_FEATURE_DSP) &&               \
    __ARM_FEATURE_DSP && !defined(EDC_KEEP_R9)
/* All 14 registers are used, as in edc_pointwise.c. EDC_KEEP_R9: see edc_conv_paired.c. */
const uint32_t *edc_bytes_sums(const uint32_t *x, const uint32_t *w, const uint32_t *end,
                               uint32_t sums[EDC_BYTES_BLOCK][EDC_BYTES_TOGETHER]);
#define TWO_CHANNELS(a, b, c, d)                                                                   \
  "ldr r2, [r1], #4\n"                                                                             \
  "sxtb16 r3, r2\n"                                                                                \
  "sxtb16 r2, r2, ror #8\n"                                                                        \
  "smlad " a ", r12, r3, " a "\n"                                                                  \
  "smlad " b ", lr, r3, " b "\n"                                                                   \
  "smlad " c ", r12, r2, " c "\n"                                                                  \
  "smlad " d ", lr, r2, " d "\n"
#define PAIR                                                                                       \
  "ldmia r0!, {r12, lr}\n" TWO_CHANNELS("r4", "r5", "r6", "r7")                                    \
      TWO_CHANNELS("r8", "r9", "r10", "r11")
__asm__(".syntax unified\n"
        ".thumb\n"
        ".section .text.edc_bytes_sums, \"ax\", %progbits\n"
        ".p2align 2\n"
        ".global edc_bytes_sums\n"
        ".hidden edc_bytes_sums\n"
        ".type edc_bytes_sums, %function\n"
        ".thumb_func\n"
        "edc_bytes_sums:\n"
        "push {r2-r11, lr}\n"
        "subs r2, r2, r0\n"
        "mov r4, #0x1000000\n"
        "mov r5, r4\n"
        "mov r6, r4\n"
        "mov r7, r4\n"
        "mov r8, r4\n"
        "mov r9, r4\n"
        "mov r10, r4\n"
        "mov r11, r4\n"
        "lsls r2, r2, #27\n" /* whether 2 pairs are over when they are taken by 4 */
        "bmi 2f\n"
        "1:\n" PAIR PAIR "2:\n" PAIR PAIR "ldr r2, [sp]\n"
        "cmp r0, r2\n"
        "bne 1b\n"
        "ldr r3, [sp, #4]\n"
        "stmia r3, {r4-r11}\n"
        "mov r0, r1\n"
        "pop {r2-r11, pc}\n"
        ".size edc_bytes_sums, . - edc_bytes_sums\n"
        ".text\n");
#undef PAIR
#undef TWO_CHANNELS
_Static_assert(START == 0x1000000, "the assembly's start");
#else
static uint32_t multiply_pair(uint32_t x, uint32_t w) {
  return (uint32_t)((int16_t)x * (int8_t)w + (int16_t)(x >> 16) * (int8_t)(w >> 16));
}

static const uint32_t *edc_bytes_sums(const uint32_t *x, const uint32_t *w, const uint32_t *end,
                                      uint32_t sums[EDC_BYTES_BLOCK][EDC_BYTES_TOGETHER]) {
  for (int32_t i = 0; i < EDC_BYTES_BLOCK; i++) {
    sums[i][0] = START;
    sums[i][1] = START;
  }
  for (; x != end; x += EDC_BYTES_TOGETHER) {
    for (int32_t i = 0; i < EDC_BYTES_BLOCK; i++) {
      const uint32_t two = w[i / 2] >> 8 * (i % 2);
      sums[i][0] += multiply_pair(x[0], two);
      sums[i][1] += multiply_pair(x[1], two);
    }
    w += EDC_BYTES_BLOCK / 2;
  }
  return w;
}
#endif

/* Samples of columns c and c + 2 of four. */
static uint32_t pack(int32_t low, int32_t high) { return (uint16_t)low | (uint32_t)high << 16; }

static int32_t sample(const edc_bytes_layer *layer, const int8_t *in, int32_t at) {
  return at >= 0 && at < layer->in_width * layer->in_channels ? in[at] : layer->in_zero_point;
}

/* The samples under the taps of a position, from `first` on in the padded input: row [columns / 2]
 * words of two, EDC_BYTES_TOGETHER apart. */
static void widen(const edc_bytes_layer *layer, const int8_t *in, int32_t first, uint32_t *row) {
  const int32_t end = first + layer->columns;
  if (first >= 0 && end <= layer->in_width * layer->in_channels) {
    for (const int8_t *x = in + first; x != in + end; x += 4) {
#if SIMD
      const uint32_t four = *(const unaligned_word *)(const void *)x;
      row[0] = (uint32_t)__sxtb16((int8x4_t)four);
      row[EDC_BYTES_TOGETHER] = (uint32_t)__sxtb16((int8x4_t)(four >> 8 | four << 24));
#else
      row[0] = pack(x[0], x[2]);
      row[EDC_BYTES_TOGETHER] = pack(x[1], x[3]);
#endif
      row += 2 * EDC_BYTES_TOGETHER;
    }
    return;
  }
  for (int32_t at = first; at != end; at += 4) {
    row[0] = pack(sample(layer, in, at), sample(layer, in, at + 2));
    row[EDC_BYTES_TOGETHER] = pack(sample(layer, in, at + 1), sample(layer, in, at + 3));
    row += 2 * EDC_BYTES_TOGETHER;
  }
}

void edc_conv_bytes(const edc_bytes_layer *layer, const int8_t *in, int8_t *out, int32_t *scratch) {
  const int32_t channels = layer->out_channels;
  const int32_t step = layer->stride * layer->in_channels;
  const int32_t bias = 2 * layer->out_zero_point + 1;
  uint32_t *const window = (uint32_t *)scratch;
  const uint32_t *const end = window + layer->columns;
  int8_t *const nowhere = (int8_t *)(window + layer->columns); /* outputs outside */
  int32_t first = -layer->pad_left * layer->in_channels;
  for (int32_t left = layer->out_width; left > 0; left -= EDC_BYTES_TOGETHER) {
    widen(layer, in, first, window);
    widen(layer, in, left > 1 ? first + step : first, window + 1);
    int8_t *second = left > 1 ? out + channels : nowhere;
    const uint32_t *weights = layer->weights;
    const edc_folded_channel *channel = layer->channels;
    const edc_folded_channel *const last = channel + channels;
    do {
      uint32_t sums[EDC_BYTES_BLOCK][EDC_BYTES_TOGETHER];
      weights = edc_bytes_sums(window, weights, end, sums);
      if (layer->rectified) {
        edc_requantize_block(channel, sums, out, second, 1, bias);
      } else {
        edc_requantize_block(channel, sums, out, second, 0, bias);
      }
      channel += EDC_BYTES_BLOCK;
      out += EDC_BYTES_BLOCK;
      second += EDC_BYTES_BLOCK;
    } while (channel != last);
    first += EDC_BYTES_TOGETHER * step;
    out += channels;
  }
}

/* Apart from the call of a whole layer, which so needs no stack. */
EDC_NEVER_INLINE void edc_conv_bytes_stripe(const void *constants, const edc_chunk *chunk,
                                            const int8_t *in, int8_t *out, int32_t *scratch) {
  edc_bytes_layer layer = *(const edc_bytes_layer *)constants;
  layer.in_width = chunk->in_width;
  layer.pad_left = chunk->pad_left;
  layer.out_width = chunk->out_width;
  edc_conv_bytes(&layer, in, out, scratch);
}

void edc_conv_bytes_run(const void *constants, const edc_chunk *chunk, const int8_t *in,
                        int8_t *out, int32_t *scratch) {
  if (chunk == NULL) {
    edc_conv_bytes(constants, in, out, scratch);
  } else {
    edc_conv_bytes_stripe(constants, chunk, in, out, scratch);
  }
}
