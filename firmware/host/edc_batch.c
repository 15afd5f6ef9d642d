/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_batch.h"

#include "edc_config.h"

#include <string.h>

#if EDC_BATCH_LANES > 4
#include <immintrin.h>
#endif

#define LANES EDC_BATCH_LANES
#define BLOCK EDC_BATCH_BLOCK
#define WORDS EDC_BATCH_WEIGHT_WORDS
#define DIMENSION_MAX 512
#define CODES_AT_ONCE 4

static inline edc_lanes all(int32_t value) { return (edc_lanes){0} + value; }

#if LANES == 16
static inline edc_lanes smaller(edc_lanes a, edc_lanes b) {
  return (edc_lanes)_mm512_min_epi32((__m512i)a, (__m512i)b);
}
static inline edc_lanes larger(edc_lanes a, edc_lanes b) {
  return (edc_lanes)_mm512_max_epi32((__m512i)a, (__m512i)b);
}
static inline edc_lanes gather(const void *base, edc_lanes byte_offsets) {
  return (edc_lanes)_mm512_i32gather_epi32((__m512i)byte_offsets, base, 1);
}
/* a + the products of two int16 with two */
static inline edc_lanes add_pairs(edc_lanes a, edc_lanes x, edc_lanes w) {
#if defined(__AVX512VNNI__)
  return (edc_lanes)_mm512_dpwssd_epi32((__m512i)a, (__m512i)x, (__m512i)w);
#else
  return a + (edc_lanes)_mm512_madd_epi16((__m512i)x, (__m512i)w);
#endif
}
/* The low 32 bits of (acc * multiplier + added) >> down, down 1..32 */
static inline edc_lanes product(edc_lanes acc, int32_t multiplier, int64_t added, int32_t down) {
  const __m512i m = _mm512_set1_epi32(multiplier);
  const __m512i half = _mm512_set1_epi64(added);
  const __m512i even = _mm512_add_epi64(_mm512_mul_epi32((__m512i)acc, m), half);
  const __m512i odd =
      _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64((__m512i)acc, 32), m), half);
  return (edc_lanes)_mm512_mask_mov_epi32(_mm512_srl_epi64(even, _mm_cvtsi32_si128(down)), 0xAAAA,
                                          _mm512_sll_epi64(odd, _mm_cvtsi32_si128(32 - down)));
}
#elif LANES == 8
static inline edc_lanes smaller(edc_lanes a, edc_lanes b) {
  return (edc_lanes)_mm256_min_epi32((__m256i)a, (__m256i)b);
}
static inline edc_lanes larger(edc_lanes a, edc_lanes b) {
  return (edc_lanes)_mm256_max_epi32((__m256i)a, (__m256i)b);
}
static inline edc_lanes gather(const void *base, edc_lanes byte_offsets) {
  return (edc_lanes)_mm256_i32gather_epi32(base, (__m256i)byte_offsets, 1);
}
static inline edc_lanes add_pairs(edc_lanes a, edc_lanes x, edc_lanes w) {
  return a + (edc_lanes)_mm256_madd_epi16((__m256i)x, (__m256i)w);
}
static inline edc_lanes product(edc_lanes acc, int32_t multiplier, int64_t added, int32_t down) {
  const __m256i m = _mm256_set1_epi32(multiplier);
  const __m256i half = _mm256_set1_epi64x(added);
  const __m256i even = _mm256_add_epi64(_mm256_mul_epi32((__m256i)acc, m), half);
  const __m256i odd =
      _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64((__m256i)acc, 32), m), half);
  return (edc_lanes)_mm256_blend_epi32(_mm256_srl_epi64(even, _mm_cvtsi32_si128(down)),
                                       _mm256_sll_epi64(odd, _mm_cvtsi32_si128(32 - down)), 0xAA);
}
#else
static inline edc_lanes choose(edc_lanes mask, edc_lanes a, edc_lanes b) {
  return (a & mask) | (b & ~mask);
}
static inline edc_lanes smaller(edc_lanes a, edc_lanes b) { return choose(a < b, a, b); }
static inline edc_lanes larger(edc_lanes a, edc_lanes b) { return choose(a > b, a, b); }
static inline edc_lanes gather(const void *base, edc_lanes byte_offsets) {
  edc_lanes found;
  for (int lane = 0; lane < LANES; lane++) {
    int32_t word;
    memcpy(&word, (const char *)base + byte_offsets[lane], sizeof word);
    found[lane] = word;
  }
  return found;
}
static inline edc_lanes add_pairs(edc_lanes a, edc_lanes x, edc_lanes w) {
  return a + (x << 16 >> 16) * (w << 16 >> 16) + (x >> 16) * (w >> 16);
}
static inline edc_lanes product(edc_lanes acc, int32_t multiplier, int64_t added, int32_t down) {
  edc_lanes shifted;
  for (int lane = 0; lane < LANES; lane++) {
    shifted[lane] = (int32_t)(((int64_t)acc[lane] * multiplier + added) >> down);
  }
  return shifted;
}
#endif

