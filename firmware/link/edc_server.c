/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_server.h"

#include <stdbool.h>

#include "edc_engine.h"
#include "edc_link.h"
#include "edc_model.h"
#include "edc_port.h"
#include "edc_served_model.h"
#include "edc_watch.h"

/* Requests are used where they lie, so the machine must have the byte order of the wire. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the link is little-endian");

enum { HELLO = 0x01, ENCODE = 0x02, LAYER = 0x03, REPLY = 0x80, ERROR = 0xFF };
enum {
  STATUS_OK,
  STATUS_BAD_FRAME,
  STATUS_BAD_TYPE,
  STATUS_BAD_LENGTH,
  STATUS_BAD_FLAGS,
  STATUS_ENGINE
};
enum { FLAG_INPUT = 1, FLAG_LATENT = 2, FLAG_LAYERS = 4, FLAG_PACKET = 8, FLAG_PUSHED = 16 };

#define HAS_PACKETS (EDC_SERVED_PACKET_BYTES_MAX > 0)
#define HAS_ENCODER (EDC_SERVED_ENCODER_BYTES > 0)
#define FLAGS_KNOWN                                                                                \
  (FLAG_INPUT | FLAG_LATENT | FLAG_LAYERS | (HAS_PACKETS ? (int)FLAG_PACKET : 0) |                 \
   (HAS_ENCODER ? (int)FLAG_PUSHED : 0))

/* How samples are pushed: SPEC.md, ENCODE. */
enum { PIECE_MAX = 8, COUNT_SHIFT = 2, COUNT_OFFSET = 131072 };
#define LEAST_MTU (1u + (EDC_SERVED_PACKET_BYTES_MAX + EDC_FRAGMENTS_MAX - 1u) / EDC_FRAGMENTS_MAX)

#define NO_SEQ 0xFFFFu
#define DIGEST_BYTES 32u
#define TAG_BYTES 4u /* of the digest, in each reply about a frame */

#define MODEL_INDICES (EDC_SERVED_POSITIONS * EDC_SERVED_LEVELS)
#define NUMERICS (EDC_SERVED_ACTIVATION_BYTES == 2 ? 1 : 0) /* what HELLO calls them */
#define INPUT_BYTES (EDC_SERVED_ACTIVATION_BYTES * EDC_SERVED_SAMPLES)
#define LATENT_BYTES                                                                               \
  (EDC_SERVED_ACTIVATION_BYTES * EDC_SERVED_POSITIONS * EDC_SERVED_LATENT_CHANNELS)

_Static_assert(sizeof(edc_fault_record) == 28, "HELLO's seven words");
_Static_assert(EDC_SERVED_LAYERS <= UINT8_MAX, "the reply counts layers in a byte");
_Static_assert(EDC_SERVED_LEVELS <= UINT8_MAX, "HELLO counts levels in a byte");
_Static_assert(EDC_SERVED_PACKET_BYTES_MAX <= UINT16_MAX,
               "the reply counts a packet's bytes in two");

/* Payload bytes of the replies: SPEC.md, HELLO and ENCODE. LAYER sends as much as there is room
 * for. */
#define HELLO_BYTES_MAX (70u + sizeof(edc_fault_record) + 2u * (1u + EDC_SERVER_TEXT_MAX))
#define LAYERS_BYTES (9u + 4u * EDC_SERVED_LAYERS)
#define PACKET_BYTES_MAX (HAS_PACKETS ? 6u + EDC_SERVED_PACKET_BYTES_MAX : 0u)
#define OUTPUT_PLACE (EDC_LINK_HEADER_BYTES + 2u + TAG_BYTES) /* of LAYER, behind its tag */
#define ENCODE_BYTES_MAX                                                                           \
  (26u + TAG_BYTES + 2u * MODEL_INDICES + LAYERS_BYTES + INPUT_BYTES + LATENT_BYTES +              \
   PACKET_BYTES_MAX)
