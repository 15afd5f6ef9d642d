/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_rvq.h"

#include <stddef.h>

#if defined(__ARM_FEATURE_SIMD32) && __ARM_FEATURE_SIMD32
#include <arm_acle.h>
#define PAIRS 1 /* two 16-bit values in one register */
typedef int16x2_t __attribute__((may_alias, aligned(2))) pair_of_int16;

static int32_t saturate(int32_t value) {
  return value < INT16_MIN ? INT16_MIN : value > INT16_MAX ? INT16_MAX : value;
}
#else
#define PAIRS 0
#endif

#define SHIFT 6 /* of the directions */
/* Projections are rounded down: a difference of four is off by less than 2 in length, and
 * (sqrt(D) + 2)^2 <= D + D/32 + 132. The share D/32 is in the codebook's slack. */
#define ROUNDING 132u

#define USUAL 16 /* dimension of a kernel of its own */

static inline int32_t dot(const int16_t *a, const int16_t *b, int32_t count) {
  int32_t sum = 0;
  for (; count >= 8; count -= 8) {
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
  for (; count > 0; count--) {
    sum += *a++ * *b++;
  }
  return sum;
}

/* The search's best code so far. Distances are ||r - c||^2 and what choosing the code costs. */
typedef struct {
  uint32_t distance;
  uint32_t limit; /* no code whose projections are farther than this can be nearer */
  uint32_t index;
  int32_t looks; /* left; negative when there was none for a code that may be nearer */
} candidate;

typedef struct {
  const edc_codebook *book;
  const int16_t *residual;
  int32_t dimension;
  int32_t length; /* ||r||^2 */
  int32_t projection[EDC_RVQ_PROJECTIONS];
#if PAIRS
  int16x2_t pairs[EDC_RVQ_PROJECTIONS / 2]; /* the projections, saturated */
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
  const int32_t product = dot(q->residual, code, q->dimension);
  const uint32_t distance = (uint32_t)(q->length + (book->keys[index] - 2 * product));
  if (distance < best->distance || (distance == best->distance && index < best->index)) {
    best->distance = distance;
    best->limit = distance + (distance >> 8) * book->slack + book->slack + ROUNDING;
    best->index = index;
  }
  return 1;
}

/* Look at `count` codes behind the one at `place`, in steps of 1 or -1, until neither the next one
 * nor any farther along can be nearer than the best, or no look is left. */
static void walk(const query *q, uint32_t place, uint32_t count, int32_t step, candidate *best) {
  const int16_t *const start = q->book->projections;
  const int16_t *projection = start + place * EDC_RVQ_PROJECTIONS;
#if PAIRS
  const int16x2_t q0 = q->pairs[0];
  const int16x2_t q1 = q->pairs[1];
#endif
  uint32_t limit = best->limit;
  for (; count > 0; count--) {
    projection += step * EDC_RVQ_PROJECTIONS;
#if PAIRS
    /* Saturated differences are no larger than the true ones, so no nearer code is left out. Four
     * of -2^15 wrap to 0: such a code is looked at. */
    const pair_of_int16 *pairs = (const pair_of_int16 *)projection;
    const int16x2_t front = __qsub16(q0, pairs[0]);
    const int32_t first = (int16_t)front;
    if ((uint32_t)(first * first) > limit) {
      return;
    }
    const int16x2_t back = __qsub16(q1, pairs[1]);
    const uint32_t away = (uint32_t)__smuad(front, front) + (uint32_t)__smuad(back, back);
#else
    const int32_t first = q->projection[0] - projection[0];
    uint32_t away = (uint32_t)(first * first);
    if (away > limit) {
      return;
    }
    for (int i = 1; i < EDC_RVQ_PROJECTIONS; i++) {
      const int32_t difference = q->projection[i] - projection[i];
      away += (uint32_t)(difference * difference);
    }
#endif
    if (away <= limit) {
      if (!consider(q, (uint32_t)(projection - start) / EDC_RVQ_PROJECTIONS, best)) {
        return;
      }
      limit = best->limit;
    }
  }
}

/* First place whose first projection is not below `least`. */
static uint32_t find(const edc_codebook *book, int32_t least) {
  uint32_t low = 0;
  uint32_t high = book->size;
  while (low < high) {
    const uint32_t middle = (low + high) / 2;
    if (book->projections[middle * EDC_RVQ_PROJECTIONS] < least) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

/* The nearest code with the query's looks, at least one; looks are negative when they did not do.
 */
static void nearest_of_few(const edc_codebook *book, const int16_t *residual, int32_t dimension,
                           candidate *best) {
  query q = {.book = book, .residual = residual, .dimension = dimension};
  q.length = dot(residual, residual, dimension);
  const int8_t *row = book->directions;
  for (int32_t d = 0; d < dimension; d++) {
    for (int i = 0; i < EDC_RVQ_PROJECTIONS; i++) {
      q.projection[i] += residual[d] * row[i];
    }
    row += EDC_RVQ_PROJECTIONS;
  }
  for (int i = 0; i < EDC_RVQ_PROJECTIONS; i++) {
    q.projection[i] >>= SHIFT;
  }
#if PAIRS
  for (int i = 0; i < EDC_RVQ_PROJECTIONS / 2; i++) {
    const uint32_t low = (uint32_t)saturate(q.projection[2 * i]) & 0xFFFFu;
    const uint32_t high = (uint32_t)saturate(q.projection[2 * i + 1]) << 16;
    q.pairs[i] = (int16x2_t)(low | high);
  }
#endif
  const uint32_t found = find(book, q.projection[0]);
  const uint32_t start = found < book->size ? found : found - 1;
  best->distance = UINT32_MAX;
  (void)consider(&q, start, best);
  walk(&q, start, book->size - 1 - start, 1, best);
  if (best->looks >= 0) {
    walk(&q, start, start, -1, best);
  }
}

#if PAIRS && defined(__thumb__) && __ARM_ARCH_ISA_THUMB == 2 && defined(__ARM_FEATURE_DSP) &&      \
    __ARM_FEATURE_DSP && !defined(EDC_KEEP_R9)
/* nearest_of_all for that dimension, of codes aligned to 4. The residual leaves the compiler too
 * few registers. Here all 14 are used, so the best place and the end are in memory. */
uint32_t edc_rvq_nearest(const int16_t *residual, const int16_t *codes, const int32_t *keys,
                         uint32_t size);
#define FOUR_ENTRIES(multiply, a, b) "ldmia r1!, {r12, lr}\n" multiply "smlad r0, " b ", lr, r0\n"
#define CODE                                                                                       \
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
__asm__(".syntax unified\n"
        ".thumb\n"
        ".section .text.edc_rvq_nearest, \"ax\", %progbits\n"
        ".p2align 2\n"
        ".global edc_rvq_nearest\n"
        ".hidden edc_rvq_nearest\n"
        ".type edc_rvq_nearest, %function\n"
        ".thumb_func\n"
        "edc_rvq_nearest:\n"
        "add r12, r2, #4\n"
        "push {r1-r11, lr}\n"
        "str r12, [sp]\n" /* behind the key of the best code */
        "add r12, r2, r3, lsl #2\n"
        "str r12, [sp, #8]\n"
        "ldmia r0, {r4-r11}\n"
        "lsls r0, r3, #31\n" /* whether one is over when they are taken by 2 */
        "mvn r3, #0x80000000\n"
        "bmi 2f\n"
        "1:\n" CODE "2:\n" CODE "ldr r0, [sp, #8]\n"
        "cmp r2, r0\n"
        "bne 1b\n"
        "pop {r0, r1}\n"
        "subs r0, r0, r1\n"
        "lsrs r0, r0, #2\n"
        "subs r0, #1\n"
        "pop {r3-r11, pc}\n"
        ".size edc_rvq_nearest, . - edc_rvq_nearest\n"
        ".text\n");
#undef CODE
#undef FOUR_ENTRIES
#else
static uint32_t edc_rvq_nearest(const int16_t *residual, const int16_t *codes, const int32_t *keys,
                                uint32_t size) {
  int32_t r[USUAL]; /* words are loaded in fewer instructions */
  for (int32_t d = 0; d < USUAL; d++) {
    r[d] = residual[d];
  }
  int32_t least = INT32_MAX;
  const int32_t *const start = keys;
  const int32_t *best = keys;
  for (; size > 0; size--) {
    int32_t sum = r[0] * codes[0];
    sum += r[1] * codes[1];
    sum += r[2] * codes[2];
    sum += r[3] * codes[3];
    sum += r[4] * codes[4];
    sum += r[5] * codes[5];
    sum += r[6] * codes[6];
    sum += r[7] * codes[7];
    sum += r[8] * codes[8];
    sum += r[9] * codes[9];
    sum += r[10] * codes[10];
    sum += r[11] * codes[11];
    sum += r[12] * codes[12];
    sum += r[13] * codes[13];
    sum += r[14] * codes[14];
    sum += r[15] * codes[15];
    codes += USUAL;
    const int32_t distance = *keys - 2 * sum;
    if (distance < least) {
      least = distance;
      best = keys;
    }
    keys++;
  }
  return (uint32_t)(best - start);
}
#endif

static uint32_t nearest_of_all(const edc_codebook *book, const int16_t *residual,
                               int32_t dimension) {
  if (dimension == USUAL) {
    return edc_rvq_nearest(residual, book->codes, book->keys, book->size);
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

int32_t edc_rvq_quantize(const void *constants, const int8_t *latent, int32_t looks,
                         int16_t *residual, uint16_t *indices) {
  const edc_rvq *const rvq = constants;
  const int32_t dimension = rvq->dimension;
  for (int32_t d = 0; d < dimension; d++) {
    residual[d] = (int16_t)((latent[d] - rvq->zero_point) * (1 << rvq->fraction_bits));
  }
  const edc_codebook *book = rvq->levels;
  for (int32_t left = rvq->level_count; left > 0; left--) {
    candidate found = {.looks = -1};
    if (book->projections != NULL && looks > 0) {
      found.looks = looks;
      nearest_of_few(book, residual, dimension, &found);
      looks = found.looks < 0 ? 0 : found.looks;
    }
    if (found.looks < 0) {
      found.index = nearest_of_all(book, residual, dimension);
    }
    *indices++ = (uint16_t)found.index;
    const int16_t *code = book->codes + found.index * (uint32_t)dimension;
    for (int32_t d = 0; d < dimension; d++) {
      residual[d] = (int16_t)(residual[d] - code[d]);
    }
    book++;
  }
  return looks;
}
