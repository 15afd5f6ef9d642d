/* SPDX-License-Identifier: Apache-2.0 */
/* ADC counts to the encoder's int8 input: a frame's least and largest count to two fixed values, in
 * integers (SPEC.md 1.1). */
#ifndef EDC_MINMAX_H
#define EDC_MINMAX_H

#include "edc.h"

typedef struct {
  int64_t bias;        /* B: the least count's input, 32 fraction bits */
  uint32_t steps;      /* G: from the least to the largest count's input, a 31-bit mantissa */
  uint16_t samples;    /* T, 1..16384 */
  uint8_t steps_shift; /* g, 16..30: steps = G 2^-g */
} edc_minmax;

/* An edc_normalize_function: constants are an edc_minmax, frame [T] -> out [T]; stats gets the
 * least count, and how far above it the largest is. */
void edc_minmax_normalize(const void *constants, const int16_t *frame, int8_t *out,
                          edc_frame_stats *stats);

#endif
