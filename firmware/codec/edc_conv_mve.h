/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution along one axis with M-profile Vector Extension (Helium), for Cortex-M55 and its kin
 * (SPEC.md 1.2).
 */
#ifndef EDC_CONV_MVE_H
#define EDC_CONV_MVE_H

#include "edc_model.h"

#define EDC_MVE_BLOCK 4     /* output channels at a time */
#define EDC_MVE_BYTES 16    /* of a vector */
#define EDC_MVE_POSITIONS 3 /* computed together */
#define EDC_MVE_TAPS 8      /* of a depthwise layer, at most */

/* Of EDC_MVE_BLOCK channels. */
typedef struct {
  int32_t bias[EDC_MVE_BLOCK]; /* input zero point folded in */
  int32_t multiplier[EDC_MVE_BLOCK];
  int32_t shift[EDC_MVE_BLOCK]; /* to the left, less than 0 */
} edc_mve_channels;

/* Constants of one layer. Outputs saturate to int8 (no tighter activation). */
typedef struct {
  const int8_t *weights;            /* [out_channels][row], zeros behind the taps; depthwise
                                       [out_channels][EDC_MVE_TAPS] */
  const edc_mve_channels *channels; /* [out_channels / 4] */
  uint16_t in_width;
  uint16_t in_channels;
  uint16_t out_width;
  uint16_t out_channels; /* a multiple of 4 */
  uint16_t stride;
  uint16_t pad_left;
  uint16_t kernel;
  uint16_t row; /* kernel * in_channels, unless depthwise rounded up to a multiple of 16 */
  int8_t in_zero_point;
  int8_t out_zero_point;
} edc_mve_layer;

/* in [in_width][in_channels] -> out [out_width][out_channels]. Three positions at a time, whose
 * outputs are written when all their samples have been read: out may lie before in and run over
 * what has been read, as far as the plan has proven (edgecodec/compile/arena.py). scratch:
 * 3 * `out_channels` words, then 3 * `row` bytes. */
void edc_conv_mve(const edc_mve_layer *layer, const int8_t *in, int8_t *out, int32_t *scratch);

/* The same for a depthwise layer of at most EDC_MVE_TAPS taps with as many output channels as input
 * channels. */
void edc_depthwise_mve(const edc_mve_layer *layer, const int8_t *in, int8_t *out, int32_t *scratch);

/* As edc_layer_functions. */
edc_layer_function edc_conv_mve_run;
edc_layer_function edc_depthwise_mve_run;

#endif
