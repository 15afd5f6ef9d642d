/* Residual vector quantiser in integers (SPEC.md 1.3). */
#ifndef EDC_RVQ_H
#define EDC_RVQ_H

#include <stdint.h>

/* One level's codebook. */
typedef struct {
  const int16_t *codes; /* [size][dimension] */
  const int32_t *norms; /* [size], squared length of each code */
  uint32_t size;        /* codes, 1..65536 */
} edc_codebook;

typedef struct {
  const edc_codebook *levels;
  uint16_t level_count;
  uint16_t dimension;
  uint16_t positions;
  uint8_t fraction_bits;
  int8_t zero_point;
} edc_rvq;

/* latent [positions][dimension] -> indices [positions][level_count]; residual [dimension] is
 * scratch. The lowest index wins a tie. That no residual or distance overflows was proven at
 * generation. */
void edc_rvq_quantize(const edc_rvq *rvq, const int8_t *latent, int16_t *residual,
                      uint16_t *indices);

#endif
