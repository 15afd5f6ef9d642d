/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_decode.h"

#include <float.h>
#include <math.h>

#if EDC_DECODE_LANES >= 8
#include <immintrin.h>
#endif

#define LANES EDC_DECODE_LANES
#define BLOCK EDC_DECODE_BLOCK

/* Sums that are held at a time, as many as there are registers for: POSITIONS x WIDTH channels. */
#if LANES == 8 || (LANES == 4 && defined(__SSE2__))
#define POSITIONS 3u
#define WIDTH 4u
#elif LANES == 1
#define POSITIONS 4u
#define WIDTH 8u
#else
#define POSITIONS 3u
#define WIDTH 8u
#endif

#if defined(__GNUC__)
#define ALWAYS_INLINE static inline __attribute__((always_inline))
#else
#define ALWAYS_INLINE static inline
#endif

typedef edc_decode_lanes lanes;

#if LANES == 1
ALWAYS_INLINE lanes all(float value) { return value; }
ALWAYS_INLINE void put(lanes *at, uint32_t lane, float value) { at[lane] = value; }
ALWAYS_INLINE float get(const lanes *at, uint32_t lane) { return at[lane]; }
ALWAYS_INLINE lanes clamped(lanes x, lanes low, lanes high) {
  return x < low ? low : x > high ? high : x;
}
#else
ALWAYS_INLINE lanes all(float value) { return (lanes){0} + value; }
ALWAYS_INLINE void put(lanes *at, uint32_t lane, float value) { (*at)[lane] = value; }
ALWAYS_INLINE float get(const lanes *at, uint32_t lane) { return (*at)[lane]; }
ALWAYS_INLINE lanes clamped(lanes x, lanes low, lanes high) {
#if LANES == 16
  return (lanes)_mm512_min_ps(_mm512_max_ps((__m512)x, (__m512)low), (__m512)high);
#elif LANES == 8
  return (lanes)_mm256_min_ps(_mm256_max_ps((__m256)x, (__m256)low), (__m256)high);
#else
  typedef int32_t masks __attribute__((vector_size(4 * LANES)));
  const masks below = x < low;
  const masks above = x > high;
  return (lanes)(((masks)low & below) | ((masks)high & above) | ((masks)x & ~(below | above)));
#endif
}
#endif

/* Channels of a convolution at positions side by side; weights of one value lie `pack` apart. */
ALWAYS_INLINE void convolve(const edc_decode_step *step, const lanes *in, lanes *out,
                            const float *weights, const float *bias, uint32_t pack,
                            uint32_t positions, uint32_t width) {
  const lanes low = all(step->low);
  const lanes high = all(step->high);
  lanes sums[POSITIONS][WIDTH];
  for (uint32_t p = 0; p < positions; p++) {
    for (uint32_t i = 0; i < width; i++) {
      sums[p][i] = all(bias[i]);
    }
  }
  for (uint32_t tap = 0; tap < step->taps; tap++) {
    const lanes *x = in + (size_t)tap * step->tap_step;
    for (uint32_t value = 0; value < step->run; value++, x++, weights += pack) {
      for (uint32_t i = 0; i < width; i++) {
        for (uint32_t p = 0; p < positions; p++) {
          sums[p][i] += x[(size_t)p * step->in_step] * weights[i];
        }
      }
    }
  }
  for (uint32_t p = 0; p < positions; p++) {
    for (uint32_t i = 0; i < width; i++) {
      out[(size_t)p * step->out_step + i] = clamped(sums[p][i], low, high);
    }
  }
}

/* All channels at `positions` positions side by side. */
ALWAYS_INLINE void convolve_all(const edc_decode_step *step, const lanes *in, lanes *out,
                                uint32_t positions) {
  const size_t inputs = (size_t)step->taps * step->run;
  const float *weights = step->weights;
  uint32_t channel = 0;
  for (; channel + BLOCK <= step->channels; channel += BLOCK, weights += inputs * BLOCK) {
    for (uint32_t i = channel; i < channel + BLOCK; i += WIDTH) {
      convolve(step, in, out + i, weights + (i - channel), step->bias + i, BLOCK, positions, WIDTH);
    }
  }
  for (; channel < step->channels; channel++, weights += inputs) {
    convolve(step, in, out + channel, weights, step->bias + channel, 1, positions, 1);
  }
}

static void run_conv(const edc_decode_step *step, const lanes *in, lanes *out, uint32_t count) {
  uint32_t n = 0;
  while (n < count) {
    if (count - n < POSITIONS && count >= POSITIONS) {
      n = count - POSITIONS; /* the last ones, some of them again */
    }
    const lanes *from = in + (size_t)n * step->in_step;
    lanes *to = out + (size_t)n * step->out_step;
    if (count - n >= POSITIONS) {
      convolve_all(step, from, to, POSITIONS);
      n += POSITIONS;
    } else {
      convolve_all(step, from, to, 1);
      n++;
    }
  }
}

