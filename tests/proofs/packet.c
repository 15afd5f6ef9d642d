/* SPDX-License-Identifier: Apache-2.0 */
/* The writer of packets. */
#include "proof.h"

#include "edc_divide.c"
#include "edc_packet.c"
#include "edc_range.c"
#include "edc_side.c"

enum { POSITIONS = 2, LEVELS = 2, CHECKED = 2 };

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

static edc_side any_side(void) {
  const edc_side side = {.first_scale = any_u16(),
                         .scale_bits = any_u8(),
                         .location_bits = any_u8(),
                         .scale_field = any_u8(),
                         .common_bytes = any_u8(),
                         .squared = any_u8() & 1};
  ASSUME(side.scale_bits >= 1 && side.scale_bits <= 9 && side.location_bits <= 9);
  ASSUME(side.scale_field >= 1 && side.scale_field <= 14);
  ASSUME(side.common_bytes >= 2 && side.common_bytes <= 4);
  return side;
}

/* Side information of every frame in every form: as many bytes as it says. */
void prove_side_information(void) {
  uint8_t out[EDC_SIDE_MAX];
  const edc_side side = any_side();
  const int32_t offset = any_i32();
  const uint64_t spread = any_u64();
  ASSUME(offset > -(1 << 29) && offset < 1 << 29 && spread != 0);
  const uint32_t size = edc_side_write(&side, offset, spread, out);
  PROVE(size == EDC_SIDE_MAX || size == side.common_bytes);
}

/* Plain packets of every width, with and without levels left out, and flat ones: nothing is
 * written behind the longest packet, and none is longer. */
void prove_plain_packet(void) {
  const uint8_t bits[LEVELS] = {any_u8(), any_u8()};
  ASSUME(bits[0] >= 1 && bits[0] <= 16 && bits[1] >= 1 && bits[1] <= 16);
  const edc_side side = any_side();
  const edc_packet_format format = {.model = NULL,
                                    .side = (any_u8() & 1) != 0 ? &side : NULL,
                                    .index_bits = bits,
                                    .positions = POSITIONS,
                                    .samples = any_u16(),
                                    .tag = any_u16(),
                                    .levels = LEVELS};
  ASSUME(format.samples >= 1 && format.samples <= 16384 && format.tag <= 0xFFF);
  uint16_t indices[POSITIONS * LEVELS];
  for (int i = 0; i < POSITIONS * LEVELS; i++) {
    indices[i] = any_u16();
    ASSUME(indices[i] >> bits[i % LEVELS] == 0);
  }
  const edc_packet_frame frame = {.indices = indices,
                                  .spread = any_u8() & 1,
                                  .offset = any_i32(),
                                  .levels = any_u8(),
                                  .sequence = any_u8(),
                                  .flags = any_u8() & 12};
  ASSUME(frame.levels >= 1 && frame.levels <= LEVELS);
  ASSUME(frame.offset > -(1 << 29) && frame.offset < 1 << 29);
  uint8_t out[EDC_PACKET_FRAMING + POSITIONS * LEVELS * 2];
  const uint32_t plain = (POSITIONS * ((uint32_t)bits[0] + bits[1]) + 7) / 8;
  const uint32_t size = edc_packet_write(&format, NULL, &frame, out);
  PROVE(size >= 3 && size <= EDC_PACKET_FRAMING + plain);
  PROVE(out[0] >> 6 == VERSION);
}
