/* SPDX-License-Identifier: Apache-2.0 */
/* Normalisers: within the ranges that edgecodec/codec/normalizer.py leaves, nothing overflows. */
#include "proof.h"

#include "edc_divide.c"
#include "edc_fixed_frame.h"
#include "edc_minmax_frame.h"
#include "edc_zscore_frame.h"

enum { SAMPLES = 2, NARROW = 6 };

static int16_t frame[SAMPLES];
static int16_t out[SAMPLES];
static edc_frame_stats stats;

static int8_t *any_frame(void) {
  for (int i = 0; i < SAMPLES; i++) {
    frame[i] = any_i16();
  }
  return (int8_t *)out;
}

static int any_width(void) { return any_u8() & 1; }

/* Whatever the numbers are. */
void prove_division_has_no_overflow(void) { (void)edc_divide(any_u64(), any_u32()); }

/* The quotient of numbers of 12 bits by divisors of 6. */
void prove_quotient(void) {
  const uint64_t number = any_u64();
  const uint32_t divisor = any_u32();
  ASSUME(number < 1ull << (2 * NARROW) && divisor != 0 && divisor < 1u << NARROW);
  const uint64_t quotient = edc_divide(number, divisor);
  PROVE(quotient < 1ull << (2 * NARROW));
  PROVE(quotient * divisor <= number);
  PROVE(number - quotient * divisor < divisor);
}

/* Of all 64-bit values from 2^62 on: the top bit is set, so that what is divided by it fits. */
void prove_square_root_has_its_top_bit(void) {
  const uint64_t value = any_u64();
  ASSUME(value >= 1ull << 62);
  PROVE(edc_square_root(value) >= 1u << 31);
}

/* Every frame of two counts and all constants. */
void prove_minmax(void) {
  const int wide = any_width();
  edc_minmax constants = {
      .bias = any_i64(), .steps = any_u32(), .samples = SAMPLES, .steps_shift = any_u8()};
  const int64_t reach = wide ? 1ll << 55 : 1ll << 47;
  ASSUME(constants.bias > -reach && constants.bias < reach);
  ASSUME(constants.steps >= 1u << 30 && constants.steps < 1u << 31);
  ASSUME(wide ? constants.steps_shift >= 8 && constants.steps_shift <= 22
              : constants.steps_shift >= 16 && constants.steps_shift <= 30);
  edc_minmax_frame(&constants, frame, any_frame(), &stats, wide);
  PROVE(stats.spread <= UINT16_MAX);
}

void prove_fixed(void) {
  edc_fixed constants = {
      .bias = any_i64(), .gain = any_i32(), .samples = SAMPLES, .gain_shift = any_u8()};
  ASSUME(constants.bias > -(1ll << 62) && constants.bias < 1ll << 62);
  ASSUME(constants.gain >= 1 << 30);
  ASSUME(constants.gain_shift >= 14 && constants.gain_shift <= 46);
  edc_fixed_frame(&constants, frame, any_frame(), &stats, any_width());
}

/* Sum and variance of all frames of two counts. */
void prove_zscore_measure(void) {
  (void)any_frame();
  stats = edc_zscore_measure(frame, SAMPLES);
  PROVE(stats.offset == frame[0] + frame[1]);
}
