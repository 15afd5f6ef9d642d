/* SPDX-License-Identifier: Apache-2.0 */
/* Indices back to ADC counts: a codec's float decoder, for servers and phones.
 *
 * Not for microcontrollers. A decoder is a constant list of steps over float32 values of positions
 * and channels; edgecodec makes it of a bundle's decoder.tflite
 * (edgecodec/decoding/float_program.py). On a server a frame lies in each lane of a vector, so that
 * nothing needs shuffling; with one lane this is C99 that compilers turn into vectors over
 * channels, which is what a phone wants for a frame at a time. No malloc: the caller owns the
 * memory. Of the C library sqrt and sqrtf are used.
 */
#ifndef EDC_DECODE_H
#define EDC_DECODE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Frames at once. More than one need the vectors of GCC or clang. */
#ifndef EDC_DECODE_LANES
#if defined(__AVX512F__)
#define EDC_DECODE_LANES 16
#elif defined(__AVX__)
#define EDC_DECODE_LANES 8
#elif defined(__GNUC__)
#define EDC_DECODE_LANES 4
#else
#define EDC_DECODE_LANES 1
#endif
#endif

#if EDC_DECODE_LANES > 1
typedef float edc_decode_lanes __attribute__((vector_size(4 * EDC_DECODE_LANES)));
#else
typedef float edc_decode_lanes;
#endif

#define EDC_DECODE_BLOCK 8   /* output channels whose weights lie side by side */
#define EDC_DECODE_STRIPE 12 /* positions of steps that run by turns */
#define EDC_DECODE_WINOGRAD_ROOM 36

#define EDC_DECODE_ZERO 0u      /* out[0 .. channels - 1] = 0 */
#define EDC_DECODE_CONV 1u      /* sums of taps x run values for each channel */
#define EDC_DECODE_DEPTHWISE 2u /* sums of taps values of the same channel */
#define EDC_DECODE_MEAN 3u      /* the mean of run values */
#define EDC_DECODE_RSQRT 4u     /* 1 / sqrt(in) */
#define EDC_DECODE_ADD 5u
#define EDC_DECODE_SUBTRACT 6u
#define EDC_DECODE_MULTIPLY 7u
#define EDC_DECODE_SQUARED_DIFFERENCE 8u
#define EDC_DECODE_WINOGRAD 9u /* CONV of four taps in a row, three outputs at a time */

/* Values that steps which run by turns keep to themselves: room for a stripe alone. */
#define EDC_DECODE_IN_IS_STRIPE 1u
#define EDC_DECODE_OTHER_IS_STRIPE 2u
#define EDC_DECODE_OUT_IS_STRIPE 4u

/* What is done at each of `positions` positions. Places count lanes from the start of the memory.
 */
typedef struct {
  const float *weights; /* CONV: [channels / 8][taps][run][8], then [channels % 8][taps][run];
                           WINOGRAD: the six of each four taps, [6] of CONV's; DEPTHWISE:
                           [taps][channels]; else a constant operand, or NULL */
  const float *bias;    /* [channels], of convolutions */
  float low;            /* results are clamped to low .. high */
  float high;
  uint32_t kind;
  uint32_t
      together; /* steps from here on, this one included, that run by turns for a few positions */
  uint32_t in;
  uint32_t other; /* the other operand, where it is no constant; WINOGRAD: EDC_DECODE_WINOGRAD_ROOM
                     values of each channel that comes in and goes out */
  uint32_t out;
  uint32_t positions;
  uint32_t channels;
  uint32_t in_step; /* from one position to the next */
  uint32_t other_step;
  uint32_t out_step;
  uint32_t in_unit; /* from one channel to the next: 1, or 0 where one value serves all */
  uint32_t other_unit;
  uint32_t taps;
  uint32_t tap_step;
  uint32_t run;
  uint32_t stripes; /* EDC_DECODE_IN_IS_STRIPE and so on */
} edc_decode_step;

#define EDC_DECODE_ZSCORE 0u
#define EDC_DECODE_MINMAX 1u
#define EDC_DECODE_FIXED 2u

typedef struct {
  const edc_decode_step *steps;
  const int16_t *codes;        /* the levels' codebooks, one behind the other: [codes][dimension] */
  const uint32_t *first_codes; /* [levels], number of each level's code 0 */
  double first;                /* zscore: epsilon; minmax: low; fixed: offset */
  double second;               /* minmax: high; fixed: scale */
  float latent_step;           /* what 1 of a code is worth */
  uint32_t step_count;
  uint32_t levels;
  uint32_t positions; /* of the latent */
  uint32_t dimension;
  uint32_t samples;
  uint32_t latent; /* places of [positions][dimension] and [samples] */
  uint32_t decoded;
  uint32_t memory; /* lanes that are worked in */
  uint32_t normalization;
} edc_decode_model;

/* Decodes frames [count].
 *
 * memory   model->memory lanes, aligned as they are; one thread's at a time
 * indices  [count][positions][levels], each below its codebook's size
 * levels   [count], the first ones of each frame that were sent, 0 for a flat frame; NULL: all
 * offsets  [count], as packets say it (edc_unpack_frame)
 * spreads  [count], the same; with offsets NULL, frames stay normalised
 * counts   [count][samples]
 */
void edc_decode(const edc_decode_model *model, edc_decode_lanes *memory, const uint16_t *indices,
                const uint8_t *levels, const int32_t *offsets, const uint64_t *spreads,
                size_t count, float *counts);

#ifdef __cplusplus
}
#endif

#endif
