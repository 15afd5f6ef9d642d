/* SPDX-License-Identifier: Apache-2.0 */
/* Range coder: a payload of bytes from decisions with known shares (SPEC.md 5.3). */
#ifndef EDC_RANGE_H
#define EDC_RANGE_H

#include <stdint.h>

#include "edc_config.h"

EDC_BEGIN_C

#define EDC_RANGE_BITS 24 /* shares are whole multiples of 2^-24 */

/* The interval so far and the bytes that are certain, but for a carry. Belongs to the caller; no
 * field is for others. */
typedef struct {
  uint64_t low;   /* lower end, behind the bytes in out */
  uint64_t range; /* width, at least 2^32 */
  uint8_t *out;
  uint32_t carry;    /* 1 when that much is to be added to the bytes in out */
  uint32_t size;     /* bytes in out */
  uint32_t capacity; /* bytes that out holds */
  uint8_t full;      /* whether more were needed; nothing is written from then on */
} edc_range;

/* Begin a payload of at most capacity bytes at out. */
void edc_range_start(edc_range *coder, uint8_t *out, uint32_t capacity);

/* Move the upper 32 bits of low to out. For edc_range_encode. */
void edc_range_word(edc_range *coder);

/* Narrow to [start, start + size) of 2^24; size is at least 1 and start + size at most 2^24. */
EDC_INLINE void edc_range_encode(edc_range *coder, uint32_t start, uint32_t size) {
  const uint64_t unit = coder->range >> EDC_RANGE_BITS; /* 2^8..2^40 - 1 */
  const uint64_t added = unit * start;
  const uint64_t range = unit * size;
#if defined(__GNUC__) /* its flag of the carry, where C has a comparison */
  if (__builtin_add_overflow(coder->low, added, &coder->low)) {
    coder->carry = 1;
  }
#else
  coder->low += added;
  coder->carry |= coder->low < added;
#endif
  coder->range = range;
  if ((range >> 32) == 0) {
    edc_range_word(coder);
  }
}

/* End the payload: as few bytes as name a number in the interval, without zeros at the end.
 * Returns their number, or UINT32_MAX when they do not fit. */
uint32_t edc_range_finish(edc_range *coder);

EDC_END_C

#endif
