/* SPDX-License-Identifier: Apache-2.0 */
/* A division of 64 bits, once or twice a frame: the compiler's library has one of 700 bytes. */
#ifndef EDC_DIVIDE_H
#define EDC_DIVIDE_H

#include <stdint.h>

/* number / divisor, rounded down, where that fits 32 bits: the divisor is above the number's high
 * word. */
uint32_t edc_divide(uint64_t number, uint32_t divisor);

#endif
