/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_rvq_mve.h"

#include "edc_config.h"

#include <stddef.h>

/* Elsewhere the same tables are worked through without vectors, so that any machine can check what
 * the vectors compute. */
#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)
#define VECTORS 1
#include <arm_mve.h>
#else
#define VECTORS 0
#endif

#define SHIFT 6 /* of the directions */
/* Projections are rounded down: a difference of four is off by less than 2 in length, and
 * (sqrt(D) + 2)^2 <= D + D/32 + 132. The share D/32 is in the codebook's slack. */
#define ROUNDING 132u
#define MASK_BITS 4          /* of a code in a mask: vectors have a bit for each byte */
#define MASK_ONE 0x11111111u /* one bit of each code */

/* The search's best code so far. */
typedef struct {
  int32_t distance; /* ||r - c||^2 and what choosing the code costs, less ||r||^2 */
  uint32_t limit;   /* no code whose projections are farther than this can be nearer */
  uint32_t index;
} candidate;

typedef struct {
  const edc_mve_codebook *book;
  const int16_t *residual;
  uint32_t vectors; /* of a code */
  uint32_t length;  /* ||r||^2 */
  uint32_t most;    /* limit that leaves out no code; less the query's length it fits int32 */
  int32_t looks;    /* left; negative when there was none for a code that may be nearer */
  candidate best;
} search;

/* A residual's projections. */
typedef struct {
  int32_t first;
  int32_t length;                     /* squared */
  int32_t twice[EDC_MVE_PROJECTIONS]; /* -2 times each */
} query;

/* residual[row] = latent less its zero point, zeros behind the dimension. */
static inline void start(const edc_mve_rvq *rvq, const int8_t *latent, int16_t *residual) {
  const int16_t zero_point = rvq->zero_point;
  const int32_t bits = rvq->fraction_bits;
  int32_t left = rvq->dimension;
#if VECTORS
  do {
    const mve_pred16_t inside = vctp16q((uint32_t)left);
    const int16x8_t q = vldrbq_z_s16(latent, inside);
    vstrhq_s16(residual, vshlq_r_s16(vsubq_m_n_s16(q, q, zero_point, inside), bits));
    latent += EDC_MVE_LANES;
    residual += EDC_MVE_LANES;
    left -= EDC_MVE_LANES;
  } while (left > 0);
#else
  for (int32_t d = 0; d < rvq->row; d++) {
    residual[d] = (int16_t)(d < left ? (latent[d] - zero_point) * (1 << bits) : 0);
  }
#endif
}

/* residual[row] = an int16 latent shifted down, halves up, zeros behind the dimension. */
static inline void start16(const edc_mve_rvq *rvq, const int16_t *latent, int16_t *residual) {
  const int32_t bits = rvq->fraction_bits;
  int32_t left = rvq->dimension;
#if VECTORS
  const int16x8_t by = vdupq_n_s16((int16_t)bits);
  do {
    const mve_pred16_t inside = vctp16q((uint32_t)left);
    vstrhq_s16(residual, vrshlq_s16(vldrhq_z_s16(latent, inside), by));
    latent += EDC_MVE_LANES;
    residual += EDC_MVE_LANES;
    left -= EDC_MVE_LANES;
  } while (left > 0);
#else
  for (int32_t d = 0; d < rvq->row; d++) {
    residual[d] = (int16_t)(d < left ? (latent[d] + ((1 << -bits) >> 1)) >> -bits : 0);
  }
#endif
}

/* residual -= code */
static inline void subtract(const int16_t *code, uint32_t vectors, int16_t *residual) {
#if VECTORS
  do {
    vstrhq_s16(residual, vsubq_s16(vldrhq_s16(residual), vldrhq_s16(code)));
    residual += EDC_MVE_LANES;
    code += EDC_MVE_LANES;
  } while (--vectors > 0);
#else
  for (uint32_t d = 0; d < vectors * EDC_MVE_LANES; d++) {
    residual[d] = (int16_t)(residual[d] - code[d]);
  }
#endif
}

static inline int32_t dot(const int16_t *a, const int16_t *b, uint32_t vectors) {
  int32_t sum = 0;
#if VECTORS
  do {
    sum = vmladavaq_s16(sum, vldrhq_s16(a), vldrhq_s16(b));
    a += EDC_MVE_LANES;
    b += EDC_MVE_LANES;
  } while (--vectors > 0);
#else
  for (uint32_t d = 0; d < vectors * EDC_MVE_LANES; d++) {
    sum += a[d] * b[d];
  }
#endif
  return sum;
}

