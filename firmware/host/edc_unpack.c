/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_unpack.h"

#include <string.h>

#define VERSION 1u
#define FORM_CODED 0u
#define FORM_PLAIN 1u
#define FORM_FLAT 2u
#define FORM_EXTENDED 3u
#define FLAG_WIDE 16u
#define FLAG_LEFT_OUT_SHIFT 5
#define HEADER_BYTES 2u
#define FRAME_BYTES 3u /* header, and the check's lower half */
#define WIDE_BYTES 6u
#define RANGE_BITS 24
#define LIKELIHOOD_BITS 15
#define SHARE_SHIFT (RANGE_BITS - LIKELIHOOD_BITS)

typedef int32_t lanes __attribute__((vector_size(4 * EDC_UNPACK_LANES)));
typedef int32_t eight __attribute__((vector_size(32)));
typedef int32_t four __attribute__((vector_size(16)));

/* The range decoder of SPEC.md 5.3. offset stays below range once the first decision is made. */
typedef struct {
  uint64_t offset;
  uint64_t range;
  const uint8_t *next;
  const uint8_t *end;
} decoder;

/* The next bytes, most significant first, zeros behind the end. */
static uint64_t take(decoder *coder, uint32_t bytes) {
  uint64_t value = 0;
  for (uint32_t i = 0; i < bytes; i++) {
    value <<= 8;
    if (coder->next != coder->end) {
      value |= *coder->next++;
    }
  }
  return value;
}

static inline void advance(decoder *coder, uint64_t unit, uint32_t start, uint32_t size) {
  coder->offset -= unit * start;
  coder->range = unit * size;
  if ((coder->range >> 32) == 0) {
    coder->offset = coder->offset << 32 | take(coder, 4);
    coder->range <<= 32;
  }
}

static uint32_t little(const uint8_t *data, uint32_t bytes) {
  uint32_t value = 0;
  for (uint32_t i = 0; i < bytes; i++) {
    value |= (uint32_t)data[i] << (8 * i);
  }
  return value;
}

static uint32_t implied_tag(const edc_unpack_format *format, const uint8_t *packet, size_t size) {
  uint32_t value = 0xFFF;
  for (size_t i = 0; i + 1 < size; i++) {
    const uint32_t byte = i == 0 ? packet[0] & 0xF0u : packet[i];
    value = ((value << 8) & 0xFFF) ^ format->checks[(value >> 4) ^ byte];
  }
  return (((uint32_t)packet[0] & 0x0F) << 8 | packet[size - 1]) ^ value;
}

/* value / 2^shift, rounded half up; 1 when that is below limit. */
static int scaled(uint64_t value, int32_t shift, uint64_t limit, uint64_t *result) {
  if (shift > 0) {
    *result = shift > 64 ? 0 : (shift == 64 ? 0 : value >> shift) + (value >> (shift - 1) & 1);
    return limit == 0 || *result < limit;
  }
  if (value != 0 && (shift < -63 || value > UINT64_MAX >> -shift)) {
    return 0;
  }
  *result = value == 0 ? 0 : value << -shift;
  return limit == 0 || *result < limit;
}

