/* SPDX-License-Identifier: Apache-2.0 */
/* edc_minmax.h for an encoder's input of int16 (SPEC.md 1.4). */
#ifndef EDC_MINMAX16_H
#define EDC_MINMAX16_H

#include "edc_minmax.h"

/* As the function for int8, but out is int16 [T], aligned to 2 bytes. */
void edc_minmax16_normalize(const void *constants, const int16_t *frame, int8_t *out,
                            edc_frame_stats *stats);

#endif
