/* SPDX-License-Identifier: Apache-2.0 */
/* What a model is made of. For generated models, the serial link and tests; programs need edc.h
 * alone.
 */
#ifndef EDC_MODEL_H
#define EDC_MODEL_H

#include "edc.h"

EDC_BEGIN_C

/* Activations are int8, or int16 in a model of 16-bit activations (SPEC.md 1.4), where a pointer to
 * int8 is one to their first byte, aligned to 2 bytes.
 */

/* frame [T] -> out [T], by the constants of one normalisation. */
typedef void edc_normalize_function(const void *constants, const int16_t *frame, int8_t *out,
                                    edc_frame_stats *stats);

/* A stripe of a layer (edc_chain.h): the layer as if there were no more of it. */
typedef struct {
  const int8_t *in;
  int8_t *out;
  uint32_t layer; /* of the cascade */
  uint16_t in_width;
  uint16_t out_width;
  uint16_t pad_left;
  uint8_t resumes; /* whether it is not the layer's first */
  uint8_t pauses;  /* nor its last */
} edc_chunk;

/* Run a layer by its constants, of the kernel's own type; of a stripe, `chunk` is not NULL. */
typedef void edc_layer_function(const void *constants, const edc_chunk *chunk, const int8_t *in,
                                int8_t *out, int32_t *scratch);

/* A layer of the encoder. Places are bytes from the state's start. */
typedef struct {
  edc_layer_function *run;
  const void *constants;
  uint32_t in;
  uint32_t out;
  uint32_t out_bytes; /* of the whole output; 0 when it never exists whole, within a cascade */
  uint32_t scratch;
} edc_layer;

/* How far the encoder is; zeros at the start. */
typedef struct {
  uint32_t layer; /* to run next; the first of a cascade's until all have ended */
  uint32_t begun; /* whether stripes of that cascade have run */
} edc_progress;

/* One call of a kernel. Returns the layer that ran. */
typedef uint32_t edc_next_function(const edc_model *model, void *state, edc_progress *progress);

/* One position: latent [D] -> indices [L]; residual is scratch. Of the looks that are left to the
 * frame, returns those that are left then; below 0 when one more was needed. */
typedef int32_t edc_search_function(const void *rvq, const int8_t *latent, int32_t looks,
                                    int16_t *residual, uint16_t *indices);

typedef struct edc_chain edc_chain;
struct edc_packet_format;

/* Places are bytes from the state's start. */
struct edc_model {
  edc_info info;
  edc_normalize_function *normalize;
  const void *normalizer;
  edc_next_function *next; /* NULL when another engine runs the encoder */
  const edc_layer *layers;
  const edc_chain *chains; /* of layers that run in stripes */
  uint32_t chain_count;
  uint32_t rows; /* edc_chain_rows of the cascade under way */
  edc_search_function *search;
  const void *rvq;
  /* Distances, in a frame, of the searches that look at few codes. When they are used up, the
   * search that needs one more starts anew and looks at all codes, as all do from then on, so a
   * frame takes at most these and those of the full search. 0 for the full search alone. */
  int32_t looks;
  const struct edc_packet_format *packets; /* NULL when the bundle has none */
  uint32_t input;
  uint32_t latent;
  uint32_t residual;
};

/* The encoder's input [T], from normalising until layers run. */
EDC_INLINE int8_t *edc_model_input(const edc_model *model, void *state) {
  return (int8_t *)state + model->input;
}

/* Its latent [P][D], when all layers have run. */
EDC_INLINE int8_t *edc_model_latent(const edc_model *model, void *state) {
  return (int8_t *)state + model->latent;
}

/* What the search works in. */
EDC_INLINE int16_t *edc_model_residual(const edc_model *model, void *state) {
  return (int16_t *)(void *)((int8_t *)state + model->residual);
}

/* All positions of a latent [P][D] -> indices [P][L]. */
void edc_model_search_latent(const edc_model *model, const int8_t *latent, int16_t *residual,
                             uint16_t *indices);

/* edc_encode in three steps, to look at what lies between. Pointers must not be NULL. */
void edc_model_normalize(const edc_model *model, void *state, const int16_t *frame,
                         edc_frame_stats *stats);
void edc_model_infer(const edc_model *model, void *state);
void edc_model_search(const edc_model *model, void *state, uint16_t *indices);

/* edc_model_infer makes these calls until progress->layer is info.layers: to time layers or to look
 * at what lies between. Returns the layer that ran. */
uint32_t edc_model_next(const edc_model *model, void *state, edc_progress *progress);

/* Where a layer puts its [positions][channels], and of how many bytes; overwritten by later
 * layers. NULL and 0 for a layer whose output never exists whole, or that there is not. */
const int8_t *edc_model_layer_output(const edc_model *model, const void *state, uint32_t layer,
                                     uint32_t *bytes);

/* The edc_next_function of a model without cascades. */
uint32_t edc_next_layer(const edc_model *model, void *state, edc_progress *progress);

EDC_END_C

#endif
