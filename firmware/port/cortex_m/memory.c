/* SPDX-License-Identifier: Apache-2.0 */
/* The functions that GCC calls on its own, so that no C library is needed. Compiled with
 * -fno-tree-loop-distribute-patterns: otherwise each would become a call of itself. */
#include <stddef.h>
#include <stdint.h>

void *memcpy(void *restrict to, const void *restrict from, size_t count);
void *memmove(void *to, const void *from, size_t count);
void *memset(void *to, int value, size_t count);
int memcmp(const void *a, const void *b, size_t count);

void *memcpy(void *restrict to, const void *restrict from, size_t count) {
  uint8_t *out = to;
  const uint8_t *in = from;
  while (count-- > 0) {
    *out++ = *in++;
  }
  return to;
}

void *memmove(void *to, const void *from, size_t count) {
  uint8_t *out = to;
  const uint8_t *in = from;
  if ((uintptr_t)out <= (uintptr_t)in) {
    return memcpy(to, from, count);
  }
  while (count-- > 0) {
    out[count] = in[count];
  }
  return to;
}

void *memset(void *to, int value, size_t count) {
  uint8_t *out = to;
  while (count-- > 0) {
    *out++ = (uint8_t)value;
  }
  return to;
}

int memcmp(const void *a, const void *b, size_t count) {
  const uint8_t *x = a;
  const uint8_t *y = b;
  for (; count > 0; --count, ++x, ++y) {
    if (*x != *y) {
      return *x < *y ? -1 : 1;
    }
  }
  return 0;
}