/* Offset and spread of a frame that is not flat; 0 when they are of no frame. */
static int read_side(const edc_unpack_side *side, const uint8_t *data, int wide,
                     edc_unpack_frame *frame) {
  uint32_t scale = 0;
  int64_t location = 0;
  if (wide) {
    scale = little(data, 2);
    location = (int32_t)little(data + 2, 4);
  } else {
    const uint32_t field = little(data, side->common_bytes);
    const uint32_t bits = 8 * side->common_bytes - side->scale_field;
    scale = (field & ((1u << side->scale_field) - 1)) + side->first_scale;
    location = field >> side->scale_field;
    if ((location >> (bits - 1)) != 0) {
      location -= (int64_t)1 << bits;
    }
  }
  const uint32_t bits = side->scale_bits + 1; /* F */
  const uint32_t middle = 2 * scale + 1;
  const int32_t exponent = (int32_t)(middle >> bits);
  uint64_t mantissa = 1u << 31;
  for (uint32_t bit = 1; bit <= bits; bit++) {
    if ((middle >> (bits - bit) & 1) != 0) {
      mantissa = (mantissa * side->roots[bit - 1] + (1u << 30)) >> 31;
    }
  }
  const uint64_t distance = (uint64_t)(location < 0 ? -location : location);
  uint64_t offset = 0;
  if (!scaled(distance * mantissa, 31 + (int32_t)side->location_bits - exponent, (uint64_t)1 << 31,
              &offset)) {
    return 0;
  }
  frame->offset = (int32_t)(location < 0 ? -(int64_t)offset : (int64_t)offset);
  return side->squared != 0 ? scaled(mantissa * mantissa, 62 - 2 * exponent, 0, &frame->spread)
                            : scaled(mantissa, 31 - exponent, 0, &frame->spread);
}

/* Rank or group whose interval holds value: the last of starts [count] that is not above it. */
#define LAST_NOT_ABOVE(starts, count, value, found)                                                \
  do {                                                                                             \
    uint32_t low_ = 0;                                                                             \
    uint32_t high_ = (count);                                                                      \
    while (high_ - low_ > 1) {                                                                     \
      const uint32_t middle_ = (low_ + high_) / 2;                                                 \
      if ((starts)[middle_] <= (value)) {                                                          \
        low_ = middle_;                                                                            \
      } else {                                                                                     \
        high_ = middle_;                                                                           \
      }                                                                                            \
    }                                                                                              \
    (found) = low_;                                                                                \
  } while (0)

/* Indices of a coded payload under context tables; 0 when it is of none. */
static int read_tables(const edc_unpack_format *format, decoder *coder, uint32_t levels,
                       uint16_t *indices) {
  uint32_t before = 0;
  for (uint32_t position = 0; position < format->positions; position++) {
    uint32_t context = before;
    for (uint32_t number = 0; number < levels; number++) {
      const edc_unpack_tables *level = format->tables + number;
      const uint64_t unit = coder->range >> RANGE_BITS;
      const uint64_t target = coder->offset / unit;
      if ((target >> RANGE_BITS) != 0) {
        return 0;
      }
      const uint32_t *starts =
          level->group_starts + (size_t)level->classes[context] * (level->group_count + 1);
      uint32_t group = 0;
      LAST_NOT_ABOVE(starts, level->group_count, (uint32_t)target >> 8, group);
      const uint32_t share = starts[group + 1] - starts[group];
      const uint32_t member = ((uint32_t)target - starts[group] * 256) / share;
      const uint32_t first = level->group_ranks[group];
      uint32_t rank = 0;
      LAST_NOT_ABOVE(level->member_starts + first, level->group_ranks[group + 1] - first, member,
                     rank);
      rank += first;
      const uint32_t start = level->member_starts[rank];
      advance(coder, unit, starts[group] * 256 + share * start,
              share * (level->member_ends[rank] - start));
      indices[number] = level->codes[rank];
      context = level->codes[rank] + 1u;
    }
    before = indices[0] + 1u;
    indices += format->levels;
  }
  return 1;
}

static inline int32_t saturated(int32_t value) {
  return value < INT16_MIN ? INT16_MIN : value > INT16_MAX ? INT16_MAX : value;
}

static inline int32_t rectified(int32_t value) {
  return value < 0 ? 0 : value > INT16_MAX ? INT16_MAX : value;
}

static inline lanes load(const int32_t *from) {
  lanes value;
  memcpy(&value, from, sizeof value);
  return value;
}

/* acc += the columns of weights [inputs][EDC_UNPACK_LANES] times x [inputs]. */
static inline lanes add_products(lanes acc, const int32_t *weights, const int32_t *x,
                                 uint32_t inputs) {
  for (uint32_t in = 0; in < inputs; in++) {
    acc += load(weights + (size_t)in * EDC_UNPACK_LANES) * x[in];
  }
  return acc;
}