static inline query project(const int8_t *directions, const int16_t *residual, uint32_t vectors) {
  int32_t p0 = 0;
  int32_t p1 = 0;
  int32_t p2 = 0;
  int32_t p3 = 0;
  do {
#if VECTORS
    const int16x8_t r = vldrhq_s16(residual);
    p0 = vmladavaq_s16(p0, r, vldrbq_s16(directions));
    p1 = vmladavaq_s16(p1, r, vldrbq_s16(directions + EDC_MVE_LANES));
    p2 = vmladavaq_s16(p2, r, vldrbq_s16(directions + 2 * EDC_MVE_LANES));
    p3 = vmladavaq_s16(p3, r, vldrbq_s16(directions + 3 * EDC_MVE_LANES));
#else
    for (int32_t d = 0; d < EDC_MVE_LANES; d++) {
      p0 += residual[d] * directions[d];
      p1 += residual[d] * directions[d + EDC_MVE_LANES];
      p2 += residual[d] * directions[d + 2 * EDC_MVE_LANES];
      p3 += residual[d] * directions[d + 3 * EDC_MVE_LANES];
    }
#endif
    residual += EDC_MVE_LANES;
    directions += EDC_MVE_PROJECTIONS * EDC_MVE_LANES;
  } while (--vectors > 0);
  p0 >>= SHIFT;
  p1 >>= SHIFT;
  p2 >>= SHIFT;
  p3 >>= SHIFT;
  return (query){.first = p0,
                 .length = p0 * p0 + p1 * p1 + p2 * p2 + p3 * p3,
                 .twice = {-2 * p0, -2 * p1, -2 * p2, -2 * p3}};
}

#if VECTORS
typedef struct {
  int32x4_t low;
  int32x4_t high;
} distances;
#else
typedef struct {
  int32_t of[EDC_MVE_CODES];
} distances;
#endif

/* Squared distances of the projections of a block's codes, less the length of the residual's. */
static inline distances measure(query q, const edc_code_block *block) {
  distances found;
#if VECTORS
  found.low = vldrwq_s32(block->lengths);
  found.high = vldrwq_s32(block->lengths + EDC_MVE_CODES / 2);
#pragma GCC unroll 4
  for (int i = 0; i < EDC_MVE_PROJECTIONS; i++) {
    const int16_t *row = block->projections[i];
    found.low = vmlaq_n_s32(found.low, vldrhq_s32(row), q.twice[i]);
    found.high = vmlaq_n_s32(found.high, vldrhq_s32(row + EDC_MVE_CODES / 2), q.twice[i]);
  }
#else
  for (int code = 0; code < EDC_MVE_CODES; code++) {
    found.of[code] = block->lengths[code];
    for (int i = 0; i < EDC_MVE_PROJECTIONS; i++) {
      found.of[code] += block->projections[i][code] * q.twice[i];
    }
  }
#endif
  return found;
}

static inline int32_t least_of(distances found) {
  int32_t least = INT32_MAX;
#if VECTORS
  return vminvq_s32(least, vminq_s32(found.low, found.high));
#else
  for (int code = 0; code < EDC_MVE_CODES; code++) {
    least = found.of[code] < least ? found.of[code] : least;
  }
  return least;
#endif
}

/* The codes that are no farther than most. */
static inline uint32_t mask_of(distances found, int32_t most) {
#if VECTORS
  const mve_pred16_t low = vcmpleq_n_s32(found.low, most);
  const mve_pred16_t high = vcmpleq_n_s32(found.high, most);
  return low | (uint32_t)high << 16;
#else
  uint32_t mask = 0;
  for (int code = 0; code < EDC_MVE_CODES; code++) {
    if (found.of[code] <= most) {
      mask |= 0xFu << code * MASK_BITS;
    }
  }
  return mask;
#endif
}

