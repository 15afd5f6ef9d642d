/* SPDX-License-Identifier: Apache-2.0 */
/* edgecodec: messages on a byte stream (SPEC.md, section 2).
 *
 * A message is `type u8 | seq u16 | payload | crc32 u32`, COBS-encoded and ended by 0x00.
 */
#ifndef EDC_LINK_H
#define EDC_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EDC_LINK_HEADER_BYTES 3u /* type, seq */
#define EDC_LINK_CRC_BYTES 4u

/* edc_link_reader_push: a whole message, more bytes wanted, or a message that is no good. */
#define EDC_LINK_MESSAGE 0
#define EDC_LINK_MORE 1
#define EDC_LINK_ERROR_MESSAGE (-1)

/* CRC-32 of IEEE 802.3 over `count` bytes. */
uint32_t edc_link_crc32(const uint8_t *bytes, size_t count);

/* Takes a stream apart, byte by byte, into a buffer of the caller. */
typedef struct {
  uint8_t *buffer;
  size_t capacity;
  size_t count;     /* decoded bytes in the buffer; the whole message, CRC included, at its end */
  uint8_t left;     /* bytes until the next COBS code byte */
  bool zero_is_due; /* the current COBS block stands for a zero at its end */
  bool started;     /* a byte has come since the last delimiter */
  bool failed;      /* the message is longer than the buffer */
} edc_link_reader;

void edc_link_reader_init(edc_link_reader *reader, uint8_t *buffer, size_t capacity);

/* Feed one byte. After EDC_LINK_MESSAGE `buffer[0..count-1]` holds a message with a right CRC,
 * until the next call; after EDC_LINK_ERROR_MESSAGE the reader is ready for the next message. */
int edc_link_reader_push(edc_link_reader *reader, uint8_t byte);

typedef void edc_link_write(const uint8_t *bytes, size_t count);

/* Put the CRC behind the `count` bytes of `message` (which must have room for it). Returns the
 * new count. */
size_t edc_link_seal(uint8_t *message, size_t count);

/* COBS-encode a sealed message through `write`, delimiter included, without a second buffer. */
void edc_link_send(const uint8_t *message, size_t count, edc_link_write *write);

#endif