#define PAYLOAD_BYTES_MAX (HELLO_BYTES_MAX > ENCODE_BYTES_MAX ? HELLO_BYTES_MAX : ENCODE_BYTES_MAX)

/* The longest request, laid out so that the frame is aligned. */
typedef union {
  uint8_t bytes[8 + 2 * EDC_SERVED_SAMPLES + EDC_LINK_CRC_BYTES];
  struct {
    uint8_t header[3]; /* type, seq */
    uint8_t flags;     /* of LAYER the layer's number */
    int16_t frame[EDC_SERVED_SAMPLES];
    uint8_t tail[4]; /* of LAYER the byte of the output to start with, of ENCODE the sequence */
  } encode;
} request_buffer;

static const edc_model *const model = &EDC_SERVED_MODEL;
static uint16_t indices[MODEL_INDICES];
static request_buffer request;
static edc_link_reader reader;

/* The last reply and the request it answered, so that a repeated request is not run twice. */
static uint8_t reply[EDC_LINK_HEADER_BYTES + PAYLOAD_BYTES_MAX + EDC_LINK_CRC_BYTES];
static size_t reply_count;
static uint8_t answered_header[EDC_LINK_HEADER_BYTES];
static uint32_t answered_crc;

static const edc_server_config *server_config;
static int engine_status;
static uint32_t layer_start; /* ticks */
static uint32_t ticks_empty; /* between two looks at the counter */
static size_t layer_place;   /* of the first layer's ticks in the reply */

static void put_bytes(const void *bytes, size_t count) {
  const uint8_t *from = bytes;
  for (size_t i = 0; i < count; ++i) {
    reply[reply_count++] = from[i];
  }
}

static void put_u8(uint8_t value) { put_bytes(&value, sizeof value); }
static void put_u16(uint16_t value) { put_bytes(&value, sizeof value); }
static void put_u32(uint32_t value) { put_bytes(&value, sizeof value); }
static void put_u64(uint64_t value) { put_bytes(&value, sizeof value); }

static void put_text(const char *text) {
  uint8_t count = 0;
  while (count < EDC_SERVER_TEXT_MAX && text[count] != '\0') {
    ++count;
  }
  put_u8(count);
  put_bytes(text, count);
}

/* Small rather than fast. */
__attribute__((cold)) static void answer_hello(void) {
  static const edc_fault_record none;
  put_u8(STATUS_OK);
  put_u8(EDC_SERVER_PROTOCOL);
  put_u8(edc_engine_id);
  put_u8(server_config->window);
  put_bytes(model->info.digest, DIGEST_BYTES);
  put_u16(EDC_SERVED_SAMPLES);
  put_u16(EDC_SERVED_POSITIONS);
  put_u16(EDC_SERVED_LEVELS | NUMERICS << 8);
  put_u16(EDC_SERVED_LATENT_CHANNELS);
  put_u16(EDC_SERVED_PACKET_BYTES_MAX);
  put_u32(EDC_SERVED_STATE_BYTES);
  put_u32(EDC_SERVED_ENCODER_BYTES);
  put_u32(edc_engine_arena_bytes());
  put_u32(edc_port_ticks_hz());
  put_u32(server_config->calibration_instructions);
  put_u32(server_config->calibration_ticks);
  put_bytes(server_config->fault ? server_config->fault : &none, sizeof none);
  put_text(server_config->board);
  put_text(server_config->version);
}

static uint32_t u32_at(const uint8_t *bytes) {
  return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
         (uint32_t)bytes[3] << 24;
}

/* Bytes of a layer's output, from the one on that the request asks for, until the reply is full. */
static void put_output(const int8_t *output, uint32_t bytes) {
  uint32_t first = u32_at(request.encode.tail);
  reply_count = OUTPUT_PLACE;
  put_u32(bytes);
  if (first < bytes) {
    size_t room = sizeof reply - EDC_LINK_CRC_BYTES - reply_count;
    size_t left = bytes - first;
    put_bytes(output + first, left < room ? left : room);
  }
}

