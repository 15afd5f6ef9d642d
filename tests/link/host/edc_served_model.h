/* SPDX-License-Identifier: Apache-2.0 */
/* A codec that a test can compute in its head, with the interface of a generated one and an engine
 * of its own. */
#ifndef EDC_SERVED_MODEL_H
#define EDC_SERVED_MODEL_H

#include "edc_encoder.h"
#include "edc_model.h"
#include "edc_packet.h"

#define EDC_SERVED_MODEL stub_model
#define EDC_SERVED_SAMPLES 16
#define EDC_SERVED_POSITIONS 3
#define EDC_SERVED_LEVELS 2
#define EDC_SERVED_LATENT_CHANNELS 4
#ifndef EDC_SERVED_ACTIVATION_BYTES
#define EDC_SERVED_ACTIVATION_BYTES 1
#endif
#define EDC_SERVED_LAYERS 3
#define EDC_SERVED_ARENA_BYTES 24
#define EDC_SERVED_STATE_BYTES (EDC_SERVED_ACTIVATION_BYTES * (16 + 3 * 4))
#define EDC_SERVED_PACKETS (&stub_packets)
#ifdef STUB_WITHOUT_PACKETS
#define EDC_SERVED_PACKET_BYTES_MAX 0
#else
#define EDC_SERVED_PACKET_BYTES_MAX (EDC_PACKET_FRAMING + 9)
#endif
#define EDC_SERVED_PACKET_STATE_WORDS 1
#if defined STUB_WITHOUT_PACKETS || defined STUB_WITHOUT_ENCODER
#define EDC_SERVED_ENCODER_BYTES 0
#else
#define EDC_SERVED_ENCODER_BYTES                                                                   \
  EDC_ENCODER_BYTES(EDC_SERVED_STATE_BYTES, 16, 6, 4, EDC_PACKET_FRAMING + 9)
#endif

/* Its digest is 0, 1, ... 31, or D0, 1, ... 31.
 * normalize: input = the count, or its low byte where activations have one; offset = sum of the
 * counts; spread = 2^40 + offset
 * encoder: latent[i] = input[i] + 1 (wrapping); destroys the input, as a real arena does
 * search: index[i] = 256 * (i + 1) + low byte of latent[i]
 * packets: plain, 12 bits an index, mean and scale of 16 samples */
extern const edc_model stub_model;
extern const edc_packet_format stub_packets;
extern uint32_t stub_runs; /* frames encoded since the program started */

#define STUB_WIDE_BYTES 300 /* more than a reply holds */

#endif
