/* SPDX-License-Identifier: Apache-2.0 */
/* The engine that is TensorFlow Lite Micro. */
#include "edc_engine.h"

#include <stddef.h>

#include "edc_served_model.h"
#include "edc_tflm.h"

const uint8_t edc_engine_id = EDC_ENGINE_TFLM;

static edc_tflm_tensors tensors;

/* The interpreter's arena, then the search's residual. */
static _Alignas(16) uint8_t edc_state[EDC_SERVED_STATE_BYTES];

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

int edc_engine_start(void) {
  construct();
  return edc_tflm_start(edc_state, EDC_SERVED_ARENA_BYTES, &tensors) ? EDC_OK : EDC_ENGINE_ERROR;
}

uint32_t edc_engine_arena_bytes(void) { return tensors.arena_bytes; }

int8_t *edc_engine_input(void) { return tensors.input; }

const int8_t *edc_engine_latent(void) { return tensors.latent; }

int16_t *edc_engine_residual(void) {
  return (int16_t *)(void *)(edc_state + EDC_SERVED_ARENA_BYTES);
}

static int infer(bool watched) { return edc_tflm_invoke(watched) ? EDC_OK : EDC_ENGINE_ERROR; }

int edc_engine_infer(void) { return infer(false); }

int edc_engine_infer_watched(void) { return infer(true); }
