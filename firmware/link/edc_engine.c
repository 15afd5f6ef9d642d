/* The engine of generated C. */
#include "edc_engine.h"

#include "edc_watch.h"

const uint8_t edc_engine_id = EDC_ENGINE_NATIVE;

int edc_engine_start(edc_model_state *state) {
  (void)state;
  return EDC_OK;
}

uint32_t edc_engine_arena_bytes(void) { return EDC_MODEL_ARENA_BYTES; }

int edc_engine_infer(edc_model_state *state) {
  edc_model_infer(state);
  return EDC_OK;
}

int edc_engine_infer_watched(edc_model_state *state) {
  edc_model_progress progress = {0};
  while (progress.layer < EDC_MODEL_LAYERS) {
    edc_watch_layer_starts();
    const uint32_t layer = edc_model_next(state, &progress);
    edc_watch_layer_ends(layer);
    uint32_t bytes;
    const int8_t *output = edc_model_layer_output(state, layer, &bytes);
    edc_watch_layer_output(layer, output, bytes);
  }
  return EDC_OK;
}