#define POINTS 6u
#define OUTPUTS 3u
#define TILES (EDC_DECODE_WINOGRAD_ROOM / POINTS)

/* Winograd's F(3, 4): three outputs of four taps, which see six positions, from six products. */
static void run_winograd(const edc_decode_step *step, const lanes *in, lanes *room, lanes *out,
                         uint32_t count) {
  const size_t inputs = step->run;
  const size_t channels = step->channels;
  const size_t out_step = step->out_step;
  const lanes low = all(step->low);
  const lanes high = all(step->high);
  const uint32_t tiles = (count + OUTPUTS - 1) / OUTPUTS;
  lanes *products = room + POINTS * TILES * inputs;
  edc_decode_step product = *step;
  product.low = -FLT_MAX;
  product.high = FLT_MAX;
  product.taps = 1;
  product.in_step = step->run;
  product.out_step = step->channels;
  product.bias = step->bias + channels; /* zeros */
  for (uint32_t first = 0; first < tiles; first += TILES) {
    const uint32_t held = tiles - first < TILES ? tiles - first : TILES;
    for (uint32_t tile = 0; tile < held; tile++) {
      const uint32_t n = OUTPUTS * (first + tile);
      const lanes *x = in + (n + OUTPUTS <= count ? n : count - OUTPUTS) * inputs;
      lanes *to = room + tile * inputs;
      const size_t apart = TILES * inputs;
      for (size_t c = 0; c < inputs; c++) {
        const lanes d0 = x[c];
        const lanes d1 = x[c + inputs];
        const lanes d2 = x[c + 2 * inputs];
        const lanes d3 = x[c + 3 * inputs];
        const lanes d4 = x[c + 4 * inputs];
        const lanes d5 = x[c + 5 * inputs];
        const lanes even = d4 - d2 * 4.0f;
        const lanes odd = d3 - d1 * 4.0f;
        const lanes even_far = d4 - d2;
        const lanes odd_far = (d3 - d1) * 2.0f;
        to[c] = d0 * 4.0f - d2 * 5.0f + d4;
        to[c + apart] = even + odd;
        to[c + 2 * apart] = even - odd;
        to[c + 3 * apart] = even_far + odd_far;
        to[c + 4 * apart] = even_far - odd_far;
        to[c + 5 * apart] = d1 * 4.0f - d3 * 5.0f + d5;
      }
    }
    for (uint32_t point = 0; point < POINTS; point++) {
      product.weights = step->weights + point * inputs * channels;
      run_conv(&product, room + point * TILES * inputs, products + point * TILES * channels, held);
    }
    for (uint32_t tile = 0; tile < held; tile++) {
      const uint32_t n = OUTPUTS * (first + tile);
      lanes *to = out + (n + OUTPUTS <= count ? n : count - OUTPUTS) * out_step;
      const lanes *m = products + tile * channels;
      const size_t apart = TILES * channels;
      for (size_t c = 0; c < channels; c++) {
        const lanes bias = all(step->bias[c]);
        const lanes near = m[c + apart] + m[c + 2 * apart];
        const lanes near_odd = m[c + apart] - m[c + 2 * apart];
        const lanes far = m[c + 3 * apart] + m[c + 4 * apart];
        const lanes far_odd = m[c + 3 * apart] - m[c + 4 * apart];
        to[c] = clamped(m[c] + near + far + bias, low, high);
        to[c + out_step] = clamped(near_odd + far_odd * 2.0f + bias, low, high);
        to[c + 2 * out_step] = clamped(near + far * 4.0f + m[c + 5 * apart] + bias, low, high);
      }
    }
  }
}

/* Channels of a depthwise convolution at one position. */
ALWAYS_INLINE void convolve_each(const edc_decode_step *step, const lanes *in, lanes *out,
                                 uint32_t channel, uint32_t width) {
  const lanes low = all(step->low);
  const lanes high = all(step->high);
  lanes sums[BLOCK];
  const float *weights = step->weights + channel;
  const lanes *x = in + channel;
  for (uint32_t i = 0; i < width; i++) {
    sums[i] = all(step->bias[channel + i]);
  }
  for (uint32_t tap = 0; tap < step->taps; tap++) {
    for (uint32_t i = 0; i < width; i++) {
      sums[i] += x[i] * weights[i];
    }
    x += step->tap_step;
    weights += step->channels;
  }
  for (uint32_t i = 0; i < width; i++) {
    out[channel + i] = clamped(sums[i], low, high);
  }
}

