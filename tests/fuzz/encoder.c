/* SPDX-License-Identifier: Apache-2.0 */
/* The encoder object: whatever is pushed, lost and stepped in whatever pieces, its packets are
 * those of edc_encode for the frames of the grid that are whole. */
#include "fuzz.h"

#include "one_model.h"
#include "two_model.h"
#include "wide_model.h"

#define FRAMES 3 /* at most two that wait, and the one under way */

typedef struct {
  const edc_model *model;
  const edc_info *info;
  edc_encoder *encoder;
  void *memory;
  /* What it shall say. */
  void *state;
  void *coder;
  int16_t *frame;
  uint16_t *indices;
  uint64_t place;
  uint64_t behind_whole; /* number of the last whole frame, plus 1 */
  uint32_t offset;
  unsigned shift;
  int32_t least;
  int32_t most;
  int is_missing;
  uint8_t flags;
  uint8_t *packets[FRAMES];
  uint32_t sizes[FRAMES];
  unsigned waiting;
} run;

/* A frame of the grid is whole: the packet that must come. */
static void complete(run *r) {
  const uint64_t number = r->place / r->info->samples - 1;
  const uint8_t gap = number > 0 && r->behind_whole != number ? EDC_PACKET_GAP : 0;
  edc_frame_stats stats;
  EXPECT(edc_encode(r->model, r->state, r->frame, r->indices, &stats) == EDC_OK)
  const edc_packet_frame frame = {.indices = r->indices,
                                  .spread = stats.spread,
                                  .offset = stats.offset,
                                  .levels = (uint8_t)r->info->levels,
                                  .sequence = (uint8_t)number,
                                  .flags = (uint8_t)(r->flags | gap)};
  EXPECT(r->waiting < FRAMES)
  uint8_t *const packet = fuzz_allocate(r->info->packet_bytes_max);
  r->sizes[r->waiting] = edc_packet_write(r->model->packets, r->coder, &frame, packet);
  r->packets[r->waiting++] = packet;
  r->behind_whole = number + 1;
}

static void took(run *r, int16_t sample) {
  const uint32_t samples = r->info->samples;
  if (!r->is_missing) {
    r->frame[r->place % samples] = sample;
    r->flags |= sample <= r->least || sample >= r->most ? EDC_PACKET_CLIPPED : 0;
  }
  if (++r->place % samples == 0) {
    if (!r->is_missing) {
      complete(r);
    }
    r->is_missing = 0;
    r->flags = 0;
  }
}

static void lose(run *r, uint32_t lost) {
  EXPECT(edc_gap(r->encoder, lost) == EDC_OK)
  if (lost != 0) {
    r->place += lost;
    r->is_missing = r->place % r->info->samples != 0;
    r->flags = 0;
  }
}

static void start(run *r, fuzz_input *input) {
  const uint32_t counts = fuzz_take(input, 1);
  r->info = edc_model_info(r->model);
  r->memory = fuzz_allocate(r->info->encoder_bytes);
  r->encoder = fuzz_allocate(sizeof *r->encoder);
  r->state = fuzz_allocate(r->info->state_bytes);
  r->coder = fuzz_allocate(r->model->packets->state_bytes);
  r->frame = fuzz_allocate(2u * r->info->samples);
  r->indices = fuzz_allocate(2u * r->info->positions * r->info->levels);
  EXPECT(edc_init(r->encoder, r->memory, r->info->encoder_bytes, r->model) == EDC_OK)
  r->least = INT16_MIN;
  r->most = INT16_MAX;
  if ((counts & 1) != 0) {
    r->shift = fuzz_take(input, 1) % 32;
    r->offset = fuzz_take(input, 4);
    EXPECT(edc_set_counts(r->encoder, r->shift, (int32_t)r->offset) == EDC_OK)
  }
  if ((counts & 2) != 0) {
    const int16_t least = (int16_t)fuzz_take(input, 2);
    const int16_t most = (int16_t)fuzz_take(input, 2);
    const int status = edc_set_ends(r->encoder, least, most);
    EXPECT(status == (least < most ? EDC_OK : EDC_ERROR_ARGUMENT))
    if (status == EDC_OK) {
      r->least = least;
      r->most = most;
    }
  }
}

static void stop(run *r) {
  while (r->waiting != 0) {
    free(r->packets[--r->waiting]);
  }
  free(r->memory);
  free(r->encoder);
  free(r->state);
  free(r->coder);
  free(r->frame);
  free(r->indices);
}

/* The next sample of a piece: flat, noise, a walk, or the ends of int16; of 32 bits for counts. */
static int32_t next_value(uint32_t kind, uint32_t *seed, int32_t before) {
  *seed = *seed * 1664525u + 1013904223u;
  const int32_t noise = (int32_t)*seed;
  switch (kind & 3) {
  case 0:
    return before;
  case 1:
    return noise;
  case 2:
    return (int32_t)((uint32_t)before + (uint32_t)(noise >> 24));
  default:
    return noise < 0 ? INT32_MIN : INT32_MAX;
  }
}

