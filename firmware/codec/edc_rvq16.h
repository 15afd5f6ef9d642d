/* SPDX-License-Identifier: Apache-2.0 */
/* Residual vector quantiser in integers, of int16 latents (SPEC.md 1.4). */
#ifndef EDC_RVQ16_H
#define EDC_RVQ16_H

#include <stdint.h>

/* One level's codebook. */
typedef struct {
  const int16_t *codes; /* [size][dimension] */
  const int32_t *keys;  /* [size], squared length of each code and what choosing it costs */
  uint32_t size;        /* codes, 1..65536 */
} edc_codebook16;

typedef struct {
  const edc_codebook16 *levels;
  uint16_t level_count;
  uint16_t dimension;
  uint8_t down; /* 0..8: latents are shifted to the right to be residuals */
} edc_rvq16;

/* An edc_search_function: constants are an edc_rvq16, latent int16 [dimension], aligned to 2 bytes,
 * -> indices [level_count]; residual [dimension] is scratch. It looks at all codes; the lowest
 * index wins a tie. That no residual or distance overflows was proven at generation. */
int32_t edc_rvq16_quantize(const void *constants, const int8_t *latent, int32_t looks,
                           int16_t *residual, uint16_t *indices);

#endif