static void run_depthwise(const edc_decode_step *step, const lanes *in, lanes *out,
                          uint32_t count) {
  for (; count > 0; count--, in += step->in_step, out += step->out_step) {
    uint32_t channel = 0;
    for (; channel + BLOCK <= step->channels; channel += BLOCK) {
      convolve_each(step, in, out, channel, BLOCK);
    }
    for (; channel < step->channels; channel++) {
      convolve_each(step, in, out, channel, 1);
    }
  }
}

static void run_mean(const edc_decode_step *step, const lanes *in, lanes *out, uint32_t count) {
  const float share = 1.0f / (float)step->run;
  for (; count > 0; count--, in += step->in_step, out += step->out_step) {
    lanes sum = all(0.0f);
    for (uint32_t value = 0; value < step->run; value++) {
      sum += in[value];
    }
    *out = sum * share;
  }
}

static void run_rsqrt(const edc_decode_step *step, const lanes *in, lanes *out, uint32_t count) {
  for (; count > 0; count--, in += step->in_step, out += step->out_step) {
    for (uint32_t c = 0; c < step->channels; c++) {
      lanes root = all(0.0f);
      for (uint32_t lane = 0; lane < LANES; lane++) {
        put(&root, lane, sqrtf(get(in + c, lane)));
      }
      out[c] = all(1.0f) / root;
    }
  }
}

/* `expression` of a and b, where b is `operand`, for all channels of the positions. */
#define FOR_ALL(expression, operand)                                                               \
  for (; count > 0; count--) {                                                                     \
    if (clamps) {                                                                                  \
      for (size_t c = 0; c < channels; c++) {                                                      \
        const lanes a = in[c * in_unit];                                                           \
        const lanes b = operand;                                                                   \
        out[c] = clamped((expression), low, high);                                                 \
      }                                                                                            \
    } else {                                                                                       \
      for (size_t c = 0; c < channels; c++) {                                                      \
        const lanes a = in[c * in_unit];                                                           \
        const lanes b = operand;                                                                   \
        out[c] = expression;                                                                       \
      }                                                                                            \
    }                                                                                              \
    in += step->in_step;                                                                           \
    other += step->other_step;                                                                     \
    out += step->out_step;                                                                         \
  }

#define BY_KIND(operand)                                                                           \
  const int clamps = step->low > -FLT_MAX || step->high < FLT_MAX;                                 \
  const lanes low = all(step->low);                                                                \
  const lanes high = all(step->high);                                                              \
  const size_t channels = step->channels;                                                          \
  const size_t in_unit = step->in_unit;                                                            \
  const size_t other_unit = step->other_unit;                                                      \
  switch (step->kind) {                                                                            \
  case EDC_DECODE_ADD:                                                                             \
    FOR_ALL(a + b, operand)                                                                        \
    break;                                                                                         \
  case EDC_DECODE_SUBTRACT:                                                                        \
    FOR_ALL(a - b, operand)                                                                        \
    break;                                                                                         \
  case EDC_DECODE_MULTIPLY:                                                                        \
    FOR_ALL(a *b, operand)                                                                         \
    break;                                                                                         \
  default:                                                                                         \
    FOR_ALL((a - b) * (a - b), operand)                                                            \
    break;                                                                                         \
  }

static void run_pairs(const edc_decode_step *step, const lanes *in, const lanes *other, lanes *out,
                      uint32_t count) {
  BY_KIND(other[c * other_unit])
}

static void run_constants(const edc_decode_step *step, const lanes *in, const float *other,
                          lanes *out, uint32_t count) {
  BY_KIND(all(other[c * other_unit]))
}

/* `count` positions from `first` on. */
static void run_step(const edc_decode_step *step, lanes *memory, uint32_t first, uint32_t count) {
  const uint32_t stripes = step->stripes;
  const size_t position = first;
  const lanes *in = memory + step->in;
  const lanes *other = memory + step->other;
  lanes *out = memory + step->out;
  in += (stripes & EDC_DECODE_IN_IS_STRIPE) != 0 ? 0 : position * step->in_step;
  other += (stripes & EDC_DECODE_OTHER_IS_STRIPE) != 0 ? 0 : position * step->other_step;
  out += (stripes & EDC_DECODE_OUT_IS_STRIPE) != 0 ? 0 : position * step->out_step;
  switch (step->kind) {
  case EDC_DECODE_ZERO:
    for (uint32_t i = 0; i < step->channels; i++) {
      out[i] = all(0.0f);
    }
    break;
  case EDC_DECODE_CONV:
    run_conv(step, in, out, count);
    break;
  case EDC_DECODE_WINOGRAD:
    run_winograd(step, in, memory + step->other, out, count);
    break;
  case EDC_DECODE_DEPTHWISE:
    run_depthwise(step, in, out, count);
    break;
  case EDC_DECODE_MEAN:
    run_mean(step, in, out, count);
    break;
  case EDC_DECODE_RSQRT:
    run_rsqrt(step, in, out, count);
    break;
  default:
    if (step->weights != NULL) {
      run_constants(step, in, step->weights + position * step->other_step, out, count);
    } else {
      run_pairs(step, in, other, out, count);
    }
    break;
  }
}

