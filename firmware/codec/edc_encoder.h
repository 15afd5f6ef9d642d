/* SPDX-License-Identifier: Apache-2.0 */
/* A stream of samples to packets (SPEC.md 5). Models whose bundle has packets include it.
 *
 *   Set up      edc_init, edc_set_counts, edc_set_ends
 *   Samples in  edc_push, edc_push32, edc_gap: from one place, an interrupt or a task
 *   Packets out edc_step, edc_packet, edc_packet_number, edc_fragment: from one other place
 *
 * Frames lie on a grid: frame n is samples n T to n T + T - 1 of all that the sensor took, whether
 * they arrived or not, so that a packet's number gives its time, number T / rate.
 */
#ifndef EDC_ENCODER_H
#define EDC_ENCODER_H

#include "edc.h"
#include "edc_model.h"
#include "edc_packet.h"

EDC_BEGIN_C

/** Most fragments of a packet. */
#define EDC_FRAGMENTS_MAX 16

/** Bytes of a number of bytes, up to a whole word. */
#define EDC_WHOLE_WORDS(bytes) (((bytes) + 3u) / 4u * 4u)

/** Memory of an encoder: what encodes a frame, in which its packet is made afterwards, two frames
 * of samples and one of indices. */
#define EDC_ENCODER_BYTES(state, samples, indices, coder_state, packet)                            \
  ((EDC_WHOLE_WORDS(coder_state) + EDC_WHOLE_WORDS(packet) > (state)                               \
        ? EDC_WHOLE_WORDS(coder_state) + EDC_WHOLE_WORDS(packet)                                   \
        : (state)) +                                                                               \
   4u * (samples) + EDC_WHOLE_WORDS(2u * (indices)))

/** What is known of a frame of samples that waits. Private. */
typedef struct {
  uint32_t number;
  uint8_t flags;
} edc_waiting;

/** An encoder. The caller's, at one address from edc_init on; all members are private. */
typedef struct {
  const edc_model *model;
  void *state;       /* the model's; then the entropy coder's, and the packet behind it */
  int16_t *samples;  /* [2][T] */
  uint16_t *indices; /* [P][L] */

  /* Written by the side that pushes. */
  volatile uint32_t filled; /* frames so far; of frame i the samples lie at i modulo 2 */
  edc_waiting waiting[2];
  uint32_t number; /* of the frame under way, on the grid */
  uint32_t at;     /* samples of it that have passed */
  int32_t offset;
  int16_t least;
  int16_t most;
  uint8_t shift;
  uint8_t flags; /* of the frame under way */
  uint8_t skips; /* whether it has lost samples */

  /* Written by the side that steps. */
  uint8_t phase;
  volatile uint32_t taken; /* frames whose samples are no longer needed */
  uint32_t taken_number;   /* of the last of them, on the grid */
  edc_progress progress;
  uint32_t position; /* to search next */
  int32_t looks;
  edc_packet_frame frame;
  edc_packet_writer writer;
  uint32_t packet_bytes; /* 0 when there is none */
  uint32_t sent;         /* of them, in fragments */
  uint32_t fragments;    /* cut so far */
} edc_encoder;

/** Set up an encoder.
 *
 * @param memory  [bytes], aligned to 4 bytes; `<prefix>_encoder_memory` is as large as it must be
 * @param bytes   at least edc_model_info(model)->encoder_bytes
 * @return EDC_OK, EDC_ERROR_ARGUMENT, EDC_ERROR_SIZE or EDC_ERROR_PACKETS
 */
int edc_init(edc_encoder *encoder, void *memory, size_t bytes, const edc_model *model);

/** How edc_push32 makes int16 of a count: (count - offset) >> shift, rounded down and saturated.
 * Before the first push; 0 and 0 otherwise.
 *
 * @param shift   0..31
 * @return EDC_OK or EDC_ERROR_ARGUMENT
 */
int edc_set_counts(edc_encoder *encoder, unsigned shift, int32_t offset);

/** The ends of the converter's range, as samples of the codec, behind shift and offset: a frame
 * with a sample at or beyond one is marked as clipped. Before the first push; those of int16
 * otherwise.
 *
 * @return EDC_OK or EDC_ERROR_ARGUMENT, unless least < most
 */
int edc_set_ends(edc_encoder *encoder, int16_t least, int16_t most);

/** Take samples. Never waits. One piece of code at a time may call this, edc_push32 and edc_gap; it
 * may interrupt that which steps.
 *
 * @param samples  the first of n, `stride` entries from each other; 1 for one channel alone
 * @param taken    how many were taken: fewer than n with EDC_BUSY. Push the others again when
 *                 edc_step has taken a frame up, or give them up by edc_gap
 * @return EDC_OK, EDC_BUSY or EDC_ERROR_ARGUMENT
 */
int edc_push(edc_encoder *encoder, const int16_t *samples, size_t n, size_t stride, size_t *taken);

/** edc_push of a converter's counts, see edc_set_counts. */
int edc_push32(edc_encoder *encoder, const int32_t *counts, size_t n, size_t stride, size_t *taken);

/** Samples are missing between the last one pushed and the next. Frames that miss one are left out,
 * and their numbers with them; what is pushed until the next frame starts is passed over, and that
 * frame is marked.
 *
 * @param lost  how many
 * @return EDC_OK or EDC_ERROR_ARGUMENT
 */
int edc_gap(edc_encoder *encoder, uint32_t lost);

/** Do a piece of the work: the normaliser of a frame, one call of a kernel of the encoder, the
 * search of one position, or one position of the entropy coder. Layers run in stripes, so that a
 * call takes at most some 50,000 instructions where a kernel's fewest positions do; `edgecodec
 * inspect` says the longest.
 *
 * @return EDC_IDLE while no frame waits, EDC_MORE, EDC_PACKET when that was the packet's last
 * piece, or EDC_ERROR_ARGUMENT
 */
int edc_step(edc_encoder *encoder);

/** The packet, from the edc_step that returned EDC_PACKET until the next edc_step. NULL, and 0
 * bytes, when there is none. */
const uint8_t *edc_packet(const edc_encoder *encoder, size_t *bytes);

/** The number of the packet's frame on the grid, of which the packet has the lowest 8 bits: frames
 * before it since edc_init, those that were left out as well, modulo 2^32.
 *
 * @return EDC_OK, EDC_IDLE when there is no packet, or EDC_ERROR_ARGUMENT
 */
int edc_packet_number(const edc_encoder *encoder, uint32_t *number);

/** Cut the next fragment off the packet: a byte, and as much of the packet as fits (SPEC.md 5,
 * fragments).
 *
 * @param mtu    most bytes of a fragment, so many that EDC_FRAGMENTS_MAX carry the longest packet
 * @param out    [mtu]
 * @param bytes  of the fragment
 * @return EDC_MORE with a fragment, EDC_IDLE and 0 bytes when all have been cut, EDC_ERROR_ARGUMENT
 *         or EDC_ERROR_SIZE
 */
int edc_fragment(edc_encoder *encoder, size_t mtu, uint8_t *out, size_t *bytes);

EDC_END_C

#endif
