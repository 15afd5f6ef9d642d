/* SPDX-License-Identifier: Apache-2.0 */
/* edgecodec: what the server asks of the engine that runs the encoder.
 *
 * There are two: the generated C (edc_engine.c beside this file) and TensorFlow Lite Micro
 * (firmware/tflm). A firmware has one of them, and the model's working memory is the engine's.
 */
#ifndef EDC_ENGINE_H
#define EDC_ENGINE_H

#include <stdint.h>

/* What HELLO calls them. */
#define EDC_ENGINE_NATIVE 0
#define EDC_ENGINE_TFLM 1

#define EDC_ENGINE_ERROR (-1)

extern const uint8_t edc_engine_id;

/* Make ready for frames; called once, before the others. EDC_OK or EDC_ENGINE_ERROR. */
int edc_engine_start(void);

/* Bytes of its memory that the encoder's tensors take; 0 when it has not started. */
uint32_t edc_engine_arena_bytes(void);

/* Activations [T] (edc_model.h), written before the encoder runs and gone then. */
int8_t *edc_engine_input(void);

/* Activations [P][D], when it has run. */
const int8_t *edc_engine_latent(void);

/* Scratch of the codebook search. */
int16_t *edc_engine_residual(void);

/* EDC_SERVED_ENCODER_BYTES that an encoder (edc_encoder.h) may have between two frames: the model's
 * state, and more. Only of an engine whose model has encoders. */
void *edc_engine_memory(void);

/* Run the encoder. EDC_OK or EDC_ENGINE_ERROR. */
int edc_engine_infer(void);

/* The same, telling edc_watch.h of each layer. */
int edc_engine_infer_watched(void);

#endif
