/* SPDX-License-Identifier: Apache-2.0 */
/* The loader of models: any bytes, as they are and with a check that is right. What opens has its
 * pointers where they may be. */
#include "fuzz.h"

#include "edc_blob.h"
#include "edc_model.h"

enum { HEADER = 64, KERNELS = 6 };

static void kernel(void) {}

/* Numbers as tests/fuzz/targets.py gives them to its seeds. */
static const edc_kernel kernels[KERNELS] = {
    {0, {.function = kernel}}, {1, {.function = kernel}}, {2, {.function = kernel}},
    {3, {.function = kernel}}, {4, {.function = kernel}}, {5, {.object = kernels}},
};
static const edc_kernel_set set = {kernels, KERNELS};

static uint32_t word_at(const uint8_t *blob, size_t at) {
  uint32_t value;
  memcpy(&value, blob + at, sizeof value);
  return value;
}

static int is_within(uintptr_t value, const uint8_t *start, size_t bytes) {
  return value >= (uintptr_t)start && value - (uintptr_t)start <= bytes;
}

/* Of an open blob: each word is what it was, or points into tables, memory or kernels. */
static void check(const uint8_t *blob, const edc_blob *found, const uint8_t *memory,
                  const edc_model *model) {
  const size_t words = found->memory_bytes / sizeof(uintptr_t);
  const size_t tables = word_at(blob, 16);
  const uint8_t *const image = blob + HEADER + tables;
  const uint8_t *const kinds = blob + found->bytes - (words + 3) / 4;
  for (size_t i = 0; i < words; i++) {
    uintptr_t was;
    uintptr_t is;
    memcpy(&was, image + i * sizeof was, sizeof was);
    memcpy(&is, memory + i * sizeof is, sizeof is);
    switch (kinds[i / 4] >> 2 * (i % 4) & 3) {
    case 0:
      EXPECT(is == was)
      break;
    case 1:
      EXPECT(is_within(is, blob + HEADER, tables))
      break;
    case 2:
      EXPECT(is_within(is, memory, found->memory_bytes))
      break;
    default:
      EXPECT(is == (uintptr_t)kernel || is == (uintptr_t)kernels)
    }
  }
  edc_model copy;
  memcpy(&copy, model, sizeof copy);
  EXPECT((const uint8_t *)model >= memory &&
         (const uint8_t *)(model + 1) <= memory + found->memory_bytes)
}

static void try_to_open(const uint8_t *blob, size_t size) {
  edc_blob found = {0};
  const edc_model *model = (const edc_model *)(const void *)blob;
  const int checked = edc_blob_check(blob, size, &found);
  EXPECT(checked == EDC_OK || checked == EDC_ERROR_BLOB || checked == EDC_ERROR_VERSION)
  EXPECT(checked != EDC_OK || (found.bytes <= size && found.memory_bytes <= size))
  uint8_t *const memory = fuzz_allocate(found.memory_bytes);
  const int status = edc_model_open(blob, size, memory, found.memory_bytes, &set, &model);
  EXPECT(checked == EDC_OK
             ? status == EDC_OK || status == EDC_ERROR_BLOB || status == EDC_ERROR_KERNEL
             : status == checked)
  EXPECT((status == EDC_OK) == (model != NULL))
  if (status == EDC_OK) {
    check(blob, &found, memory, model);
    EXPECT(edc_model_open(blob, size, memory, found.memory_bytes - 1, &set, &model) ==
           EDC_ERROR_SIZE)
  }
  free(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  uint8_t *const blob = fuzz_allocate(size);
  memcpy(blob, data, size);
  try_to_open(blob, size);
  if (size >= HEADER) {
    /* CRC-32 of what it says to be, or of all. */
    const size_t said = word_at(blob, 8);
    const size_t bytes = said >= 8 && said <= size ? said : size;
    uint32_t crc = UINT32_MAX;
    for (size_t i = 8; i < bytes; i++) {
      crc ^= blob[i];
      for (unsigned bit = 0; bit < 8; bit++) {
        crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0xEDB88320u : 0u);
      }
    }
    crc = ~crc;
    memcpy(blob + 4, &crc, sizeof crc);
    try_to_open(blob, size);
  }
  free(blob);
  return 0;
}
