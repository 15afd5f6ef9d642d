/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_model.h"

void edc_model_normalize(const edc_model *model, void *state, const int16_t *frame,
                         edc_frame_stats *stats) {
  model->normalize(model->normalizer, frame, edc_model_input(model, state), stats);
}

void edc_model_infer(const edc_model *model, void *state) {
  edc_progress progress = {0, 0};
  while (progress.layer < model->info.layers) {
    (void)model->next(model, state, &progress);
  }
}

void edc_model_search_latent(const edc_model *model, const int8_t *latent, int16_t *residual,
                             uint16_t *indices) {
  int32_t looks = model->looks;
  for (uint32_t left = model->info.positions; left > 0; left--) {
    looks = model->search(model->rvq, latent, looks, residual, indices);
    latent += model->info.latent_bytes;
    indices += model->info.levels;
  }
}

void edc_model_search(const edc_model *model, void *state, uint16_t *indices) {
  edc_model_search_latent(model, edc_model_latent(model, state), edc_model_residual(model, state),
                          indices);
}

uint32_t edc_model_next(const edc_model *model, void *state, edc_progress *progress) {
  return model->next(model, state, progress);
}

const int8_t *edc_model_layer_output(const edc_model *model, const void *state, uint32_t layer,
                                     uint32_t *bytes) {
  *bytes = layer < model->info.layers ? model->layers[layer].out_bytes : 0;
  return *bytes == 0 ? NULL : (const int8_t *)state + model->layers[layer].out;
}

uint32_t edc_next_layer(const edc_model *model, void *state, edc_progress *progress) {
  int8_t *const memory = (int8_t *)state;
  const edc_layer *const layer = &model->layers[progress->layer];
  layer->run(layer->constants, NULL, memory + layer->in, memory + layer->out,
             (int32_t *)(void *)(memory + layer->scratch));
  return progress->layer++;
}
