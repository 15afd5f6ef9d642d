/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_engine.h"
#include "edc_port.h"
#include "edc_served_model.h"
#include "edc_watch.h"

#ifndef D0
#define D0 0
#endif
static const uint8_t digest[32] = {D0, 1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
                                   16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
#if EDC_SERVED_ACTIVATION_BYTES == 2
typedef int16_t activation;
#else
typedef int8_t activation;
#endif

uint32_t stub_runs;
enum { LATENT_SIZE = EDC_SERVED_POSITIONS * EDC_SERVED_LATENT_CHANNELS };
/* Input and latent, one behind the other; or an encoder's memory, which starts with them. */
static uint32_t
    memory[(EDC_SERVED_ENCODER_BYTES > 0 ? EDC_SERVED_ENCODER_BYTES : EDC_SERVED_STATE_BYTES) / 4];
static int8_t *const input = (int8_t *)memory;
static int8_t *const latent = (int8_t *)memory + EDC_SERVED_SAMPLES * sizeof(activation);
static int8_t wide[STUB_WIDE_BYTES];

static void normalize(const void *constants, const int16_t *frame, int8_t *out,
                      edc_frame_stats *stats) {
  (void)constants;
  activation *const to = (activation *)(void *)out;
  stats->offset = 0;
  for (int i = 0; i < EDC_SERVED_SAMPLES; ++i) {
    to[i] = (activation)frame[i];
    stats->offset += frame[i];
  }
  stats->spread = (UINT64_C(1) << 40) + (uint64_t)(int64_t)stats->offset;
  ++stub_runs;
}

/* Index i of a frame, i = position LEVELS + level, is 256 (i + 1) + latent[i]. The looks count the
 * positions. */
static int32_t search(const void *rvq, const int8_t *vector, int32_t looks, int16_t *residual,
                      uint16_t *indices) {
  (void)rvq;
  (void)residual;
  const activation *const first =
      (const activation *)(const void *)vector - looks * EDC_SERVED_LATENT_CHANNELS;
  for (int level = 0; level < EDC_SERVED_LEVELS; ++level) {
    const int i = looks * EDC_SERVED_LEVELS + level;
    indices[level] = (uint16_t)(256 * (i + 1) + (uint8_t)first[i]);
  }
  return looks + 1;
}

static void infer(int8_t *in, int8_t *out) {
  activation *const from = (activation *)(void *)in;
  activation *const to = (activation *)(void *)out;
  for (int i = 0; i < LATENT_SIZE; ++i) {
    to[i] = (activation)((uint16_t)from[i] + 1u);
  }
  for (int i = 0; i < EDC_SERVED_SAMPLES; ++i) {
    from[i] = -1;
  }
}

/* Of an encoder, whose layers all but the last do nothing. */
static uint32_t next(const edc_model *model, void *state, edc_progress *progress) {
  if (progress->layer == EDC_SERVED_LAYERS - 1) {
    infer(edc_model_input(model, state), edc_model_latent(model, state));
  }
  return progress->layer++;
}

const edc_model stub_model = {
    .info = {.digest = digest,
             .state_bytes = EDC_SERVED_STATE_BYTES,
             .packet_bytes_max = EDC_PACKET_FRAMING + 9,
             .samples = EDC_SERVED_SAMPLES,
             .positions = EDC_SERVED_POSITIONS,
             .levels = EDC_SERVED_LEVELS,
             .latent_channels = EDC_SERVED_LATENT_CHANNELS,
             .layers = EDC_SERVED_LAYERS,
             .latent_bytes = EDC_SERVED_LATENT_CHANNELS * sizeof(activation)},
    .normalize = normalize,
    .next = next,
    .search = search,
    .packets = &stub_packets,
    .latent = EDC_SERVED_SAMPLES * sizeof(activation),
};

static const uint8_t index_bits[EDC_SERVED_LEVELS] = {12, 12};
static const edc_side side = {.first_scale = 2048,
                              .scale_bits = 8,
                              .location_bits = 8,
                              .scale_field = 12,
                              .common_bytes = 3,
                              .squared = 1};
const edc_packet_format stub_packets = {
    .side = &side,
    .index_bits = index_bits,
    .positions = EDC_SERVED_POSITIONS,
    .state_bytes = 4,
    .samples = EDC_SERVED_SAMPLES,
    .tag = 0x000,
    .levels = EDC_SERVED_LEVELS,
};

const uint8_t edc_engine_id = EDC_ENGINE_NATIVE;

int edc_engine_start(void) { return EDC_OK; }

uint32_t edc_engine_arena_bytes(void) { return EDC_SERVED_ARENA_BYTES; }

int8_t *edc_engine_input(void) { return input; }

const int8_t *edc_engine_latent(void) { return latent; }

int16_t *edc_engine_residual(void) { return NULL; }

void *edc_engine_memory(void) { return memory; }

int edc_engine_infer(void) {
  infer(input, latent);
  return EDC_OK;
}

/* The last of three layers does all. Layers 0 and 1 take turns, twice: 0 only lets two ticks pass
 * and puts nothing out, 1 one, and fills wide[i] = i + input[0] (wrapping). */
int edc_engine_infer_watched(void) {
  static const uint8_t layers[] = {0, 1, 0, 1, 2};
  for (uint32_t call = 0; call < sizeof layers; ++call) {
    const uint32_t layer = layers[call];
    edc_watch_layer_starts();
    for (uint32_t look = layer; look < 2; ++look) {
      (void)edc_port_ticks();
    }
    for (int i = 0; layer == 1 && i < STUB_WIDE_BYTES; ++i) {
      wide[i] = (int8_t)(uint8_t)(i + input[0]);
    }
    if (layer == 2) {
      (void)edc_engine_infer();
    }
    edc_watch_layer_ends(layer);
    edc_watch_layer_output(layer,
                           layer == 2   ? latent
                           : layer == 1 ? wide
                                        : NULL,
                           layer == 2   ? LATENT_SIZE * sizeof(activation)
                           : layer == 1 ? STUB_WIDE_BYTES
                                        : 0);
  }
  return EDC_OK;
}
