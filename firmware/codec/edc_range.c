/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_range.h"

void edc_range_start(edc_range *coder, uint8_t *out, uint32_t capacity) {
  coder->low = 0;
  coder->range = UINT64_MAX;
  coder->carry = 0;
  coder->out = out;
  coder->size = 0;
  coder->capacity = capacity;
  coder->full = 0;
}

/* Add the carry to the number in out. The number stays below 1, so there is a byte below 255 in
 * front. A byte is passed at most once for each byte that is written later, so all carries of a
 * payload take no longer than its bytes. */
static void settle(edc_range *coder) {
  uint32_t at = coder->size;
  while (at != 0 && ++coder->out[--at] == 0) {
  }
  coder->carry = 0;
}

void edc_range_word(edc_range *coder) {
  const uint32_t word = (uint32_t)(coder->low >> 32);
  if (coder->carry != 0) {
    settle(coder);
  }
  coder->low <<= 32;
  coder->range <<= 32;
  if (coder->capacity - coder->size < 4) {
    coder->full = 1; /* from now on: size stays as it is */
    return;
  }
  uint8_t *out = coder->out + coder->size;
  coder->size += 4;
  out[0] = (uint8_t)(word >> 24);
  out[1] = (uint8_t)(word >> 16);
  out[2] = (uint8_t)(word >> 8);
  out[3] = (uint8_t)word;
}

uint32_t edc_range_finish(edc_range *coder) {
  uint32_t count = 0;
  uint64_t distance = 0 - coder->low; /* to the next number of count bytes */
  for (uint64_t mask = UINT64_MAX; distance >= coder->range; count++) {
    mask >>= 8;
    distance = (0 - coder->low) & mask;
  }
  if (coder->full) {
    return UINT32_MAX;
  }
  const uint64_t point = coder->low + distance;
  if (coder->carry != 0 || point < coder->low) {
    settle(coder);
  }
  while (count != 0 && (uint8_t)(point >> (64 - 8 * count)) == 0) {
    count--;
  }
  if (count == 0) {
    while (coder->size != 0 && coder->out[coder->size - 1] == 0) {
      coder->size--;
    }
  }
  if (coder->capacity - coder->size < count) {
    return UINT32_MAX;
  }
  for (uint32_t i = 0; i < count; i++) {
    coder->out[coder->size++] = (uint8_t)(point >> (56 - 8 * i));
  }
  return coder->size;
}