static inline int32_t sum_of(lanes value) {
  eight halves[2];
  memcpy(halves, &value, sizeof halves);
  halves[0] += halves[1];
  four quarters[2];
  memcpy(quarters, halves, sizeof quarters);
  quarters[0] += quarters[1];
  return quarters[0][0] + quarters[0][1] + quarters[0][2] + quarters[0][3];
}

/* One position of a block; x [channels] is changed. Rows of the history are written before they
 * are read. */
static void run_block(const edc_unpack_block *block, uint32_t position, int32_t *history,
                      int32_t *inner, int32_t *x) {
  const uint32_t channels = block->mix.outputs;
  const uint32_t dilation = block->dilation;
  int32_t *oldest = history + (size_t)(position & (2 * dilation - 1)) * channels;
  const int32_t *middle = history + (size_t)((position + dilation) & (2 * dilation - 1)) * channels;
  const size_t tap = (size_t)channels * EDC_UNPACK_LANES;
  const int32_t *weights = block->taps.weights;
  for (uint32_t out = 0; out < channels; out += EDC_UNPACK_LANES, weights += 3 * tap) {
    lanes acc = load(block->taps.bias + out);
    if (position >= 2 * dilation) {
      acc = add_products(acc, weights, oldest, channels);
    }
    if (position >= dilation) {
      acc = add_products(acc, weights + tap, middle, channels);
    }
    acc = add_products(acc, weights + 2 * tap, x, channels);
    for (uint32_t i = 0; i < EDC_UNPACK_LANES; i++) {
      inner[out + i] = rectified(acc[i] >> block->taps.shift);
    }
  }
  weights = block->mix.weights;
  for (uint32_t out = 0; out < channels; out += EDC_UNPACK_LANES, weights += tap) {
    const lanes acc = add_products(load(block->mix.bias + out), weights, inner, channels);
    for (uint32_t i = 0; i < EDC_UNPACK_LANES; i++) {
      oldest[out + i] = x[out + i];
      x[out + i] = saturated(x[out + i] + saturated(acc[i] >> block->mix.shift));
    }
  }
}

/* The index that the decisions from the root of a level's tree lead to; 0 when there is none. */
static int read_index(const edc_unpack_network *network, const edc_unpack_head *head,
                      const int32_t *h, decoder *coder, uint16_t *index) {
  uint32_t first = 0;
  uint32_t end = head->code_count;
  while (end - first > 1) {
    const uint32_t middle = first + (end - first + 1) / 2;
    const int32_t *weights = head->nodes + (size_t)(middle - 1) * network->hidden;
    lanes acc = {0};
    for (uint32_t i = 0; i < network->hidden; i += EDC_UNPACK_LANES) {
      acc += load(weights + i) * load(h + i);
    }
    const int32_t sum = head->node_bias[middle - 1] + sum_of(acc);
    const uint32_t size = (sum < 0 ? 0 - (uint32_t)sum : (uint32_t)sum) >> head->node_shift;
    const uint32_t likely = network->likelihoods[size < 255 ? size : 255];
    const uint32_t behind = sum >= 0 ? likely : (1u << LIKELIHOOD_BITS) - likely;
    const uint32_t before = (1u << LIKELIHOOD_BITS) - behind;
    const uint64_t unit = coder->range >> RANGE_BITS;
    if (coder->offset >= unit << RANGE_BITS) {
      return 0;
    }
    if (coder->offset >= unit * (before << SHARE_SHIFT)) {
      advance(coder, unit, before << SHARE_SHIFT, behind << SHARE_SHIFT);
      first = middle;
    } else {
      advance(coder, unit, 0, before << SHARE_SHIFT);
      end = middle;
    }
  }
  *index = head->codes[first];
  return 1;
}

