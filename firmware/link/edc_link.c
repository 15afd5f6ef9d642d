/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_link.h"

#define COBS_LONGEST_RUN 254u
#define COBS_RUN_WITHOUT_ZERO 0xFFu

uint32_t edc_link_crc32(const uint8_t *bytes, size_t count) {
  /* CRC of each nibble, polynomial 0xEDB88320 (reflected): 64 bytes instead of 1 KiB of flash. */
  static const uint32_t table[16] = {
      0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u,
      0x4DB26158u, 0x5005713Cu, 0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu,
      0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu,
  };
  uint32_t crc = 0xFFFFFFFFu;
  for (size_t i = 0; i < count; ++i) {
    crc ^= bytes[i];
    crc = (crc >> 4) ^ table[crc & 15u];
    crc = (crc >> 4) ^ table[crc & 15u];
  }
  return ~crc;
}

void edc_link_reader_init(edc_link_reader *reader, uint8_t *buffer, size_t capacity) {
  *reader = (edc_link_reader){.buffer = buffer, .capacity = capacity};
}

static void start_message(edc_link_reader *reader) {
  reader->count = 0;
  reader->left = 0;
  reader->zero_is_due = false;
  reader->started = false;
  reader->failed = false;
}

static void append(edc_link_reader *reader, uint8_t byte) {
  if (reader->count < reader->capacity) {
    reader->buffer[reader->count++] = byte;
  } else {
    reader->failed = true;
  }
}

static bool crc_is_right(const uint8_t *message, size_t count) {
  const uint8_t *tail = message + count - EDC_LINK_CRC_BYTES;
  uint32_t sent = (uint32_t)tail[0] | (uint32_t)tail[1] << 8 | (uint32_t)tail[2] << 16 |
                  (uint32_t)tail[3] << 24;
  return sent == edc_link_crc32(message, count - EDC_LINK_CRC_BYTES);
}

static int end_message(edc_link_reader *reader) {
  if (!reader->started) {
    return EDC_LINK_MORE; /* the host flushes the line with zeros */
  }
  size_t count = reader->count;
  bool whole = !reader->failed && reader->left == 0;
  start_message(reader);
  if (!whole || count < EDC_LINK_HEADER_BYTES + EDC_LINK_CRC_BYTES ||
      !crc_is_right(reader->buffer, count)) {
    return EDC_LINK_ERROR_MESSAGE;
  }
  reader->count = count;
  return EDC_LINK_MESSAGE;
}

int edc_link_reader_push(edc_link_reader *reader, uint8_t byte) {
  if (byte == 0) {
    return end_message(reader);
  }
  if (!reader->started) {
    start_message(reader);
    reader->started = true;
  }
  if (reader->left > 0) {
    append(reader, byte);
    --reader->left;
    return EDC_LINK_MORE;
  }
  if (reader->zero_is_due) {
    append(reader, 0);
  }
  reader->left = (uint8_t)(byte - 1u);
  reader->zero_is_due = byte != COBS_RUN_WITHOUT_ZERO;
  return EDC_LINK_MORE;
}

size_t edc_link_seal(uint8_t *message, size_t count) {
  uint32_t crc = edc_link_crc32(message, count);
  for (size_t i = 0; i < EDC_LINK_CRC_BYTES; ++i) {
    message[count++] = (uint8_t)(crc >> (8 * i));
  }
  return count;
}

void edc_link_send(const uint8_t *message, size_t count, edc_link_write *write) {
  static const uint8_t delimiter = 0;
  size_t start = 0;
  for (;;) {
    size_t run = 0;
    while (run < COBS_LONGEST_RUN && start + run < count && message[start + run] != 0) {
      ++run;
    }
    uint8_t code = (uint8_t)(run + 1u);
    write(&code, 1);
    write(message + start, run);
    start += run;
    if (start == count) {
      break;
    }
    if (run < COBS_LONGEST_RUN) {
      ++start; /* the code stands for this zero */
    }
  }
  write(&delimiter, 1);
}
