/* SPDX-License-Identifier: Apache-2.0 */
/* The decoder of packets for servers: any bytes, their check made right or not, give a status, and
 * what is good is within the codec. */
#include "fuzz.h"

#include "formats.h"

#define PACKETS 16

/* Make the check of a packet right (SPEC.md 5.1). */
static void seal(uint8_t *packet, size_t size, uint32_t tag) {
  uint32_t crc = 0xFFF;
  packet[0] &= 0xF0;
  for (size_t i = 0; i + 1 < size; i++) {
    crc ^= (uint32_t)packet[i] << 4;
    for (unsigned bit = 0; bit < 8; bit++) {
      crc = (crc << 1) ^ ((crc & 0x800) != 0 ? 0x180Fu : 0u);
    }
  }
  crc ^= tag;
  packet[0] |= (uint8_t)(crc >> 8 & 0x0F);
  packet[size - 1] = (uint8_t)crc;
}

static void check(const edc_unpack_format *format, const edc_unpack_frame *frame,
                  const uint16_t *indices) {
  EXPECT(frame->status <= EDC_UNPACK_REFUSED)
  EXPECT(frame->levels <= format->levels && (frame->flags & ~12u) == 0)
  EXPECT(frame->status == EDC_UNPACK_GOOD || (frame->levels == 0 && frame->spread == 0))
  for (uint32_t i = 0; i < format->positions * format->levels; i++) {
    const uint32_t level = i % format->levels;
    EXPECT(indices[i] < (level < frame->levels ? format->code_counts[level] : 1))
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_input input = {data, size};
  const uint32_t what = fuzz_take(&input, 1);
  const fuzz_format *const chosen = &formats[(what & 0x7F) % FORMATS];
  const edc_unpack_format *const format = chosen->format;
  uint64_t ends[PACKETS];
  uint8_t *const bytes = fuzz_allocate(size);
  size_t count = 0;
  size_t end = 0;
  for (; count < PACKETS && input.left != 0; count++) {
    const size_t wanted = fuzz_take(&input, 1);
    const size_t length = wanted < input.left ? wanted : input.left;
    memcpy(bytes + end, input.next, length);
    if ((what & 0x80) == 0 && length > 2) {
      seal(bytes + end, length, format->tag);
    }
    input.next += length;
    input.left -= length;
    end += length;
    ends[count] = end;
  }
  const uint32_t indices_each = format->positions * format->levels;
  uint8_t *const packets = fuzz_allocate(end);
  memcpy(packets, bytes, end);
  edc_unpack_frame *const frames = fuzz_allocate(count * sizeof *frames);
  uint16_t *const indices = fuzz_allocate(count * indices_each * sizeof *indices);
  int32_t *const work = fuzz_allocate(chosen->work_words * sizeof *work);
  edc_unpack(format, work, packets, ends, count, frames, indices);
  for (size_t i = 0; i < count; i++) {
    check(format, &frames[i], indices + i * indices_each);
  }
  free(work);
  free(indices);
  free(frames);
  free(packets);
  free(bytes);
  return 0;
}