/* a + the products of x with the weights at w: of two int16, or of four bytes, 0..255. */
static inline edc_lanes add_group(edc_lanes a, edc_lanes x, const int32_t *w, int is_wide) {
  if (is_wide) {
    return add_pairs(a, x, all(w[0]));
  }
#if WORDS == 1
  return (edc_lanes)_mm512_dpbusd_epi32((__m512i)a, (__m512i)x, (__m512i)all(w[0]));
#else
  const edc_lanes mask = all(0x00FF00FF);
  a = add_pairs(a, x & mask, all(w[0]));
  return add_pairs(a, x >> 8 & mask, all(w[1]));
#endif
}

/* Rounded once and clamped. Shifted by up to 16 it fits 32 bits, as proven; for more the multiplier
 * is taken 2^16 times, which fits, too, and the upper 32 bits of the product are shifted by the
 * rest. */
static inline edc_lanes requantize_wide(const edc_batch_layer *layer, edc_lanes acc,
                                        int32_t channel) {
  const int32_t shift = layer->shift[channel];
  const int32_t multiplier = layer->multiplier[channel];
  const int64_t half = 1ll << (shift - 1);
  const edc_lanes value = shift > 16
                              ? product(acc, multiplier << 16, half << 16, 32) >> (shift - 16)
                              : product(acc, multiplier, half, shift);
  return smaller(larger(value, all(layer->activation_min)), all(layer->activation_max));
}

/* TFLM's double rounding (edc_requantize), clamped, + 128. acc << left fits, as proven. */
static inline edc_lanes requantize(const edc_batch_layer *layer, edc_lanes acc, int32_t channel) {
  const int32_t shift = layer->shift[channel];
  edc_lanes high = product(shift > 0 ? acc << shift : acc, layer->multiplier[channel], 1 << 30, 31);
  if (shift < 0) {
    /* Halves go away from zero: 1 is taken from what is negative, then halves go up. */
    high += high >> 31;
    high = ((high >> (-shift - 1)) + 1) >> 1;
  }
  high = smaller(larger(high + layer->zero_point, all(layer->activation_min)),
                 all(layer->activation_max));
  return high + 128;
}

static inline void store_block(const edc_batch_layer *layer, const edc_lanes *acc, int32_t position,
                               int32_t block, int is_wide) {
  const int32_t first = block * BLOCK;
  const size_t element = (size_t)position * (size_t)layer->out_channels;
  edc_lanes *out = layer->out + element;
  if (is_wide) {
    if (layer->gives_groups) {
      out = layer->out + (element + (size_t)first) / 2;
      for (int32_t i = 0; i < BLOCK && first + i < layer->out_channels; i += 2) {
        *out++ = (requantize_wide(layer, acc[i], first + i) & 0xFFFF) |
                 requantize_wide(layer, acc[i + 1], first + i + 1) << 16;
      }
      return;
    }
    for (int32_t i = 0; i < BLOCK && first + i < layer->out_channels; i++) {
      out[first + i] = requantize_wide(layer, acc[i], first + i);
    }
    return;
  }
  if (layer->gives_groups) {
    out = layer->out + (element + (size_t)first) / 4;
    for (int32_t i = 0; i < BLOCK && first + i < layer->out_channels; i += 4) {
      *out++ = requantize(layer, acc[i], first + i) |
               requantize(layer, acc[i + 1], first + i + 1) << 8 |
               requantize(layer, acc[i + 2], first + i + 2) << 16 |
               requantize(layer, acc[i + 3], first + i + 3) << 24;
    }
    return;
  }
  for (int32_t i = 0; i < BLOCK && first + i < layer->out_channels; i++) {
    out[first + i] = requantize(layer, acc[i], first + i);
  }
}

