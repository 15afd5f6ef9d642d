/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution over channels alone (kernel 1), two products an instruction (SPEC.md 1.2).
 *
 * Samples and weights of two input channels are in one word, 16 bits each: SMLAD multiplies both
 * and sums. Two positions and four output channels go together, which is what the registers hold.
 * Without 16-bit SIMD the same file works through the same tables.
 */
#ifndef EDC_POINTWISE_H
#define EDC_POINTWISE_H

#include <stdint.h>

#include "edc_model.h"
#include "edc_requantize.h"

#define EDC_POINTWISE_BLOCK 4    /* output channels at a time */
#define EDC_POINTWISE_TOGETHER 2 /* positions at a time */

/* Constants of one layer. Outputs saturate to int8 (no tighter activation). */
typedef struct {
  const uint32_t *weights;            /* [out_channels / 4][in_channels / 2][4], the first low */
  const edc_folded_channel *channels; /* [out_channels], for sums that start at 2^24 */
  uint16_t in_channels;               /* a multiple of 4 */
  uint16_t out_width;
  uint16_t out_channels; /* a multiple of 4 */
  uint16_t stride;
  int8_t out_zero_point;
  uint8_t rectified; /* as of the channels */
} edc_pointwise_layer;

/* in [in_width][in_channels] -> out [out_width][out_channels]. Two positions at a time, whose
 * samples are in scratch before their outputs are written: out may lie before in and run over what
 * has been read, as far as the plan has proven (edgecodec/compile/arena.py). scratch:
 * `in_channels` words, then `out_channels` bytes. */
void edc_pointwise(const edc_pointwise_layer *layer, const int8_t *in, int8_t *out,
                   int32_t *scratch);

/* As edc_layer_function. */
edc_layer_function edc_pointwise_run;

#endif