/* Indices of a coded payload under a causal network; 0 when it is of none. */
static int read_network(const edc_unpack_format *format, int32_t *work, decoder *coder,
                        uint32_t levels, uint16_t *indices) {
  const edc_unpack_network *network = format->network;
  const uint32_t channels = network->input.outputs;
  const uint32_t size = network->embedding_size;
  int32_t *input = work;
  int32_t *x = input + network->input.inputs;
  int32_t *inner = x + channels;
  int32_t *h = inner + channels;
  memset(input, 0, network->input.inputs * sizeof *input);
  for (uint32_t position = 0; position < format->positions; position++) {
    for (uint32_t number = 0; number < format->levels; number++) {
      /* What is at the position before: row 0 of levels left out, and at the first position. */
      const uint32_t row =
          position == 0 || number >= levels ? 0 : (indices - format->levels)[number] + 1u;
      for (uint32_t i = 0; i < size; i++) {
        input[number * size + i] = network->heads[number].embedding[(size_t)row * size + i];
      }
    }
    const uint32_t inputs = network->input.inputs;
    for (uint32_t out = 0; out < channels; out += EDC_UNPACK_LANES) {
      const lanes acc = add_products(load(network->input.bias + out),
                                     network->input.weights + (size_t)out * inputs, input, inputs);
      for (uint32_t i = 0; i < EDC_UNPACK_LANES; i++) {
        x[out + i] = saturated(acc[i] >> network->input.shift);
      }
    }
    int32_t *history = h + network->hidden;
    for (uint32_t number = 0; number < network->block_count; number++) {
      const edc_unpack_block *block = network->blocks + number;
      run_block(block, position, history, inner, x);
      history += 2 * (size_t)block->dilation * channels;
    }
    for (uint32_t number = 0; number < levels; number++) {
      const edc_unpack_head *head = network->heads + number;
      for (uint32_t out = 0; out < network->hidden; out += EDC_UNPACK_LANES) {
        lanes acc = add_products(load(head->hidden.bias + out),
                                 head->hidden.weights + (size_t)out * channels, x, channels);
        for (uint32_t above = 0; above < number; above++) {
          acc += load(head->above[above] + (size_t)indices[above] * network->hidden + out);
        }
        for (uint32_t i = 0; i < EDC_UNPACK_LANES; i++) {
          h[out + i] = rectified(acc[i] >> head->hidden.shift);
        }
      }
      if (!read_index(network, head, h, coder, indices + number)) {
        return 0;
      }
    }
    indices += format->levels;
  }
  return 1;
}

static int read_plain(const edc_unpack_format *format, decoder *coder, uint32_t levels,
                      uint16_t *indices) {
  uint32_t held = 0; /* bits not read yet, the lowest ones */
  uint32_t count = 0;
  for (uint32_t position = 0; position < format->positions; position++) {
    for (uint32_t number = 0; number < levels; number++) {
      const uint32_t bits = format->index_bits[number];
      while (count < bits) { /* at most 15 + 8 bits count */
        held = held << 8 | (uint32_t)take(coder, 1);
        count += 8;
      }
      count -= bits;
      const uint32_t index = held >> count & ((1u << bits) - 1);
      if (index >= format->code_counts[number]) {
        return 0;
      }
      indices[number] = (uint16_t)index;
    }
    indices += format->levels;
  }
  return (held & ((1u << count) - 1)) == 0;
}

static size_t plain_bytes(const edc_unpack_format *format, uint32_t levels) {
  size_t bits = 0;
  for (uint32_t level = 0; level < levels; level++) {
    bits += format->index_bits[level];
  }
  return (format->positions * bits + 7) / 8;
}