static void push(run *r, fuzz_input *input, int is_wide) {
  const size_t n = fuzz_take(input, 1) % (2u * r->info->samples + 3u);
  const uint32_t kind = fuzz_take(input, 1);
  uint32_t seed = fuzz_take(input, 2);
  const size_t stride = 1 + (kind >> 2) % 3;
  const size_t entries = n == 0 ? 0 : (n - 1) * stride + 1;
  int16_t *const samples = fuzz_allocate(entries * sizeof *samples);
  int32_t *const counts = fuzz_allocate(entries * sizeof *counts);
  int32_t value = (int32_t)(seed << 8);
  for (size_t i = 0; i < entries; i++) {
    value = next_value(kind, &seed, value);
    counts[i] = value;
    samples[i] = (int16_t)(value >> 16);
  }
  size_t taken = 0;
  const int status = is_wide ? edc_push32(r->encoder, counts, n, stride, &taken)
                             : edc_push(r->encoder, samples, n, stride, &taken);
  EXPECT(taken <= n && status == (taken == n ? EDC_OK : EDC_BUSY))
  for (size_t i = 0; i < taken; i++) {
    int64_t sample = samples[i * stride];
    if (is_wide) {
      sample = ((int64_t)counts[i * stride] - (int32_t)r->offset) >> r->shift;
      sample = sample < INT16_MIN ? INT16_MIN : sample > INT16_MAX ? INT16_MAX : sample;
    }
    took(r, (int16_t)sample);
  }
  EXPECT(taken == n || r->waiting >= 2)
  if ((kind & 0x80) != 0) {
    lose(r, (uint32_t)(n - taken));
  }
  free(samples);
  free(counts);
}

/* The packet is the one that must come, whole and in fragments. */
static void check_packet(run *r, fuzz_input *input) {
  size_t bytes = 0;
  const uint8_t *const packet = edc_packet(r->encoder, &bytes);
  EXPECT(r->waiting != 0 && packet != NULL && bytes == r->sizes[0])
  EXPECT(memcmp(packet, r->packets[0], bytes) == 0)
  const size_t least = 1 + (r->info->packet_bytes_max + EDC_FRAGMENTS_MAX - 1u) / EDC_FRAGMENTS_MAX;
  const size_t mtu = fuzz_take(input, 1);
  uint8_t *const fragment = fuzz_allocate(mtu);
  size_t sent = 0;
  size_t size = 0;
  uint32_t number = 0;
  int status = edc_fragment(r->encoder, mtu, fragment, &size);
  EXPECT((status == EDC_ERROR_SIZE) == (mtu < least))
  for (; status == EDC_MORE; status = edc_fragment(r->encoder, mtu, fragment, &size)) {
    EXPECT(size >= 2 && size <= mtu && sent + size - 1 <= bytes)
    EXPECT(memcmp(fragment + 1, r->packets[0] + sent, size - 1) == 0)
    sent += size - 1;
    EXPECT(fragment[0] == ((sent == bytes ? 0x80u : 0u) | (packet[1] & 7u) << 4 | number++))
  }
  EXPECT(mtu < least || (sent == bytes && status == EDC_IDLE))
  free(fragment);
  free(r->packets[0]);
  r->waiting--;
  for (unsigned i = 0; i < r->waiting; i++) {
    r->packets[i] = r->packets[i + 1];
    r->sizes[i] = r->sizes[i + 1];
  }
}

static void step(run *r, fuzz_input *input, uint32_t most) {
  int status = EDC_MORE;
  while (most-- > 0 && status != EDC_IDLE) {
    status = edc_step(r->encoder);
    if (status == EDC_PACKET) {
      check_packet(r, input);
    }
    EXPECT(status > 0 && status != EDC_BUSY)
    EXPECT(status != EDC_IDLE || r->waiting == 0)
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  fuzz_input input = {data, size};
  run r = {0};
  const edc_model *const models[] = {&two_model, &one_model, &wide_model};
  r.model = models[fuzz_take(&input, 1) % 3];
  start(&r, &input);
  while (input.left != 0) {
    const uint32_t what = fuzz_take(&input, 1);
    switch (what & 7) {
    case 0:
    case 1:
      push(&r, &input, 0);
      break;
    case 2:
      push(&r, &input, 1);
      break;
    case 3:
      lose(&r, fuzz_take(&input, 1 + (what >> 3) % 4));
      break;
    case 4:
      step(&r, &input, UINT32_MAX);
      break;
    default:
      step(&r, &input, what >> 3);
    }
  }
  step(&r, &input, UINT32_MAX);
  EXPECT(r.waiting == 0)
  stop(&r);
  return 0;
}
