/* SPDX-License-Identifier: Apache-2.0 */
/* Least and largest count, to activations of either width (SPEC.md 1.1, 1.4). */
#ifndef EDC_MINMAX_FRAME_H
#define EDC_MINMAX_FRAME_H

#include "edc_activation.h"
#include "edc_divide.h"
#include "edc_minmax.h"

EDC_ALWAYS_INLINE edc_frame_stats edc_minmax_measure(const int16_t *frame, int32_t samples) {
  int32_t least = frame[0];
  int32_t largest = frame[0];
  for (int32_t i = 1; i < samples; i++) {
    const int32_t x = frame[i];
    least = x < least ? x : least;
    largest = x > largest ? x : largest;
  }
  const edc_frame_stats stats = {.offset = least, .spread = (uint32_t)(largest - least)};
  return stats;
}

/* edc_minmax_normalize, or edc_minmax16_normalize. */
EDC_ALWAYS_INLINE void edc_minmax_frame(const edc_minmax *normalizer, const int16_t *frame,
                                        int8_t *out, edc_frame_stats *stats, int is_int16) {
  const int32_t samples = normalizer->samples;
  *stats = edc_minmax_measure(frame, samples);
  int64_t gain = 0; /* of a flat frame, all of whose counts are the least */
  int shift = 16;
  if (stats->spread != 0) {
    uint32_t range = (uint32_t)stats->spread; /* 1..65535 */
    shift = 31 + normalizer->steps_shift;
    while (range < 1u << 31) {
      range <<= 1;
      shift--; /* 16 times at least: 16..45 is left, or 8..37 */
    }
    /* Rounded up, so that what lies between two inputs goes up as it should; below 2^31 because
     * range >= 2^31 > steps. */
    gain = edc_divide(((uint64_t)normalizer->steps << 31) + range - 1, range);
  }
  /* |bias| < 2^47 and the shift is 45 at most, or 2^55 and 37, so this stays below 2^61. */
  const int64_t bias = shift > 32 ? normalizer->bias * ((int64_t)1 << (shift - 32))
                                  : normalizer->bias >> (32 - shift);
  const int64_t start = bias + ((int64_t)1 << (shift - 1));
  for (int32_t i = 0; i < samples; i++) {
    const int32_t above = frame[i] - stats->offset; /* 0..65535 */
    const int64_t value = (above * gain + start) >> shift;
    edc_put_activation(out, i, value, is_int16);
  }
}

#endif
