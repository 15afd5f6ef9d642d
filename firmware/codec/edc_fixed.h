/* SPDX-License-Identifier: Apache-2.0 */
/* ADC counts to the encoder's int8 input: a fixed offset and scale for every frame, in integers
 * (SPEC.md 1.1). */
#ifndef EDC_FIXED_H
#define EDC_FIXED_H

#include "edc.h"

typedef struct {
  int64_t bias;       /* B: the input of a count of 0, and 1/2 to round, gain_shift fraction bits */
  int32_t gain;       /* G: input a count, a 31-bit mantissa */
  uint16_t samples;   /* T, 1..16384 */
  uint8_t gain_shift; /* g, 14..46: input a count = G 2^-g */
} edc_fixed;

/* An edc_normalize_function: constants are an edc_fixed, frame [T] -> out [T]; stats gets 0 and 0,
 * as nothing of the frame is removed. */
void edc_fixed_normalize(const void *constants, const int16_t *frame, int8_t *out,
                         edc_frame_stats *stats);

#endif
