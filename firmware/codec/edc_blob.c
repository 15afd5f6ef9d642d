/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_blob.h"

#include "edc_model.h"

#define FORMAT 1u
#define ALIGNMENT_MAX 64u /* so that what follows the header is aligned as the blob is */

/* What a word of the structures holds: itself, or a place in the tables or in the memory, or which
 * of the kernels it points to. */
enum { NUMBER, TABLE, MEMORY, KERNEL };

/* The first bytes of a blob; tables, structures, the kernels' numbers and two bits for each word of
 * the structures follow. Check and bytes are where they are in all formats. */
typedef struct {
  uint8_t magic[4];
  uint32_t check;
  uint32_t bytes;
  uint8_t format;
  uint8_t pointer_bytes;
  uint8_t major;
  uint8_t minor;
  uint32_t table_bytes;
  uint32_t memory_bytes;
  uint32_t model; /* where it is in the memory */
  uint16_t kernels;
  uint16_t alignment;
  uint8_t digest[32];
} blob_header;

EDC_STATIC_ASSERT(sizeof(blob_header) == 64, "a header is 64 bytes");
EDC_STATIC_ASSERT(sizeof(edc_any_function *) == sizeof(void *) &&
                      sizeof(uintptr_t) == sizeof(void *),
                  "functions and objects have pointers of one width");

typedef uintptr_t EDC_MAY_ALIAS blob_word;

/* CRC-32 (IEEE 802.3). */
static uint32_t check_of(const uint8_t *bytes, size_t count) {
  uint32_t crc = UINT32_MAX;
  for (size_t i = 0; i < count; i++) {
    crc ^= bytes[i];
    for (uint32_t bit = 0; bit < 8; bit++) {
      crc = (crc >> 1) ^ (0xEDB88320u & (0u - (crc & 1u)));
    }
  }
  return ~crc;
}

/* Whether the parts make up the blob, and the model lies within the memory. */
static int is_sound(const blob_header *header) {
  const uint32_t word = sizeof(blob_word);
  const uint32_t words = header->memory_bytes / word;
  uint32_t left = header->bytes - (uint32_t)sizeof *header;
  if (header->table_bytes % word != 0 || header->table_bytes > left) {
    return 0;
  }
  left -= header->table_bytes;
  if (header->memory_bytes % word != 0 || header->memory_bytes > left) {
    return 0;
  }
  left -= header->memory_bytes;
  if (4u * header->kernels > left || left - 4u * header->kernels != (words + 3) / 4) {
    return 0;
  }
  return header->model % word == 0 && header->memory_bytes >= sizeof(edc_model) &&
         header->model <= header->memory_bytes - sizeof(edc_model) && header->alignment >= word &&
         header->alignment <= ALIGNMENT_MAX && (header->alignment & (header->alignment - 1u)) == 0;
}

int edc_blob_check(const void *blob, size_t bytes, edc_blob *found) {
  const blob_header *const header = (const blob_header *)blob;
  if (blob == NULL || ((uintptr_t)blob & 3u) != 0 || found == NULL) {
    return EDC_ERROR_ARGUMENT;
  }
  if (bytes < sizeof *header || header->magic[0] != 0x89 || header->magic[1] != 'E' ||
      header->magic[2] != 'D' || header->magic[3] != 'M' || header->bytes < sizeof *header ||
      header->bytes > bytes ||
      header->check != check_of((const uint8_t *)blob + 8, header->bytes - 8u)) {
    return EDC_ERROR_BLOB;
  }
  if (header->format != FORMAT || header->pointer_bytes != sizeof(void *) ||
      header->major != EDC_VERSION_MAJOR || header->minor != EDC_VERSION_MINOR) {
    return EDC_ERROR_VERSION;
  }
  if (!is_sound(header)) {
    return EDC_ERROR_BLOB;
  }
  found->digest = header->digest;
  found->bytes = header->bytes;
  found->memory_bytes = header->memory_bytes;
  found->alignment = header->alignment;
  return EDC_OK;
}

static const edc_kernel *find(const edc_kernel_set *set, uint32_t number) {
  for (uint32_t i = 0; i < set->count; i++) {
    if (set->kernels[i].number == number) {
      return &set->kernels[i];
    }
  }
  return NULL;
}

/* The structures of a sound blob, their pointers to where things are. */
static int place(const blob_header *header, blob_word *memory, const edc_kernel_set *set) {
  const uint8_t *const tables = (const uint8_t *)(header + 1);
  const blob_word *const from = (const blob_word *)(const void *)(tables + header->table_bytes);
  const uint32_t words = header->memory_bytes / (uint32_t)sizeof *from;
  const uint32_t *const numbers = (const uint32_t *)(const void *)(from + words);
  const uint8_t *const kinds = (const uint8_t *)(numbers + header->kernels);
  for (uint32_t i = 0; i < words; i++) {
    uintptr_t value = from[i];
    const uint32_t kind = (uint32_t)kinds[i / 4] >> (2u * (i % 4)) & 3u;
    if (kind == KERNEL) {
      if (value >= header->kernels) {
        return EDC_ERROR_BLOB;
      }
      const edc_kernel *const kernel = find(set, numbers[value]);
      if (kernel == NULL) {
        return EDC_ERROR_KERNEL;
      }
      value = kernel->at.address;
    } else if (kind != NUMBER) {
      if (value > (kind == TABLE ? header->table_bytes : header->memory_bytes)) {
        return EDC_ERROR_BLOB;
      }
      value += kind == TABLE ? (uintptr_t)tables : (uintptr_t)memory;
    }
    memory[i] = value;
  }
  return EDC_OK;
}

int edc_model_open(const void *blob, size_t bytes, void *memory, size_t memory_bytes,
                   const edc_kernel_set *kernels, const edc_model **model) {
  edc_blob found;
  if (model == NULL) {
    return EDC_ERROR_ARGUMENT;
  }
  *model = NULL;
  if (memory == NULL || kernels == NULL) {
    return EDC_ERROR_ARGUMENT;
  }
  int status = edc_blob_check(blob, bytes, &found);
  if (status != EDC_OK) {
    return status;
  }
  if ((((uintptr_t)blob | (uintptr_t)memory) & (found.alignment - 1u)) != 0) {
    return EDC_ERROR_ARGUMENT;
  }
  if (memory_bytes < found.memory_bytes) {
    return EDC_ERROR_SIZE;
  }
  const blob_header *const header = (const blob_header *)blob;
  status = place(header, (blob_word *)memory, kernels);
  if (status == EDC_OK) {
    *model = (const edc_model *)(const void *)((const uint8_t *)memory + header->model);
  }
  return status;
}
