/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_fixed16.h"

#include "edc_fixed_frame.h"

void edc_fixed16_normalize(const void *constants, const int16_t *frame, int8_t *out,
                           edc_frame_stats *stats) {
  edc_fixed_frame(constants, frame, out, stats, 1);
}
