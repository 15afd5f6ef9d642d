/* SPDX-License-Identifier: Apache-2.0 */
/* The range coder, from any state that it can be in. */
#include "proof.h"

#include "edc_range.c"

enum { CAPACITY = 9 };

static uint8_t out[CAPACITY];

/* A coder within a payload: a carry is due only where a byte below 255 is in front. */
static edc_range any_coder(void) {
  edc_range coder = {.low = any_u64(),
                     .range = any_u64(),
                     .out = out,
                     .carry = any_u8() & 1,
                     .size = any_u8(),
                     .capacity = any_u8(),
                     .full = any_u8() & 1};
  ASSUME(coder.capacity <= CAPACITY && coder.size <= coder.capacity);
  ASSUME(coder.range >= 1ull << 32);
  for (int i = 0; i < CAPACITY; i++) {
    out[i] = any_u8();
  }
  return coder;
}

/* One decision: the range stays at least 2^32, no byte is written outside, the interval is part of
 * the one before. */
void prove_step(void) {
  edc_range coder = any_coder();
  const uint32_t size_before = coder.size;
  const uint8_t full_before = coder.full;
  const uint32_t start = any_u32();
  const uint32_t size = any_u32();
  ASSUME(size >= 1 && size <= 1u << EDC_RANGE_BITS && start <= (1u << EDC_RANGE_BITS) - size);
  edc_range_encode(&coder, start, size);
  PROVE(coder.range >= 1ull << 32);
  PROVE(coder.size <= coder.capacity);
  PROVE(coder.size == size_before || coder.size == size_before + 4);
  PROVE(coder.full >= full_before);
}

/* The end: no byte is written outside, and the bytes said are those there. */
void prove_finish(void) {
  edc_range coder = any_coder();
  const uint32_t size = edc_range_finish(&coder);
  PROVE(size == UINT32_MAX || size <= coder.capacity);
  PROVE(size == UINT32_MAX || size == 0 || out[size - 1] != 0);
}