void edc_watch_layer_starts(void) { layer_start = edc_port_ticks(); }

void edc_watch_layer_ends(uint32_t layer) {
  uint32_t ticks = edc_port_ticks() - layer_start;
  if (request.bytes[0] == ENCODE) {
    reply_count = layer_place + 4u * layer;
    put_u32(u32_at(reply + reply_count) + ticks - ticks_empty);
  }
}

void edc_watch_layer_output(uint32_t layer, const int8_t *output, uint32_t bytes) {
  if (request.bytes[0] == LAYER && layer == request.encode.flags) {
    put_output(output, bytes);
  }
}

/* The encoder call by call; its count of layers and their ticks come at `place` of the reply, each
 * with one look at the counter on top. */
static int time_layers(size_t place) {
  const size_t end = reply_count;
  uint32_t start = edc_port_ticks();
  ticks_empty = edc_port_ticks() - start;
  reply_count = place;
  put_u8(EDC_SERVED_LAYERS);
  layer_place = reply_count;
  for (uint32_t layer = 0; layer < EDC_SERVED_LAYERS; ++layer) {
    put_u32(ticks_empty);
  }
  int status = edc_engine_infer_watched();
  reply_count = end;
  return status;
}

static void answer_engine_error(void) {
  reply_count = EDC_LINK_HEADER_BYTES;
  put_u8(STATUS_ENGINE);
}

#if HAS_ENCODER
/* Samples of the frame from `first` on, and from its start again, by the one or the other push. Its
 * arrays shall not lie on the stack while steps are done. */
__attribute__((noinline)) static size_t push_piece(edc_encoder *encoder, size_t first, size_t count,
                                                   bool wide) {
  int16_t samples[PIECE_MAX];
  int32_t counts[2u * PIECE_MAX];
  for (size_t i = 0; i < count; ++i) {
    const int32_t sample = request.encode.frame[first];
    samples[i] = (int16_t)sample;
    counts[2u * i] = sample * (1 << COUNT_SHIFT) + COUNT_OFFSET + (int32_t)i % (1 << COUNT_SHIFT);
    counts[2u * i + 1u] = INT32_MIN; /* of another channel */
    first = first + 1u == EDC_SERVED_SAMPLES ? 0u : first + 1u;
  }
  size_t taken = 0;
  (void)(wide ? edc_push32(encoder, counts, count, 2, &taken)
              : edc_push(encoder, samples, count, 1, &taken));
  return taken;
}

/* Join the fragments of a packet at `out`, behind at least one byte. Returns the bytes; 0 unless
 * they are the packet's. */
static uint32_t join_fragments(edc_encoder *encoder, uint8_t *out) {
  uint32_t joined = 0;
  for (;;) {
    uint8_t *const to = out + joined - 1; /* a fragment's own byte lies there for a moment */
    const uint8_t kept = *to;
    size_t bytes;
    if (edc_fragment(encoder, LEAST_MTU, to, &bytes) != EDC_MORE) {
      break;
    }
    *to = kept;
    joined += (uint32_t)bytes - 1u;
  }
  size_t bytes;
  const uint8_t *const packet = edc_packet(encoder, &bytes);
  bool same = joined == bytes;
  for (uint32_t i = 0; same && i < joined; ++i) {
    same = out[i] == packet[i];
  }
  return same ? joined : 0u;
}

/* Make the packet at `out` by an encoder that lost all frames before, gets a piece before each of
 * its steps, and of the frame's samples again and again as many as it takes. Returns the bytes. */
