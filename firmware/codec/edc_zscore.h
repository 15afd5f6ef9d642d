/* SPDX-License-Identifier: Apache-2.0 */
/* ADC counts to the encoder's int8 input: z-score of a frame in integers (SPEC.md 1.1). */
#ifndef EDC_ZSCORE_H
#define EDC_ZSCORE_H

#include "edc.h"

typedef struct {
  uint64_t epsilon;       /* E: epsilon T^2 2^variance_shift */
  uint32_t inverse_scale; /* I: 1 / input scale as a 31-bit mantissa */
  uint16_t samples;       /* T, 1..16384 */
  uint8_t variance_shift; /* f, even */
  uint8_t inverse_shift;  /* i: 1 / input scale = I 2^-i */
  int8_t zero_point;
} edc_zscore;

/* An edc_normalize_function: constants are an edc_zscore, frame [T] -> out [T]; stats gets the sum
 * S and the variance V. A frame without variance becomes zero_point. */
void edc_zscore_normalize(const void *constants, const int16_t *frame, int8_t *out,
                          edc_frame_stats *stats);

#endif
