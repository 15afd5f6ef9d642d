/* SPDX-License-Identifier: Apache-2.0 */
/* Runs an encoder by a script, all memory as large as it must be and no larger.
 *
 * usage: encoder SCRIPT RESULTS. The script is of uint32 words: an operation, two numbers, and what
 * it needs; the results are uint32 words too. Built with ASan and UBSan.
 *
 * - PUSH n stride, int16 [entries] in whole words: status, taken
 * - PUSH32 n stride, int32 [entries]: status, taken
 * - GAP lost: status
 * - STEPS most mtu, until EDC_IDLE, or so many: for each packet PACKET, its frame's number, its
 * bytes, it in whole words, fragments, and of each the same; then LAST and the last status
 * - COUNTS shift offset, ENDS least most: status
 * - INTERRUPTS n piece, int16 [n] in whole words, pushed in pieces amid the steps, what is not
 * taken again the next time: as STEPS
 * - THREAD n piece, int16 [n] in whole words, pushed by a thread of its own: as STEPS
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ppg_model.h"

#define LAST 100u /* and a status: of the last step */

enum { PUSH, PUSH32, GAP, STEPS, COUNTS, ENDS, INTERRUPTS, THREAD };

static FILE *results;

static void put(uint32_t word) { fwrite(&word, sizeof word, 1, results); }

static void put_bytes(const uint8_t *bytes, size_t count) {
  const uint32_t zero = 0;
  put((uint32_t)count);
  fwrite(bytes, 1, count, results);
  fwrite(&zero, 1, (4 - count % 4) % 4, results);
}

static void put_packet(edc_encoder *encoder, size_t mtu) {
  size_t bytes;
  const uint8_t *const packet = edc_packet(encoder, &bytes);
  uint8_t *const fragment = malloc(mtu);
  uint32_t number;
  put(EDC_PACKET);
  if (edc_packet_number(encoder, &number) != EDC_OK) {
    abort();
  }
  put(number);
  put_bytes(packet, bytes);
  long place = 0;
  uint32_t count = 0;
  fflush(results);
  place = ftell(results);
  put(0);
  while (fragment != NULL && edc_fragment(encoder, mtu, fragment, &bytes) == EDC_MORE) {
    put_bytes(fragment, bytes);
    count++;
  }
  free(fragment);
  fseek(results, place, SEEK_SET);
  put(count);
  fseek(results, 0, SEEK_END);
}

static int step(edc_encoder *encoder, uint32_t most, size_t mtu) {
  int status = EDC_MORE;
  while (most-- > 0 && status != EDC_IDLE) {
    status = edc_step(encoder);
    if (status == EDC_PACKET) {
      put_packet(encoder, mtu);
    }
  }
  return status;
}

/* What is left to push amid steps. */
static const int16_t *source;
static size_t source_left;
static size_t source_piece;
static edc_encoder *target;

static void interrupt(void) {
  size_t taken = 0;
  const size_t n = source_left < source_piece ? source_left : source_piece;
  if (edc_push(target, source, n, 1, &taken) < 0) {
    abort();
  }
  source += taken;
  source_left -= taken;
}

static void normalize(const void *constants, const int16_t *frame, int8_t *out,
                      edc_frame_stats *stats) {
  interrupt();
  interrupt();
  ppg_model.normalize(constants, frame, out, stats);
  interrupt();
}

static uint32_t next(const edc_model *model, void *state, edc_progress *progress) {
  interrupt();
  return ppg_model.next(model, state, progress);
}

static int32_t search(const void *rvq, const int8_t *latent, int32_t looks, int16_t *residual,
                      uint16_t *indices) {
  interrupt();
  if (target->position == 0 && looks != ppg_model.looks) {
    abort(); /* each frame has its own */
  }
  return ppg_model.search(rvq, latent, looks, residual, indices);
}

static void *push_all(void *unused) {
  while (source_left != 0) {
    interrupt();
    (void)sched_yield();
  }
  return unused;
}

