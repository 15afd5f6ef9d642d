/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_rvq.h"

#include "edc_config.h"

#include <stddef.h>

#if defined(__ARM_FEATURE_SIMD32) && __ARM_FEATURE_SIMD32
#include <arm_acle.h>
#define PAIRS 1 /* two 16-bit values in one register */
typedef int16x2_t __attribute__((may_alias, aligned(2))) pair_of_int16;

static inline int32_t saturate(int32_t value) {
  const int32_t some = value > INT16_MAX ? INT16_MAX : value;
  return some < INT16_MIN ? INT16_MIN : some;
}

static inline int16x2_t saturated(int32_t low, int32_t high) {
  return (int16x2_t)(((uint32_t)saturate(low) & 0xFFFFu) | (uint32_t)saturate(high) << 16);
}
#else
#define PAIRS 0
#endif

#define SHIFT 6 /* of the directions */
/* Projections are rounded down: a difference of four is off by less than 2 in length, and
 * (sqrt(D) + 2)^2 <= D + D/32 + 132. The share D/32 is in the codebook's slack. */
#define ROUNDING 132u

/* Dimensions with kernels of their own. */
#define LONG 16
#define SHORT 8
#define TINY 4

static inline int32_t dot(const int16_t *a, const int16_t *b, int32_t count) {
  int32_t sum = 0;
  for (int32_t left = count >> 3; left > 0; left--) {
#if PAIRS
    const pair_of_int16 *x = (const pair_of_int16 *)a;
    const pair_of_int16 *y = (const pair_of_int16 *)b;
    sum = __smlad(x[0], y[0], sum);
    sum = __smlad(x[1], y[1], sum);
    sum = __smlad(x[2], y[2], sum);
    sum = __smlad(x[3], y[3], sum);
#else
    sum += a[0] * b[0];
    sum += a[1] * b[1];
    sum += a[2] * b[2];
    sum += a[3] * b[3];
    sum += a[4] * b[4];
    sum += a[5] * b[5];
    sum += a[6] * b[6];
    sum += a[7] * b[7];
#endif
    a += 8;
    b += 8;
  }
#pragma GCC unroll 1
  for (count &= 7; count > 0; count--) {
    sum += *a++ * *b++;
  }
  return sum;
}

/* The search's best code so far. */
typedef struct {
  int32_t distance; /* ||r - c||^2 and what choosing the code costs, less ||r||^2 */
  uint32_t limit;   /* no code whose projections are farther than this can be nearer */
  uint32_t index;
  int32_t looks; /* left; negative when there was none for a code that may be nearer */
} candidate;

typedef struct {
  const edc_codebook *book;
  const int16_t *residual;
  int32_t dimension;
  uint32_t length; /* ||r||^2 */
  int32_t first;   /* projection */
#if PAIRS
  int16x2_t projections[EDC_RVQ_PROJECTIONS / 2]; /* saturated */
#else
  int32_t projections[EDC_RVQ_PROJECTIONS];
#endif
} query;

/* Compare the best code with the one at `place`; false when no look is left for that. */
static int consider(const query *q, uint32_t place, candidate *best) {
  if (--best->looks < 0) {
    return 0;
  }
  const edc_codebook *book = q->book;
  const uint32_t index = book->order[place];
  const int16_t *code = book->codes + index * (uint32_t)q->dimension;
  const int32_t distance = book->keys[index] - 2 * dot(q->residual, code, q->dimension);
  if (distance < best->distance || (distance == best->distance && index < best->index)) {
    const uint32_t whole = q->length + (uint32_t)distance;
    best->distance = distance;
    best->limit = whole + (whole >> 8) * book->slack + book->slack + ROUNDING;
    best->index = index;
  }
  return 1;
}

static inline uint32_t square(int32_t value) { return (uint32_t)value * (uint32_t)value; }

/* Squared distance from a code's first projection. Saturated differences are no larger than the
 * true ones, so no nearer code is left out. */
