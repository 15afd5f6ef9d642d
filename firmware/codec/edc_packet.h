/* SPDX-License-Identifier: Apache-2.0 */
/* Packets: a frame's indices and side information as bytes for a radio (SPEC.md 5). */
#ifndef EDC_PACKET_H
#define EDC_PACKET_H

#include <stdint.h>

#include "edc_config.h"
#include "edc_range.h"
#include "edc_side.h"

EDC_BEGIN_C

#define EDC_PACKET_CLIPPED 4u /* the frame reached an end of the converter's range */
#define EDC_PACKET_GAP 8u     /* samples were lost before the frame */

/* Bytes around the payload, at most: header, flags, side information, check. */
#define EDC_PACKET_FRAMING (2 + 1 + EDC_SIDE_MAX + 1)

/* A static model of the indices: edc_context_model, edc_causal_model or NULL, all payloads plain.
 */
typedef struct {
  /* Begin a frame. */
  void (*start)(const void *tables, void *state);
  /* Code the first levels of one position's indices. */
  void (*position)(const void *tables, void *state, const uint16_t *indices, uint32_t levels,
                   edc_range *coder);
} edc_index_model;

typedef struct edc_packet_format {
  const edc_index_model *model; /* NULL: all payloads are plain */
  const void *tables;           /* the model's */
  const edc_side *side;         /* NULL: no side information */
  const uint8_t *index_bits;    /* [levels], bits of a plain index, 1..16 */
  uint32_t state_bytes;         /* of the model, a multiple of 4 */
  uint16_t positions;
  uint16_t samples; /* T */
  uint16_t tag;     /* first 12 bits of the bundle's digest */
  uint8_t levels;
} edc_packet_format;

/* One frame. Indices are not looked at when it is flat: with side information and spread 0. */
typedef struct {
  const uint16_t *indices; /* [positions][levels] of the format */
  uint64_t spread;         /* the normaliser's */
  int32_t offset;          /* the normaliser's */
  uint8_t levels;          /* to send, the first ones: at most 7 fewer than there are */
  uint8_t sequence;
  uint8_t flags; /* EDC_PACKET_CLIPPED, EDC_PACKET_GAP */
} edc_packet_frame;

/* A packet under way; no field is for others. */
typedef struct {
  const edc_packet_format *format;
  const edc_packet_frame *frame;
  void *state;
  uint8_t *out;
  edc_range coder;
  uint32_t plain_bytes; /* of the payload; 0 for a flat frame */
  uint32_t side_bytes;
  const uint16_t *next; /* indices of the position to code */
  const uint16_t *end;  /* and behind the last one; the same where nothing is coded */
} edc_packet_writer;

/* Begin the packet of frame at out, of EDC_PACKET_FRAMING and the plain payload's bytes. state is
 * the model's, or NULL without one. All that is given stays in use until edc_packet_end. */
void edc_packet_start(edc_packet_writer *writer, const edc_packet_format *format, void *state,
                      const edc_packet_frame *frame, uint8_t *out);

/* Code one position; 1 while there are more. */
int edc_packet_step(edc_packet_writer *writer);

/* Complete the packet after the last step; returns its bytes. */
uint32_t edc_packet_end(edc_packet_writer *writer);

/* All of it at once. */
uint32_t edc_packet_write(const edc_packet_format *format, void *state,
                          const edc_packet_frame *frame, uint8_t *out);

EDC_END_C

#endif