static void run_steps(const edc_decode_model *model, lanes *memory) {
  const edc_decode_step *step = model->steps;
  const edc_decode_step *end = step + model->step_count;
  for (; step < end; step += step->together) {
    const uint32_t stripe = step->together > 1 ? EDC_DECODE_STRIPE : step->positions;
    for (uint32_t first = 0; first < step->positions; first += stripe) {
      const uint32_t left = step->positions - first;
      for (uint32_t turn = 0; turn < step->together; turn++) {
        run_step(step + turn, memory, first, left < stripe ? left : stripe);
      }
    }
  }
}

/* The sums of a frame's codes, in a lane of the latent. */
static void load(const edc_decode_model *model, lanes *memory, uint32_t lane,
                 const uint16_t *indices, uint32_t levels) {
  const uint32_t dimension = model->dimension;
  lanes *latent = memory + model->latent;
  for (uint32_t position = 0; position < model->positions; position++) {
    const int16_t *code = model->codes + (size_t)(model->first_codes[0] + indices[0]) * dimension;
    for (uint32_t i = 0; i < dimension; i++) {
      int32_t sum = code[i];
      for (uint32_t level = 1; level < levels; level++) {
        sum += model->codes[(size_t)(model->first_codes[level] + indices[level]) * dimension + i];
      }
      put(latent + i, lane, (float)sum * model->latent_step);
    }
    latent += dimension;
    indices += model->levels;
  }
}

typedef struct {
  double zero; /* counts of a decoded 0 */
  double unit; /* counts of a decoded 1 */
} scale;

/* SPEC.md 1.1 backwards. */
static scale scale_of(const edc_decode_model *model, int32_t offset, uint64_t spread) {
  const double samples = model->samples;
  scale found = {offset, (double)spread};
  if (model->normalization == EDC_DECODE_ZSCORE) {
    found.zero = offset / samples;
    found.unit = sqrt((double)spread / (samples * samples) + model->first);
  } else if (model->normalization == EDC_DECODE_MINMAX) {
    found.unit = (double)spread / (model->second - model->first);
    found.zero = offset - model->first * found.unit;
  } else {
    found.zero = model->first;
    found.unit = model->second;
  }
  return found;
}

void edc_decode(const edc_decode_model *model, edc_decode_lanes *memory, const uint16_t *indices,
                const uint8_t *levels, const int32_t *offsets, const uint64_t *spreads,
                size_t count, float *counts) {
  const uint32_t latent_size = model->positions * model->dimension;
  const size_t frame_indices = (size_t)model->positions * model->levels;
  for (size_t frame = 0; frame < count;) {
    size_t held[LANES];
    uint32_t used = 0;
    for (; frame < count && used < LANES; frame++) {
      const uint32_t sent = levels == NULL ? model->levels : levels[frame];
      if (sent != 0) {
        if (used == 0) {
          for (uint32_t i = 0; i < latent_size; i++) {
            memory[model->latent + i] = all(0.0f);
          }
        }
        load(model, memory, used, indices + frame * frame_indices, sent);
        held[used++] = frame;
        continue;
      }
      /* A flat frame is its count: no network runs for it. */
      const double offset = offsets == NULL ? 0.0 : offsets[frame];
      const double flat =
          model->normalization == EDC_DECODE_ZSCORE ? offset / model->samples : offset;
      for (uint32_t i = 0; i < model->samples; i++) {
        counts[frame * model->samples + i] = (float)flat;
      }
    }
    if (used == 0) {
      return;
    }
    run_steps(model, memory);
    const lanes *decoded = memory + model->decoded;
    for (uint32_t lane = 0; lane < used; lane++) {
      const size_t at = held[lane];
      const scale each =
          offsets == NULL ? (scale){0.0, 1.0} : scale_of(model, offsets[at], spreads[at]);
      for (uint32_t i = 0; i < model->samples; i++) {
        counts[at * model->samples + i] =
            (float)(each.zero + (double)get(decoded + i, lane) * each.unit);
      }
    }
  }
}