EDC_ALWAYS_INLINE uint32_t first_away(const query *q, const int16_t *code) {
#if PAIRS
  return square((int16_t)__qsub16(q->projections[0], *(const pair_of_int16 *)code));
#else
  return square(q->projections[0] - code[0]);
#endif
}

/* Squared distance from a code's projections. */
EDC_ALWAYS_INLINE uint32_t away(const query *q, const int16_t *code) {
#if PAIRS
  /* Four differences of -2^15 wrap to 0: such a code is looked at. */
  const pair_of_int16 *pairs = (const pair_of_int16 *)code;
  const int16x2_t front = __qsub16(q->projections[0], pairs[0]);
  const int16x2_t back = __qsub16(q->projections[1], pairs[1]);
  return (uint32_t)__smlad(back, back, __smuad(front, front));
#else
  uint32_t sum = 0;
  for (int i = 0; i < EDC_RVQ_PROJECTIONS; i++) {
    sum += square(q->projections[i] - code[i]);
  }
  return sum;
#endif
}

/* Codes that are looked at before it is seen whether to go on. */
#if PAIRS
#define AT_ONCE 4
#else
#define AT_ONCE 1
#endif

/* Compare the best code with the one of these projections if it may be nearer; false when no look
 * is left for that. */
EDC_ALWAYS_INLINE int visit(const query *q, const query *near, const int16_t *code, candidate *best,
                            uint32_t *limit) {
  if (away(near, code) <= *limit) {
    if (!consider(q, (uint32_t)(code - q->book->projections) / EDC_RVQ_PROJECTIONS, best)) {
      return 0;
    }
    *limit = best->limit;
  }
  return 1;
}

/* Look at `count` codes behind the one at `place`, in steps of 1 or -1, until neither the next one
 * nor any farther along can be nearer than the best, or no look is left. */
EDC_ALWAYS_INLINE void walk(const query *q, uint32_t place, uint32_t count, int32_t step,
                            candidate *best) {
  const query near = *q; /* in registers */
  const int16_t *code = q->book->projections + place * EDC_RVQ_PROJECTIONS;
  uint32_t limit = best->limit;
  for (; count >= AT_ONCE; count -= AT_ONCE) {
#pragma GCC unroll 4
    for (int32_t i = 1; i <= AT_ONCE; i++) {
      if (!visit(q, &near, code + i * step * EDC_RVQ_PROJECTIONS, best, &limit)) {
        return;
      }
    }
    code += AT_ONCE * step * EDC_RVQ_PROJECTIONS;
    if (first_away(&near, code) > limit) {
      return;
    }
  }
  for (; count > 0; count--) {
    code += step * EDC_RVQ_PROJECTIONS;
    if (!visit(q, &near, code, best, &limit)) {
      return;
    }
  }
}

/* ||r||^2 and the residual's projections. */
static inline void project(const int16_t *residual, int32_t dimension, query *q) {
  const int16_t *direction = q->book->directions;
  int32_t p0 = 0;
  int32_t p1 = 0;
  int32_t p2 = 0;
  int32_t p3 = 0;
  int32_t length = 0;
  for (int32_t left = dimension >> 1; left > 0; left--) {
#if PAIRS
    const int16x2_t r = *(const pair_of_int16 *)residual;
    const pair_of_int16 *pairs = (const pair_of_int16 *)direction;
    p0 = __smlad(r, pairs[0], p0);
    p1 = __smlad(r, pairs[1], p1);
    p2 = __smlad(r, pairs[2], p2);
    p3 = __smlad(r, pairs[3], p3);
    length = __smlad(r, r, length);
#else
    const int32_t even = residual[0];
    const int32_t odd = residual[1];
    p0 += even * direction[0] + odd * direction[1];
    p1 += even * direction[2] + odd * direction[3];
    p2 += even * direction[4] + odd * direction[5];
    p3 += even * direction[6] + odd * direction[7];
    length += even * even + odd * odd;
#endif
    residual += 2;
    direction += 2 * EDC_RVQ_PROJECTIONS;
  }
  if (dimension & 1) {
    const int32_t last = *residual;
    p0 += last * direction[0];
    p1 += last * direction[2];
    p2 += last * direction[4];
    p3 += last * direction[6];
    length += last * last;
  }
  q->length = (uint32_t)length;
  q->first = p0 >> SHIFT;
#if PAIRS
  q->projections[0] = saturated(p0 >> SHIFT, p1 >> SHIFT);
  q->projections[1] = saturated(p2 >> SHIFT, p3 >> SHIFT);
#else
  q->projections[0] = p0 >> SHIFT;
  q->projections[1] = p1 >> SHIFT;
  q->projections[2] = p2 >> SHIFT;
  q->projections[3] = p3 >> SHIFT;
#endif
}

