/* SPDX-License-Identifier: Apache-2.0 */
/* Convolution along one axis of int16 activations, two taps at a time (SPEC.md 1.4).
 *
 * Samples of a position are contiguous, so that two of them are one word, as two weights are:
 * SMLAD multiplies both and sums. Two positions and four output channels go together, which is what
 * the registers hold. In edc_conv16_words weights are 16 bits wide; in edc_conv16_bytes they are
 * bytes, which SXTB16 widens, in a third more instructions and half the flash. Without the DSP
 * extension bytes are multiplied one by one, with the same sums in registers.
 */
#ifndef EDC_CONV16_PAIRS_H
#define EDC_CONV16_PAIRS_H

#include <stdint.h>

#include "edc_model.h"

#define EDC_PAIRS_BLOCK 4    /* output channels at a time */
#define EDC_PAIRS_TOGETHER 2 /* positions at a time */

/* Of EDC_PAIRS_BLOCK channels. `multiplier` is shifted to the left by 32 less the channel's shift
 * where `high` of the layer says so; else its upper half is the multiplier and its lower one the
 * shift less 17. */
typedef struct {
  int32_t bias[EDC_PAIRS_BLOCK];
  int32_t multiplier[EDC_PAIRS_BLOCK];
} edc_pairs_channels;

/* Constants of one layer. Outputs saturate to int16, or to 0..32767. */
typedef struct {
  /* edc_conv16_words: [out_channels / 4][columns / 2][4], two columns of an output a word, the
   * first low. edc_conv16_bytes: [out_channels / 4][columns / 2][2], bytes w[o][c], w[o + 1][c],
   * w[o][c + 1], w[o + 1][c + 1] from the low one up. Rounded up, as the channels are; 0 beyond. */
  const uint32_t *weights;
  const edc_pairs_channels *channels; /* [out_channels / 4], rounded up */
  uint16_t in_width;
  uint16_t in_channels;
  uint16_t out_width;
  uint16_t out_channels;
  uint16_t stride;
  uint16_t pad_left;
  uint16_t columns;  /* samples under the taps, rounded up to 4; weights of those beyond are 0.
                        Depthwise the taps */
  uint8_t high;      /* as of the channels */
  uint8_t rectified; /* whether outputs saturate to 0..32767 */
} edc_pairs_layer;

/* in [in_width][in_channels] -> out [out_width][out_channels]. Two positions at a time, whose
 * samples are in scratch before their outputs are written: out may lie before in and run over what
 * has been read, as far as the plan has proven (edgecodec/compile/arena.py). scratch: 2 * `columns`
 * int16, then `out_channels`. */
void edc_conv16_words(const edc_pairs_layer *layer, const int16_t *in, int16_t *out,
                      int32_t *scratch);

/* The same from weights of a byte. */
void edc_conv16_bytes(const edc_pairs_layer *layer, const int16_t *in, int16_t *out,
                      int32_t *scratch);

/* The same one position at a time, for cores of eight registers, which have no use for `high`: it
 * is 0. scratch: `columns` int16. */
void edc_conv16_single(const edc_pairs_layer *layer, const int16_t *in, int16_t *out,
                       int32_t *scratch);

/* The same for a depthwise layer with as many output channels as input channels, a multiple of 4:
 * weights are [kernel][out_channels / 4], bytes of four channels from the low one up. Position by
 * position and four channels at a time, without scratch. */
void edc_depthwise16_bytes(const edc_pairs_layer *layer, const int16_t *in, int16_t *out);

/* As edc_layer_functions. */
edc_layer_function edc_conv16_words_run;
edc_layer_function edc_conv16_bytes_run;
edc_layer_function edc_conv16_single_run;
edc_layer_function edc_depthwise16_bytes_run;

#endif
