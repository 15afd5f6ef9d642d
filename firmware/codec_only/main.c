/* The codec alone, without link, UART and timer: what it takes of a chip, and a start for firmware
 * of your own, which fills edc_frame and takes edc_indices and edc_stats. */
#include "edc_model.h"

int16_t edc_frame[EDC_MODEL_FRAME_SAMPLES];
uint16_t edc_indices[EDC_MODEL_INDEX_COUNT];
edc_frame_stats edc_stats;

static edc_model_state model;

int main(void) {
  for (;;) {
    (void)edc_model_encode(&model, edc_frame, edc_indices, &edc_stats);
  }
}
