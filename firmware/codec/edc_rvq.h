/* Residual vector quantiser in integers (SPEC.md 1.3). */
#ifndef EDC_RVQ_H
#define EDC_RVQ_H

#include <stdint.h>

#define EDC_RVQ_KEYS 4

/* One level's codebook. With keys, the search looks at few of the codes, in the order of their
 * first key; without (NULL), at all. Either finds the same index. */
typedef struct {
  const int16_t *codes;  /* [size][dimension], aligned to 4 bytes */
  const int32_t *norms;  /* [size], squared length of each code */
  const uint16_t *order; /* [size], index of each code in the order of first keys; NULL without */
  const int16_t *keys;   /* [size][EDC_RVQ_KEYS] in that order, projections of each code */
  const int8_t *projection; /* [dimension][EDC_RVQ_KEYS], 2^6 times nearly orthonormal rows */
  uint32_t size;            /* codes, 1..65536 */
  uint32_t slack;           /* of the projected distance over the true one, in 1/256 */
} edc_codebook;

typedef struct {
  const edc_codebook *levels;
  /* Distances, in a frame, of the searches that look at few codes. When they are used up, the
   * search that needs one more starts anew and looks at all codes, as all do from then on, so a
   * frame takes at most these and those of the full search. 0 for the full search alone. */
  int32_t looks;
  uint16_t level_count;
  uint16_t dimension;
  uint16_t positions;
  uint8_t fraction_bits;
  int8_t zero_point;
} edc_rvq;

/* latent [positions][dimension] -> indices [positions][level_count]; residual [dimension], aligned
 * to 4 bytes, is scratch. The lowest index wins a tie. That no residual or distance overflows was
 * proven at generation. */
void edc_rvq_quantize(const edc_rvq *rvq, const int8_t *latent, int16_t *residual,
                      uint16_t *indices);

#endif
