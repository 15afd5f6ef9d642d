/* Residual vector quantiser in integers (SPEC.md 1.3). */
#ifndef EDC_RVQ_H
#define EDC_RVQ_H

#include <stdint.h>

#define EDC_RVQ_KEYS 4

/* One level's codebook. With keys, codes are sorted by their first key and the search looks at few
 * of them; without (NULL), at all. Either finds the same index. */
typedef struct {
  const int16_t *codes;     /* [size][dimension] */
  const int32_t *norms;     /* [size], squared length of each code */
  const uint16_t *order;    /* [size], index of each code in the codebook; NULL when unsorted */
  const int16_t *keys;      /* [size][EDC_RVQ_KEYS], projections of each code */
  const int8_t *projection; /* [dimension][EDC_RVQ_KEYS], 2^6 times nearly orthonormal rows */
  uint32_t size;            /* codes, 1..65536 */
  uint32_t slack;           /* of the projected distance over the true one, in 1/256 */
} edc_codebook;

typedef struct {
  const edc_codebook *levels;
  uint16_t level_count;
  uint16_t dimension;
  uint16_t positions;
  uint8_t fraction_bits;
  int8_t zero_point;
} edc_rvq;

/* An edc_search_function: constants are an edc_rvq, latent [positions][dimension] -> indices
 * [positions][level_count]; residual [dimension] is scratch. The lowest index wins a tie. That no
 * residual or distance overflows was proven at generation. */
void edc_rvq_quantize(const void *constants, const int8_t *latent, int16_t *residual,
                      uint16_t *indices);

#endif
