/* SPDX-License-Identifier: Apache-2.0 */
/* What the plain kernels of either width do alike: the taps that lie inside the tensor, and their
 * products.
 */
#ifndef EDC_TAPS_H
#define EDC_TAPS_H

#include <stdint.h>

#include "edc_config.h"

/* The taps [first, last) of one output position that lie inside the tensor, and where they start.
 */
typedef struct {
  int32_t start; /* input position of tap 0, negative inside the left padding */
  int32_t first;
  int32_t last;
} edc_tap_range;

/* `start` is the input position of tap 0. */
EDC_INLINE edc_tap_range edc_taps_from(int32_t start, int32_t kernel, int32_t in_width) {
  const int32_t left = in_width - start; /* taps before the right edge */
  const edc_tap_range range = {
      .start = start,
      .first = start < 0 ? -start : 0,
      .last = left < kernel ? left : kernel,
  };
  return range;
}

/* A function `name`: the sum of products of activations of `type` and weights, in int32. */
#define EDC_DOT(name, type)                                                                        \
  static int32_t name(const type *a, const int8_t *b, int32_t count) {                             \
    int32_t sum = 0;                                                                               \
    int32_t i = 0;                                                                                 \
    for (; i + 4 <= count; i += 4) {                                                               \
      sum += a[i] * b[i];                                                                          \
      sum += a[i + 1] * b[i + 1];                                                                  \
      sum += a[i + 2] * b[i + 2];                                                                  \
      sum += a[i + 3] * b[i + 3];                                                                  \
    }                                                                                              \
    for (; i < count; i++) {                                                                       \
      sum += a[i] * b[i];                                                                          \
    }                                                                                              \
    return sum;                                                                                    \
  }

#endif
