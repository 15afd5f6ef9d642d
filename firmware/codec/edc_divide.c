/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_divide.h"

uint32_t edc_divide(uint64_t number, uint32_t divisor) {
  uint32_t rest = (uint32_t)(number >> 32);
  uint32_t low = (uint32_t)number; /* what is not brought down yet; the quotient's bits below */
  for (int32_t bit = 0; bit < 32; bit++) {
    const uint32_t top = rest >> 31; /* of 33 bits */
    rest = rest << 1 | low >> 31;
    low <<= 1;
    if (top != 0 || rest >= divisor) {
      rest -= divisor;
      low++;
    }
  }
  return low;
}
