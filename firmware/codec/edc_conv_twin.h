/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution along one axis with packed channels: two products a multiplication, for cores whose
 * multiplication keeps 32 bits (SPEC.md 1.2).
 *
 * One word holds a tap of two output channels, v + w 2^16, so its product with a sample x is
 * x v + x w 2^16. The low lane of a sum holds for as many columns as it takes no more than 15 bits
 * and a sign, which was proven from the weights when the model was generated; then the lanes are
 * added to the accumulators and the sum starts anew.
 */
#ifndef EDC_CONV_TWIN_H
#define EDC_CONV_TWIN_H

#include "edc_model.h"

#define EDC_TWIN_BLOCK 4 /* output channels at a time */

typedef struct {
  int32_t bias; /* input zero point folded in, less 2^15 a part in an even channel */
  int32_t multiplier;
  int32_t down; /* right shift less 1 */
} edc_twin_channel;

/* Constants of one layer. Outputs saturate to int8 (no tighter activation). */
typedef struct {
  const int32_t *weights;           /* [out_channels / 4][columns][2], two channels a word */
  const uint8_t *parts;             /* pairs of columns of each part, 0 after each block */
  const edc_twin_channel *channels; /* [out_channels] */
  uint16_t in_width;
  uint16_t in_channels;
  uint16_t out_width;
  uint16_t out_channels; /* a multiple of 4 */
  uint16_t stride;
  uint16_t pad_left;
  uint16_t kernel;
  uint16_t columns; /* kernel * in_channels, rounded up to an even number */
  int8_t in_zero_point;
  int8_t out_zero_point;
} edc_twin_layer;

/* in [in_width][in_channels] -> out [out_width][out_channels]. The samples under a position's taps
 * are in scratch (`columns` words) before its outputs are written: out may lie before in and run
 * over what has been read, as far as the plan has proven (edgecodec/compile/arena.py). */
void edc_conv_twin(const edc_twin_layer *layer, const int8_t *in, int8_t *out, int32_t *scratch);

/* As edc_layer_function. */
edc_layer_function edc_conv_twin_run;

#endif
