/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_pointwise.h"

#define START (1 << 24) /* of a sum, so that none is negative */

/* Sums over pairs of channels (an even number) from x [pairs][2 positions] to end:
 * sums[i][p] = START + sum of x[c][p] * w[c][i], both halves. Returns the end of the weights. */
#if defined(__thumb__) && __ARM_ARCH_ISA_THUMB == 2 && defined(__ARM_FEATURE_DSP) &&               \
    __ARM_FEATURE_DSP && !defined(EDC_KEEP_R9)
/* Eight sums leave the compiler too few registers, and it does not load two words at a time. Here
 * all 14 are used, so the end is compared from memory. EDC_KEEP_R9: see edc_conv_paired.c. */
const uint32_t *edc_pointwise_sums(const uint32_t *x, const uint32_t *w, const uint32_t *end,
                                   uint32_t sums[EDC_POINTWISE_BLOCK][EDC_POINTWISE_TOGETHER]);
#define TWO_CHANNELS(a, b, c, d)                                                                   \
  "ldmia r1!, {r2, r3}\n"                                                                          \
  "smlad " a ", r12, r2, " a "\n"                                                                  \
  "smlad " b ", lr, r2, " b "\n"                                                                   \
  "smlad " c ", r12, r3, " c "\n"                                                                  \
  "smlad " d ", lr, r3, " d "\n"
#define PAIR                                                                                       \
  "ldmia r0!, {r12, lr}\n" TWO_CHANNELS("r4", "r5", "r6", "r7")                                    \
      TWO_CHANNELS("r8", "r9", "r10", "r11")
__asm__(".syntax unified\n"
        ".thumb\n"
        ".section .text.edc_pointwise_sums, \"ax\", %progbits\n"
        ".p2align 2\n"
        ".global edc_pointwise_sums\n"
        ".hidden edc_pointwise_sums\n"
        ".type edc_pointwise_sums, %function\n"
        ".thumb_func\n"
        "edc_pointwise_sums:\n"
        "push {r2-r11, lr}\n"
        "subs r2, r2, r0\n"
        "adr r3, 3f\n"
        "ldmia r3, {r4-r11}\n"
        "lsls r2, r2, #27\n" /* whether 2 pairs are over when they are taken by 4 */
        "bmi 2f\n"
        "1:\n" PAIR PAIR "2:\n" PAIR PAIR "ldr r2, [sp]\n"
        "cmp r0, r2\n"
        "bne 1b\n"
        "ldr r3, [sp, #4]\n"
        "stmia r3, {r4-r11}\n"
        "mov r0, r1\n"
        "pop {r2-r11, pc}\n"
        ".p2align 2\n"
        "3: .word 1 << 24, 1 << 24, 1 << 24, 1 << 24, 1 << 24, 1 << 24, 1 << 24, 1 << 24\n"
        ".size edc_pointwise_sums, . - edc_pointwise_sums\n"
        ".text\n");
#undef PAIR
#undef TWO_CHANNELS
_Static_assert(START == 1 << 24, "the assembly's start");
#else
static uint32_t multiply_pair(uint32_t a, uint32_t b) {
  return (uint32_t)((int16_t)a * (int16_t)b + (int16_t)(a >> 16) * (int16_t)(b >> 16));
}

static const uint32_t *
edc_pointwise_sums(const uint32_t *x, const uint32_t *w, const uint32_t *end,
                   uint32_t sums[EDC_POINTWISE_BLOCK][EDC_POINTWISE_TOGETHER]) {
  for (int32_t i = 0; i < EDC_POINTWISE_BLOCK; i++) {
    sums[i][0] = START;
    sums[i][1] = START;
  }
  for (; x != end; x += EDC_POINTWISE_TOGETHER) {
    for (int32_t i = 0; i < EDC_POINTWISE_BLOCK; i++) {
      sums[i][0] += multiply_pair(x[0], *w);
      sums[i][1] += multiply_pair(x[1], *w++);
    }
  }
  return w;
}
#endif

/* Samples of two positions as int16, row [in_channels / 2][2 positions]. */
static void widen(const int8_t *a, const int8_t *b, int32_t channels, uint32_t *row) {
  for (int32_t channel = 0; channel < channels; channel += 2) {
    *row++ = (uint16_t)a[channel] | (uint32_t)a[channel + 1] << 16;
    *row++ = (uint16_t)b[channel] | (uint32_t)b[channel + 1] << 16;
  }
}

void edc_pointwise(const edc_pointwise_layer *layer, const int8_t *in, int8_t *out,
                   int32_t *scratch) {
  const int32_t channels = layer->out_channels;
  const int32_t step = layer->stride * layer->in_channels;
  const int32_t bias = 2 * layer->out_zero_point + 1;
  uint32_t *const window = (uint32_t *)scratch;
  const uint32_t *const end = window + layer->in_channels;
  int8_t *const nowhere = (int8_t *)(window + layer->in_channels); /* outputs outside */
  for (int32_t left = layer->out_width; left > 0; left -= EDC_POINTWISE_TOGETHER) {
    widen(in, left > 1 ? in + step : in, layer->in_channels, window);
    int8_t *second = left > 1 ? out + channels : nowhere;
    const uint32_t *weights = layer->weights;
    const edc_folded_channel *channel = layer->channels;
    const edc_folded_channel *const last = channel + channels;
    do {
      uint32_t sums[EDC_POINTWISE_BLOCK][EDC_POINTWISE_TOGETHER];
      weights = edc_pointwise_sums(window, weights, end, sums);
      if (layer->rectified) {
        edc_requantize_block(channel, sums, out, second, 1, bias);
      } else {
        edc_requantize_block(channel, sums, out, second, 0, bias);
      }
      channel += EDC_POINTWISE_BLOCK;
      out += EDC_POINTWISE_BLOCK;
      second += EDC_POINTWISE_BLOCK;
    } while (channel != last);
    in += EDC_POINTWISE_TOGETHER * step;
    out += channels;
  }
}

/* Apart from the call of a whole layer, which so needs no stack. */
EDC_NEVER_INLINE void edc_pointwise_stripe(const void *constants, const edc_chunk *chunk,
                                           const int8_t *in, int8_t *out, int32_t *scratch) {
  edc_pointwise_layer layer = *(const edc_pointwise_layer *)constants;
  layer.out_width = chunk->out_width;
  edc_pointwise(&layer, in, out, scratch);
}

void edc_pointwise_run(const void *constants, const edc_chunk *chunk, const int8_t *in, int8_t *out,
                       int32_t *scratch) {
  if (chunk == NULL) {
    edc_pointwise(constants, in, out, scratch);
  } else {
    edc_pointwise_stripe(constants, chunk, in, out, scratch);
  }
}
