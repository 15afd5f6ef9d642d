/* The engine that is TensorFlow Lite Micro. */
#include "edc_engine.h"

#include <stddef.h>

#include "edc_tflm.h"

const uint8_t edc_engine_id = EDC_ENGINE_TFLM;

static edc_tflm_tensors tensors;

/* Of static C++ objects in the library. The program has no other C++, so it is early enough here.
 */
typedef void edc_constructor(void);
extern edc_constructor *const edc_constructors_start[], *const edc_constructors_end[];

static void construct(void) {
  size_t count = ((uintptr_t)edc_constructors_end - (uintptr_t)edc_constructors_start) /
                 sizeof *edc_constructors_start;
  for (size_t i = 0; i < count; ++i) {
    edc_constructors_start[i]();
  }
}

int edc_engine_start(edc_model_state *state) {
  construct();
  if (!edc_tflm_start(state->arena, sizeof state->arena, &tensors)) {
    return EDC_ENGINE_ERROR;
  }
  state->input = tensors.input;
  state->latent = tensors.latent;
  return EDC_OK;
}

uint32_t edc_engine_arena_bytes(void) { return tensors.arena_bytes; }

static int infer(bool watched) { return edc_tflm_invoke(watched) ? EDC_OK : EDC_ENGINE_ERROR; }

int edc_engine_infer(edc_model_state *state) {
  (void)state;
  return infer(false);
}

int edc_engine_infer_watched(edc_model_state *state) {
  (void)state;
  return infer(true);
}
