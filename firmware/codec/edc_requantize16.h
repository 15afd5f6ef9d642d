/* SPDX-License-Identifier: Apache-2.0 */
/* Requantisation of an int32 accumulator with 16-bit activations: one rounding, halves up
 * (SPEC.md 1.4). */
#ifndef EDC_REQUANTIZE16_H
#define EDC_REQUANTIZE16_H

#include <stdint.h>

#include "edc_config.h"

#define EDC_RESCALE_SHIFT 17 /* the least of edc_rescale */

/* acc * multiplier * 2^-(17 + down), for a multiplier below 2^15 and down in 0..29.
 *
 * As 2^16 divides the half that rounding adds, what is below it of the product never counts:
 * floors nest. */
EDC_INLINE int32_t edc_rescale(int32_t acc, int16_t multiplier, int down) {
#if defined(__ARM_ARCH_ISA_THUMB) && __ARM_ARCH_ISA_THUMB == 1
  const uint32_t low = (uint32_t)(acc & 0xFFFF) * (uint32_t)multiplier;
  const int32_t high = (acc >> 16) * multiplier + (int32_t)(low >> 16);
#else
  const int32_t high = (int32_t)((int64_t)acc * multiplier >> 16);
#endif
  return ((high >> down) + 1) >> 1;
}

/* The same where the multiplier is shifted to the left by 32 less the whole shift, 17..32: one
 * instruction with the DSP extension (SMMULR). */
EDC_INLINE int32_t edc_rescale_high(int32_t acc, int32_t multiplier) {
#if defined(__GNUC__) && defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP
  int32_t high; /* GCC takes SMLAL, and two more to set what it adds to */
  __asm__("smmulr %0, %1, %2" : "=r"(high) : "r"(acc), "r"(multiplier));
  return high;
#else
  return (int32_t)(((int64_t)acc * multiplier + (1ll << 31)) >> 32);
#endif
}

/* To int16, or where `rectified` is set to 0..32767. */
EDC_ALWAYS_INLINE int16_t edc_saturate16(int32_t value, int rectified) {
#if defined(__ARM_FEATURE_SAT) && __ARM_FEATURE_SAT && __ARM_ARCH_ISA_THUMB != 1
  int32_t saturated; /* see edc_saturate */
  if (rectified) {
    __asm__("usat %0, #15, %1" : "=r"(saturated) : "r"(value));
  } else {
    __asm__("ssat %0, #16, %1" : "=r"(saturated) : "r"(value));
  }
  return (int16_t)saturated;
#else
  const int32_t least = rectified ? 0 : INT16_MIN;
  return (int16_t)(value < least ? least : value > INT16_MAX ? INT16_MAX : value);
#endif
}

#endif
