/* SPDX-License-Identifier: Apache-2.0 */
/* The codec over many frames at once, for servers: one frame a vector lane (SPEC.md 1).
 *
 * Not for microcontrollers: it wants the vectors of GCC or Clang, and much memory. Every layer is a
 * list of dot products of a group of samples, what a lane holds, with as many weights, whatever
 * kind of convolution it is; the tables that say which are made in Python
 * (edgecodec/host/batch.py). A group is four int8 activations, kept as value + 128, 0..255, or two
 * int16 ones, as they are.
 */
#ifndef EDC_BATCH_H
#define EDC_BATCH_H

#include <stddef.h>

#include "edc_fixed.h"
#include "edc_fixed16.h"
#include "edc_minmax.h"
#include "edc_minmax16.h"
#include "edc_zscore.h"
#include "edc_zscore16.h"

#if defined(__AVX512F__) && defined(__AVX512BW__)
#define EDC_BATCH_LANES 16
#elif defined(__AVX2__)
#define EDC_BATCH_LANES 8
#else
#define EDC_BATCH_LANES 4
#endif

/* Words of the weights of four int8: four int8 in one, or int16 of bytes 0 and 2 in one, 1 and 3 in
 * the next, where the CPU has no dot product of bytes. Those of two int16 are int16, in one. */
#if EDC_BATCH_LANES == 16 && defined(__AVX512VNNI__)
#define EDC_BATCH_WEIGHT_WORDS 1
#else
#define EDC_BATCH_WEIGHT_WORDS 2
#endif

#define EDC_BATCH_BLOCK 8 /* output channels at a time */

typedef int32_t edc_lanes __attribute__((vector_size(4 * EDC_BATCH_LANES)));

typedef struct {
  const int32_t *weights;    /* [blocks][groups][EDC_BATCH_BLOCK][words] */
  const int32_t *offsets;    /* [blocks][groups], from the first group of a position */
  const int32_t *bias;       /* [blocks][EDC_BATCH_BLOCK], of bytes with zero point and 128 */
  const int32_t *multiplier; /* [blocks][EDC_BATCH_BLOCK] */
  const int32_t *shift;      /* [blocks][EDC_BATCH_BLOCK], of bytes positive left, else right */
  edc_lanes *in;             /* groups, padding included */
  edc_lanes *out;            /* groups of the next layer, or elements */
  int32_t blocks;
  int32_t groups;
  int32_t step; /* groups from one position to the next */
  int32_t out_width;
  int32_t out_channels;
  int32_t zero_point;
  int32_t activation_min;
  int32_t activation_max;
  int32_t gives_groups; /* 1: out_channels are whole groups; 0: an element a lane */
  edc_lanes *slid;    /* where elements become groups that start at each of them; NULL otherwise */
  int32_t slid_count; /* of `out`, from its start in the padding */
  edc_lanes *slid_from;
} edc_batch_layer;

typedef struct {
  const int32_t *codes; /* [size][dimension / 2]: pairs of int16, times -2 */
  const int32_t *plain; /* the same, not multiplied */
  const int32_t *keys;  /* [size], squared lengths and biases */
  int32_t size;
} edc_batch_codebook;

typedef struct {
  const edc_zscore *zscore; /* one of these three, the others NULL */
  const edc_minmax *minmax;
  const edc_fixed *fixed;
  const edc_batch_layer *layers;
  const edc_batch_codebook *books;
  int8_t *input;           /* [EDC_BATCH_LANES][input_bytes], padding filled in */
  const edc_lanes *latent; /* [positions][dimension], elements, of int8 ones + 128 */
  int32_t is_wide;         /* 1: int16 activations; 0: int8 */
  int32_t layer_count;
  int32_t level_count;
  int32_t positions;
  int32_t dimension; /* even: an odd one has a zero on top */
  int32_t latent_channels;
  int32_t samples;
  int32_t input_bytes; /* of a lane: samples, padding, a group's less one more */
  int32_t input_pad;   /* bytes before the samples */
  int32_t input_groups;
  int32_t fraction_bits;
  int32_t zero_point; /* of the latent */
} edc_batch_model;

/* frames [count][samples] -> indices [count][positions][level_count], offsets [count], spreads
 * [count]. The memory that the model points to is used, so one thread at a time. */
void edc_batch_encode(const edc_batch_model *model, const int16_t *frames, size_t count,
                      uint16_t *indices, int32_t *offsets, uint64_t *spreads);

#endif