/* The place to start from: that of a code whose first projection is like the residual's. */
static inline uint32_t find(const edc_codebook *book, int32_t first) {
  const int32_t start = (first - book->least_first) >> book->start_shift;
  const int32_t last = EDC_RVQ_STARTS - 1;
  return book->starts[start < 0 ? 0 : start > last ? last : start];
}

/* The nearest code with the looks of `best`, at least one; they are negative when they did not do.
 */
static void nearest_of_few(const edc_codebook *book, const int16_t *residual, int32_t dimension,
                           candidate *best) {
  query q = {.book = book, .residual = residual, .dimension = dimension};
  project(residual, dimension, &q);
  const uint32_t start = find(book, q.first);
  best->distance = INT32_MAX;
  best->index = UINT32_MAX;
  (void)consider(&q, start, best);
  walk(&q, start, book->size - 1 - start, 1, best);
  if (best->looks >= 0) {
    walk(&q, start, start, -1, best);
  }
}

#if PAIRS && defined(__thumb__) && __ARM_ARCH_ISA_THUMB == 2 && defined(__ARM_FEATURE_DSP) &&      \
    __ARM_FEATURE_DSP && !defined(EDC_KEEP_R9)
/* nearest_of_all for these dimensions, of codes aligned to 4. The residual leaves the compiler too
 * few registers. */
uint32_t edc_rvq_nearest_long(const int16_t *residual, const int16_t *codes, const int32_t *keys,
                              uint32_t size);
uint32_t edc_rvq_nearest_short(const int16_t *residual, const int16_t *codes, const int32_t *keys,
                               uint32_t size);
uint32_t edc_rvq_nearest_tiny(const int16_t *residual, const int16_t *codes, const int32_t *keys,
                              uint32_t size);
#define BEGIN(name)                                                                                \
  ".section .text." name ", \"ax\", %progbits\n"                                                   \
  ".p2align 2\n"                                                                                   \
  ".global " name "\n"                                                                             \
  ".hidden " name "\n"                                                                             \
  ".type " name ", %function\n"                                                                    \
  ".thumb_func\n" name ":\n"
#define END(name) ".size " name ", . - " name "\n"
#define FOUR_ENTRIES(multiply, a, b) "ldmia r1!, {r12, lr}\n" multiply "smlad r0, " b ", lr, r0\n"
#define LONG_CODE                                                                                  \
  FOUR_ENTRIES("smuad r0, r4, r12\n", "r4", "r5")                                                  \
  FOUR_ENTRIES("smlad r0, r6, r12, r0\n", "r6", "r7")                                              \
  FOUR_ENTRIES("smlad r0, r8, r12, r0\n", "r8", "r9")                                              \
  FOUR_ENTRIES("smlad r0, r10, r12, r0\n", "r10", "r11")                                           \
  "ldr r12, [r2], #4\n"                                                                            \
  "sub r0, r12, r0, lsl #1\n"                                                                      \
  "cmp r0, r3\n"                                                                                   \
  "itt lt\n"                                                                                       \
  "movlt r3, r0\n"                                                                                 \
  "strlt r2, [sp]\n"
/* With fewer entries the best place and the end are in registers. */
#define KEEP_BEST(key)                                                                             \
  "ldr " key ", [r2], #4\n"                                                                        \
  "sub r0, " key ", r0, lsl #1\n"                                                                  \
  "cmp r0, r3\n"                                                                                   \
  "itt lt\n"                                                                                       \
  "movlt r3, r0\n"                                                                                 \
  "movlt lr, r2\n"
