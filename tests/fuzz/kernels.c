/* SPDX-License-Identifier: Apache-2.0 */
/* Generated codecs: with the kernels that are chosen for fast cores, of any input, the latents and
 * indices are those of the plain kernels. */
#include "fuzz.h"

#include "edc_model.h"
#include "models.h"

enum { LATENTS = 1 << 10, INDICES = 1 << 8, SAMPLES = 1 << 8 };

typedef struct {
  uint8_t latent[LATENTS];
  uint16_t indices[INDICES];
  edc_frame_stats stats;
} result;

/* The encoder's input from the frame's counts, or, where `raw` is set, its bytes as they are: so
 * that all activations come. */
static void encode(const edc_model *model, const int16_t *frame, int raw, result *found) {
  const edc_info *const info = edc_model_info(model);
  const size_t latent = (size_t)info->positions * info->latent_bytes;
  const size_t width = info->latent_bytes / info->latent_channels; /* bytes of an activation */
  EXPECT(info->samples <= SAMPLES && latent <= LATENTS)
  EXPECT(info->positions * info->levels <= INDICES)
  void *const state = fuzz_allocate(info->state_bytes);
  memset(found, 0, sizeof *found);
  edc_model_normalize(model, state, frame, &found->stats);
  if (raw) {
    memcpy(edc_model_input(model, state), frame, info->samples * width);
  }
  edc_model_infer(model, state);
  memcpy(found->latent, edc_model_latent(model, state), latent);
  edc_model_search(model, state, found->indices);
  free(state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static result plain, fast;
  fuzz_input input = {data, size};
  const uint32_t what = fuzz_take(&input, 1);
  const fuzz_models *const chosen = &models[(what & 0x7F) % MODELS];
  const size_t samples = edc_model_info(chosen->plain)->samples;
  int16_t *const frame = fuzz_allocate(samples * sizeof *frame);
  for (size_t i = 0; i < samples; i++) {
    frame[i] = (int16_t)fuzz_take(&input, 2);
  }
  encode(chosen->plain, frame, what >> 7, &plain);
  for (size_t i = 0; i < chosen->count; i++) {
    encode(chosen->fast[i], frame, what >> 7, &fast);
    EXPECT(memcmp(plain.latent, fast.latent, sizeof plain.latent) == 0)
    EXPECT(memcmp(plain.indices, fast.indices, sizeof plain.indices) == 0)
    EXPECT(plain.stats.offset == fast.stats.offset && plain.stats.spread == fast.stats.spread)
  }
  free(frame);
  return 0;
}
