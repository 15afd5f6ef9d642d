/* SPDX-License-Identifier: Apache-2.0 */
/* What the fuzzers share. Each is a libFuzzer target: LLVMFuzzerTestOneInput with any bytes. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define EXPECT(condition)                                                                          \
  if (!(condition)) {                                                                              \
    fprintf(stderr, "%s:%d: not %s\n", __FILE__, __LINE__, #condition);                            \
    abort();                                                                                       \
  }

/* The bytes that say what to do, one after the other. */
typedef struct {
  const uint8_t *next;
  size_t left;
} fuzz_input;

/* The next bytes as a number, lowest first, zeros behind the end. */
static inline uint32_t fuzz_take(fuzz_input *input, unsigned bytes) {
  uint32_t value = 0;
  for (unsigned i = 0; i < bytes && input->left != 0; i++, input->left--) {
    value |= (uint32_t)*input->next++ << (8 * i);
  }
  return value;
}

/* Memory of just so many bytes, that ASan guards; of none, too. */
static inline void *fuzz_allocate(size_t bytes) {
  void *memory = NULL;
  EXPECT(posix_memalign(&memory, 64, bytes + (bytes == 0)) == 0)
  memset(memory, 0xA5, bytes);
  return memory;
}

#endif
