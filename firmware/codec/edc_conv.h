/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution along one axis, int8, per-channel requantisation (SPEC.md 1.2). */
#ifndef EDC_CONV_H
#define EDC_CONV_H

#include "edc_model.h"

/* Constants of one layer. Sizes are elements; tensors are [width][channels]. */
typedef struct {
  const int8_t *weights;     /* [out_channels][kernel][in_channels] */
  const int32_t *bias;       /* [out_channels], input zero point folded in */
  const int32_t *multiplier; /* [out_channels] */
  const int8_t *shift;       /* [out_channels], positive left */
  uint16_t in_width;
  uint16_t in_channels;
  uint16_t out_width;
  uint16_t out_channels;
  uint16_t kernel;
  uint16_t stride;
  uint16_t pad_left;
  int8_t in_zero_point;
  int8_t out_zero_point;
  int8_t activation_min;
  int8_t activation_max;
  uint8_t
      narrow; /* 1: every shift is to the right, |accumulator| < 2^30, outputs saturate to int8 */
} edc_conv_layer;

/* in [in_width][in_channels] -> out [out_width][out_channels]. Positions go in order, a row being
 * written while the samples under its taps are read: out may lie before in and run over what has
 * been read, as far as the plan has proven (edgecodec/compile/arena.py). */
void edc_conv(const edc_conv_layer *layer, const int8_t *in, int8_t *out);

/* The same for a depthwise layer: weights are [kernel][out_channels] and output channel o reads
 * input channel o / (out_channels / in_channels). */
void edc_depthwise(const edc_conv_layer *layer, const int8_t *in, int8_t *out);

/* As edc_layer_functions. */
edc_layer_function edc_conv_run;
edc_layer_function edc_depthwise_run;

#endif
