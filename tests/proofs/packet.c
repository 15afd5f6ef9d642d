/* SPDX-License-Identifier: Apache-2.0 */
/* The check of packets. */
#include "proof.h"

#include "edc_divide.c"
#include "edc_packet.c"
#include "edc_range.c"
#include "edc_side.c"

enum { CHECKED = 2 };

/* The table's check is the polynomial's, bit by bit. */
void prove_check(void) {
  uint8_t data[CHECKED];
  const uint32_t size = any_u8();
  ASSUME(size <= CHECKED);
  uint32_t crc = 0xFFF;
  for (uint32_t i = 0; i < CHECKED; i++) {
    data[i] = any_u8();
    if (i < size) {
      crc ^= (uint32_t)data[i] << 4;
      for (unsigned bit = 0; bit < 8; bit++) {
        crc = (crc << 1) ^ ((crc & 0x800) != 0 ? 0x180Fu : 0u);
      }
    }
  }
  PROVE(check(data, size) == crc);
}
