/* SPDX-License-Identifier: Apache-2.0 */
/* A small causal network over a frame's indices, in integers (SPEC.md 5.6). */
#ifndef EDC_CAUSAL_H
#define EDC_CAUSAL_H

#include <stdint.h>

#include "edc_packet.h"

/* Weights lie in fours: of channels 4 i .. 4 i + 3 the first, third, second and fourth, so that
 * SXTB16 of a word and of the word rotated by 8 gives them as neighbours. That no sum leaves int32
 * was proven at generation. */
typedef struct {
  const int8_t *weights; /* [outputs / 4][inputs / 4][4 outputs][four]; 4-byte aligned */
  const int32_t *bias;   /* [outputs], with 2^(shift - 1), which rounds */
  uint16_t outputs;      /* a multiple of 4 */
  uint16_t inputs;       /* a multiple of 4 */
  uint8_t shift;         /* of a sum to its result, 1..30 */
} edc_dense;

/* x_t += mix(relu(taps([x_(t - 2 d), x_(t - d), x_t]))) */
typedef struct {
  edc_dense taps; /* [channels][3 channels], the oldest first */
  edc_dense mix;  /* [channels][channels] */
  uint16_t dilation;
} edc_causal_block;

typedef struct {
  edc_dense hidden;           /* [hidden][channels] */
  const int8_t *embedding;    /* [codes + 1][embedding_size]: row 0 is no index, i + 1 index i */
  const int8_t *const *above; /* [levels above] of [codes there][hidden] */
  const int8_t *nodes;        /* [codes - 1][hidden], in fours; 4-byte aligned */
  const int16_t *node_bias;   /* [codes - 1] */
  const uint8_t *ranks;       /* [codes], leaf of each index in the tree */
  uint16_t codes;
  uint8_t above_shift;     /* of above, to a sum of hidden */
  uint8_t node_bias_shift; /* of node_bias, to a node's sum */
  uint8_t node_shift;      /* of a node's sum, to 1/32 logits */
} edc_causal_level;

typedef struct {
  edc_dense input; /* [channels][level_count embedding_size, zeros to a multiple of 4] */
  const edc_causal_block *blocks;
  const edc_causal_level *levels;
  uint16_t channels;
  uint16_t hidden;
  uint8_t block_count;
  uint8_t level_count;
  uint8_t embedding_size;
} edc_causal_network;

/* Words of int32 of a state: position, then int16 values of the input, x, a block's inner
 * channels, h, and 2 dilation rows of channels for each block. */
#define EDC_CAUSAL_STATE_WORDS(inputs, channels, hidden, dilations)                                \
  (1 + ((inputs) + 2 * (channels) + (hidden) + 2 * (dilations) * (channels)) / 2)

/* Takes edc_causal_network and an array of EDC_CAUSAL_STATE_WORDS int32. */
extern const edc_index_model edc_causal_model;

#endif
