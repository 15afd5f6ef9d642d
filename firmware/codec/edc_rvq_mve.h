/* SPDX-License-Identifier: Apache-2.0 */
/* Residual vector quantiser in integers with M-profile Vector Extension (Helium), for Cortex-M55
 * and its kin (SPEC.md 1.3, 1.4).
 */
#ifndef EDC_RVQ_MVE_H
#define EDC_RVQ_MVE_H

#include <stdint.h>

#define EDC_MVE_PROJECTIONS 4
#define EDC_MVE_CODES 8 /* of a block */
#define EDC_MVE_LANES 8 /* of 16 bits */
#define EDC_MVE_STARTS 64

/* EDC_MVE_CODES codes' projections. */
typedef struct {
  int32_t lengths[EDC_MVE_CODES]; /* squared, of a code's projections */
  int16_t projections[EDC_MVE_PROJECTIONS][EDC_MVE_CODES];
  uint16_t indices[EDC_MVE_CODES]; /* in the codebook */
} edc_code_block;

/* One level's codebook. With blocks, the search looks at few of the codes, in the order of their
 * first projection; without (NULL), at all. Either finds the same index. */
typedef struct {
  const int16_t *codes;         /* [size][row], zeros behind the dimension */
  const int32_t *keys;          /* [size], squared length of each code and what choosing it costs */
  const edc_code_block *blocks; /* [(size + 7) / 8], the last code repeated */
  const int8_t *directions; /* [row / 8][EDC_MVE_PROJECTIONS][8], 2^6 times nearly orthonormal */
  const uint16_t *starts;   /* [EDC_MVE_STARTS], last block whose first projection is not above
                               least_first + i 2^start_shift, or 0 */
  uint32_t size;            /* codes, 1..65536 */
  uint32_t slack;           /* of the projected distance over the true one, in 1/256 */
  int16_t least_first;      /* the first of all first projections */
  uint8_t start_shift;
} edc_mve_codebook;

typedef struct {
  const edc_mve_codebook *levels;
  uint16_t level_count;
  uint16_t dimension;
  uint16_t row;         /* dimension, rounded up to a multiple of EDC_MVE_LANES */
  int8_t fraction_bits; /* 0..8 of int8 latents; -8..0 of int16 ones, which are shifted down */
  int8_t zero_point;    /* 0 of int16 latents */
} edc_mve_rvq;

/* Both are an edc_search_function: constants are an edc_mve_rvq, latent [dimension] -> indices
 * [level_count]; residual [row] is scratch. The lowest index wins a tie. That no residual or
 * distance overflows was proven at generation. */
int32_t edc_rvq_quantize_mve(const void *constants, const int8_t *latent, int32_t looks,
                             int16_t *residual, uint16_t *indices);
/* `latent` points to int16, aligned to 2 bytes. */
int32_t edc_rvq_quantize16_mve(const void *constants, const int8_t *latent, int32_t looks,
                               int16_t *residual, uint16_t *indices);

#endif
