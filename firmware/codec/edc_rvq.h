/* SPDX-License-Identifier: Apache-2.0 */
/* Residual vector quantiser in integers (SPEC.md 1.3, 1.4). */
#ifndef EDC_RVQ_H
#define EDC_RVQ_H

#include <stdint.h>

#define EDC_RVQ_PROJECTIONS 4
#define EDC_RVQ_STARTS 64

/* One level's codebook. With projections, the search looks at few of the codes, in the order of
 * their first projection; without (NULL), at all. Either finds the same index. */
typedef struct {
  const int16_t *codes;       /* [size][dimension], aligned to 4 bytes */
  const int32_t *keys;        /* [size], squared length of each code and what choosing it costs */
  const uint16_t *order;      /* [size], index of each code in the order of first projections */
  const int16_t *projections; /* [size][EDC_RVQ_PROJECTIONS] in that order, of each code */
  const int16_t *directions;  /* [(dimension + 1) / 2][EDC_RVQ_PROJECTIONS][2], 2^6 times nearly
                                 orthonormal, a zero behind an odd dimension */
  const uint16_t *starts;     /* [EDC_RVQ_STARTS], first place whose first projection is not below
                                 the middle of least_first + i 2^start_shift and the next, or the
                                 last one */
  uint32_t size;              /* codes, 1..65536 */
  uint32_t slack;             /* of the projected distance over the true one, in 1/256 */
  int16_t least_first;        /* the first of all first projections */
  uint8_t start_shift;
} edc_codebook;

typedef struct {
  const edc_codebook *levels;
  uint16_t level_count;
  uint16_t dimension;
  int8_t fraction_bits; /* 0..8 of int8 latents; -8..0 of int16 ones, which are shifted down */
  int8_t zero_point;    /* 0 of int16 latents */
} edc_rvq;

/* Both are an edc_search_function: constants are an edc_rvq, latent [dimension] -> indices
 * [level_count]; residual [dimension], aligned to 4 bytes, is scratch. The lowest index wins a tie.
 * That no residual or distance overflows was proven at generation. */
int32_t edc_rvq_quantize(const void *constants, const int8_t *latent, int32_t looks,
                         int16_t *residual, uint16_t *indices);
/* `latent` points to int16, aligned to 2 bytes. */
int32_t edc_rvq_quantize16(const void *constants, const int8_t *latent, int32_t looks,
                           int16_t *residual, uint16_t *indices);

#endif
