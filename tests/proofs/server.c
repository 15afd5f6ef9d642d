/* SPDX-License-Identifier: Apache-2.0 */
/* The server: HELLO, ENCODE, and what it refuses. The link itself is proven in link.c, and is
 * here what its header promises; so are codec and port. */
#include "proof.h"

#include "edc_server.c"

static unsigned runs;
static int8_t input[INPUT_BYTES];
static int8_t latent[LATENT_BYTES];
static int16_t residual[EDC_SERVED_LATENT_CHANNELS];
static size_t replied;
static uint32_t output_bytes[EDC_SERVED_LAYERS];

const uint8_t edc_engine_id = EDC_ENGINE_NATIVE;
const edc_packet_format any_packets = {.positions = EDC_SERVED_POSITIONS,
                                       .levels = EDC_SERVED_LEVELS};

static void normalize(const void *constants, const int16_t *frame, int8_t *to,
                      edc_frame_stats *stats) {
  (void)constants;
  for (int i = 0; i < EDC_SERVED_SAMPLES; i++) {
    to[i] = (int8_t)(frame[i] & 0x7F);
  }
  stats->offset = any_i32();
  stats->spread = any_u64();
  runs++;
}

static const uint8_t digest[DIGEST_BYTES];
const edc_model any_model = {.info = {.digest = digest}, .normalize = normalize};

int edc_engine_start(void) { return any_u8() & 1 ? EDC_OK : EDC_ENGINE_ERROR; }
uint32_t edc_engine_arena_bytes(void) { return any_u32(); }
int8_t *edc_engine_input(void) { return input; }
const int8_t *edc_engine_latent(void) { return latent; }
int16_t *edc_engine_residual(void) { return residual; }
int edc_engine_infer(void) { return any_u8() & 1 ? EDC_OK : EDC_ENGINE_ERROR; }

int edc_engine_infer_watched(void) {
  static const int8_t output[300];
  for (uint32_t layer = 0; layer < EDC_SERVED_LAYERS; layer++) {
    const uint32_t bytes = any_u16();
    ASSUME(bytes <= sizeof output);
    output_bytes[layer] = bytes;
    edc_watch_layer_starts();
    edc_watch_layer_ends(layer);
    edc_watch_layer_output(layer, bytes == 0 ? NULL : output, bytes);
  }
  return edc_engine_infer();
}

void edc_model_search_latent(const edc_model *m, const int8_t *from, int16_t *scratch,
                             uint16_t *to) {
  (void)m;
  (void)from;
  scratch[0] = 0;
  for (int i = 0; i < EDC_SERVED_POSITIONS * EDC_SERVED_LEVELS; i++) {
    to[i] = any_u16();
  }
}

uint32_t edc_packet_write(const edc_packet_format *format, void *state,
                          const edc_packet_frame *frame, uint8_t *to) {
  (void)format;
  (void)state;
  (void)frame;
  const uint32_t size = any_u8();
  ASSUME(size >= 3 && size <= EDC_SERVED_PACKET_BYTES_MAX);
  to[0] = to[size - 1] = any_u8();
  return size;
}

uint32_t edc_port_ticks(void) { return any_u32(); }
uint32_t edc_port_ticks_hz(void) { return any_u32(); }
int edc_port_read(void) { return -1; }
void edc_port_write(const uint8_t *bytes, size_t count) {
  (void)bytes;
  (void)count;
}

void edc_link_reader_init(edc_link_reader *r, uint8_t *buffer, size_t capacity) {
  r->buffer = buffer;
  r->capacity = capacity;
}

int edc_link_reader_push(edc_link_reader *r, uint8_t byte) {
  (void)r;
  (void)byte;
  return EDC_LINK_MORE;
}

size_t edc_link_seal(uint8_t *message, size_t count) {
  for (size_t i = 0; i < EDC_LINK_CRC_BYTES; i++) {
    message[count++] = any_u8();
  }
  return count;
}

void edc_link_send(const uint8_t *message, size_t count, edc_link_write *write) {
  (void)write;
  PROVE(count >= EDC_LINK_HEADER_BYTES + 1 + EDC_LINK_CRC_BYTES && count <= sizeof reply);
  PROVE(message[0] == (request.bytes[0] | REPLY));
  PROVE(message[1] == request.bytes[1] && message[2] == request.bytes[2]);
  PROVE(message[EDC_LINK_HEADER_BYTES] <= STATUS_ENGINE);
  replied = count;
}

static void any_request(void) {
  for (size_t i = 0; i < sizeof request; i++) {
    request.bytes[i] = any_u8();
  }
}

static void start(void) {
  static const edc_server_config config = {.board = "b", .version = "v", .window = 1};
  edc_server_init(&config);
}

static void handle(uint8_t type) {
  start();
  any_request();
  request.bytes[0] = type;
  handle_message(EDC_LINK_HEADER_BYTES + payload_bytes_of(type) + EDC_LINK_CRC_BYTES);
}

/* A reply within its buffer, of a known status: whatever the flags, the frame and the codec say. */
void prove_hello(void) { handle(HELLO); }
void prove_encode(void) { handle(ENCODE); }

/* Requests of no type that there is, or of another length than their type's: refused by a reply of
 * one byte, and the codec does not run. */
void prove_refusals(void) {
  start();
  any_request();
  const size_t count = any_u8();
  const uint8_t type = request.bytes[0];
  ASSUME(count >= EDC_LINK_HEADER_BYTES + EDC_LINK_CRC_BYTES && count <= sizeof request);
  ASSUME(type < HELLO || type > LAYER ||
         count - EDC_LINK_HEADER_BYTES - EDC_LINK_CRC_BYTES != payload_bytes_of(type));
  handle_message(count);
  PROVE(replied == EDC_LINK_HEADER_BYTES + 1 + EDC_LINK_CRC_BYTES);
  PROVE(reply[EDC_LINK_HEADER_BYTES] ==
        (type < HELLO || type > LAYER ? STATUS_BAD_TYPE : STATUS_BAD_LENGTH));
  PROVE(runs == 0);
}

/* A layer's output from any byte on: as much as there is room for, and nothing for a layer that
 * there is not. */
void prove_layer(void) {
  handle(LAYER);
  const uint32_t layer = request.encode.flags;
  const uint32_t first = u32_at(request.encode.tail);
  size_t bytes = 0;
  if (layer < EDC_SERVED_LAYERS && first < output_bytes[layer]) {
    const size_t room = sizeof reply - OUTPUT_PLACE - 4 - EDC_LINK_CRC_BYTES;
    bytes = output_bytes[layer] - first < room ? output_bytes[layer] - first : room;
  }
  PROVE(replied == (reply[EDC_LINK_HEADER_BYTES] == STATUS_OK ? OUTPUT_PLACE + 4 + bytes
                                                              : EDC_LINK_HEADER_BYTES + 1) +
                       EDC_LINK_CRC_BYTES);
}

/* A request that comes again is answered by the same bytes and not run again. */
void prove_repeat(void) {
  handle(ENCODE);
  const size_t first = replied;
  const unsigned once = runs;
  const size_t at = any_u16();
  ASSUME(at < first);
  const uint8_t byte = reply[at];
  handle_message(EDC_LINK_HEADER_BYTES + payload_bytes_of(ENCODE) + EDC_LINK_CRC_BYTES);
  PROVE(replied == first && runs == once && reply[at] == byte);
}
