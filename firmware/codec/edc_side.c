/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_side.h"

#include "edc_divide.h"

/* 2^31 2^(1/2), 2^31 2^(1/4), ..., rounded. */
static const uint32_t roots[10] = {0xb504f334u, 0x9837f052u, 0x8b95c1e4u, 0x85aac368u, 0x82cd8699u,
                                   0x8164d1f4u, 0x80b1ed50u, 0x8058d7d3u, 0x802c6437u, 0x8016302fu};

/* log2 value in steps of 2^-bits, rounded down: the integer part, then a squaring a bit. */
static uint32_t log2_steps(uint64_t value, uint32_t bits) {
  uint32_t result = 63;
  while (value < (1ull << 63)) {
    value <<= 1;
    result--;
  }
  uint64_t mantissa = value >> 32; /* 2^31..2^32 - 1 */
  for (uint32_t i = 0; i < bits; i++) {
    mantissa = (mantissa * mantissa) >> 31;
    const uint32_t bit = (uint32_t)(mantissa >> 32);
    mantissa >>= bit;
    result = 2 * result + bit;
  }
  return result;
}

uint32_t edc_side_write(const edc_side *side, int32_t offset, uint64_t spread, uint8_t *out) {
  const uint32_t fraction_bits = (uint32_t)side->scale_bits - side->squared;
  const uint32_t scale = log2_steps(spread, fraction_bits);
  /* The middle of the step is mantissa 2^(exponent - 31). */
  const uint32_t bits = fraction_bits + 1 + side->squared;
  const uint32_t middle = 2 * scale + 1;
  const int32_t exponent = (int32_t)(middle >> bits);
  uint32_t mantissa = 1u << 31;
  for (uint32_t i = 0; i < bits; i++) {
    if ((middle >> (bits - 1 - i)) & 1) {
      mantissa = (uint32_t)(((uint64_t)mantissa * roots[i] + (1u << 30)) >> 31);
    }
  }
  const uint64_t magnitude = offset < 0 ? 0 - (uint64_t)(int64_t)offset : (uint64_t)offset;
  uint64_t location = edc_divide(magnitude << 34, mantissa);
  const int32_t shift = exponent + 3 - side->location_bits;
  if (shift > 0) {
    location = (location + (1ull << (shift - 1))) >> shift;
  } else {
    location <<= -shift;
  }
  if (location > INT32_MAX) {
    location = INT32_MAX; /* of no frame of counts */
  }
  const int32_t signed_location = offset < 0 ? -(int32_t)location : (int32_t)location;
  const uint32_t above = scale - side->first_scale;
  const int32_t half = 1 << (8 * side->common_bytes - side->scale_field - 1);
  if (scale >= side->first_scale && above >> side->scale_field == 0 && signed_location >= -half &&
      signed_location < half) {
    const uint32_t field = above | (uint32_t)signed_location << side->scale_field;
    for (uint32_t i = 0; i < side->common_bytes; i++) {
      out[i] = (uint8_t)(field >> (8 * i));
    }
    return side->common_bytes;
  }
  out[0] = (uint8_t)scale;
  out[1] = (uint8_t)(scale >> 8);
  for (uint32_t i = 0; i < 4; i++) {
    out[2 + i] = (uint8_t)((uint32_t)signed_location >> (8 * i));
  }
  return EDC_SIDE_MAX;
}
