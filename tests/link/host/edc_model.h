/* A codec that a test can compute in its head, with the interface of a generated one. */
#ifndef EDC_MODEL_H
#define EDC_MODEL_H

#include "edc.h"

#define EDC_MODEL_FRAME_SAMPLES 16
#define EDC_MODEL_POSITIONS 3
#define EDC_MODEL_LEVELS 2
#define EDC_MODEL_LATENT_CHANNELS 4
#define EDC_MODEL_LAYERS 3
#define EDC_MODEL_ARENA_BYTES 24
#define EDC_MODEL_STATE_BYTES 28

extern const uint8_t edc_model_digest[32]; /* 0, 1, ... 31 */
extern uint32_t stub_runs;                 /* frames encoded since the program started */

typedef struct {
  int8_t input[EDC_MODEL_FRAME_SAMPLES];
  int8_t latent[EDC_MODEL_POSITIONS * EDC_MODEL_LATENT_CHANNELS];
} edc_model_state;

_Static_assert(sizeof(edc_model_state) == EDC_MODEL_STATE_BYTES, "size");

/* input = low byte of the count; offset = sum of the counts; spread = 2^40 + sum */
void edc_model_normalize(edc_model_state *state, const int16_t *frame, edc_frame_stats *stats);
/* latent[i] = input[i] + 1 (wrapping); destroys the input, as a real arena does */
void edc_model_infer(edc_model_state *state);
#define STUB_WIDE_BYTES 300 /* more than a reply holds */

typedef struct {
  uint32_t layer;
  uint32_t calls;
} edc_model_progress;

/* The last of three layers does all. Layers 0 and 1 take turns, twice: 0 only lets two ticks pass,
 * 1 one, and fills wide[i] = i + input[0] (wrapping). */
uint32_t edc_model_next(edc_model_state *state, edc_model_progress *progress);
/* Layer 0 puts nothing out. */
const int8_t *edc_model_layer_output(const edc_model_state *state, uint32_t layer, uint32_t *bytes);
/* index[i] = 256 * (i + 1) + low byte of latent[i] */
void edc_model_quantize(edc_model_state *state, uint16_t *indices);
const int8_t *edc_model_input(const edc_model_state *state);
const int8_t *edc_model_latent(const edc_model_state *state);

#endif