static uint32_t write_pushed(uint8_t *out) {
  static edc_encoder encoder;
  const uint32_t sequence = request.encode.tail[0];
  int status = edc_init(&encoder, edc_engine_memory(), EDC_SERVED_ENCODER_BYTES, model);
  if (status != EDC_OK) {
    return 0;
  }
  (void)edc_set_counts(&encoder, COUNT_SHIFT, COUNT_OFFSET);
  (void)edc_gap(&encoder, sequence * EDC_SERVED_SAMPLES);
  size_t at = 0;
  for (uint32_t turn = sequence; status != EDC_PACKET; ++turn) {
    at += push_piece(&encoder, at, turn % PIECE_MAX + 1u, turn / PIECE_MAX % 2u != 0);
    while (at >= EDC_SERVED_SAMPLES) {
      at -= EDC_SERVED_SAMPLES;
    }
    status = edc_step(&encoder);
  }
  return join_fragments(&encoder, out);
}
#endif

#if HAS_PACKETS
/* Make the packet at `out`. Returns its bytes. */
static uint32_t write_packet(const edc_frame_stats *stats, uint8_t *out) {
#if HAS_ENCODER
  int32_t *const state = edc_engine_memory(); /* input, latent and residual are no longer needed */
#else
  static int32_t state[EDC_SERVED_PACKET_STATE_WORDS];
#endif
  const edc_packet_frame frame = {.indices = indices,
                                  .spread = stats->spread,
                                  .offset = stats->offset,
                                  .levels = EDC_SERVED_LEVELS,
                                  .sequence = request.encode.tail[0]};
  return edc_packet_write(EDC_SERVED_PACKETS, state, &frame, out);
}

/* Make the packet where it lies in the reply, behind its ticks and its length. */
static void put_packet(const edc_frame_stats *stats) {
  uint8_t *const out = reply + reply_count + 6u;
  const uint32_t start = edc_port_ticks();
#if HAS_ENCODER
  const uint32_t bytes =
      request.encode.flags & FLAG_PUSHED ? write_pushed(out) : write_packet(stats, out);
#else
  const uint32_t bytes = write_packet(stats, out);
#endif
  put_u32(edc_port_ticks() - start);
  put_u16((uint16_t)bytes);
  reply_count += bytes;
}
#endif

static void answer_encode(void) {
  uint8_t flags = request.encode.flags;
  put_u8(STATUS_OK);
  put_u8(flags);
  put_bytes(model->info.digest, TAG_BYTES);

  edc_frame_stats stats;
  uint32_t start = edc_port_ticks();
  model->normalize(model->normalizer, request.encode.frame, edc_engine_input(), &stats);
  uint32_t ticks_normalize = edc_port_ticks() - start;

  /* The input lives only until the encoder runs, so it is copied to its place at the end now. */
  size_t front = reply_count;
  const size_t layers = front + 24u + 2u * MODEL_INDICES;
  reply_count = layers + (flags & FLAG_LAYERS ? LAYERS_BYTES : 0u);
  if (flags & FLAG_INPUT) {
    put_bytes(edc_engine_input(), INPUT_BYTES);
  }

  start = edc_port_ticks();
  int status = flags & FLAG_LAYERS ? time_layers(layers + 8u) : edc_engine_infer();
  uint32_t ticks_encoder = edc_port_ticks() - start;
  if (status != EDC_OK) {
    answer_engine_error();
    return;
  }
  if (flags & FLAG_LATENT) {
    put_bytes(edc_engine_latent(), LATENT_BYTES);
  }

  start = edc_port_ticks();
  edc_model_search_latent(model, edc_engine_latent(), edc_engine_residual(), indices);
  uint32_t ticks_rvq = edc_port_ticks() - start;

#if HAS_PACKETS
  if (flags & FLAG_PACKET) {
    put_packet(&stats);
  }
#endif

  size_t end = reply_count;
  reply_count = front;
  start = edc_port_ticks();
  put_u32((uint32_t)stats.offset);
  put_u64(stats.spread);
  put_u32(ticks_normalize);
  put_u32(ticks_encoder);
  put_u32(ticks_rvq);
  put_bytes(indices, sizeof indices);
  if (flags & FLAG_LAYERS) {
    /* What it takes to send indices alone. The CRC lies where the ticks come. */
    (void)edc_link_seal(reply, reply_count);
    uint32_t ticks_reply = edc_port_ticks() - start;
    start = edc_port_ticks();
    put_u32(edc_port_ticks() - start);
    put_u32(ticks_reply);
  }
  reply_count = end;
}

