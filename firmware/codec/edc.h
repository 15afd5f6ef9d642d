/* edgecodec: the integer PPG codec, status codes and what all its parts share.
 *
 * C11, no allocation, no floating point, no recursion. Every function is a pure function of its
 * arguments. The arithmetic is edgecodec.int8.v1 (SPEC.md, section 1).
 */
#ifndef EDC_H
#define EDC_H

#include <stdint.h>

#define EDC_VERSION_MAJOR 0
#define EDC_VERSION_MINOR 1

/* The codec shifts negative integers right and means floor, as every supported compiler does. */
_Static_assert((-3 >> 1) == -2, "edgecodec needs an arithmetic right shift");

/* Status: 0 fine, negative an error. */
#define EDC_OK 0
#define EDC_ERROR_ARGUMENT (-1)

/* One line of English for a status. Never NULL. */
const char *edc_strerror(int status);

/* What the normaliser removed from a frame of T counts, for the decoder (SPEC.md 1.1): by z-score
 * the sum T mean and T^2 variance, by least and largest count the least and their difference,
 * otherwise 0 and 0. */
typedef struct {
  int32_t offset;
  uint64_t spread;
} edc_frame_stats;

#endif
