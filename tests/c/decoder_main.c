/* Packets on standard input, each behind its length (two bytes, the lower first), to float counts
 * on standard output. */
#include <stdio.h>

#include "ppg_decoder.h"

static edc_decode_lanes memory[PPG_DECODER_MEMORY];
static int32_t work[PPG_DECODER_WORK];

int main(void) {
  int low;
  while ((low = getchar()) != EOF) {
    uint8_t packet[4096];
    uint16_t indices[PPG_DECODER_INDEX_COUNT];
    float counts[PPG_DECODER_SAMPLES];
    edc_unpack_frame frame;
    const size_t bytes = (size_t)low + 256 * (size_t)getchar();
    const uint64_t end = bytes;
    if (bytes > sizeof packet || fread(packet, 1, bytes, stdin) != bytes) {
      return 1;
    }
    edc_unpack(&ppg_packets, work, packet, &end, 1, &frame, indices);
    if (frame.status != EDC_UNPACK_GOOD) {
      fprintf(stderr, "status %d\n", frame.status);
      continue;
    }
    edc_decode(&ppg_decoder, memory, indices, &frame.levels, &frame.offset, &frame.spread, 1,
               counts);
    fwrite(counts, sizeof counts, 1, stdout);
  }
  return 0;
}
