#include "edc_rvq.h"

static uint32_t nearest(const edc_codebook *book, const int16_t *residual, int32_t dimension) {
  const int16_t *code = book->codes;
  int32_t best_distance = INT32_MAX;
  uint32_t best = 0;
  for (uint32_t index = 0; index < book->size; index++) {
    int32_t product = 0;
    for (int32_t d = 0; d < dimension; d++) {
      product += residual[d] * code[d];
    }
    /* ||r - c||^2 less ||r||^2, which is the same for every code */
    const int32_t distance = book->norms[index] - 2 * product;
    if (distance < best_distance) {
      best_distance = distance;
      best = index;
    }
    code += dimension;
  }
  return best;
}

void edc_rvq_quantize(const edc_rvq *rvq, const int8_t *latent, int16_t *residual,
                      uint16_t *indices) {
  const int32_t dimension = rvq->dimension;
  for (int32_t position = 0; position < rvq->positions; position++) {
    for (int32_t d = 0; d < dimension; d++) {
      residual[d] = (int16_t)((latent[d] - rvq->zero_point) * (1 << rvq->fraction_bits));
    }
    latent += dimension;
    for (int32_t level = 0; level < rvq->level_count; level++) {
      const edc_codebook *book = &rvq->levels[level];
      const uint32_t index = nearest(book, residual, dimension);
      const int16_t *code = book->codes + index * (uint32_t)dimension;
      for (int32_t d = 0; d < dimension; d++) {
        residual[d] = (int16_t)(residual[d] - code[d]);
      }
      *indices++ = (uint16_t)index;
    }
  }
}
