/* edgecodec: what the server asks of the engine that runs the encoder.
 *
 * There are two: the generated C (edc_engine.c beside this file) and TensorFlow Lite Micro
 * (firmware/tflm). A firmware has one of them.
 */
#ifndef EDC_ENGINE_H
#define EDC_ENGINE_H

#include "edc_model.h"

/* What HELLO calls them. */
#define EDC_ENGINE_NATIVE 0
#define EDC_ENGINE_TFLM 1

#define EDC_ENGINE_ERROR (-1)

extern const uint8_t edc_engine_id;

/* Make `state` ready for frames; called once, before the others. EDC_OK or EDC_ENGINE_ERROR. */
int edc_engine_start(edc_model_state *state);

/* Bytes of the state's arena that are in use; 0 when the engine has not started. */
uint32_t edc_engine_arena_bytes(void);

/* Run the encoder between edc_model_normalize and edc_model_quantize. EDC_OK or
 * EDC_ENGINE_ERROR. */
int edc_engine_infer(edc_model_state *state);

/* The same, telling edc_watch.h of each layer. */
int edc_engine_infer_watched(edc_model_state *state);

#endif
