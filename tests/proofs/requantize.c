/* SPDX-License-Identifier: Apache-2.0 */
/* Requantisation: no overflow for what generation lets pass, and the integers of SPEC.md. */
#include "proof.h"

#include <stdbool.h>

#include "edc_requantize.h"
#include "edc_requantize16.h"

static int32_t any_multiplier(void) {
  const int32_t multiplier = any_i32();
  ASSUME(multiplier == 0 || multiplier >= 1 << 30);
  return multiplier;
}

/* SPEC.md 1.2, of a * multiplier: truncating division, then the rounding of gemmlowp. */
static int32_t twice_rounded(int64_t product, int right) {
  const int64_t nudged = product + (product >= 0 ? 1ll << 30 : 1 - (1ll << 30));
  const int32_t high = (int32_t)(nudged >= 0 ? nudged >> 31 : -(-nudged >> 31));
  const int32_t mask = (int32_t)((1u << right) - 1u);
  return (high >> right) + ((high & mask) > (mask >> 1) + (high < 0) ? 1 : 0);
}

/* Behind the multiplication: all products of 31 bits and 31 bits, and shifts to the right. */
void prove_double_rounding(void) {
  const int64_t product = any_i64();
  const int right = any_i8();
  ASSUME(product > -(1ll << 62) && product < 1ll << 62);
  ASSUME(right >= 0 && right <= 31);
  const int32_t high = (int32_t)((product + (1ll << 30)) >> 31);
  const int32_t mask = (int32_t)((1u << right) - 1u);
  const int32_t threshold = (mask >> 1) + (high < 0 ? 1 : 0);
  PROVE((high >> right) + ((high & mask) > threshold ? 1 : 0) == twice_rounded(product, right));
}

/* The function itself: no overflow for all accumulators, multipliers and shifts of -31 to 30 that
 * stay within int32, and that integer for accumulators of 8 bits by four multipliers. */
void prove_requantize(void) {
  const int32_t acc = any_i32();
  const int32_t multiplier = any_multiplier();
  const int shift = any_i8();
  ASSUME(shift >= -31 && shift <= 30);
  const int left = shift > 0 ? shift : 0;
  ASSUME(acc >= -(INT32_MAX >> left) && acc <= INT32_MAX >> left);
  const int32_t found = edc_requantize(acc, multiplier, shift);
  if (acc >= -128 && acc < 128 && (multiplier & 0x3FFFFFFC) == 0) {
    const int64_t product = (int64_t)(acc * (1 << left)) * multiplier;
    PROVE(found == twice_rounded(product, shift > 0 ? 0 : -shift));
  }
}

/* The narrow one, behind its multiplication: all products that 31 bits and 31 bits make. */
void prove_narrow_rounding(void) {
  const int64_t product = any_i64(); /* of acc and multiplier */
  const int down = any_i8();
  const int32_t zero_point = any_i8();
  ASSUME(product > -(1ll << 61) && product < 1ll << 61);
  ASSUME(down >= 0 && down <= 30);
  const int64_t twice = product * 2;
  int32_t high = (int32_t)(twice >> 32) + (int32_t)((uint32_t)twice >> 31);
  high += high >> 31;
  const int32_t found = ((high >> down) + 2 * zero_point + 1) >> 1;
  PROVE(found == twice_rounded(product, down + 1) + zero_point);
}

/* The narrow function itself: no overflow for any accumulator below 2^30. */
void prove_narrow_has_no_overflow(void) {
  const int32_t acc = any_i32();
  ASSUME(acc > -(1 << 30) && acc < 1 << 30);
  const int down = any_i8();
  ASSUME(down >= 0 && down <= 30);
  (void)edc_requantize_narrow(acc, any_multiplier(), down, 2 * any_i8() + 1);
}

/* SPEC.md 1.4: one rounding, halves up, behind its multiplication: all products of 46 bits. */
void prove_single_rounding(void) {
  const int64_t product = any_i64(); /* of acc and multiplier */
  const int down = any_i8();
  ASSUME(product > -(1ll << 46) && product < 1ll << 46);
  ASSUME(down >= 0 && down <= 29);
  const int shift = EDC_RESCALE_SHIFT + down;
  const int32_t high = (int32_t)(product >> 16);
  PROVE(((high >> down) + 1) >> 1 == (int32_t)((product + (1ll << (shift - 1))) >> shift));
}

/* The functions themselves: no overflow for any accumulator, and that integer for those of 10 bits
 * by multipliers of 8. */
void prove_rescale(void) {
  const int32_t acc = any_i32();
  const int16_t multiplier = any_i16();
  const int down = any_i8();
  ASSUME(multiplier >= 0 && down >= 0 && down <= 29);
  const int32_t found = edc_rescale(acc, multiplier, down);
  (void)edc_rescale_high(acc, multiplier);
  if (acc >= -512 && acc < 512 && multiplier < 256) {
    const int shift = EDC_RESCALE_SHIFT + down;
    PROVE(found == (int32_t)((acc * multiplier + (1ll << (shift - 1))) >> shift));
  }
}

void prove_saturation(void) {
  const int32_t value = any_i32();
  const int32_t found = edc_saturate(value);
  PROVE(found == value || (value > 127 && found == 127) || (value < -128 && found == -128));
  const int32_t wide = edc_saturate16(value, 0);
  PROVE(wide == value || (value > 32767 && wide == 32767) || (value < -32768 && wide == -32768));
  const int32_t rectified = edc_saturate16(value, 1);
  PROVE(rectified == value || (value > 32767 && rectified == 32767) ||
        (value < 0 && rectified == 0));
}
