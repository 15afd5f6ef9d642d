/* SPDX-License-Identifier: Apache-2.0 */
/* Side information: shifts in range, no overflow, six bytes at most. */
#include "proof.h"

#include "edc_side.c"

/* As its header promises, and is proven in normalize.c. */
uint32_t edc_divide(uint64_t number, uint32_t divisor) {
  PROVE(number >> 32 < divisor);
  return any_u32();
}

/* Any frame and any steps that edgecodec.entropy.side_information takes. */
void prove_side(void) {
  const edc_side side = {.first_scale = any_u16(),
                         .scale_bits = any_u8(),
                         .location_bits = any_u8(),
                         .scale_field = any_u8(),
                         .common_bytes = any_u8(),
                         .squared = any_u8()};
  const int32_t offset = any_i32();
  const uint64_t spread = any_u64();
  ASSUME(side.scale_bits >= 1 && side.scale_bits <= 9 && side.location_bits <= 9);
  ASSUME(side.scale_field >= 1 && side.scale_field <= 14);
  ASSUME(side.common_bytes >= 2 && side.common_bytes <= 4 && side.squared <= 1);
  ASSUME(offset > -(1 << 29) && offset < 1 << 29 && spread >= 1 && spread < 1ull << 58);
  uint8_t out[EDC_SIDE_MAX];
  const uint32_t size = edc_side_write(&side, offset, spread, out);
  PROVE(size == side.common_bytes || size == EDC_SIDE_MAX);
}
