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

#define KEY_SHIFT 6 /* of the projection */
/* Keys are rounded down: a difference of four is off by less than 2 in length, and
 * (sqrt(D) + 2)^2 <= D + D/32 + 132. The share D/32 is in the codebook's slack. */
#define KEY_ROUNDING 132u

static inline int32_t dot(const int16_t *a, const int16_t *b, int32_t count) {
  int32_t sum = 0;
  int32_t i = 0;
#if PAIRS
  const pair_of_int16 *x = (const pair_of_int16 *)a;
  const pair_of_int16 *y = (const pair_of_int16 *)b;
  for (; i + 8 <= count; i += 8) {
    sum = __smlad(x[0], y[0], sum);
    sum = __smlad(x[1], y[1], sum);
    sum = __smlad(x[2], y[2], sum);
    sum = __smlad(x[3], y[3], sum);
    x += 4;
    y += 4;
  }
#endif
  for (; i + 4 <= count; i += 4) {
    sum += a[i] * b[i];
    sum += a[i + 1] * b[i + 1];
    sum += a[i + 2] * b[i + 2];
    sum += a[i + 3] * b[i + 3];
  }
  for (; i < count; i++) {
    sum += a[i] * b[i];
  }
  return sum;
}

/* The search's best code so far. Distances are ||r - c||^2. */
typedef struct {
  uint32_t distance;
  uint32_t limit; /* no code whose keys are farther than this can be nearer */
  uint32_t place;
} candidate;

typedef struct {
  const edc_codebook *book;
  const int16_t *residual;
  int32_t dimension;
  int32_t length; /* ||r||^2 */
  int32_t key[EDC_RVQ_KEYS];
#if PAIRS
  int16x2_t pairs[EDC_RVQ_KEYS / 2]; /* the keys, saturated */
#endif
} query;

static void consider(const query *q, uint32_t place, candidate *best) {
  const edc_codebook *book = q->book;
  const int16_t *code = book->codes + place * (uint32_t)q->dimension;
  const int32_t product = dot(q->residual, code, q->dimension);
  const uint32_t distance = (uint32_t)(q->length + (book->norms[place] - 2 * product));
  if (distance < best->distance ||
      (distance == best->distance && book->order[place] < book->order[best->place])) {
    best->distance = distance;
    best->limit = distance + (distance >> 8) * book->slack + book->slack + KEY_ROUNDING;
    best->place = place;
  }
}

/* Look at place; false when neither it nor any farther along can be nearer than the best. */
static inline int look(const query *q, uint32_t place, candidate *best) {
  const int16_t *keys = q->book->keys + place * EDC_RVQ_KEYS;
#if PAIRS
  /* Saturated differences are no larger than the true ones, so no nearer code is left out. Four of
   * -2^15 wrap to 0: such a code is looked at. */
  const pair_of_int16 *pairs = (const pair_of_int16 *)keys;
  const int16x2_t front = __qsub16(q->pairs[0], pairs[0]);
  const int32_t first = (int16_t)front;
  if ((uint32_t)(first * first) > best->limit) {
    return 0;
  }
  const int16x2_t back = __qsub16(q->pairs[1], pairs[1]);
  const uint32_t away = (uint32_t)__smuad(front, front) + (uint32_t)__smuad(back, back);
#else
  const int32_t first = q->key[0] - keys[0];
  uint32_t away = (uint32_t)(first * first);
  if (away > best->limit) {
    return 0;
  }
  for (int i = 1; i < EDC_RVQ_KEYS; i++) {
    const int32_t difference = q->key[i] - keys[i];
    away += (uint32_t)(difference * difference);
  }
#endif
  if (away <= best->limit) {
    consider(q, place, best);
  }
  return 1;
}

/* First place whose first key is not below `key`. */
static uint32_t find(const edc_codebook *book, int32_t key) {
  uint32_t low = 0;
  uint32_t high = book->size;
  while (low < high) {
    const uint32_t middle = (low + high) / 2;
    if (book->keys[middle * EDC_RVQ_KEYS] < key) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

static uint32_t nearest_of_few(const edc_codebook *book, const int16_t *residual,
                               int32_t dimension) {
  query q = {.book = book, .residual = residual, .dimension = dimension};
  q.length = dot(residual, residual, dimension);
  const int8_t *row = book->projection;
  for (int32_t d = 0; d < dimension; d++) {
    for (int i = 0; i < EDC_RVQ_KEYS; i++) {
      q.key[i] += residual[d] * row[i];
    }
    row += EDC_RVQ_KEYS;
  }
  for (int i = 0; i < EDC_RVQ_KEYS; i++) {
    q.key[i] >>= KEY_SHIFT;
  }
#if PAIRS
  for (int i = 0; i < EDC_RVQ_KEYS / 2; i++) {
    const uint32_t low = (uint32_t)saturate(q.key[2 * i]) & 0xFFFFu;
    const uint32_t high = (uint32_t)saturate(q.key[2 * i + 1]) << 16;
    q.pairs[i] = (int16x2_t)(low | high);
  }
#endif
  const uint32_t start = find(book, q.key[0]);
  candidate best = {.distance = UINT32_MAX, .limit = UINT32_MAX, .place = 0};
  consider(&q, start < book->size ? start : start - 1, &best);
  for (uint32_t place = start + 1; place < book->size && look(&q, place, &best); place++) {
  }
  for (uint32_t place = start; place > 0 && look(&q, place - 1, &best); place--) {
  }
  return best.place;
}

static uint32_t nearest_of_all(const edc_codebook *book, const int16_t *residual,
                               int32_t dimension) {
  const int16_t *code = book->codes;
  int32_t best_distance = INT32_MAX;
  uint32_t best = 0;
  for (uint32_t place = 0; place < book->size; place++) {
    /* ||r - c||^2 less ||r||^2, which is the same for every code */
    const int32_t distance = book->norms[place] - 2 * dot(residual, code, dimension);
    if (distance < best_distance) {
      best_distance = distance;
      best = place;
    }
    code += dimension;
  }
  return best;
}

void edc_rvq_quantize(const void *constants, const int8_t *latent, int16_t *residual,
                      uint16_t *indices) {
  const edc_rvq *const rvq = constants;
  const int32_t dimension = rvq->dimension;
  for (int32_t position = 0; position < rvq->positions; position++) {
    for (int32_t d = 0; d < dimension; d++) {
      residual[d] = (int16_t)((latent[d] - rvq->zero_point) * (1 << rvq->fraction_bits));
    }
    latent += dimension;
    for (int32_t level = 0; level < rvq->level_count; level++) {
      const edc_codebook *book = &rvq->levels[level];
      uint32_t place;
      if (book->keys != NULL) {
        place = nearest_of_few(book, residual, dimension);
        *indices++ = book->order[place];
      } else {
        place = nearest_of_all(book, residual, dimension);
        *indices++ = (uint16_t)place;
      }
      const int16_t *code = book->codes + place * (uint32_t)dimension;
      for (int32_t d = 0; d < dimension; d++) {
        residual[d] = (int16_t)(residual[d] - code[d]);
      }
    }
  }
}
