/* SPDX-License-Identifier: Apache-2.0 */
/* Packets back to indices and side information, many at once, for servers and phones (SPEC.md 5).
 *
 * Not for microcontrollers. One build takes every codec: the constants are made in Python
 * (edgecodec/decoding/packet_constants.py), ordered so that decoding finds what it looks for.
 */
#ifndef EDC_UNPACK_H
#define EDC_UNPACK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EDC_UNPACK_GOOD 0u
#define EDC_UNPACK_SHORT 1u     /* fewer bytes than any packet has */
#define EDC_UNPACK_OTHER_TAG 2u /* damaged, or of another bundle */
#define EDC_UNPACK_REFUSED 3u   /* of another version, or of no frame of this codec */

#define EDC_UNPACK_LANES 16 /* int32 of a vector */

#define EDC_UNPACK_CLIPPED 4u
#define EDC_UNPACK_GAP 8u

/* One level of context tables: K codes in group_count groups; ranks number codes by group. */
typedef struct {
  const uint8_t *classes;        /* [contexts] */
  const uint32_t *group_starts;  /* [classes][group_count + 1], of 2^16; the last is 2^16 */
  const uint16_t *group_ranks;   /* [group_count + 1], first rank of each group; the last is K */
  const uint16_t *member_starts; /* [K], by rank, of 2^8 */
  const uint16_t *member_ends;   /* [K], by rank, of 2^8 */
  const uint16_t *codes;         /* [K], the index that a rank stands for */
  uint32_t group_count;
} edc_unpack_tables;

/* sat16((bias + weights x) >> shift); what rounds is in the bias. Channels and hidden channels are
 * padded to whole vectors with zeros. */
typedef struct {
  const int32_t *weights; /* [outputs / EDC_UNPACK_LANES][inputs][EDC_UNPACK_LANES] */
  const int32_t *bias;    /* [outputs] */
  uint32_t inputs;
  uint32_t outputs; /* a multiple of EDC_UNPACK_LANES */
  uint32_t shift;   /* 1..30 */
} edc_unpack_dense;

typedef struct {
  edc_unpack_dense taps; /* the oldest of three first */
  edc_unpack_dense mix;
  uint32_t dilation; /* a power of two */
} edc_unpack_block;

typedef struct {
  edc_unpack_dense hidden;
  const int8_t *embedding;     /* [K + 1][embedding_size] */
  const int32_t *const *above; /* [levels above] of [codes there][hidden], shifted to a sum */
  const int32_t *nodes;        /* [K - 1][hidden] */
  const int32_t *node_bias;    /* [K - 1], shifted to a node's sum */
  const uint16_t *codes;       /* [K], the index of each leaf */
  uint32_t code_count;         /* K */
  uint32_t node_shift;
} edc_unpack_head;

typedef struct {
  edc_unpack_dense input;
  const edc_unpack_block *blocks;
  const edc_unpack_head *heads;
  const uint16_t *likelihoods; /* [256], of 2^15 */
  uint32_t block_count;
  uint32_t hidden;
  uint32_t embedding_size;
} edc_unpack_network;

typedef struct {
  const uint32_t *roots; /* R_1, R_2, ... of SPEC.md 5.2 */
  uint32_t first_scale;
  uint32_t scale_bits;
  uint32_t location_bits;
  uint32_t scale_field;
  uint32_t common_bytes;
  uint32_t squared;
  uint32_t samples;
} edc_unpack_side;

typedef struct {
  const uint16_t *checks;            /* [256], CRC of a byte on top of 4 zeros */
  const uint32_t *code_counts;       /* [levels], K */
  const uint8_t *index_bits;         /* [levels], of a plain index */
  const edc_unpack_side *side;       /* or NULL */
  const edc_unpack_tables *tables;   /* [levels], or NULL */
  const edc_unpack_network *network; /* or NULL */
  uint32_t positions;
  uint32_t levels;
  uint32_t tag;
} edc_unpack_format;

/* What a packet says of its frame. */
typedef struct {
  uint64_t spread;
  int32_t offset;
  uint16_t tag; /* implied */
  uint8_t status;
  uint8_t sequence;
  uint8_t flags;  /* EDC_UNPACK_CLIPPED, EDC_UNPACK_GAP */
  uint8_t levels; /* that were sent, the first ones; 0: a flat frame */
} edc_unpack_frame;

/* Packet i is data[ends[i - 1]] .. data[ends[i] - 1], the first from data[0]. Writes frames
 * [count] and indices [count][positions][levels], 0 where none were sent or the packet is not good.
 * work belongs to one thread: with a network its inputs, 2 channels, hidden and 2 dilation rows of
 * channels for each block. */
void edc_unpack(const edc_unpack_format *format, int32_t *work, const uint8_t *data,
                const uint64_t *ends, size_t count, edc_unpack_frame *frames, uint16_t *indices);

#ifdef __cplusplus
}
#endif

#endif
