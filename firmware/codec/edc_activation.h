/* SPDX-License-Identifier: Apache-2.0 */
/* The encoder's input of either width, by normalisers that are compiled once for each. */
#ifndef EDC_ACTIVATION_H
#define EDC_ACTIVATION_H

#include <stdint.h>

#include "edc_config.h"

/* Puts out[i], an int8 or, if said so, an int16, saturated. */
EDC_ALWAYS_INLINE void edc_put_activation(int8_t *out, int32_t i, int64_t value, int is_int16) {
  if (is_int16) {
    int16_t *const values = (int16_t *)(void *)out;
    values[i] = (int16_t)(value < INT16_MIN ? INT16_MIN : value > INT16_MAX ? INT16_MAX : value);
  } else {
    out[i] = (int8_t)(value < -128 ? -128 : value > 127 ? 127 : value);
  }
}

#endif
