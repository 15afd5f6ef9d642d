/* SPDX-License-Identifier: Apache-2.0 */
/* Writes packets of frames of any bytes, each piece of memory as large as it must be and no larger.
 *
 * usage: packets FRAMES PACKETS: for each frame raw uint16 indices [positions][levels], int32
 * offset, uint32 zero, uint64 spread in; for each a size, uint32, and the packet out. Built with
 * ASan and UBSan.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edc_packet_model.h"

int main(int argc, char **argv) {
  if (argc != 3) {
    return 2;
  }
  FILE *in = fopen(argv[1], "rb");
  FILE *to = fopen(argv[2], "wb");
  if (in == NULL || to == NULL) {
    return 2;
  }
  const size_t count = (size_t)edc_packet_model.positions * edc_packet_model.levels;
  uint16_t *indices = malloc(count * sizeof *indices);
  int32_t *state = malloc(EDC_PACKET_STATE_WORDS * sizeof *state);
  uint8_t *out = malloc(EDC_PACKET_BYTES_MAX);
  struct {
    int32_t offset;
    uint32_t zero;
    uint64_t spread;
  } stats;
  if (indices == NULL || state == NULL || out == NULL) {
    return 2;
  }
  uint8_t number = 0;
  while (fread(indices, sizeof *indices, count, in) == count &&
         fread(&stats, sizeof stats, 1, in) == 1) {
    memset(state, 0x5A, EDC_PACKET_STATE_WORDS * sizeof *state);
    memset(out, 0xA5, EDC_PACKET_BYTES_MAX);
    const edc_packet_frame frame = {.indices = indices,
                                    .spread = stats.spread,
                                    .offset = stats.offset,
                                    .levels = edc_packet_model.levels,
                                    .sequence = number++};
    const uint32_t size = edc_packet_write(&edc_packet_model, state, &frame, out);
    fwrite(&size, sizeof size, 1, to);
    fwrite(out, 1, size, to);
  }
  free(out);
  free(state);
  free(indices);
  fclose(in);
  return fclose(to);
}
