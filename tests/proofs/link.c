/* SPDX-License-Identifier: Apache-2.0 */
/* COBS and CRC-32 of the serial link. */
#include "proof.h"

#include "edc_link.c"

enum { MESSAGE = 8, STREAM = 12, CRC_BYTES = 3 };

static uint8_t sent[MESSAGE + 3];
static size_t sent_count;

static void collect(const uint8_t *bytes, size_t count) {
  for (size_t i = 0; i < count; i++) {
    PROVE(sent_count < sizeof sent);
    sent[sent_count++] = bytes[i];
  }
}

/* What is sent has one zero, at its end, and the reader takes it apart to the same message. */
void prove_cobs_round_trip(void) {
  uint8_t message[MESSAGE];
  uint8_t buffer[MESSAGE];
  const size_t count = any_u8();
  ASSUME(count >= EDC_LINK_HEADER_BYTES + EDC_LINK_CRC_BYTES && count <= MESSAGE);
  for (size_t i = 0; i < MESSAGE; i++) {
    message[i] = any_u8();
  }
  edc_link_send(message, count, collect);
  PROVE(sent_count <= count + 2);
  edc_link_reader reader;
  edc_link_reader_init(&reader, buffer, sizeof buffer);
  for (size_t i = 0; i + 1 < sent_count; i++) {
    PROVE(sent[i] != 0);
    PROVE(edc_link_reader_push(&reader, sent[i]) == EDC_LINK_MORE);
  }
  PROVE(sent[sent_count - 1] == 0);
  PROVE(!reader.failed && reader.left == 0 && reader.count == count);
  for (size_t i = 0; i < count; i++) {
    PROVE(buffer[i] == message[i]);
  }
}

/* Any bytes: nothing is written behind the buffer, and a message is whole and within it. */
void prove_reader_of_any_bytes(void) {
  uint8_t buffer[MESSAGE];
  const size_t capacity = any_u8();
  ASSUME(capacity <= sizeof buffer);
  edc_link_reader reader;
  edc_link_reader_init(&reader, buffer, capacity);
  for (size_t i = 0; i < STREAM; i++) {
    const uint8_t byte = any_u8();
    const int status = edc_link_reader_push(&reader, byte);
    PROVE(reader.count <= capacity);
    PROVE(status == EDC_LINK_MORE || byte == 0);
    if (status == EDC_LINK_MESSAGE) {
      PROVE(reader.count >= EDC_LINK_HEADER_BYTES + EDC_LINK_CRC_BYTES);
    }
    if (byte == 0) {
      PROVE(!reader.started && !reader.failed && reader.left == 0);
    }
  }
}

/* The table's CRC is the one of the polynomial, bit by bit. */
void prove_crc32(void) {
  uint8_t bytes[CRC_BYTES];
  const size_t count = any_u8();
  ASSUME(count <= CRC_BYTES);
  uint32_t crc = UINT32_MAX;
  for (size_t i = 0; i < CRC_BYTES; i++) {
    bytes[i] = any_u8();
    if (i < count) {
      crc ^= bytes[i];
      for (unsigned bit = 0; bit < 8; bit++) {
        crc = (crc >> 1) ^ ((crc & 1u) != 0 ? 0xEDB88320u : 0u);
      }
    }
  }
  PROVE(edc_link_crc32(bytes, count) == ~crc);
}
