/* SPDX-License-Identifier: Apache-2.0 */
#include "codec.h"

#include "edc_model.h"
#include "ppg_model.h"

const StandInLayer stand_in_layers[] = {STAND_IN_LAYERS};
const uint32_t stand_in_layer_count = PPG_MODEL_LAYERS;
const uint32_t stand_in_state_bytes = PPG_MODEL_STATE_BYTES;

/* No layer is in a chain, so one call is a whole layer. */
void stand_in_run(void *state, uint32_t layer) {
  edc_progress progress = {.layer = layer};
  (void)edc_model_next(&ppg_model, state, &progress);
}

int8_t *stand_in_output(void *state, uint32_t layer) {
  uint32_t bytes;
  return (int8_t *)(uintptr_t)edc_model_layer_output(&ppg_model, state, layer, &bytes);
}

int8_t *stand_in_input(void *state) { return edc_model_input(&ppg_model, state); }
int8_t *stand_in_latent(void *state) { return edc_model_latent(&ppg_model, state); }