/* Push n samples amid the steps, or from another thread, and step until all packets are there. */
static int stream(uint8_t *memory, edc_encoder *encoder, const int16_t *samples, size_t n,
                  size_t piece, int is_threaded) {
  static edc_model model;
  pthread_t thread;
  model = ppg_model;
  source = samples;
  source_left = n;
  source_piece = piece;
  target = encoder;
  if (!is_threaded) {
    model.normalize = normalize;
    model.next = next;
    model.search = search;
  }
  if (edc_init(encoder, memory, PPG_MODEL_ENCODER_BYTES, &model) != EDC_OK ||
      (is_threaded && pthread_create(&thread, NULL, push_all, NULL) != 0)) {
    exit(2);
  }
  int status = EDC_OK;
  for (size_t left = n / PPG_MODEL_SAMPLES; left != 0; left -= status == EDC_PACKET) {
    status = step(encoder, 1, 200);
    if (status == EDC_IDLE && !is_threaded) {
      interrupt();
    }
  }
  if (is_threaded) {
    (void)pthread_join(thread, NULL);
  }
  return status;
}

/* n samples of `size` bytes each, `stride` from one to the next, in a block of their own. */
static void *read_samples(FILE *script, size_t n, size_t stride, size_t size) {
  const size_t bytes = n == 0 ? 0 : ((n - 1) * stride + 1) * size;
  uint8_t *const samples = malloc(bytes + (bytes == 0));
  uint8_t spare[4];
  if (samples == NULL || fread(samples, 1, bytes, script) != bytes ||
      fread(spare, 1, (4 - bytes % 4) % 4, script) != (4 - bytes % 4) % 4) {
    exit(2);
  }
  return samples;
}

static void run(FILE *script, uint8_t *memory, edc_encoder *encoder) {
  uint32_t words[3];
  while (fread(words, sizeof words, 1, script) == 1) {
    const uint32_t a = words[1];
    const uint32_t b = words[2];
    size_t taken = 0;
    void *samples = NULL;
    switch (words[0]) {
    case PUSH:
      samples = read_samples(script, a, b, sizeof(int16_t));
      put((uint32_t)edc_push(encoder, samples, a, b, &taken));
      put((uint32_t)taken);
      break;
    case PUSH32:
      samples = read_samples(script, a, b, sizeof(int32_t));
      put((uint32_t)edc_push32(encoder, samples, a, b, &taken));
      put((uint32_t)taken);
      break;
    case GAP:
      put((uint32_t)edc_gap(encoder, a));
      break;
    case STEPS:
      put(LAST + (uint32_t)step(encoder, a, b));
      break;
    case COUNTS:
      put((uint32_t)edc_set_counts(encoder, a, (int32_t)b));
      break;
    case INTERRUPTS:
    case THREAD:
      samples = read_samples(script, a, 1, sizeof(int16_t));
      put(LAST + (uint32_t)stream(memory, encoder, samples, a, b, words[0] == THREAD));
      break;
    default:
      put((uint32_t)edc_set_ends(encoder, (int16_t)a, (int16_t)b));
    }
    free(samples);
  }
}