/* mask_of(measure(q, block), most): what the search does most. */
static inline uint32_t near_of(query q, const edc_code_block *block, int32_t most) {
#if VECTORS && !defined(__clang__)
  /* The widening loads take a low register alone; GCC, which does not know, makes an address for
   * each and spills vectors. */
  uint32_t low;
  uint32_t high;
  __asm__("vldrw.u32 q0, [%[block]]\n\t"
          "vldrh.s32 q2, [%[block], #32]\n\t"
          "vldrw.u32 q1, [%[block], #16]\n\t"
          "vmla.s32 q0, q2, %[twice0]\n\t"
          "vldrh.s32 q3, [%[block], #40]\n\t"
          "vmla.s32 q1, q3, %[twice0]\n\t"
          "vldrh.s32 q2, [%[block], #48]\n\t"
          "vmla.s32 q0, q2, %[twice1]\n\t"
          "vldrh.s32 q3, [%[block], #56]\n\t"
          "vmla.s32 q1, q3, %[twice1]\n\t"
          "vldrh.s32 q2, [%[block], #64]\n\t"
          "vmla.s32 q0, q2, %[twice2]\n\t"
          "vldrh.s32 q3, [%[block], #72]\n\t"
          "vmla.s32 q1, q3, %[twice2]\n\t"
          "vldrh.s32 q2, [%[block], #80]\n\t"
          "vmla.s32 q0, q2, %[twice3]\n\t"
          "vldrh.s32 q3, [%[block], #88]\n\t"
          "vmla.s32 q1, q3, %[twice3]\n\t"
          "vcmp.s32 le, q0, %[most]\n\t"
          "vmrs %[low], p0\n\t"
          "vcmp.s32 le, q1, %[most]\n\t"
          "vmrs %[high], p0"
          : [low] "=&r"(low), [high] "=r"(high)
          : [block] "l"(block), [most] "r"(most), [twice0] "r"(q.twice[0]),
            [twice1] "r"(q.twice[1]), [twice2] "r"(q.twice[2]), [twice3] "r"(q.twice[3]),
            "m"(*block)
          : "q0", "q1", "q2", "q3", "p0");
  return low | high << 16;
#else
  return mask_of(measure(q, block), most);
#endif
}

/* The first code of a mask that is not 0. */
static inline uint32_t first_of(uint32_t mask) { return (uint32_t)__builtin_ctz(mask) / MASK_BITS; }

/* ||r - c||^2 and what choosing the code costs, less ||r||^2. */
static inline int32_t distance_to(const search *s, uint32_t index) {
  const int16_t *code = s->book->codes + index * s->vectors * EDC_MVE_LANES;
  return s->book->keys[index] - 2 * dot(s->residual, code, s->vectors);
}

static inline void take(search *s, uint32_t index, int32_t distance) {
  const uint32_t whole = s->length + (uint32_t)distance;
  const uint32_t limit = whole + (whole >> 8) * s->book->slack + s->book->slack + ROUNDING;
  s->best.distance = distance;
  s->best.limit = limit < s->most ? limit : s->most;
  s->best.index = index;
}

/* Look at the codes of a block's mask while looks are left, and return the limit. */
static uint32_t look(search *s, const edc_code_block *block, uint32_t mask) {
  int32_t looks = s->looks;
  mask &= MASK_ONE;
  do {
    if (--looks < 0) {
      break;
    }
    const uint32_t index = block->indices[first_of(mask)];
    const int32_t distance = distance_to(s, index);
    if (distance < s->best.distance || (distance == s->best.distance && index < s->best.index)) {
      take(s, index, distance);
    }
    mask &= mask - 1;
  } while (mask != 0);
  s->looks = looks;
  return s->best.limit;
}

/* The last block whose first code's first projection is not above `most`, or the first block. */
static inline const edc_code_block *find(const edc_mve_codebook *book, const edc_code_block *end,
                                         int32_t most) {
  const int32_t start = (most - book->least_first) >> book->start_shift;
  const int32_t last = EDC_MVE_STARTS - 1;
  const edc_code_block *block = book->blocks;
  block += book->starts[start < 0 ? 0 : start > last ? last : start];
  while (block + 1 != end && block[1].projections[0][0] <= most) {
    block++;
  }
  return block;
}

/* Whether no code behind one whose first projection is so far away can be nearer. */
static inline int is_far(int32_t away, uint32_t limit) {
  return (uint32_t)away * (uint32_t)away > limit;
}

/* How far projections may be, less the length of the residual's. */
static inline int32_t most_of(query q, uint32_t limit) {
  return (int32_t)(limit - (uint32_t)q.length);
}

/* The nearest code, where the search's looks, at least one, do; negative looks where not. */
static void find_among_few(search *s) {
  const edc_mve_codebook *book = s->book;
  const query q = project(book->directions, s->residual, s->vectors);
  s->length = (uint32_t)dot(s->residual, s->residual, s->vectors);
  s->most = INT32_MAX + (uint32_t)q.length;
  const edc_code_block *const begin = book->blocks;
  const edc_code_block *const end = begin + (book->size + EDC_MVE_CODES - 1) / EDC_MVE_CODES;
  const edc_code_block *const middle = find(book, end, q.first);
  /* The code of the nearest projections first, so that most others are left out at once. */
  const distances found = measure(q, middle);
  const uint32_t nearest = mask_of(found, least_of(found));
  const uint32_t first = middle->indices[first_of(nearest)];
  s->looks--;
  take(s, first, distance_to(s, first));
  uint32_t limit = s->best.limit;
  const uint32_t others = mask_of(found, most_of(q, limit)) & ~(nearest & -nearest) & MASK_ONE;
  if (others != 0) {
    limit = look(s, middle, others);
    if (s->looks < 0) {
      return;
    }
  }
  /* After a near block the next one is looked at before its first projection is. */
  for (const edc_code_block *block = middle + 1; block != end; block++) {
    const uint32_t mask = near_of(q, block, most_of(q, limit));
    if (mask != 0) {
      limit = look(s, block, mask);
      if (s->looks < 0) {
        return;
      }
    } else if (is_far(block->projections[0][EDC_MVE_CODES - 1] - q.first, limit)) {
      break;
    }
  }
  for (const edc_code_block *block = middle; block != begin;) {
    block--;
    const uint32_t mask = near_of(q, block, most_of(q, limit));
    if (mask != 0) {
      limit = look(s, block, mask);
      if (s->looks < 0) {
        return;
      }
    } else if (is_far(block->projections[0][0] - q.first, limit)) {
      break;
    }
  }
}