#define SHORT_CODE                                                                                 \
  "ldmia r1!, {r8-r11}\n"                                                                          \
  "smuad r0, r4, r8\n"                                                                             \
  "smlad r0, r5, r9, r0\n"                                                                         \
  "smlad r0, r6, r10, r0\n"                                                                        \
  "smlad r0, r7, r11, r0\n" KEEP_BEST("r8")
#define TINY_CODE                                                                                  \
  "ldmia r1!, {r6, r7}\n"                                                                          \
  "smuad r0, r4, r6\n"                                                                             \
  "smlad r0, r5, r7, r0\n" KEEP_BEST("r6")
#define IN_REGISTERS(name, saved, residual, code)                                                  \
  BEGIN(name)                                                                                      \
  "push {r2, " saved ", lr}\n"                                                                     \
  "add r12, r2, r3, lsl #2\n" /* the end */                                                        \
  "add lr, r2, #4\n"          /* behind the key of the best code */                                \
  "ldmia r0, {" residual "}\n"                                                                     \
  "lsls r0, r3, #31\n"                                                                             \
  "mvn r3, #0x80000000\n"                                                                          \
  "bmi 2f\n"                                                                                       \
  "1:\n" code "2:\n" code "cmp r2, r12\n"                                                          \
  "bne 1b\n"                                                                                       \
  "pop {r0}\n"                                                                                     \
  "sub r0, lr, r0\n"                                                                               \
  "lsrs r0, r0, #2\n"                                                                              \
  "subs r0, #1\n"                                                                                  \
  "pop {" saved ", pc}\n" END(name)
__asm__(".syntax unified\n"
        ".thumb\n" BEGIN("edc_rvq_nearest_long")
        /* All 14 registers are used, so the best place and the end are in memory. */
        "add r12, r2, #4\n"
        "push {r1-r11, lr}\n"
        "str r12, [sp]\n" /* behind the key of the best code */
        "add r12, r2, r3, lsl #2\n"
        "str r12, [sp, #8]\n"
        "ldmia r0, {r4-r11}\n"
        "lsls r0, r3, #31\n" /* whether one is over when they are taken by 2 */
        "mvn r3, #0x80000000\n"
        "bmi 2f\n"
        "1:\n" LONG_CODE "2:\n" LONG_CODE "ldr r0, [sp, #8]\n"
        "cmp r2, r0\n"
        "bne 1b\n"
        "pop {r0, r1}\n"
        "subs r0, r0, r1\n"
        "lsrs r0, r0, #2\n"
        "subs r0, #1\n"
        "pop {r3-r11, pc}\n" END("edc_rvq_nearest_long")
            IN_REGISTERS("edc_rvq_nearest_short", "r4-r11", "r4-r7", SHORT_CODE)
                IN_REGISTERS("edc_rvq_nearest_tiny", "r4-r7", "r4, r5", TINY_CODE) ".text\n");
#undef IN_REGISTERS
#undef TINY_CODE
#undef SHORT_CODE
#undef KEEP_BEST
#undef LONG_CODE
#undef FOUR_ENTRIES
#undef END
#undef BEGIN
#else
/* nearest_of_all for a dimension that the compiler knows. */
EDC_ALWAYS_INLINE uint32_t nearest_at(const int16_t *residual, const int16_t *codes,
                                      const int32_t *keys, uint32_t size, int dimension) {
  int32_t r[LONG]; /* words are loaded in fewer instructions */
  for (int d = 0; d < dimension; d++) {
    r[d] = residual[d];
  }
  int32_t least = INT32_MAX;
  const int32_t *const start = keys;
  const int32_t *best = keys;
  for (; size > 0; size--) {
    int32_t sum = 0;
#pragma GCC unroll 16
    for (int d = 0; d < dimension; d++) {
      sum += r[d] * codes[d];
    }
    codes += dimension;
    const int32_t distance = *keys - 2 * sum;
    if (distance < least) {
      least = distance;
      best = keys;
    }
    keys++;
  }
  return (uint32_t)(best - start);
}

