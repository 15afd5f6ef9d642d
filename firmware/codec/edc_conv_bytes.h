/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution along one axis, two products an instruction, weights of a byte (SPEC.md 1.2).
 *
 * As edc_pointwise, but for any number of taps, and weights lie as bytes: SXTB16 makes two of 16
 * bits of a word of four, which costs a third more instructions than words that lie so already and
 * takes half their flash. Two positions and four output channels go together. Without 16-bit SIMD
 * the same file works through the same tables.
 */
#ifndef EDC_CONV_BYTES_H
#define EDC_CONV_BYTES_H

#include <stdint.h>

#include "edc_model.h"
#include "edc_requantize.h"

#define EDC_BYTES_BLOCK 4    /* output channels at a time */
#define EDC_BYTES_TOGETHER 2 /* positions at a time */

/* Constants of one layer. Outputs saturate to int8 (no tighter activation). */
typedef struct {
  /* [out_channels / 4][columns / 4][2][2]: of columns c and c + 2, then c + 1 and c + 3, words of
   * two outputs each, bytes w[o][c], w[o + 1][c], w[o][c + 2], w[o + 1][c + 2] from the low one up
   */
  const uint32_t *weights;
  const edc_folded_channel *channels; /* [out_channels], for sums that start at 2^24 */
  uint16_t in_width;
  uint16_t in_channels;
  uint16_t out_width;
  uint16_t out_channels; /* a multiple of 4 */
  uint16_t stride;
  uint16_t pad_left;
  uint16_t columns; /* samples under the taps, rounded up to 4; weights of those beyond are 0 */
  int8_t in_zero_point;
  int8_t out_zero_point;
  uint8_t rectified; /* as of the channels */
} edc_bytes_layer;

/* in [in_width][in_channels] -> out [out_width][out_channels]. Two positions at a time, whose
 * samples are in scratch before their outputs are written: out may lie before in and run over what
 * has been read, as far as the plan has proven (edgecodec/compile/arena.py). scratch: `columns`
 * words, then `out_channels` bytes. */
void edc_conv_bytes(const edc_bytes_layer *layer, const int8_t *in, int8_t *out, int32_t *scratch);

/* As edc_layer_function. */
edc_layer_function edc_conv_bytes_run;

#endif