/* Two positions at a time, which share the weights; the last one of an odd count is done twice. */
EDC_ALWAYS_INLINE void run_layer_of(const edc_batch_layer *layer, int is_wide) {
  for (int32_t position = 0; position < layer->out_width; position += 2) {
    const int32_t other = position + 1 < layer->out_width ? position + 1 : position;
    const edc_lanes *a = layer->in + (size_t)position * (size_t)layer->step;
    const edc_lanes *b = layer->in + (size_t)other * (size_t)layer->step;
    const int32_t *weights = layer->weights;
    const int32_t *offsets = layer->offsets;
    for (int32_t block = 0; block < layer->blocks; block++) {
      edc_lanes first[BLOCK];
      edc_lanes second[BLOCK];
      for (int i = 0; i < BLOCK; i++) {
        first[i] = second[i] = all(layer->bias[block * BLOCK + i]);
      }
      for (int32_t group = 0; group < layer->groups; group++) {
        const edc_lanes x = a[*offsets];
        const edc_lanes y = b[*offsets++];
        for (int i = 0; i < BLOCK; i++) {
          first[i] = add_group(first[i], x, weights, is_wide);
          second[i] = add_group(second[i], y, weights, is_wide);
          weights += is_wide ? 1 : WORDS;
        }
      }
      store_block(layer, first, position, block, is_wide);
      store_block(layer, second, other, block, is_wide);
    }
  }
  const edc_lanes *from = layer->slid_from;
  for (int32_t i = 0; i < layer->slid_count; i++) {
    layer->slid[i] = is_wide ? (from[i] & 0xFFFF) | from[i + 1] << 16
                             : from[i] | from[i + 1] << 8 | from[i + 2] << 16 | from[i + 3] << 24;
  }
}

static void run_layer(const edc_batch_layer *layer) { run_layer_of(layer, 0); }

static void run_wide_layer(const edc_batch_layer *layer) { run_layer_of(layer, 1); }

static void load_input(const edc_batch_model *model) {
  edc_lanes offsets;
  for (int lane = 0; lane < LANES; lane++) {
    offsets[lane] = lane * model->input_bytes;
  }
  for (int32_t i = 0; i < model->input_groups; i++) {
    /* Elements i, i + 1, ... of each lane; bytes + 128 each. */
    model->layers[0].in[i] = model->is_wide
                                 ? gather(model->input + 2 * i, offsets)
                                 : gather(model->input + i, offsets) ^ (int32_t)0x80808080;
  }
}

static edc_lanes nearest(const edc_batch_codebook *book, const edc_lanes *residual, int32_t pairs) {
  edc_lanes best = all(INT32_MAX);
  edc_lanes index = all(0);
  const int32_t *code = book->codes;
  int32_t place = 0;
  for (; place + CODES_AT_ONCE <= book->size; place += CODES_AT_ONCE) {
    edc_lanes distance[CODES_AT_ONCE];
    for (int i = 0; i < CODES_AT_ONCE; i++) {
      distance[i] = all(book->keys[place + i]);
    }
    for (int32_t pair = 0; pair < pairs; pair++) {
      for (int i = 0; i < CODES_AT_ONCE; i++) {
        distance[i] = add_pairs(distance[i], residual[pair], all(code[i * pairs + pair]));
      }
    }
    for (int i = 0; i < CODES_AT_ONCE; i++) {
      const edc_lanes nearer = distance[i] < best;
      best = smaller(best, distance[i]);
      index = (index & ~nearer) | (nearer & (place + i));
    }
    code += CODES_AT_ONCE * pairs;
  }
  for (; place < book->size; place++) {
    edc_lanes distance = all(book->keys[place]);
    for (int32_t pair = 0; pair < pairs; pair++) {
      distance = add_pairs(distance, residual[pair], all(*code++));
    }
    const edc_lanes nearer = distance < best;
    best = smaller(best, distance);
    index = (index & ~nearer) | (nearer & place);
  }
  return index;
}

