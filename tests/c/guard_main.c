/* SPDX-License-Identifier: Apache-2.0 */
/* Runs the generated codec over a file of frames with guard bytes around everything it may touch.
 *
 * usage: guard FRAMES INDICES: raw int16 frames in, raw uint16 indices out. Built with ASan and
 * UBSan. Exit status 0 when every guard survived; what broke is named on stderr otherwise.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edc_model.h"
#include "ppg_model.h"

#define GUARD_BYTES 64
#define INDEX_COUNT (PPG_MODEL_POSITIONS * PPG_MODEL_LEVELS)

/* Each object between two guards, which need no alignment and so start where it ends. */
typedef struct {
  uint8_t before[GUARD_BYTES];
  ppg_state state;
  uint8_t after_state[GUARD_BYTES];
  int16_t frame[PPG_MODEL_SAMPLES];
  uint8_t after_frame[GUARD_BYTES];
  uint16_t indices[INDEX_COUNT];
  uint8_t after_indices[GUARD_BYTES];
  edc_frame_stats stats;
  uint8_t after_stats[GUARD_BYTES];
} guarded;

static int is_filled(const uint8_t *guard, uint8_t value) {
  for (size_t i = 0; i < GUARD_BYTES; i++) {
    if (guard[i] != value) {
      return 0;
    }
  }
  return 1;
}

static const char *broken_guard(const guarded *memory, uint8_t fill) {
  if (!is_filled(memory->before, fill)) {
    return "before the state";
  }
  if (!is_filled(memory->after_state, fill)) {
    return "after the state";
  }
  if (!is_filled(memory->after_frame, fill)) {
    return "after the frame";
  }
  if (!is_filled(memory->after_indices, fill)) {
    return "after the indices";
  }
  if (!is_filled(memory->after_stats, fill)) {
    return "after the statistics";
  }
  return NULL;
}

/* One frame in memory filled with `fill`, which the codec must not depend on. */
static const char *encode(guarded *memory, const int16_t *frame, uint8_t fill) {
  memset(memory, fill, sizeof *memory);
  memcpy(memory->frame, frame, sizeof memory->frame);
  if (edc_encode(&ppg_model, &memory->state, memory->frame, memory->indices, &memory->stats) !=
      EDC_OK) {
    return "edc_encode returned an error";
  }
  if (memcmp(memory->frame, frame, sizeof memory->frame) != 0) {
    return "the frame was written to";
  }
  return broken_guard(memory, fill);
}

/* The same in blocks of the exact size, whose borders ASan watches. */
static const char *encode_on_heap(const int16_t *frame, const guarded *expected) {
  ppg_state *state = malloc(PPG_MODEL_STATE_BYTES);
  int16_t *copy = malloc(sizeof expected->frame);
  uint16_t *indices = malloc(sizeof expected->indices);
  edc_frame_stats *stats = malloc(sizeof *stats);
  const char *fault = NULL;
  if (state == NULL || copy == NULL || indices == NULL || stats == NULL) {
    fault = "out of memory";
  } else {
    memcpy(copy, frame, sizeof expected->frame);
    edc_model_normalize(&ppg_model, state, copy, stats);
    edc_model_infer(&ppg_model, state);
    edc_model_search(&ppg_model, state, indices);
    if (memcmp(indices, expected->indices, sizeof expected->indices) != 0 ||
        stats->offset != expected->stats.offset || stats->spread != expected->stats.spread) {
      fault = "the three steps differ from edc_encode";
    }
  }
  free(state);
  free(copy);
  free(indices);
  free(stats);
  return fault;
}

static const char *refuse_null(guarded *memory) {
  uint8_t *const odd = (uint8_t *)&memory->state + 1;
  const int refused =
      edc_model_info(NULL) == NULL &&
      edc_model_info(&ppg_model)->state_bytes == sizeof(ppg_state) &&
      edc_encode(NULL, &memory->state, memory->frame, memory->indices, &memory->stats) ==
          EDC_ERROR_ARGUMENT &&
      edc_encode(&ppg_model, odd, memory->frame, memory->indices, &memory->stats) ==
          EDC_ERROR_ARGUMENT &&
      edc_encode(&ppg_model, NULL, memory->frame, memory->indices, &memory->stats) ==
          EDC_ERROR_ARGUMENT &&
      edc_encode(&ppg_model, &memory->state, NULL, memory->indices, &memory->stats) ==
          EDC_ERROR_ARGUMENT &&
      edc_encode(&ppg_model, &memory->state, memory->frame, NULL, &memory->stats) ==
          EDC_ERROR_ARGUMENT &&
      edc_encode(&ppg_model, &memory->state, memory->frame, memory->indices, NULL) ==
          EDC_ERROR_ARGUMENT;
  return refused ? NULL : "a NULL argument was not refused";
}

static int run(FILE *source, FILE *target) {
  static guarded first, second;
  static int16_t frame[PPG_MODEL_SAMPLES];
  unsigned long number = 0;
  const char *fault = refuse_null(&first);
  while (fault == NULL && fread(frame, sizeof frame, 1, source) == 1) {
    fault = encode(&first, frame, 0xA5);
    if (fault == NULL) {
      fault = encode(&second, frame, 0x5A);
    }
    if (fault == NULL && memcmp(first.indices, second.indices, sizeof first.indices) != 0) {
      fault = "the indices depend on what was in memory";
    }
    if (fault == NULL) {
      fault = encode_on_heap(frame, &first);
    }
    if (fault == NULL && fwrite(first.indices, sizeof first.indices, 1, target) != 1) {
      fault = "the output cannot be written";
    }
    number++;
  }
  if (fault != NULL) {
    fprintf(stderr, "frame %lu: %s\n", number, fault);
    return 1;
  }
  return 0;
}

int main(int argc, char **argv) {
  if (argc != 3) {
    fprintf(stderr, "usage: guard FRAMES INDICES\n");
    return 2;
  }
  FILE *source = fopen(argv[1], "rb");
  FILE *target = fopen(argv[2], "wb");
  int status = 2;
  if (source != NULL && target != NULL) {
    status = run(source, target);
  }
  if (source != NULL) {
    fclose(source);
  }
  if (target != NULL && fclose(target) != 0) {
    status = 2;
  }
  return status;
}
