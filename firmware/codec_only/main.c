/* SPDX-License-Identifier: Apache-2.0 */
/* The codec alone, without link, UART and timer: what it takes of a chip, and a start for firmware
 * of your own, which fills edc_frame and takes edc_indices and edc_stats. */
#include "edc_served_model.h"

int16_t edc_frame[EDC_SERVED_SAMPLES];
uint16_t edc_indices[EDC_SERVED_POSITIONS * EDC_SERVED_LEVELS];
edc_frame_stats edc_stats;

static uint32_t edc_state[EDC_SERVED_STATE_BYTES / 4];

int main(void) {
  for (;;) {
    (void)edc_encode(&EDC_SERVED_MODEL, edc_state, edc_frame, edc_indices, &edc_stats);
  }
}
