/* SPDX-License-Identifier: Apache-2.0 */
/* The engine of generated C. */
#include "edc_engine.h"

#include "edc_model.h"
#include "edc_served_model.h"
#include "edc_watch.h"

const uint8_t edc_engine_id = EDC_ENGINE_NATIVE;

#if EDC_SERVED_ENCODER_BYTES > 0
static uint32_t edc_state[EDC_SERVED_ENCODER_BYTES / 4]; /* and more, for an encoder */

void *edc_engine_memory(void) { return edc_state; }
#else
static uint32_t edc_state[EDC_SERVED_STATE_BYTES / 4];
#endif

int edc_engine_start(void) { return EDC_OK; }

uint32_t edc_engine_arena_bytes(void) { return EDC_SERVED_ARENA_BYTES; }

int8_t *edc_engine_input(void) { return edc_model_input(&EDC_SERVED_MODEL, edc_state); }

const int8_t *edc_engine_latent(void) { return edc_model_latent(&EDC_SERVED_MODEL, edc_state); }

int16_t *edc_engine_residual(void) { return edc_model_residual(&EDC_SERVED_MODEL, edc_state); }

int edc_engine_infer(void) {
  edc_model_infer(&EDC_SERVED_MODEL, edc_state);
  return EDC_OK;
}

int edc_engine_infer_watched(void) {
  edc_progress progress = {0, 0};
  while (progress.layer < EDC_SERVED_LAYERS) {
    edc_watch_layer_starts();
    const uint32_t layer = edc_model_next(&EDC_SERVED_MODEL, edc_state, &progress);
    edc_watch_layer_ends(layer);
    uint32_t bytes;
    const int8_t *output = edc_model_layer_output(&EDC_SERVED_MODEL, edc_state, layer, &bytes);
    edc_watch_layer_output(layer, output, bytes);
  }
  return EDC_OK;
}