static uint8_t read_packet(const edc_unpack_format *format, int32_t *work, const uint8_t *packet,
                           size_t size, edc_unpack_frame *frame, uint16_t *indices) {
  if (size < FRAME_BYTES) {
    return EDC_UNPACK_SHORT;
  }
  frame->tag = (uint16_t)implied_tag(format, packet, size);
  if (frame->tag != format->tag) {
    return EDC_UNPACK_OTHER_TAG;
  }
  frame->sequence = packet[1];
  uint32_t flags = packet[0] >> 4 & 3;
  const uint8_t *rest = packet + HEADER_BYTES;
  const uint8_t *end = packet + size - 1;
  if (packet[0] >> 6 != VERSION) {
    return EDC_UNPACK_REFUSED;
  }
  if (flags == FORM_EXTENDED) {
    if (rest == end || (*rest & 3u) == FORM_EXTENDED) {
      return EDC_UNPACK_REFUSED;
    }
    flags = *rest++;
  }
  const uint32_t form = flags & 3;
  const uint32_t left_out = flags >> FLAG_LEFT_OUT_SHIFT;
  const edc_unpack_side *side = format->side;
  if (left_out >= format->levels || (form == FORM_FLAT && (side == NULL || left_out != 0)) ||
      (side == NULL && (flags & FLAG_WIDE) != 0)) {
    return EDC_UNPACK_REFUSED;
  }
  if (side != NULL) {
    const int wide = (flags & FLAG_WIDE) != 0;
    const uint32_t bytes = form == FORM_FLAT ? (wide ? 4 : 2)
                           : wide            ? WIDE_BYTES
                                             : side->common_bytes;
    if ((size_t)(end - rest) < bytes) {
      return EDC_UNPACK_REFUSED;
    }
    if (form != FORM_FLAT) {
      if (!read_side(side, rest, wide, frame)) {
        return EDC_UNPACK_REFUSED;
      }
    } else {
      const int64_t count = wide ? (int32_t)little(rest, 4) : (int16_t)little(rest, 2);
      const int64_t offset = side->squared != 0 ? count * side->samples : count;
      if (offset != (int32_t)offset) {
        return EDC_UNPACK_REFUSED;
      }
      frame->offset = (int32_t)offset;
    }
    rest += bytes;
  }
  frame->flags = flags & (EDC_UNPACK_CLIPPED | EDC_UNPACK_GAP);
  if (form == FORM_FLAT) {
    return rest == end ? EDC_UNPACK_GOOD : EDC_UNPACK_REFUSED;
  }
  const uint32_t levels = format->levels - left_out;
  const size_t plain = plain_bytes(format, levels);
  const size_t bytes = (size_t)(end - rest);
  frame->levels = (uint8_t)levels;
  decoder coder = {0, UINT64_MAX, rest, end};
  int good = 0;
  if (form == FORM_PLAIN) {
    good = bytes == plain && read_plain(format, &coder, levels, indices);
  } else if (bytes < plain) {
    coder.offset = take(&coder, 8);
    if (format->tables != NULL) {
      good = read_tables(format, &coder, levels, indices);
    } else if (format->network != NULL) {
      good = read_network(format, work, &coder, levels, indices);
    }
  }
  return good ? EDC_UNPACK_GOOD : EDC_UNPACK_REFUSED;
}

void edc_unpack(const edc_unpack_format *format, int32_t *work, const uint8_t *data,
                const uint64_t *ends, size_t count, edc_unpack_frame *frames, uint16_t *indices) {
  const size_t width = (size_t)format->positions * format->levels;
  size_t start = 0;
  for (size_t i = 0; i < count; i++) {
    memset(frames + i, 0, sizeof *frames);
    memset(indices + i * width, 0, width * sizeof *indices);
    frames[i].status = read_packet(format, work, data + start, (size_t)ends[i] - start, frames + i,
                                   indices + i * width);
    if (frames[i].status != EDC_UNPACK_GOOD) {
      const edc_unpack_frame kept = frames[i];
      memset(frames + i, 0, sizeof *frames);
      memset(indices + i * width, 0, width * sizeof *indices);
      frames[i].status = kept.status;
      frames[i].tag = kept.tag;
    }
    start = (size_t)ends[i];
  }
}
