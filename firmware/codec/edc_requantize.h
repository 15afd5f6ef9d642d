/* SPDX-License-Identifier: Apache-2.0 */
/* Requantisation of an int32 accumulator, TFLM's double rounding (SPEC.md 1.2). */
#ifndef EDC_REQUANTIZE_H
#define EDC_REQUANTIZE_H

#include <stdint.h>

#include "edc_config.h"

/* acc * multiplier * 2^(shift - 31), rounded twice as TFLM does.
 *
 * multiplier is 0 or in [2^30, 2^31); shift is in -31..30 and acc * 2^shift fits int32, which was
 * proven when the model was generated.
 */
EDC_INLINE int32_t edc_requantize(int32_t acc, int32_t multiplier, int shift) {
  const int left = shift > 0 ? shift : 0;
  const int right = shift > 0 ? 0 : -shift;
  const int64_t product = (int64_t)(acc * (int32_t)(1u << left)) * multiplier;
  /* TFLM adds 2^30 or 1 - 2^30 by sign and truncates: the same integer as this floor. */
  const int32_t high = (int32_t)((product + (1ll << 30)) >> 31);
  const int32_t mask = (int32_t)((1u << right) - 1u);
  const int32_t threshold = (mask >> 1) + (high < 0 ? 1 : 0);
  return (high >> right) + ((high & mask) > threshold ? 1 : 0);
}

/* The same plus zero_point, for |acc| < 2^30 and a shift of -1 - down < 0, in half the
 * instructions; bias is 2 * zero_point + 1.
 *
 * Doubled, the accumulator's product has the first rounding's bit at the top of its low word. The
 * second rounding takes halves away from zero: 1 is taken from what is negative, then halves go up.
 */
EDC_INLINE int32_t edc_requantize_narrow(int32_t acc, int32_t multiplier, int down, int32_t bias) {
#if defined(__ARM_ARCH_ISA_THUMB) && __ARM_ARCH_ISA_THUMB == 1
  /* Without a 64-bit multiplication: four of 16 bits, which are fewer instructions than the
   * library's function. The multiplier is not negative, so only the first factor has a sign. */
  const int32_t a_high = (acc * 2) >> 16;
  const uint32_t a_low = (uint32_t)(acc * 2) & 0xFFFFu;
  const int32_t b_high = multiplier >> 16;
  const uint32_t b_low = (uint32_t)multiplier & 0xFFFFu;
  const int32_t cross = a_high * (int32_t)b_low;
  const uint32_t other = a_low * (uint32_t)b_high;
  const uint32_t middle = (a_low * b_low >> 16) + ((uint32_t)cross & 0xFFFFu) + (other & 0xFFFFu);
  int32_t high = a_high * b_high + (cross >> 16) + (int32_t)(other >> 16) +
                 (int32_t)(middle >> 16) + (int32_t)(middle >> 15 & 1u);
#else
  const int64_t product = (int64_t)(acc * 2) * multiplier;
  int32_t high = (int32_t)(product >> 32) + (int32_t)((uint32_t)product >> 31);
#endif
  high += high >> 31;
  return ((high >> down) + bias) >> 1;
}

EDC_INLINE int8_t edc_clamp(int32_t value, int32_t low, int32_t high) {
  return (int8_t)(value < low ? low : value > high ? high : value);
}

EDC_INLINE int8_t edc_saturate(int32_t value) {
#if defined(__ARM_FEATURE_SAT) && __ARM_FEATURE_SAT && __ARM_ARCH_ISA_THUMB != 1
  /* GCC sees the store of a byte behind the two comparisons and makes branches of them; its own
   * __ssat does not compile under -Wconversion. */
  int32_t saturated;
  __asm__("ssat %0, #8, %1" : "=r"(saturated) : "r"(value));
  return (int8_t)saturated;
#else
  return edc_clamp(value, -128, 127);
#endif
}

/* Requantisation of one channel with all constants folded into one addend. `sum` is the accumulator
 * without its bias and with something known on top, so that it is not negative; the high word of
 * sum * multiplier + offset is the accumulator after the first rounding. For a rectified layer,
 * whose zero point is -128, it has the zero point and the second rounding too, as it is above the
 * zero point: what is below saturates. */
typedef struct {
  int64_t offset;
  uint32_t multiplier; /* twice that of the layer */
  uint32_t down;       /* right shift less 1; all of it for a rectified layer */
} edc_folded_channel;

/* bias is 2 * zero_point + 1. */
EDC_INLINE int8_t edc_requantize_folded(const edc_folded_channel *channel, uint32_t sum,
                                        int rectified, int32_t bias) {
  const uint64_t product = (uint64_t)sum * channel->multiplier + (uint64_t)channel->offset;
  int32_t high = (int32_t)(product >> 32);
  if (rectified) {
    return edc_saturate(high >> channel->down);
  }
  high += high >> 31;
  return edc_saturate(((high >> channel->down) + bias) >> 1);
}

#define EDC_FOLDED_BLOCK 4 /* channels of edc_requantize_block */

/* The same for EDC_FOLDED_BLOCK channels of two positions, which go to `first` and `second`. */
EDC_INLINE void edc_requantize_block(const edc_folded_channel *channel,
                                     uint32_t sums[EDC_FOLDED_BLOCK][2], int8_t *first,
                                     int8_t *second, int rectified, int32_t bias) {
#pragma GCC unroll 4
  for (int32_t i = 0; i < EDC_FOLDED_BLOCK; i++) {
    /* Both before either is stored, because a store of a byte might change the constants. */
    const int8_t a = edc_requantize_folded(channel + i, sums[i][0], rectified, bias);
    const int8_t b = edc_requantize_folded(channel + i, sums[i][1], rectified, bias);
    first[i] = a;
    second[i] = b;
  }
}

#endif
