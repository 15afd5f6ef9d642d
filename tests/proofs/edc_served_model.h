/* SPDX-License-Identifier: Apache-2.0 */
/* The least codec that a server can have. */
#ifndef EDC_SERVED_MODEL_H
#define EDC_SERVED_MODEL_H

#include "edc_encoder.h"
#include "edc_model.h"
#include "edc_packet.h"

#define EDC_SERVED_MODEL any_model
#define EDC_SERVED_SAMPLES 2
#define EDC_SERVED_POSITIONS 1
#define EDC_SERVED_LEVELS 2
#define EDC_SERVED_LATENT_CHANNELS 2
#define EDC_SERVED_ACTIVATION_BYTES 1
#define EDC_SERVED_LAYERS 2
#define EDC_SERVED_STATE_BYTES 8
#define EDC_SERVED_PACKETS (&any_packets)
#define EDC_SERVED_PACKET_BYTES_MAX (EDC_PACKET_FRAMING + 2)
#define EDC_SERVED_PACKET_STATE_WORDS 1
#define EDC_SERVED_ENCODER_BYTES 0

extern const edc_model any_model;
extern const edc_packet_format any_packets;

#endif