#if VECTORS
EDC_ALWAYS_INLINE uint32_t nearest_in_registers(const edc_mve_codebook *book,
                                                const int16_t *residual, int vectors) {
  const int16x8_t front = vldrhq_s16(residual);
  const int16x8_t back = vldrhq_s16(residual + (vectors - 1) * EDC_MVE_LANES);
  const int16_t *code = book->codes;
  const int32_t *key = book->keys;
  int32_t least = INT32_MAX;
  uint32_t best = book->size;
  for (uint32_t left = book->size; left > 0; left--) {
    int32_t sum = vmladavq_s16(front, vldrhq_s16(code));
    code += EDC_MVE_LANES;
    if (vectors > 1) {
      sum = vmladavaq_s16(sum, back, vldrhq_s16(code));
      code += EDC_MVE_LANES;
    }
    const int32_t distance = *key++ - 2 * sum;
    if (distance < least) {
      least = distance;
      best = left;
    }
  }
  return book->size - best;
}

EDC_NEVER_INLINE uint32_t nearest_of_one_vector(const edc_mve_codebook *book,
                                                const int16_t *residual) {
  return nearest_in_registers(book, residual, 1);
}

EDC_NEVER_INLINE uint32_t nearest_of_two_vectors(const edc_mve_codebook *book,
                                                 const int16_t *residual) {
  return nearest_in_registers(book, residual, 2);
}
#endif

static uint32_t nearest_of_all(const edc_mve_codebook *book, const int16_t *residual,
                               uint32_t vectors) {
#if VECTORS
  if (vectors <= 2) {
    return vectors == 1 ? nearest_of_one_vector(book, residual)
                        : nearest_of_two_vectors(book, residual);
  }
#endif
  const int16_t *code = book->codes;
  int32_t least = INT32_MAX;
  uint32_t best = 0;
  for (uint32_t index = 0; index < book->size; index++) {
    /* ||r - c||^2 and its cost less ||r||^2, which is the same for every code */
    const int32_t distance = book->keys[index] - 2 * dot(residual, code, vectors);
    if (distance < least) {
      least = distance;
      best = index;
    }
    code += vectors * EDC_MVE_LANES;
  }
  return best;
}

/* From the first level's residual, which is overwritten, to the indices. */
static int32_t search_levels(const edc_mve_rvq *rvq, int32_t looks, int16_t *residual,
                             uint16_t *indices) {
  const uint32_t vectors = rvq->row / EDC_MVE_LANES;
  const edc_mve_codebook *book = rvq->levels;
  for (int32_t left = rvq->level_count; left > 0; left--) {
    search s = {.book = book, .residual = residual, .vectors = vectors, .looks = -1};
    if (book->blocks != NULL && looks > 0) {
      s.looks = looks;
      find_among_few(&s);
      looks = s.looks;
    }
    if (s.looks < 0) {
      s.best.index = nearest_of_all(book, residual, vectors);
    }
    *indices++ = (uint16_t)s.best.index;
    if (left > 1) {
      subtract(book->codes + s.best.index * rvq->row, vectors, residual);
    }
    book++;
  }
  return looks;
}

int32_t edc_rvq_quantize_mve(const void *constants, const int8_t *latent, int32_t looks,
                             int16_t *residual, uint16_t *indices) {
  const edc_mve_rvq *const rvq = constants;
  start(rvq, latent, residual);
  return search_levels(rvq, looks, residual, indices);
}

int32_t edc_rvq_quantize16_mve(const void *constants, const int8_t *latent, int32_t looks,
                               int16_t *residual, uint16_t *indices) {
  const edc_mve_rvq *const rvq = constants;
  start16(rvq, (const int16_t *)(const void *)latent, residual);
  return search_levels(rvq, looks, residual, indices);
}