static uint32_t edc_rvq_nearest_long(const int16_t *residual, const int16_t *codes,
                                     const int32_t *keys, uint32_t size) {
  return nearest_at(residual, codes, keys, size, LONG);
}

static uint32_t edc_rvq_nearest_short(const int16_t *residual, const int16_t *codes,
                                      const int32_t *keys, uint32_t size) {
  return nearest_at(residual, codes, keys, size, SHORT);
}

static uint32_t edc_rvq_nearest_tiny(const int16_t *residual, const int16_t *codes,
                                     const int32_t *keys, uint32_t size) {
  return nearest_at(residual, codes, keys, size, TINY);
}
#endif

static uint32_t nearest_of_all(const edc_codebook *book, const int16_t *residual,
                               int32_t dimension) {
  if (dimension == LONG) {
    return edc_rvq_nearest_long(residual, book->codes, book->keys, book->size);
  }
  if (dimension == SHORT) {
    return edc_rvq_nearest_short(residual, book->codes, book->keys, book->size);
  }
  if (dimension == TINY) {
    return edc_rvq_nearest_tiny(residual, book->codes, book->keys, book->size);
  }
  const int16_t *code = book->codes;
  int32_t best_distance = INT32_MAX;
  uint32_t best = 0;
  for (uint32_t index = 0; index < book->size; index++) {
    /* ||r - c||^2 and its cost less ||r||^2, which is the same for every code */
    const int32_t distance = book->keys[index] - 2 * dot(residual, code, dimension);
    if (distance < best_distance) {
      best_distance = distance;
      best = index;
    }
    code += dimension;
  }
  return best;
}

static void subtract(const int16_t *code, int32_t dimension, int16_t *residual) {
#if PAIRS
  for (; dimension >= 2; dimension -= 2) {
    *(pair_of_int16 *)residual =
        __ssub16(*(const pair_of_int16 *)residual, *(const pair_of_int16 *)code);
    residual += 2;
    code += 2;
  }
#endif
  for (; dimension > 0; dimension--) {
    *residual = (int16_t)(*residual - *code++);
    residual++;
  }
}

/* From the first level's residual, which is overwritten, to the indices. */
static int32_t search(const edc_rvq *rvq, int32_t looks, int16_t *residual, uint16_t *indices) {
  const int32_t dimension = rvq->dimension;
  const edc_codebook *book = rvq->levels;
  for (int32_t left = rvq->level_count; left > 0; left--) {
    candidate found = {.looks = -1};
    if (book->projections != NULL && looks > 0) {
      found.looks = looks;
      nearest_of_few(book, residual, dimension, &found);
      looks = found.looks;
    }
    if (found.looks < 0) {
      found.index = nearest_of_all(book, residual, dimension);
    }
    *indices++ = (uint16_t)found.index;
    if (left > 1) {
      subtract(book->codes + found.index * (uint32_t)dimension, dimension, residual);
    }
    book++;
  }
  return looks;
}

int32_t edc_rvq_quantize(const void *constants, const int8_t *latent, int32_t looks,
                         int16_t *residual, uint16_t *indices) {
  const edc_rvq *const rvq = constants;
  for (int32_t d = 0; d < rvq->dimension; d++) {
    residual[d] = (int16_t)((latent[d] - rvq->zero_point) * (1 << rvq->fraction_bits));
  }
  return search(rvq, looks, residual, indices);
}

int32_t edc_rvq_quantize16(const void *constants, const int8_t *latent, int32_t looks,
                           int16_t *residual, uint16_t *indices) {
  const edc_rvq *const rvq = constants;
  const int16_t *const values = (const int16_t *)(const void *)latent;
  const int32_t down = -rvq->fraction_bits;
  const int32_t half = (1 << down) >> 1;
  for (int32_t d = 0; d < rvq->dimension; d++) {
    residual[d] = (int16_t)((values[d] + half) >> down);
  }
  return search(rvq, looks, residual, indices);
}
