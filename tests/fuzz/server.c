/* SPDX-License-Identifier: Apache-2.0 */
/* The server of the serial link: any bytes and any sound messages, in any pieces; after them it
 * still answers. */
#include "fuzz.h"

#include "edc_link.h"
#include "host.h"

enum { HELLO = 1, HELLO_REPLY = 0x81, REPLIES = 1 << 16 };

static uint8_t replies[REPLIES];
static uint8_t request[1 << 10];
static size_t request_bytes;

static void collect(const uint8_t *bytes, size_t count) {
  memcpy(request + request_bytes, bytes, count);
  request_bytes += count;
}

/* Make a sound message of `count` bytes, at most 256. */
static void make_request(const uint8_t *bytes, size_t count) {
  uint8_t message[256 + EDC_LINK_CRC_BYTES];
  memcpy(message, bytes, count);
  request_bytes = 0;
  edc_link_send(message, edc_link_seal(message, count), collect);
}

/* Send what was made, so many bytes at a time. Returns the bytes of the last replies. */
static size_t exchange(const uint8_t *bytes, size_t count, size_t piece) {
  size_t sent = 0;
  for (size_t at = 0; at < count; at += piece) {
    const size_t size = piece < count - at ? piece : count - at;
    uint8_t *const part = fuzz_allocate(size); /* nothing is read behind it */
    memcpy(part, bytes + at, size);
    sent = host_exchange(part, size, replies, sizeof replies);
    EXPECT(sent < sizeof replies)
    free(part);
  }
  return sent;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const uint8_t hello[] = {HELLO, 0x34, 0x12};
  static uint8_t message[1 << 10];
  fuzz_input input = {data, size};
  host_start(NULL);
  while (input.left != 0) {
    /* Whether it is a message, bytes, and how many at a time. */
    const uint32_t what = fuzz_take(&input, 1);
    const size_t wanted = fuzz_take(&input, 1);
    const size_t piece = 1 + fuzz_take(&input, 1);
    const size_t count = wanted < input.left ? wanted : input.left;
    if ((what & 1) != 0) {
      make_request(input.next, count);
      (void)exchange(request, request_bytes, piece);
    } else {
      (void)exchange(input.next, count, piece);
    }
    input.next += count;
    input.left -= count;
  }
  (void)exchange((const uint8_t[]){0}, 1, 1);
  make_request(hello, sizeof hello);
  const size_t sent = exchange(request, request_bytes, request_bytes);
  edc_link_reader reader;
  int status = EDC_LINK_MORE;
  edc_link_reader_init(&reader, message, sizeof message);
  for (size_t i = 0; i < sent; i++) {
    status = edc_link_reader_push(&reader, replies[i]);
  }
  EXPECT(status == EDC_LINK_MESSAGE && message[0] == HELLO_REPLY && message[1] == 0x34 &&
         message[2] == 0x12)
  return 0;
}
