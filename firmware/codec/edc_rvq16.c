/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_rvq16.h"

static int32_t dot(const int16_t *a, const int16_t *b, int32_t count) {
  int32_t sum = 0;
  int32_t i = 0;
  for (; i + 4 <= count; i += 4) {
    sum += a[i] * b[i];
    sum += a[i + 1] * b[i + 1];
    sum += a[i + 2] * b[i + 2];
    sum += a[i + 3] * b[i + 3];
  }
  for (; i < count; i++) {
    sum += a[i] * b[i];
  }
  return sum;
}

static uint32_t nearest(const edc_codebook16 *book, const int16_t *residual, int32_t dimension) {
  const int16_t *code = book->codes;
  int32_t best_distance = INT32_MAX;
  uint32_t best = 0;
  for (uint32_t index = 0; index < book->size; index++) {
    /* ||r - c||^2 and its cost less ||r||^2, which is the same for every code */
    const int32_t distance = book->keys[index] - 2 * dot(residual, code, dimension);
    if (distance < best_distance) {
      best_distance = distance;
      best = index;
    }
    code += dimension;
  }
  return best;
}

int32_t edc_rvq16_quantize(const void *constants, const int8_t *latent, int32_t looks,
                           int16_t *residual, uint16_t *indices) {
  const edc_rvq16 *const rvq = constants;
  const int16_t *const values = (const int16_t *)(const void *)latent;
  const int32_t dimension = rvq->dimension;
  for (int32_t d = 0; d < dimension; d++) {
    residual[d] = (int16_t)((values[d] + ((1 << rvq->down) >> 1)) >> rvq->down);
  }
  const edc_codebook16 *book = rvq->levels;
  for (int32_t left = rvq->level_count; left > 0; left--) {
    const uint32_t index = nearest(book, residual, dimension);
    *indices++ = (uint16_t)index;
    const int16_t *const code = book->codes + index * (uint32_t)dimension;
    for (int32_t d = 0; d < dimension; d++) {
      residual[d] = (int16_t)(residual[d] - code[d]);
    }
    book++;
  }
  return looks;
}
