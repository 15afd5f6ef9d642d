/* SPDX-License-Identifier: Apache-2.0 */
/* edc_fixed.h for an encoder's input of int16 (SPEC.md 1.4). */
#ifndef EDC_FIXED16_H
#define EDC_FIXED16_H

#include "edc_fixed.h"

/* As the function for int8, but out is int16 [T], aligned to 2 bytes. */
void edc_fixed16_normalize(const void *constants, const int16_t *frame, int8_t *out,
                           edc_frame_stats *stats);

#endif
