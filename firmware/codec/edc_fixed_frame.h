/* SPDX-License-Identifier: Apache-2.0 */
/* Fixed offset and scale, to activations of either width (SPEC.md 1.1, 1.4). */
#ifndef EDC_FIXED_FRAME_H
#define EDC_FIXED_FRAME_H

#include "edc_activation.h"
#include "edc_fixed.h"

/* edc_fixed_normalize, or edc_fixed16_normalize. */
EDC_ALWAYS_INLINE void edc_fixed_frame(const edc_fixed *normalizer, const int16_t *frame,
                                       int8_t *out, edc_frame_stats *stats, int is_int16) {
  const int32_t samples = normalizer->samples;
  stats->offset = 0;
  stats->spread = 0;
  for (int32_t i = 0; i < samples; i++) {
    /* |x G| <= 2^46, |B| < 2^62 */
    const int64_t value =
        ((int64_t)frame[i] * normalizer->gain + normalizer->bias) >> normalizer->gain_shift;
    edc_put_activation(out, i, value, is_int16);
  }
}

#endif