static void answer_layer(void) {
  put_u8(STATUS_OK);
  put_u8(request.encode.flags);
  put_bytes(model->info.digest, TAG_BYTES);
  put_u32(0);
  if (request.encode.flags >= EDC_SERVED_LAYERS) {
    return;
  }
  edc_frame_stats stats;
  model->normalize(model->normalizer, request.encode.frame, edc_engine_input(), &stats);
  if (edc_engine_infer_watched() != EDC_OK) {
    answer_engine_error();
  }
}

static size_t payload_bytes_of(uint8_t type) {
  const size_t frame_bytes = 1u + 2u * EDC_SERVED_SAMPLES;
  return type == HELLO ? 0u : type == ENCODE ? frame_bytes + 1u : frame_bytes + 4u;
}

static void answer(uint8_t type, size_t payload_bytes) {
  if (type < HELLO || type > LAYER) {
    put_u8(STATUS_BAD_TYPE);
  } else if (payload_bytes != payload_bytes_of(type)) {
    put_u8(STATUS_BAD_LENGTH);
  } else if (type == HELLO) {
    answer_hello();
  } else if (type == ENCODE && request.encode.flags & ~FLAGS_KNOWN) {
    put_u8(STATUS_BAD_FLAGS);
  } else if (engine_status != EDC_OK) {
    put_u8(STATUS_ENGINE);
  } else if (type == ENCODE) {
    answer_encode();
  } else {
    answer_layer();
  }
}

static bool is_answered(uint32_t crc) {
  bool same = reply_count > 0 && crc == answered_crc;
  for (size_t i = 0; i < EDC_LINK_HEADER_BYTES; ++i) {
    same = same && answered_header[i] == request.encode.header[i];
  }
  return same;
}

static void handle_message(size_t count) {
  size_t payload_bytes = count - EDC_LINK_HEADER_BYTES - EDC_LINK_CRC_BYTES;
  uint32_t crc = u32_at(request.bytes + count - EDC_LINK_CRC_BYTES);
  if (!is_answered(crc)) {
    for (size_t i = 0; i < EDC_LINK_HEADER_BYTES; ++i) {
      answered_header[i] = request.encode.header[i];
    }
    answered_crc = crc;
    reply_count = 0;
    put_u8(request.bytes[0] | REPLY);
    put_bytes(request.bytes + 1, EDC_LINK_HEADER_BYTES - 1u);
    answer(request.bytes[0], payload_bytes);
    reply_count = edc_link_seal(reply, reply_count);
  }
  edc_link_send(reply, reply_count, edc_port_write);
}

static void report_bad_message(void) {
  uint8_t error[EDC_LINK_HEADER_BYTES + 1u + EDC_LINK_CRC_BYTES] = {ERROR, NO_SEQ & 0xFFu,
                                                                    NO_SEQ >> 8, STATUS_BAD_FRAME};
  size_t count = edc_link_seal(error, EDC_LINK_HEADER_BYTES + 1u);
  edc_link_send(error, count, edc_port_write);
}

/* For ports without a watchdog. */
__attribute__((weak)) void edc_port_feed_watchdog(void) {}

void edc_server_init(const edc_server_config *config) {
  server_config = config;
  reply_count = 0;
  edc_link_reader_init(&reader, request.bytes, sizeof request.bytes);
  engine_status = edc_engine_start();
}

void edc_server_poll(void) {
  for (int byte = edc_port_read(); byte >= 0; byte = edc_port_read()) {
    int status = edc_link_reader_push(&reader, (uint8_t)byte);
    if (status == EDC_LINK_MESSAGE) {
      handle_message(reader.count);
    } else if (status == EDC_LINK_ERROR_MESSAGE) {
      report_bad_message();
    }
    edc_port_feed_watchdog();
  }
  edc_port_feed_watchdog();
}
