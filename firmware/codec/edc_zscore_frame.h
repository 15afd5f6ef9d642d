/* SPDX-License-Identifier: Apache-2.0 */
/* Z-score, to activations of either width (SPEC.md 1.1, 1.4). */
#ifndef EDC_ZSCORE_FRAME_H
#define EDC_ZSCORE_FRAME_H

#include "edc_activation.h"
#include "edc_divide.h"
#include "edc_zscore.h"

/* Largest r with r^2 <= value; value >= 2^62, so r has its top bit set. One bit a round. */
EDC_ALWAYS_INLINE uint32_t edc_square_root(uint64_t value) {
  uint32_t root = 0;
  for (uint32_t bit = 1u << 31; bit != 0; bit >>= 1) {
    const uint32_t trial = root | bit;
    if ((uint64_t)trial * trial <= value) {
      root = trial;
    }
  }
  return root;
}

EDC_ALWAYS_INLINE edc_frame_stats edc_zscore_measure(const int16_t *frame, int32_t samples) {
  int32_t sum = 0;      /* |sum| <= 2^14 2^15 */
  uint64_t squares = 0; /* <= 2^14 2^30 */
  for (int32_t i = 0; i < samples; i++) {
    const int32_t x = frame[i];
    sum += x;
    squares += (uint32_t)(x * x);
  }
  const edc_frame_stats stats = {
      .offset = sum,
      .spread = (uint64_t)samples * squares - (uint64_t)((int64_t)sum * sum),
  };
  return stats;
}

/* What a deviation T x - S is multiplied by, and shifted right then, to be steps of the output;
 * spread > 0. */
EDC_ALWAYS_INLINE uint32_t edc_zscore_gain(const edc_zscore *normalizer, uint64_t spread,
                                           int *shift) {
  uint64_t wide = (spread << normalizer->variance_shift) + normalizer->epsilon;
  int half_shift = 0; /* n / 2 */
  while (wide < (1ull << 62)) {
    wide <<= 2;
    half_shift++;
  }
  *shift = 31 + normalizer->inverse_shift - half_shift - normalizer->variance_shift / 2;
  /* Both fit 32 bits: the gain is below 2^31 because root >= 2^31 > inverse_scale. */
  const uint32_t root = edc_square_root(wide);
  return edc_divide((uint64_t)normalizer->inverse_scale << 31, root);
}

/* The frame in steps of the output. */
EDC_ALWAYS_INLINE void edc_zscore_scale(const edc_zscore *normalizer, const int16_t *frame,
                                        int32_t sum, int64_t gain, int shift, int8_t *out,
                                        int is_int16) {
  const int32_t samples = normalizer->samples;
  const int64_t half = (int64_t)1 << (shift - 1);
  for (int32_t i = 0; i < samples; i++) {
    const int32_t deviation = samples * frame[i] - sum; /* |d| < 2^30 */
    const int64_t value = ((deviation * gain + half) >> shift) + normalizer->zero_point;
    edc_put_activation(out, i, value, is_int16);
  }
}

/* edc_zscore_normalize, or edc_zscore16_normalize. */
EDC_ALWAYS_INLINE void edc_zscore_frame(const edc_zscore *normalizer, const int16_t *frame,
                                        int8_t *out, edc_frame_stats *stats, int is_int16) {
  *stats = edc_zscore_measure(frame, normalizer->samples);
  if (stats->spread == 0) {
    for (int32_t i = 0; i < normalizer->samples; i++) {
      edc_put_activation(out, i, normalizer->zero_point, is_int16);
    }
    return;
  }
  int shift;
  const uint32_t gain = edc_zscore_gain(normalizer, stats->spread, &shift);
  edc_zscore_scale(normalizer, frame, stats->offset, gain, shift, out, is_int16);
}

#endif
