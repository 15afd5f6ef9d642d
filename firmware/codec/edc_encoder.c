/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_encoder.h"

#ifndef EDC_BARRIER
#error "define EDC_BARRIER() for this compiler, see edc_config.h"
#endif

/* What edc_step does next. */
enum { WAIT, ENCODE, SEARCH, BEGIN, CODE };

#define FRAMES 2u /* that wait or are being filled */

static int is_aligned(const void *memory) { return ((uintptr_t)memory & 3u) == 0; }

/* Where the packet is made, behind the entropy coder's state. */
static uint8_t *packet_of(const edc_encoder *e) {
  return (uint8_t *)e->state + EDC_WHOLE_WORDS(e->model->packets->state_bytes);
}

int edc_init(edc_encoder *e, void *memory, size_t bytes, const edc_model *model) {
  if (e == NULL || memory == NULL || !is_aligned(memory) || model == NULL) {
    return EDC_ERROR_ARGUMENT;
  }
  if (model->packets == NULL || model->next == NULL) {
    return EDC_ERROR_PACKETS;
  }
  const edc_info *const info = &model->info;
  const size_t indices = (size_t)info->positions * info->levels;
  const size_t needed =
      EDC_ENCODER_BYTES((size_t)info->state_bytes, (size_t)info->samples, indices,
                        (size_t)model->packets->state_bytes, (size_t)info->packet_bytes_max);
  if (bytes < needed) {
    return EDC_ERROR_SIZE;
  }
  e->model = model;
  e->state = memory;
  uint8_t *const end = (uint8_t *)memory + needed;
  e->indices = (uint16_t *)(void *)(end - EDC_WHOLE_WORDS(2u * indices));
  e->samples = (int16_t *)(void *)((uint8_t *)e->indices - 4u * (size_t)info->samples);
  e->filled = 0;
  e->number = 0;
  e->at = 0;
  e->offset = 0;
  e->least = INT16_MIN;
  e->most = INT16_MAX;
  e->shift = 0;
  e->flags = 0;
  e->skips = 0;
  e->phase = WAIT;
  e->taken = 0;
  e->taken_number = 0;
  e->packet_bytes = 0;
  e->sent = 0;
  return EDC_OK;
}

int edc_set_counts(edc_encoder *e, unsigned shift, int32_t offset) {
  if (e == NULL || shift > 31) {
    return EDC_ERROR_ARGUMENT;
  }
  e->shift = (uint8_t)shift;
  e->offset = offset;
  return EDC_OK;
}

int edc_set_ends(edc_encoder *e, int16_t least, int16_t most) {
  if (e == NULL || least >= most) {
    return EDC_ERROR_ARGUMENT;
  }
  e->least = least;
  e->most = most;
  return EDC_OK;
}

/* How many of n samples go on in the frame under way, and where to; NULL where they are passed
 * over. 0 when there is no room. */
static size_t room(const edc_encoder *e, size_t n, int16_t **to) {
  const uint32_t samples = e->model->info.samples;
  const size_t left = samples - e->at;
  *to = NULL;
  if (!e->skips) {
    const uint32_t filled = e->filled;
    const uint32_t taken = e->taken;
    if (filled - taken == FRAMES) {
      return 0;
    }
    EDC_BARRIER(); /* the other side has read what is written over */
    *to = e->samples + (filled % FRAMES) * (size_t)samples + e->at;
  }
  return n < left ? n : left;
}

/* So many samples of the frame under way have passed. */
static void advance(edc_encoder *e, size_t count) {
  e->at += (uint32_t)count;
  if (e->at != e->model->info.samples) {
    return;
  }
  e->at = 0;
  if (e->skips) {
    e->skips = 0;
    e->flags = EDC_PACKET_GAP;
  } else {
    const uint32_t filled = e->filled;
    edc_waiting *const waiting = &e->waiting[filled % FRAMES];
    waiting->number = e->number;
    waiting->flags = e->flags;
    EDC_BARRIER(); /* all of the frame is there before it counts */
    e->filled = filled + 1;
    e->flags = 0;
  }
  e->number++;
}

static int16_t mark_clipped(edc_encoder *e, int16_t sample) {
  if (sample <= e->least || sample >= e->most) {
    e->flags |= EDC_PACKET_CLIPPED;
  }
  return sample;
}

int edc_push(edc_encoder *e, const int16_t *samples, size_t n, size_t stride, size_t *taken) {
  if (e == NULL || samples == NULL || stride == 0 || taken == NULL) {
    return EDC_ERROR_ARGUMENT;
  }
  int16_t *to;
  size_t done = 0;
  for (size_t count = room(e, n, &to); count != 0; count = room(e, n - done, &to)) {
    for (size_t i = 0; to != NULL && i < count; i++) {
      to[i] = mark_clipped(e, samples[(done + i) * stride]);
    }
    done += count;
    advance(e, count);
  }
  *taken = done;
  return done == n ? EDC_OK : EDC_BUSY;
}

static int16_t sample_of(const edc_encoder *e, int32_t count) {
  const int64_t value = ((int64_t)count - e->offset) >> e->shift;
  return (int16_t)(value < INT16_MIN ? INT16_MIN : value > INT16_MAX ? INT16_MAX : value);
}

