/* SPDX-License-Identifier: Apache-2.0 */
/* A cascade: consecutive layers run in stripes of positions, so that of the tensors between them
 * only the rows that the next stripes need exist at a time, and no call of a kernel takes long; for
 * that a layer may be one alone. In the names it is a chain of chunks.
 *
 * Each of those tensors has a buffer. The last layer that has the rows of its next stripe runs; one
 * before it runs for no more positions than that stripe lacks. What is done with is dropped: the
 * rows that a layer needs again move to the front of its input's buffer. The plan runs the same
 * schedule and so knows the most rows that each buffer ever holds (edgecodec/compile/cascade.py).
 */
#ifndef EDC_CHAIN_H
#define EDC_CHAIN_H

#include "edc_model.h"

/* One layer. Tensors are [width][channels]. */
typedef struct {
  uint32_t in; /* where its input is in the arena: whole for the first layer, else a buffer */
  uint16_t in_width;
  uint16_t in_channels; /* bytes of a row: twice the channels with 16-bit activations */
  uint16_t out_width;
  uint16_t out_channels; /* likewise */
  uint16_t stride;
  uint16_t pad_left;
  int16_t tail;   /* lookahead: n positions look at n * stride + tail rows */
  uint16_t chunk; /* positions of a stripe, at most; in the layer's last the lag counts as well */
  uint8_t mask;   /* granularity less 1: a stripe is a multiple of it, unless the last; 0, 1 or 3 */
  uint8_t lag;    /* latency: outputs are so many positions behind, unless the last; up to mask */
} edc_chain_layer;

struct edc_chain {
  const edc_chain_layer *layers;
  uint32_t count;
  uint32_t first; /* the model's layer that is the cascade's first */
  uint32_t out;   /* where the last layer's output is in the arena, whole */
};

/* How far a layer is; zeros at the start. */
typedef struct {
  uint16_t position; /* to run next */
  uint16_t first;    /* row that its input's buffer starts with */
} edc_chain_rows;

/* The stripe to run next; rows [count]. The cascade must not be at its end. */
void edc_chain_next(const edc_chain *chain, const edc_chain_rows *rows, int8_t *arena,
                    edc_chunk *chunk);

/* To be called when it has run: drops what is done with. 1 when that was the last stripe. */
int edc_chain_done(const edc_chain *chain, edc_chain_rows *rows, int8_t *arena,
                   const edc_chunk *chunk);

/* The edc_next_function of a model with cascades. */
uint32_t edc_next_chunk(const edc_model *model, void *state, edc_progress *progress);

#endif
