/* SPDX-License-Identifier: Apache-2.0 */
/* The check of packets, and plain payloads. */
#include "proof.h"

#include "edc_divide.c"
#include "edc_packet.c"
#include "edc_range.c"
#include "edc_side.c"

enum { CHECKED = 2, POSITIONS = 2, LEVELS = 2 };

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

/* Plain indices: within the payload's bytes, and each where its bits are looked for. */
void prove_plain(void) {
  const uint8_t bits[LEVELS] = {any_u8(), any_u8()};
  const edc_packet_format format = {.index_bits = bits, .positions = any_u16(), .levels = any_u8()};
  uint16_t indices[POSITIONS * LEVELS];
  const edc_packet_frame frame = {.indices = indices, .levels = any_u8()};
  ASSUME(bits[0] >= 1 && bits[0] <= 16 && bits[1] >= 1 && bits[1] <= 16);
  ASSUME(format.positions >= 1 && format.positions <= POSITIONS);
  ASSUME(format.levels >= 1 && format.levels <= LEVELS);
  ASSUME(frame.levels >= 1 && frame.levels <= format.levels);
  for (uint32_t i = 0; i < POSITIONS * LEVELS; i++) {
    indices[i] = any_u16();
    ASSUME(indices[i] >> bits[i % format.levels] == 0);
  }
  uint8_t out[2 * POSITIONS * LEVELS + 3];
  const uint32_t size = plain_bytes(&format, frame.levels);
  out[size] = 0xA5;
  write_plain(&format, &frame, out);
  PROVE(size <= 2 * POSITIONS * LEVELS && out[size] == 0xA5);
  uint32_t at = 0;
  for (uint32_t position = 0; position < format.positions; position++) {
    for (uint32_t level = 0; level < frame.levels; level++) {
      const uint8_t *const from = out + at / 8;
      const uint32_t window = (uint32_t)from[0] << 16 | (uint32_t)from[1] << 8 | from[2];
      const uint32_t index = (window >> (24 - at % 8 - bits[level])) & ((1u << bits[level]) - 1);
      PROVE(index == indices[position * format.levels + level]);
      at += bits[level];
    }
  }
}