typedef int16_t edc_halves __attribute__((vector_size(4 * EDC_BATCH_LANES)));

/* A latent's part of the first residual (SPEC.md 1.3, 1.4). */
static inline edc_lanes first_residual(const edc_batch_model *model, edc_lanes latent) {
  if (model->is_wide) {
    const int32_t down = -model->fraction_bits;
    return (latent + ((1 << down) >> 1)) >> down;
  }
  return (latent - (model->zero_point + 128)) << model->fraction_bits;
}

/* indices of lane `lane` at [lane][positions][level_count], for the first `count` lanes. */
static void quantize(const edc_batch_model *model, uint16_t *indices, int32_t count) {
  const int32_t pairs = model->dimension / 2;
  const int32_t stride = model->positions * model->level_count;
  const edc_lanes *latent = model->latent;
  for (int32_t position = 0; position < model->positions; position++) {
    edc_lanes residual[DIMENSION_MAX / 2];
    for (int32_t pair = 0; pair < pairs; pair++) {
      const edc_lanes low = first_residual(model, latent[2 * pair]);
      const edc_lanes high = 2 * pair + 1 < model->latent_channels
                                 ? first_residual(model, latent[2 * pair + 1])
                                 : all(0);
      residual[pair] = (low & 0xFFFF) | high << 16;
    }
    latent += model->latent_channels;
    for (int32_t level = 0; level < model->level_count; level++) {
      const edc_batch_codebook *book = &model->books[level];
      const edc_lanes index = nearest(book, residual, pairs);
      const edc_lanes row = index * (4 * pairs);
      for (int32_t pair = 0; pair < pairs; pair++) {
        const edc_lanes code = gather(book->plain + pair, row);
        residual[pair] = (edc_lanes)((edc_halves)residual[pair] - (edc_halves)code);
      }
      for (int32_t lane = 0; lane < count; lane++) {
        indices[lane * stride + position * model->level_count + level] = (uint16_t)index[lane];
      }
    }
  }
}

static void normalize(const edc_batch_model *model, const int16_t *frame, int8_t *out,
                      edc_frame_stats *stats) {
  if (model->zscore != NULL) {
    (model->is_wide ? edc_zscore16_normalize : edc_zscore_normalize)(model->zscore, frame, out,
                                                                     stats);
  } else if (model->minmax != NULL) {
    (model->is_wide ? edc_minmax16_normalize : edc_minmax_normalize)(model->minmax, frame, out,
                                                                     stats);
  } else {
    (model->is_wide ? edc_fixed16_normalize : edc_fixed_normalize)(model->fixed, frame, out, stats);
  }
}

void edc_batch_encode(const edc_batch_model *model, const int16_t *frames, size_t count,
                      uint16_t *indices, int32_t *offsets, uint64_t *spreads) {
  for (size_t start = 0; start < count; start += LANES) {
    const int32_t lanes = count - start < LANES ? (int32_t)(count - start) : LANES;
    for (int32_t lane = 0; lane < lanes; lane++) {
      edc_frame_stats stats;
      normalize(model, frames, model->input + lane * model->input_bytes + model->input_pad, &stats);
      *offsets++ = stats.offset;
      *spreads++ = stats.spread;
      frames += model->samples;
    }
    load_input(model);
    for (int32_t layer = 0; layer < model->layer_count; layer++) {
      (model->is_wide ? run_wide_layer : run_layer)(&model->layers[layer]);
    }
    quantize(model, indices, lanes);
    indices += (size_t)lanes * (size_t)(model->positions * model->level_count);
  }
}
