#include "edc_model.h"

#include <stddef.h>

#include "edc_port.h"

const uint8_t edc_model_digest[32] = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
                                      11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21,
                                      22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
uint32_t stub_runs;
static int8_t wide[STUB_WIDE_BYTES];

void edc_model_normalize(edc_model_state *state, const int16_t *frame, edc_frame_stats *stats) {
  stats->offset = 0;
  for (int i = 0; i < EDC_MODEL_FRAME_SAMPLES; ++i) {
    state->input[i] = (int8_t)((uint16_t)frame[i] & 0xFFu);
    stats->offset += frame[i];
  }
  stats->spread = (UINT64_C(1) << 40) + (uint64_t)(int64_t)stats->offset;
  ++stub_runs;
}

void edc_model_infer(edc_model_state *state) {
  for (int i = 0; i < EDC_MODEL_POSITIONS * EDC_MODEL_LATENT_CHANNELS; ++i) {
    state->latent[i] = (int8_t)((uint8_t)state->input[i] + 1);
  }
  for (int i = 0; i < EDC_MODEL_FRAME_SAMPLES; ++i) {
    state->input[i] = -1;
  }
}

uint32_t edc_model_next(edc_model_state *state, edc_model_progress *progress) {
  static const uint8_t layers[] = {0, 1, 0, 1, 2};
  const uint32_t layer = layers[progress->calls++];
  for (uint32_t look = layer; look < 2; ++look) {
    (void)edc_port_ticks();
  }
  for (int i = 0; layer == 1 && i < STUB_WIDE_BYTES; ++i) {
    wide[i] = (int8_t)(uint8_t)(i + state->input[0]);
  }
  if (layer == 2) {
    edc_model_infer(state);
    progress->layer = EDC_MODEL_LAYERS;
  }
  return layer;
}

const int8_t *edc_model_layer_output(const edc_model_state *state, uint32_t layer,
                                     uint32_t *bytes) {
  *bytes = layer == 2 ? sizeof state->latent : layer == 1 ? STUB_WIDE_BYTES : 0;
  return layer == 2 ? state->latent : layer == 1 ? wide : NULL;
}

void edc_model_quantize(edc_model_state *state, uint16_t *indices) {
  for (int i = 0; i < EDC_MODEL_POSITIONS * EDC_MODEL_LEVELS; ++i) {
    indices[i] = (uint16_t)(256 * (i + 1) + (uint8_t)state->latent[i]);
  }
}

const int8_t *edc_model_input(const edc_model_state *state) { return state->input; }
const int8_t *edc_model_latent(const edc_model_state *state) { return state->latent; }
