/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution along one axis, int16 activations and int8 weights, per-channel requantisation
 * (SPEC.md 1.4). */
#ifndef EDC_CONV16_H
#define EDC_CONV16_H

#include "edc_model.h"

/* Constants of one layer. Sizes are elements; tensors are int16 [width][channels], aligned to 2
 * bytes. One of the two biases is there. */
typedef struct {
  const int8_t *weights;      /* [out_channels][kernel][in_channels] */
  const int32_t *bias;        /* [out_channels], where all sums fit int32; else NULL */
  const int64_t *wide_bias;   /* [out_channels], where they do not */
  const uint16_t *multiplier; /* [out_channels], below 2^15 */
  const uint8_t *shift;       /* [out_channels], 8..46, right */
  uint16_t in_width;
  uint16_t in_channels;
  uint16_t out_width;
  uint16_t out_channels;
  uint16_t kernel;
  uint16_t stride;
  uint16_t pad_left;
  int16_t activation_min;
  int16_t activation_max;
} edc_conv16_layer;

/* in [in_width][in_channels] -> out [out_width][out_channels]. Positions go in order, a row being
 * written while the samples under its taps are read, as edc_conv does. */
void edc_conv16(const edc_conv16_layer *layer, const int16_t *in, int16_t *out);

/* The same for a depthwise layer: weights are [kernel][out_channels] and output channel o reads
 * input channel o / (out_channels / in_channels). */
void edc_depthwise16(const edc_conv16_layer *layer, const int16_t *in, int16_t *out);

/* As edc_layer_functions. */
edc_layer_function edc_conv16_run;
edc_layer_function edc_depthwise16_run;

#endif