int edc_push32(edc_encoder *e, const int32_t *counts, size_t n, size_t stride, size_t *taken) {
  if (e == NULL || counts == NULL || stride == 0 || taken == NULL) {
    return EDC_ERROR_ARGUMENT;
  }
  int16_t *to;
  size_t done = 0;
  for (size_t count = room(e, n, &to); count != 0; count = room(e, n - done, &to)) {
    for (size_t i = 0; to != NULL && i < count; i++) {
      to[i] = mark_clipped(e, sample_of(e, counts[(done + i) * stride]));
    }
    done += count;
    advance(e, count);
  }
  *taken = done;
  return done == n ? EDC_OK : EDC_BUSY;
}

int edc_gap(edc_encoder *e, uint32_t lost) {
  if (e == NULL) {
    return EDC_ERROR_ARGUMENT;
  }
  if (lost == 0) {
    return EDC_OK;
  }
  const uint32_t samples = e->model->info.samples;
  const uint32_t at = e->at + lost % samples;
  e->number += lost / samples + at / samples;
  e->at = at % samples;
  e->skips = e->at != 0;
  e->flags = e->skips ? 0 : EDC_PACKET_GAP;
  return EDC_OK;
}

/* Take a frame up: normalise it, and let its samples go. */
static int take_up(edc_encoder *e) {
  const uint32_t filled = e->filled;
  const uint32_t taken = e->taken;
  if (filled == taken) {
    return EDC_IDLE;
  }
  EDC_BARRIER(); /* the frame counts, so all of it is there */
  const edc_model *const model = e->model;
  const edc_waiting *const waiting = &e->waiting[taken % FRAMES];
  edc_frame_stats stats;
  edc_model_normalize(model, e->state, e->samples + (taken % FRAMES) * (size_t)model->info.samples,
                      &stats);
  e->frame.indices = e->indices;
  e->frame.offset = stats.offset;
  e->frame.spread = stats.spread;
  e->frame.levels = model->packets->levels;
  e->taken_number = waiting->number;
  e->frame.sequence = (uint8_t)waiting->number;
  e->frame.flags = waiting->flags;
  EDC_BARRIER(); /* all has been read before it may be written over */
  e->taken = taken + 1;
  e->progress.layer = 0;
  e->progress.begun = 0;
  e->position = 0;
  e->looks = model->looks;
  /* A flat frame's indices are not sent. */
  e->phase = model->packets->side != NULL && stats.spread == 0 ? BEGIN : ENCODE;
  return EDC_MORE;
}

static void search_position(edc_encoder *e) {
  const edc_model *const model = e->model;
  e->looks = model->search(
      model->rvq, edc_model_latent(model, e->state) + e->position * model->info.latent_bytes,
      e->looks, edc_model_residual(model, e->state), e->indices + e->position * model->info.levels);
  e->position++;
}

int edc_step(edc_encoder *e) {
  if (e == NULL) {
    return EDC_ERROR_ARGUMENT;
  }
  e->packet_bytes = 0;
  switch (e->phase) {
  case WAIT:
    return take_up(e);
  case ENCODE:
    (void)edc_model_next(e->model, e->state, &e->progress);
    e->phase = e->progress.layer == e->model->info.layers ? SEARCH : ENCODE;
    return EDC_MORE;
  case SEARCH:
    search_position(e);
    e->phase = e->position == e->model->info.positions ? BEGIN : SEARCH;
    return EDC_MORE;
  case BEGIN:
    edc_packet_start(&e->writer, e->model->packets, e->state, &e->frame, packet_of(e));
    e->phase = CODE;
    return EDC_MORE;
  default:
    if (edc_packet_step(&e->writer)) {
      return EDC_MORE;
    }
    e->packet_bytes = edc_packet_end(&e->writer);
    e->sent = 0;
    e->fragments = 0;
    e->phase = WAIT;
    return EDC_PACKET;
  }
}

const uint8_t *edc_packet(const edc_encoder *e, size_t *bytes) {
  if (bytes != NULL) {
    *bytes = e == NULL ? 0 : e->packet_bytes;
  }
  return e == NULL || bytes == NULL || e->packet_bytes == 0 ? NULL : packet_of(e);
}

int edc_packet_number(const edc_encoder *e, uint32_t *number) {
  if (e == NULL || number == NULL) {
    return EDC_ERROR_ARGUMENT;
  }
  if (e->packet_bytes == 0) {
    return EDC_IDLE;
  }
  *number = e->taken_number;
  return EDC_OK;
}

int edc_fragment(edc_encoder *e, size_t mtu, uint8_t *out, size_t *bytes) {
  if (e == NULL || out == NULL || bytes == NULL) {
    return EDC_ERROR_ARGUMENT;
  }
  *bytes = 0;
  /* The longest packet decides, so that no mtu does for some packets alone. */
  if (mtu < 2 ||
      (mtu - 1) < (e->model->info.packet_bytes_max + EDC_FRAGMENTS_MAX - 1u) / EDC_FRAGMENTS_MAX) {
    return EDC_ERROR_SIZE;
  }
  if (e->sent == e->packet_bytes) {
    return EDC_IDLE;
  }
  const uint32_t left = e->packet_bytes - e->sent;
  const uint32_t count = mtu - 1 < left ? (uint32_t)(mtu - 1) : left;
  const uint8_t *const packet = packet_of(e) + e->sent;
  out[0] = (uint8_t)((count == left ? 0x80u : 0u) | (e->frame.sequence & 7u) << 4 | e->fragments);
  for (uint32_t i = 0; i < count; i++) {
    out[1 + i] = packet[i];
  }
  e->sent += count;
  e->fragments++;
  *bytes = count + 1u;
  return EDC_MORE;
}
