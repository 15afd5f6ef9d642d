/* SPDX-License-Identifier: Apache-2.0 */
/* Opens blobs, all memory as large as it must be and no larger. Built with ASan and UBSan.
 *
 * usage: blob encode (BLOB FRAMES RESULTS)...   all are open at once, and take turns frame by
 * frame: indices, and of models with packets the packets, each behind its size in a byte blob
 * damage BLOB                       every length and every byte that is another is refused blob try
 * BLOBS                         of blobs behind their sizes (uint32), the statuses blob refuse BLOB
 * what is wrong with the arguments
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "any_model.h"

enum { ALIGNMENT = 64, MODELS = 8 };

#define EXPECT(condition)                                                                          \
  if (!(condition)) {                                                                              \
    fprintf(stderr, "line %d: not %s\n", __LINE__, #condition);                                    \
    exit(1);                                                                                       \
  }

static void *allocate(size_t bytes) {
  void *memory = NULL;
  EXPECT(posix_memalign(&memory, ALIGNMENT, bytes + (bytes == 0)) == 0)
  memset(memory, 0xA5, bytes);
  return memory;
}

/* A file, its first byte `before` bytes into a block that ends with it. */
static uint8_t *read_file(const char *name, size_t before, size_t *bytes) {
  FILE *const file = fopen(name, "rb");
  EXPECT(file != NULL && fseek(file, 0, SEEK_END) == 0)
  *bytes = (size_t)ftell(file);
  rewind(file);
  uint8_t *const block = allocate(before + *bytes);
  EXPECT(fread(block + before, 1, *bytes, file) == *bytes)
  fclose(file);
  return block;
}

typedef struct {
  uint8_t *block;
  void *memory;
  const edc_model *model;
  FILE *results;
  int16_t *frames;
  void *encoder_memory;
  void *state;
  edc_encoder encoder;
  size_t count;
} opened;

static void open_model(opened *it, char **names) {
  /* In the middle of something, and as odd as may be. */
  edc_blob found;
  size_t bytes;
  size_t frames;
  it->block = read_file(names[0], 0, &bytes);
  EXPECT(edc_blob_check(it->block, bytes, &found) == EDC_OK && found.bytes == bytes)
  const size_t before = 5 * found.alignment;
  free(it->block);
  it->block = read_file(names[0], before, &bytes);
  EXPECT(edc_blob_check(it->block + before, bytes, &found) == EDC_OK)
  it->memory = allocate(found.memory_bytes);
  EXPECT(edc_model_open(it->block + before, bytes, it->memory, found.memory_bytes, &any_kernels,
                        &it->model) == EDC_OK)
  const edc_info *const info = edc_model_info(it->model);
  EXPECT(memcmp(info->digest, found.digest, 32) == 0)
  it->frames = (int16_t *)(void *)read_file(names[1], 0, &frames);
  it->count = frames / 2 / info->samples;
  it->state = allocate(info->state_bytes);
  it->encoder_memory = allocate(info->encoder_bytes);
  it->results = fopen(names[2], "wb");
  EXPECT(it->results != NULL)
  if (info->encoder_bytes != 0) {
    EXPECT(edc_init(&it->encoder, it->encoder_memory, info->encoder_bytes, it->model) == EDC_OK)
  }
}

static void encode(opened *it, size_t number) {
  const edc_info *const info = edc_model_info(it->model);
  const int16_t *const frame = it->frames + number * info->samples;
  const size_t bytes = 2u * info->positions * info->levels;
  uint16_t *const indices = allocate(bytes);
  edc_frame_stats stats;
  size_t taken;
  EXPECT(edc_encode(it->model, it->state, frame, indices, &stats) == EDC_OK)
  fwrite(indices, 1, bytes, it->results);
  free(indices);
  if (info->encoder_bytes == 0) {
    return;
  }
  EXPECT(edc_push(&it->encoder, frame, info->samples, 1, &taken) == EDC_OK)
  while (edc_step(&it->encoder) == EDC_MORE) {
  }
  const uint8_t *const packet = edc_packet(&it->encoder, &taken);
  EXPECT(packet != NULL)
  fputc((int)taken, it->results);
  fwrite(packet, 1, taken, it->results);
}

static void encode_all(char **names, int count) {
  static opened models[MODELS];
  size_t most = 0;
  EXPECT(count <= MODELS)
  for (int i = 0; i < count; i++) {
    open_model(&models[i], names + 3 * i);
    most = most < models[i].count ? models[i].count : most;
  }
  for (size_t number = 0; number < most; number++) {
    for (int i = 0; i < count; i++) {
      if (number < models[i].count) {
        encode(&models[i], number);
      }
    }
  }
  for (int i = 0; i < count; i++) {
    EXPECT(fclose(models[i].results) == 0)
    free(models[i].block);
    free(models[i].memory);
    free(models[i].frames);
    free(models[i].state);
    free(models[i].encoder_memory);
  }
}

