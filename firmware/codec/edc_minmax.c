/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_minmax.h"

#include "edc_minmax_frame.h"

void edc_minmax_normalize(const void *constants, const int16_t *frame, int8_t *out,
                          edc_frame_stats *stats) {
  edc_minmax_frame(constants, frame, out, stats, 0);
}
