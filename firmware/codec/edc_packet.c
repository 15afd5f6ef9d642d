/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_packet.h"

#include <stddef.h>

#define VERSION 1u
#define FORM_CODED 0u
#define FORM_PLAIN 1u
#define FORM_FLAT 2u
#define FORM_EXTENDED 3u
#define FLAG_WIDE 16u
#define FLAG_LEFT_OUT_SHIFT 5
#define PAYLOAD (EDC_PACKET_FRAMING - 1) /* where it is made: behind the longest header */

/* CRC-12, polynomial 0x80F, of a nibble on top of 8 zeros. */
static const uint16_t check_of_nibble[16] = {
    0x000, 0x80F, 0x811, 0x01E, 0x82D, 0x022, 0x03C, 0x833,
    0x855, 0x05A, 0x044, 0x84B, 0x078, 0x877, 0x869, 0x066,
};

static uint32_t check(const uint8_t *data, uint32_t size) {
  uint32_t value = 0xFFF;
  for (uint32_t i = 0; i < size; i++) {
    value ^= (uint32_t)data[i] << 4;
    value = ((value << 4) & 0xFFF) ^ check_of_nibble[value >> 8];
    value = ((value << 4) & 0xFFF) ^ check_of_nibble[value >> 8];
  }
  return value;
}

/* Move size bytes to a lower or the same address. */
static void move_down(uint8_t *to, const uint8_t *from, uint32_t size) {
  for (uint32_t i = 0; i < size; i++) {
    to[i] = from[i];
  }
}

static uint32_t plain_bytes(const edc_packet_format *format, uint32_t levels) {
  uint32_t bits = 0;
  for (uint32_t level = 0; level < levels; level++) {
    bits += format->index_bits[level];
  }
  return (format->positions * bits + 7) / 8;
}

/* Indices, most significant bit first, zeros behind the last. */
static void write_plain(const edc_packet_format *format, const edc_packet_frame *frame,
                        uint8_t *out) {
  const uint16_t *row = frame->indices;
  uint32_t held = 0; /* bits not written yet, the lowest ones */
  uint32_t count = 0;
  for (uint32_t position = 0; position < format->positions; position++) {
    for (uint32_t level = 0; level < frame->levels; level++) {
      held = held << format->index_bits[level] | row[level]; /* at most 7 + 16 bits count */
      count += format->index_bits[level];
      while (count >= 8) {
        count -= 8;
        *out++ = (uint8_t)(held >> count);
      }
    }
    row += format->levels;
  }
  if (count != 0) {
    *out = (uint8_t)(held << (8 - count));
  }
}

/* The count of a flat frame: 2 bytes, or 4 where it leaves int16. */
static uint32_t write_flat(const edc_packet_format *format, int32_t offset, uint8_t *out) {
  const int32_t value = format->side->squared ? offset / format->samples : offset;
  const uint32_t bytes = value == (int16_t)value ? 2 : 4;
  for (uint32_t i = 0; i < bytes; i++) {
    out[i] = (uint8_t)((uint32_t)value >> (8 * i));
  }
  return bytes;
}

void edc_packet_start(edc_packet_writer *writer, const edc_packet_format *format, void *state,
                      const edc_packet_frame *frame, uint8_t *out) {
  const int flat = format->side != NULL && frame->spread == 0;
  writer->format = format;
  writer->frame = frame;
  writer->state = state;
  writer->out = out;
  writer->next = frame->indices;
  writer->end = frame->indices;
  writer->plain_bytes = flat ? 0 : plain_bytes(format, frame->levels);
  writer->side_bytes = 0;
  /* Side information is made where it lies in a packet with flags. */
  if (flat) {
    writer->side_bytes = write_flat(format, frame->offset, out + 3);
  } else if (format->side != NULL) {
    writer->side_bytes = edc_side_write(format->side, frame->offset, frame->spread, out + 3);
  }
  if (!flat && format->model != NULL) {
    /* A coded payload must be shorter than a plain one. */
    edc_range_start(&writer->coder, out + PAYLOAD, writer->plain_bytes - 1);
    format->model->start(format->tables, state);
    writer->end += (uint32_t)format->positions * format->levels;
  }
}

int edc_packet_step(edc_packet_writer *writer) {
  if (writer->next == writer->end) {
    return 0;
  }
  const edc_packet_format *format = writer->format;
  format->model->position(format->tables, writer->state, writer->next, writer->frame->levels,
                          &writer->coder);
  writer->next = writer->coder.full ? writer->end : writer->next + format->levels;
  return writer->next != writer->end;
}

uint32_t edc_packet_end(edc_packet_writer *writer) {
  const edc_packet_format *format = writer->format;
  const edc_packet_frame *frame = writer->frame;
  uint8_t *out = writer->out;
  uint32_t form = FORM_FLAT;
  uint32_t payload_bytes = 0;
  uint32_t left_out = 0;
  if (writer->plain_bytes != 0) {
    form = FORM_CODED;
    left_out = (uint32_t)format->levels - frame->levels;
    payload_bytes = format->model == NULL ? UINT32_MAX : edc_range_finish(&writer->coder);
    if (payload_bytes == UINT32_MAX) {
      form = FORM_PLAIN;
      payload_bytes = writer->plain_bytes;
      write_plain(format, frame, out + PAYLOAD);
    }
  }
  const uint32_t wide = writer->side_bytes == (form == FORM_FLAT ? 4 : EDC_SIDE_MAX);
  const uint32_t flags =
      form | frame->flags | (wide ? FLAG_WIDE : 0) | left_out << FLAG_LEFT_OUT_SHIFT;
  uint32_t size = 2;
  if (flags != form) {
    out[size++] = (uint8_t)flags;
    form = FORM_EXTENDED;
  }
  move_down(out + size, out + 3, writer->side_bytes);
  size += writer->side_bytes;
  move_down(out + size, out + PAYLOAD, payload_bytes);
  size += payload_bytes;
  out[0] = (uint8_t)(VERSION << 6 | form << 4);
  out[1] = frame->sequence;
  const uint32_t bits = check(out, size) ^ format->tag;
  out[0] |= (uint8_t)(bits >> 8);
  out[size++] = (uint8_t)bits;
  return size;
}

uint32_t edc_packet_write(const edc_packet_format *format, void *state,
                          const edc_packet_frame *frame, uint8_t *out) {
  edc_packet_writer writer;
  edc_packet_start(&writer, format, state, frame, out);
  while (edc_packet_step(&writer)) {
  }
  return edc_packet_end(&writer);
}
