/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution along one axis with packed taps: four products a multiplication (SPEC.md 1.2).
 *
 * With B = 2^22, (b + a B)(v + w B) = b v + (a v + b w) B + a w B^2: one 32 x 32 -> 64 bit
 * multiplication is the product of two polynomials, so of two samples (a, then b) with two taps (v,
 * then w) of a convolution. Summed over channels and pairs of taps, the middle lane is an even
 * output, and the low lane with the high lane of the next pair of samples is the odd output
 * between. The lanes have 22, 22 and 20 bits: the high one has the products of the second taps
 * alone. A block's columns are summed in as many parts as it takes that no lane overflows, which
 * was proven from the weights when the model was generated.
 */
#ifndef EDC_CONV_PAIRED_H
#define EDC_CONV_PAIRED_H

#include <stdint.h>

#include "edc_model.h"
#include "edc_requantize.h"

#define EDC_PAIRED_LANE_BITS 22
#define EDC_PAIRED_BLOCK 4     /* output channels at a time */
#define EDC_PAIRED_PARTS_MAX 4 /* sums of one output */
#define EDC_WINOGRAD_PARTS_MAX 2

/* Constants of one layer. Outputs saturate to int8 (no tighter activation). */
typedef struct {
  const int32_t *weights; /* pairs of taps: [out_channels / 4][columns][4], or depthwise
                             [out_channels][4] */
  const uint8_t
      *parts; /* of each block: 1, 2 or 4 (edc_conv_winograd: 1 or 2); a depthwise layer has none */
  const edc_folded_channel *channels; /* [out_channels], for sums with 2^21 on top for each part */
  uint16_t in_width;
  uint16_t in_channels;
  uint16_t out_width;
  uint16_t out_channels; /* a multiple of 4 */
  uint16_t stride;
  uint16_t pad_left;
  uint16_t tap_pairs; /* of each of the `stride` phases */
  uint16_t columns;   /* tap_pairs * stride * in_channels, rounded up to 4 for each part */
  int8_t in_zero_point;
  int8_t out_zero_point;
  uint8_t rectified; /* as of the channels */
  /* Of a stripe of a layer (edc_chain.h), which ends with 2 whole positions (edc_conv_winograd: 4)
   * unless it is the last. Outputs are behind samples by 1 position (2): what is begun of them is
   * in scratch until the next stripe writes them, before `out`. */
  uint8_t resumes;
  uint8_t pauses;
} edc_paired_layer;

/* in [in_width][in_channels] -> out [out_width][out_channels]. Two positions at a time, whose
 * samples are in scratch before their outputs are written: out may lie before in and run over what
 * has been read, as far as the plan has proven (edgecodec/compile/arena.py). scratch: `columns` +
 * `out_channels` words, then `out_channels` bytes. */
void edc_conv_paired(const edc_paired_layer *layer, const int8_t *in, int8_t *out,
                     int32_t *scratch);

/* The same with three multiplications for four (Winograd's F(2, 2)). Outputs and taps in turn are
 * of one filter each: with samples x0, x1, x2 and taps h0, h1, outputs x0 h0 + x1 h1 and x1 h0 + x2
 * h1 are (x0 - x1) h0 and (x2 - x1) h1 on top of x1 (h0 + h1). Each is a word of two as above, and
 * the sums wrap at 64 bits, so that only what comes out must fit the lanes. weights: for
 * each block [parts][h0 + h1, h0, h1][columns / parts][4]; tap_pairs and columns count those of one
 * product. Four positions at a time. scratch: 3 `columns` + 2 `out_channels` words, then
 * `out_channels` bytes. */
void edc_conv_winograd(const edc_paired_layer *layer, const int8_t *in, int8_t *out,
                       int32_t *scratch);

/* The same as edc_conv_paired for a depthwise layer of stride 1 or 2, with stride * tap_pairs = 4
 * and as many output channels as input channels. A pair of positions is written channel by channel
 * as its last samples are read. scratch: 5 - stride words, then 1 + 2 stride bytes, for each
 * channel. */
void edc_depthwise_paired(const edc_paired_layer *layer, const int8_t *in, int8_t *out,
                          int32_t *scratch);

/* As edc_layer_functions. */
edc_layer_function edc_conv_paired_run;
edc_layer_function edc_conv_winograd_run;
edc_layer_function edc_depthwise_paired_run;

#endif
