/* SPDX-License-Identifier: Apache-2.0 */
/* edgecodec: the encoder on TensorFlow Lite Micro, as C sees it. The generated edc_tflm.cc is the
 * only C++ of the firmware.
 */
#ifndef EDC_TFLM_H
#define EDC_TFLM_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EDC_TFLM_ALIGNMENT 16 /* of the arena, in bytes */

/* Where the interpreter has put the encoder's tensors, of int8 or int16 (edc_model.h). */
typedef struct {
  int8_t *input;        /* [T], lost while the encoder runs */
  const int8_t *latent; /* [P][D] */
  uint32_t arena_bytes; /* in use */
} edc_tflm_tensors;

/* Build the interpreter in `arena`, which it keeps. False when the arena is too small for it, or
 * the library cannot run the model. */
bool edc_tflm_start(uint8_t *arena, uint32_t bytes, edc_tflm_tensors *tensors);

/* Run the encoder, with `watched` telling edc_watch.h of each layer. False when a kernel failed. */
bool edc_tflm_invoke(bool watched);

#ifdef __cplusplus
}
#endif

#endif
