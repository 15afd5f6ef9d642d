/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution along one axis of int16 activations with M-profile Vector Extension (Helium), for
 * Cortex-M55 and its kin (SPEC.md 1.4). Weights are bytes, which are widened as they are loaded.
 */
#ifndef EDC_CONV16_MVE_H
#define EDC_CONV16_MVE_H

#include "edc_model.h"

#define EDC_MVE16_BLOCK 4     /* output channels at a time */
#define EDC_MVE16_LANES 8     /* int16 of a vector */
#define EDC_MVE16_POSITIONS 3 /* computed together */

/* Of EDC_MVE16_BLOCK channels. */
typedef struct {
  int32_t bias[EDC_MVE16_BLOCK];
  int32_t multiplier[EDC_MVE16_BLOCK]; /* shifted to the left by 16 */
  int32_t shift[EDC_MVE16_BLOCK];      /* to the left, -30..-1, behind that product's high word */
} edc_mve16_channels;

/* Constants of one layer. Outputs saturate to int16, or to 0..32767. */
typedef struct {
  const int8_t *weights;              /* [out_channels][row], zeros behind the taps; depthwise
                                         [kernel][out_channels] */
  const edc_mve16_channels *channels; /* [out_channels / 4] */
  uint16_t in_width;
  uint16_t in_channels;
  uint16_t out_width;
  uint16_t out_channels; /* a multiple of 4 */
  uint16_t stride;
  uint16_t pad_left;
  uint16_t kernel;
  uint16_t row;      /* kernel * in_channels, rounded up to a multiple of 8; depthwise 0 */
  uint8_t rectified; /* whether outputs saturate to 0..32767 */
} edc_mve16_layer;

/* in [in_width][in_channels] -> out [out_width][out_channels]. Three positions at a time, whose
 * outputs are written when all their samples have been read: out may lie before in and run over
 * what has been read, as far as the plan has proven (edgecodec/compile/arena.py). scratch:
 * 3 * `out_channels` words, then 3 * `row` int16. */
void edc_conv16_mve(const edc_mve16_layer *layer, const int16_t *in, int16_t *out,
                    int32_t *scratch);

/* The same for a depthwise layer with as many output channels as input channels, position by
 * position and four channels at a time. */
void edc_depthwise16_mve(const edc_mve16_layer *layer, const int16_t *in, int16_t *out);

/* As edc_layer_functions. */
edc_layer_function edc_conv16_mve_run;
edc_layer_function edc_depthwise16_mve_run;

#endif