/* In memory of just the size that the blob asks for, if it says one. */
static int status_of(const uint8_t *blob, size_t bytes) {
  edc_blob found;
  const edc_model *model;
  const int checked = edc_blob_check(blob, bytes, &found);
  const size_t memory_bytes = checked == EDC_OK ? found.memory_bytes : 4096;
  void *const memory = allocate(memory_bytes);
  const int status = edc_model_open(blob, bytes, memory, memory_bytes, &any_kernels, &model);
  EXPECT((status == EDC_OK) == (model != NULL))
  EXPECT(checked == EDC_OK || checked == status)
  free(memory);
  return status;
}

static void damage(const char *name) {
  size_t bytes;
  uint8_t *const blob = read_file(name, 0, &bytes);
  EXPECT(status_of(blob, bytes) == EDC_OK)
  for (size_t length = 0; length < bytes; length++) {
    uint8_t *const part = allocate(length);
    memcpy(part, blob, length);
    EXPECT(status_of(part, length) == EDC_ERROR_BLOB)
    free(part);
  }
  for (size_t at = 0; at < bytes; at++) {
    const uint8_t change = (uint8_t)(at % 255 + 1);
    blob[at] ^= change;
    EXPECT(status_of(blob, bytes) == EDC_ERROR_BLOB)
    blob[at] ^= change;
  }
  EXPECT(status_of(blob, bytes) == EDC_OK)
  free(blob);
}

static void try_all(const char *name) {
  size_t left;
  uint8_t *const all = read_file(name, 0, &left);
  for (const uint8_t *next = all; left != 0;) {
    uint32_t bytes;
    memcpy(&bytes, next, sizeof bytes);
    uint8_t *const blob = allocate(bytes);
    memcpy(blob, next + sizeof bytes, bytes);
    printf("%d\n", status_of(blob, bytes));
    free(blob);
    next += sizeof bytes + bytes;
    left -= sizeof bytes + bytes;
  }
  free(all);
}

static void refuse(const char *name) {
  size_t bytes;
  uint8_t *const blob = read_file(name, 0, &bytes);
  const edc_kernel_set *const set = &any_kernels;
  edc_blob found;
  const edc_model *model = NULL;
  EXPECT(edc_blob_check(NULL, bytes, &found) == EDC_ERROR_ARGUMENT)
  EXPECT(edc_blob_check(blob, bytes, NULL) == EDC_ERROR_ARGUMENT)
  EXPECT(edc_blob_check(blob + 2, bytes, &found) == EDC_ERROR_ARGUMENT)
  EXPECT(edc_blob_check(blob, bytes, &found) == EDC_OK)
  const size_t size = found.memory_bytes;
  uint8_t *const memory = allocate(size + found.alignment);
  EXPECT(edc_model_open(NULL, bytes, memory, size, set, &model) == EDC_ERROR_ARGUMENT)
  EXPECT(edc_model_open(blob, bytes, NULL, size, set, &model) == EDC_ERROR_ARGUMENT)
  EXPECT(edc_model_open(blob, bytes, memory, size, NULL, &model) == EDC_ERROR_ARGUMENT)
  EXPECT(edc_model_open(blob, bytes, memory, size, set, NULL) == EDC_ERROR_ARGUMENT)
  EXPECT(edc_model_open(blob, bytes, memory + 4, size, set, &model) == EDC_ERROR_ARGUMENT)
  EXPECT(edc_model_open(blob, bytes, memory, size - 1, set, &model) == EDC_ERROR_SIZE)
  EXPECT(edc_model_open(blob, bytes, memory, 0, set, &model) == EDC_ERROR_SIZE)
  uint8_t *const moved = allocate(bytes + 4);
  memcpy(moved + 4, blob, bytes);
  EXPECT(edc_blob_check(moved + 4, bytes, &found) == EDC_OK)
  EXPECT(edc_model_open(moved + 4, bytes, memory, size, set, &model) == EDC_ERROR_ARGUMENT)
  for (uint32_t left = 0; left < set->count; left++) {
    const edc_kernel_set fewer = {set->kernels, left};
    const int status = edc_model_open(blob, bytes, memory, size, &fewer, &model);
    EXPECT(status == EDC_OK || (status == EDC_ERROR_KERNEL && model == NULL))
    EXPECT(status != EDC_OK || left > 4)
  }
  for (int status = EDC_ERROR_BLOB; status >= EDC_ERROR_KERNEL; status--) {
    EXPECT(strcmp(edc_strerror(status), edc_strerror(-99)) != 0)
  }
  /* What is behind a blob does not matter, and is not read. */
  EXPECT(edc_model_open(blob, SIZE_MAX, memory, SIZE_MAX, set, &model) == EDC_OK)
  EXPECT((const void *)model >= (void *)memory && (const void *)model < (void *)(memory + size))
  free(moved);
  free(memory);
  free(blob);
}

int main(int argc, char **argv) {
  const char *const what = argc > 2 ? argv[1] : "";
  if (strcmp(what, "encode") == 0) {
    encode_all(argv + 2, (argc - 2) / 3);
  } else if (strcmp(what, "damage") == 0) {
    damage(argv[2]);
  } else if (strcmp(what, "try") == 0) {
    try_all(argv[2]);
  } else if (strcmp(what, "refuse") == 0) {
    refuse(argv[2]);
  } else {
    return 2;
  }
  return 0;
}
