/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_zscore.h"

#include "edc_zscore_frame.h"

void edc_zscore_normalize(const void *constants, const int16_t *frame, int8_t *out,
                          edc_frame_stats *stats) {
  edc_zscore_frame(constants, frame, out, stats, 0);
}