#define REFUSED(call, status)                                                                      \
  if ((call) != (status)) {                                                                        \
    fprintf(stderr, "line %d: %s is not %s\n", __LINE__, #call, #status);                          \
    return 1;                                                                                      \
  }

static int refuse(uint8_t *memory, edc_encoder *e) {
  const edc_info *const info = edc_model_info(&ppg_model);
  const size_t size = PPG_MODEL_ENCODER_BYTES;
  edc_model other = ppg_model;
  int16_t sample = 0;
  int32_t count = 0;
  uint8_t fragment[2];
  uint32_t number = 0;
  size_t n = 7;
  REFUSED(info->encoder_bytes == size && info->packet_bytes_max == PPG_MODEL_PACKET_BYTES_MAX, 1)
  REFUSED(edc_init(NULL, memory, size, &ppg_model), EDC_ERROR_ARGUMENT)
  REFUSED(edc_init(e, NULL, size, &ppg_model), EDC_ERROR_ARGUMENT)
  REFUSED(edc_init(e, memory + 2, size, &ppg_model), EDC_ERROR_ARGUMENT)
  REFUSED(edc_init(e, memory, size, NULL), EDC_ERROR_ARGUMENT)
  REFUSED(edc_init(e, memory, size - 1, &ppg_model), EDC_ERROR_SIZE)
  REFUSED(edc_init(e, memory, 0, &ppg_model), EDC_ERROR_SIZE)
  other.packets = NULL;
  REFUSED(edc_init(e, memory, size, &other), EDC_ERROR_PACKETS)
  other = ppg_model;
  other.next = NULL;
  REFUSED(edc_init(e, memory, size, &other), EDC_ERROR_PACKETS)
  REFUSED(edc_init(e, memory, size, &ppg_model), EDC_OK)
  REFUSED(edc_push(NULL, &sample, 1, 1, &n), EDC_ERROR_ARGUMENT)
  REFUSED(edc_push(e, NULL, 1, 1, &n), EDC_ERROR_ARGUMENT)
  REFUSED(edc_push(e, &sample, 1, 0, &n), EDC_ERROR_ARGUMENT)
  REFUSED(edc_push(e, &sample, 1, 1, NULL), EDC_ERROR_ARGUMENT)
  REFUSED(edc_push32(NULL, &count, 1, 1, &n), EDC_ERROR_ARGUMENT)
  REFUSED(edc_push32(e, NULL, 1, 1, &n), EDC_ERROR_ARGUMENT)
  REFUSED(edc_push32(e, &count, 1, 0, &n), EDC_ERROR_ARGUMENT)
  REFUSED(edc_push32(e, &count, 1, 1, NULL), EDC_ERROR_ARGUMENT)
  REFUSED(edc_gap(NULL, 1), EDC_ERROR_ARGUMENT)
  REFUSED(edc_set_counts(NULL, 0, 0), EDC_ERROR_ARGUMENT)
  REFUSED(edc_set_counts(e, 32, 0), EDC_ERROR_ARGUMENT)
  REFUSED(edc_set_ends(NULL, 0, 1), EDC_ERROR_ARGUMENT)
  REFUSED(edc_set_ends(e, 1, 1), EDC_ERROR_ARGUMENT)
  REFUSED(edc_step(NULL), EDC_ERROR_ARGUMENT)
  REFUSED(edc_step(e), EDC_IDLE)
  REFUSED(edc_packet(NULL, &n) == NULL && n == 0, 1)
  REFUSED(edc_packet(e, NULL) == NULL, 1)
  REFUSED(edc_packet(e, &n) == NULL && n == 0, 1)
  REFUSED(edc_packet_number(NULL, &number), EDC_ERROR_ARGUMENT)
  REFUSED(edc_packet_number(e, NULL), EDC_ERROR_ARGUMENT)
  REFUSED(edc_packet_number(e, &number), EDC_IDLE)
  REFUSED(edc_fragment(NULL, 200, fragment, &n), EDC_ERROR_ARGUMENT)
  REFUSED(edc_fragment(e, 200, NULL, &n), EDC_ERROR_ARGUMENT)
  REFUSED(edc_fragment(e, 200, fragment, NULL), EDC_ERROR_ARGUMENT)
  const size_t least = 1 + (PPG_MODEL_PACKET_BYTES_MAX + 15) / 16;
  REFUSED(edc_fragment(e, 0, fragment, &n), EDC_ERROR_SIZE)
  REFUSED(edc_fragment(e, 1, fragment, &n), EDC_ERROR_SIZE)
  REFUSED(edc_fragment(e, least - 1, fragment, &n), EDC_ERROR_SIZE)
  REFUSED(edc_fragment(e, least, fragment, &n), EDC_IDLE)
  for (int status = -7; status < 6; status++) {
    REFUSED(strlen(edc_strerror(status)) > 3, 1)
  }
  return 0;
}

int main(int argc, char **argv) {
  FILE *const script = argc == 3 ? fopen(argv[1], "rb") : NULL;
  results = argc == 3 ? fopen(argv[2], "wb") : NULL;
  uint8_t *const memory = malloc(PPG_MODEL_ENCODER_BYTES);
  edc_encoder *const encoder = malloc(sizeof *encoder);
  if (script == NULL || results == NULL || memory == NULL || encoder == NULL) {
    return 2;
  }
  memset(memory, 0xA5, PPG_MODEL_ENCODER_BYTES);
  memset(encoder, 0x5A, sizeof *encoder);
  int failed = refuse(memory, encoder);
  if (!failed) {
    memset(encoder, 0x5A, sizeof *encoder);
    failed = edc_init(encoder, memory, PPG_MODEL_ENCODER_BYTES, &ppg_model) != EDC_OK;
    run(script, memory, encoder);
  }
  free(encoder);
  free(memory);
  fclose(script);
  return fclose(results) || failed;
}
