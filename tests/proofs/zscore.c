/* SPDX-License-Identifier: Apache-2.0 */
/* Z-scores, step by step, within the ranges that edgecodec/codec/normalizer.py leaves. */
#include "proof.h"

#include "edc_zscore_frame.h"

enum { SAMPLES = 2, LEAST_SHIFT = 1, MOST_SHIFT = 61 };

/* As its header promises and normalize.c proves; the quotient is at most the number over 2^31, as a
 * root has its top bit. */
uint32_t edc_divide(uint64_t number, uint32_t divisor) {
  PROVE(number >> 32 < divisor && divisor >= 1u << 31);
  const uint32_t quotient = any_u32();
  ASSUME(quotient <= number >> 31);
  return quotient;
}

static edc_zscore any_constants(void) {
  const edc_zscore constants = {.epsilon = any_u64(),
                                .inverse_scale = any_u32(),
                                .samples = any_u16(),
                                .variance_shift = any_u8(),
                                .inverse_shift = any_u8(),
                                .zero_point = any_i8()};
  const uint64_t square = (uint64_t)constants.samples * constants.samples;
  const int f = constants.variance_shift;
  ASSUME(constants.samples >= 2 && constants.samples <= 16384);
  ASSUME(f <= 32 && f % 2 == 0);
  ASSUME(f == 0 || square < 1ull << (33 - f));
  ASSUME(f == 32 || square >= 1ull << (31 - f));
  ASSUME(constants.epsilon >= 1 && constants.epsilon < 1ull << 63);
  ASSUME(constants.inverse_scale >= 1u << 30 && constants.inverse_scale < 1u << 31);
  ASSUME(constants.inverse_shift >= 14 && constants.inverse_shift <= 30);
  return constants;
}

/* Of any variance of counts that are not all one: T - 1 at least. */
void prove_zscore_gain(void) {
  const edc_zscore constants = any_constants();
  const uint64_t samples = constants.samples;
  const uint64_t spread = any_u64();
  ASSUME(spread >= samples - 1 && spread <= samples * samples << 30);
  PROVE(spread << constants.variance_shift >> constants.variance_shift == spread);
  int shift;
  PROVE(edc_zscore_gain(&constants, spread, &shift) < 1u << 31);
  PROVE(shift >= LEAST_SHIFT && shift <= MOST_SHIFT);
}

/* Every frame of two counts, for any gain. */
void prove_zscore_scale(void) {
  edc_zscore constants = any_constants();
  constants.samples = SAMPLES;
  const int64_t gain = any_u32() >> 1;
  const int shift = any_u8();
  ASSUME(shift >= LEAST_SHIFT && shift <= MOST_SHIFT);
  int16_t frame[SAMPLES];
  int16_t out[SAMPLES];
  for (int i = 0; i < SAMPLES; i++) {
    frame[i] = any_i16();
  }
  edc_zscore_scale(&constants, frame, frame[0] + frame[1], gain, shift, (int8_t *)out,
                   any_u8() & 1);
}
