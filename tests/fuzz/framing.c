/* SPDX-License-Identifier: Apache-2.0 */
/* Messages on a byte stream: any bytes into a buffer of any size; and any message is read as it was
 * sent, whatever came before. */
#include "fuzz.h"

#include "edc_link.h"

enum { LONGEST = 1 << 10 };

static uint8_t sent[2 * LONGEST];
static size_t sent_bytes;

static void collect(const uint8_t *bytes, size_t count) {
  EXPECT(sent_bytes + count <= sizeof sent)
  if (count != 0) {
    memcpy(sent + sent_bytes, bytes, count);
  }
  sent_bytes += count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_input input = {data, size};
  const size_t capacity = fuzz_take(&input, 2) % LONGEST;
  const size_t wanted = fuzz_take(&input, 1);
  const size_t noise = wanted < input.left ? wanted : input.left;
  uint8_t *const buffer = fuzz_allocate(capacity);
  edc_link_reader reader;
  edc_link_reader_init(&reader, buffer, capacity);
  for (size_t i = 0; i < noise; i++) {
    const int status = edc_link_reader_push(&reader, input.next[i]);
    EXPECT(reader.count <= capacity && (status == EDC_LINK_MORE || input.next[i] == 0))
  }
  (void)edc_link_reader_push(&reader, 0);
  const size_t count = input.left - noise;
  uint8_t *const message = fuzz_allocate(count + EDC_LINK_CRC_BYTES);
  memcpy(message, input.next + noise, count);
  const size_t sealed = edc_link_seal(message, count);
  sent_bytes = 0;
  edc_link_send(message, sealed, collect);
  for (size_t i = 0; i < sent_bytes; i++) {
    const int is_last = i + 1 == sent_bytes;
    EXPECT((sent[i] == 0) == is_last)
    const int status = edc_link_reader_push(&reader, sent[i]);
    const int fits = count >= EDC_LINK_HEADER_BYTES && sealed <= capacity;
    EXPECT(status == (!is_last ? EDC_LINK_MORE : fits ? EDC_LINK_MESSAGE : EDC_LINK_ERROR_MESSAGE))
    EXPECT(status != EDC_LINK_MESSAGE ||
           (reader.count == sealed && memcmp(buffer, message, sealed) == 0))
  }
  free(message);
  free(buffer);
  return 0;
}
