/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_fixed.h"

void edc_fixed_normalize(const void *constants, const int16_t *frame, int8_t *out,
                         edc_frame_stats *stats) {
  const edc_fixed *const normalizer = constants;
  const int32_t samples = normalizer->samples;
  stats->offset = 0;
  stats->spread = 0;
  for (int32_t i = 0; i < samples; i++) {
    /* |x G| <= 2^46, |B| < 2^62 */
    const int64_t value =
        ((int64_t)frame[i] * normalizer->gain + normalizer->bias) >> normalizer->gain_shift;
    out[i] = (int8_t)(value < -128 ? -128 : value > 127 ? 127 : value);
  }
}
