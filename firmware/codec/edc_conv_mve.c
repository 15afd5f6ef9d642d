/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_conv_mve.h"

#include "edc_requantize.h"

/* Elsewhere the same tables are worked through without vectors, so that any machine can check what
 * the vectors compute. */
#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)
#define VECTORS 1
#include <arm_mve.h>
#else
#define VECTORS 0
#endif

static inline void fill(int8_t *out, int8_t value, int32_t count) {
#if VECTORS
  /* The small C library's memset and memcpy go byte by byte. */
  for (const int8x16_t values = vdupq_n_s8(value); count > 0; count -= EDC_MVE_BYTES) {
    vstrbq_p_s8(out, values, vctp8q((uint32_t)count));
    out += EDC_MVE_BYTES;
  }
#else
  for (int32_t i = 0; i < count; i++) {
    out[i] = value;
  }
#endif
}

static inline void copy(int8_t *out, const int8_t *in, int32_t count) {
#if VECTORS
  for (; count > 0; count -= EDC_MVE_BYTES) {
    const mve_pred16_t inside = vctp8q((uint32_t)count);
    vstrbq_p_s8(out, vldrbq_z_s8(in, inside), inside);
    in += EDC_MVE_BYTES;
    out += EDC_MVE_BYTES;
  }
#else
  for (int32_t i = 0; i < count; i++) {
    out[i] = in[i];
  }
#endif
}

/* The samples under the taps of a position at an edge, the zero point where the tensor ends. What
 * comes after them meets weights of zero. */
static void gather(const edc_mve_layer *layer, const int8_t *in, int32_t first, int8_t *window) {
  const int32_t channels = layer->in_channels;
  const int32_t last = first + layer->kernel;
  const int32_t begin = first < 0 ? 0 : first;
  const int32_t end = last < layer->in_width ? last : layer->in_width;
  fill(window, layer->in_zero_point, layer->row);
  copy(window + (begin - first) * channels, in + begin * channels, (end - begin) * channels);
}

#if VECTORS
/* edc_requantize_narrow of four accumulators less their bias, saturated. Rectified: the zero point
 * is the least output, so that nothing negative shows how it was rounded. */
static inline int32x4_t requantize(const int32_t *sums, int32x4_t bias, int32x4_t multiplier,
                                   int32x4_t shift, int32_t zero_point, int rectified) {
  /* VQRDMULH doubles and rounds as the doubled accumulator's product does; VRSHL by less than 0
   * shifts to the right and takes halves up. */
  int32x4_t high = vqrdmulhq_s32(vaddq_s32(vldrwq_s32(sums), bias), multiplier);
  if (!rectified) {
    high = vaddq_s32(high, vshrq_n_s32(high, 31));
  }
  high = vaddq_n_s32(vrshlq_s32(high, shift), zero_point);
  return vminq_s32(vmaxq_s32(high, vdupq_n_s32(INT8_MIN)), vdupq_n_s32(INT8_MAX));
}
#endif

/* Rows of outputs from sums; `left` says how many positions there are. */
static inline void finish(const edc_mve_layer *layer, const int32_t *sums, int32_t left,
                          int8_t *out, int rectified) {
  const int32_t zero_point = layer->out_zero_point;
  const edc_mve_channels *block = layer->channels;
  /* What has no row goes to the first, which is written last. */
  int8_t *x = out;
  int8_t *y = left > 1 ? out + layer->out_channels : out;
  int8_t *z = left > 2 ? out + 2 * layer->out_channels : out;
  for (int32_t blocks = layer->out_channels / EDC_MVE_BLOCK; blocks > 0; blocks--) {
#if VECTORS
    const int32x4_t bias = vldrwq_s32(block->bias);
    const int32x4_t multiplier = vldrwq_s32(block->multiplier);
    const int32x4_t shift = vldrwq_s32(block->shift);
    vstrbq_s32(
        z, requantize(sums + 2 * EDC_MVE_BLOCK, bias, multiplier, shift, zero_point, rectified));
    vstrbq_s32(y, requantize(sums + EDC_MVE_BLOCK, bias, multiplier, shift, zero_point, rectified));
    vstrbq_s32(x, requantize(sums, bias, multiplier, shift, zero_point, rectified));
#else
    (void)rectified;
    int8_t *const rows[EDC_MVE_POSITIONS] = {x, y, z};
    for (int32_t i = EDC_MVE_POSITIONS * EDC_MVE_BLOCK - 1; i >= 0; i--) {
      const int32_t channel = i % EDC_MVE_BLOCK;
      rows[i / EDC_MVE_BLOCK][channel] = edc_saturate(
          edc_requantize_narrow(sums[i] + block->bias[channel], block->multiplier[channel],
                                -1 - (int)block->shift[channel], 2 * zero_point + 1));
    }
#endif
    block++;
    sums += EDC_MVE_POSITIONS * EDC_MVE_BLOCK;
    x += EDC_MVE_BLOCK;
    y += EDC_MVE_BLOCK;
    z += EDC_MVE_BLOCK;
  }
}

#if VECTORS
/* Sums of two channels with rows of `vectors`, two or more; the weights behind them. */
static inline const int8_t *multiply_pair(const int8_t *const *windows, const int8_t *w0,
                                          uint32_t vectors, int32_t *sums) {
  const int8_t *x = windows[0];
  const int8_t *y = windows[1];
  const int8_t *z = windows[2];
  const int8_t *w1 = w0 + vectors * EDC_MVE_BYTES;
  int8x16_t first = vldrbq_s8(w0);
  int8x16_t second = vldrbq_s8(w1);
  int8x16_t samples = vldrbq_s8(x);
  int32_t x0 = vmladavq_s8(samples, first);
  int32_t x1 = vmladavq_s8(samples, second);
  samples = vldrbq_s8(y);
  int32_t y0 = vmladavq_s8(samples, first);
  int32_t y1 = vmladavq_s8(samples, second);
  samples = vldrbq_s8(z);
  int32_t z0 = vmladavq_s8(samples, first);
  int32_t z1 = vmladavq_s8(samples, second);
  vectors--;
  do {
    w0 += EDC_MVE_BYTES;
    first = vldrbq_s8(w0);
    w1 += EDC_MVE_BYTES;
    second = vldrbq_s8(w1);
    x += EDC_MVE_BYTES;
    samples = vldrbq_s8(x);
    x0 = vmladavaq_s8(x0, samples, first);
    x1 = vmladavaq_s8(x1, samples, second);
    y += EDC_MVE_BYTES;
    samples = vldrbq_s8(y);
    y0 = vmladavaq_s8(y0, samples, first);
    y1 = vmladavaq_s8(y1, samples, second);
    z += EDC_MVE_BYTES;
    samples = vldrbq_s8(z);
    z0 = vmladavaq_s8(z0, samples, first);
    z1 = vmladavaq_s8(z1, samples, second);
  } while (--vectors > 0);
  sums[0] = x0;
  sums[1] = x1;
  sums[EDC_MVE_BLOCK] = y0;
  sums[EDC_MVE_BLOCK + 1] = y1;
  sums[2 * EDC_MVE_BLOCK] = z0;
  sums[2 * EDC_MVE_BLOCK + 1] = z1;
  return w1 + EDC_MVE_BYTES;
}

/* Sums of four channels whose rows of weights are one vector: the samples stay where they are. */
static inline void multiply_short(const int8_t *const *windows, const int8_t *weights,
                                  int32_t blocks, int32_t *sums) {
  const int8x16_t x = vldrbq_s8(windows[0]);
  const int8x16_t y = vldrbq_s8(windows[1]);
  const int8x16_t z = vldrbq_s8(windows[2]);
  for (; blocks > 0; blocks--) {
#pragma GCC unroll 4
    for (int32_t channel = 0; channel < EDC_MVE_BLOCK; channel++) {
      const int8x16_t w = vldrbq_s8(weights + channel * EDC_MVE_BYTES);
      sums[channel] = vmladavq_s8(x, w);
      sums[channel + EDC_MVE_BLOCK] = vmladavq_s8(y, w);
      sums[channel + 2 * EDC_MVE_BLOCK] = vmladavq_s8(z, w);
    }
    weights += EDC_MVE_BLOCK * EDC_MVE_BYTES;
    sums += EDC_MVE_POSITIONS * EDC_MVE_BLOCK;
  }
}
#endif

/* sums[out / 4][position][4] of products of the windows of three positions with the weights.
 * Inlined, it would have to share the registers that its inner loop is made for. */
EDC_NEVER_INLINE void multiply(const edc_mve_layer *layer, const int8_t *const *windows,
                               int32_t *sums) {
  const int8_t *weights = layer->weights;
  const int32_t row = layer->row;
  int32_t blocks = layer->out_channels / EDC_MVE_BLOCK;
#if VECTORS
  if (row == EDC_MVE_BYTES) {
    multiply_short(windows, weights, blocks, sums);
    return;
  }
  const uint32_t vectors = layer->row / EDC_MVE_BYTES;
  for (; blocks > 0; blocks--) {
    weights = multiply_pair(windows, weights, vectors, sums);
    weights = multiply_pair(windows, weights, vectors, sums + 2);
    sums += EDC_MVE_POSITIONS * EDC_MVE_BLOCK;
  }
#else
  for (; blocks > 0; blocks--) {
    for (int32_t i = 0; i < EDC_MVE_POSITIONS * EDC_MVE_BLOCK; i++) {
      const int8_t *w = weights + i % EDC_MVE_BLOCK * row;
      sums[i] = 0;
      for (int32_t tap = 0; tap < row; tap++) {
        sums[i] += windows[i / EDC_MVE_BLOCK][tap] * w[tap];
      }
    }
    weights += EDC_MVE_BLOCK * row;
    sums += EDC_MVE_POSITIONS * EDC_MVE_BLOCK;
  }
#endif
}

/* The same of each channel with its own weights, up to eight taps at a time. */
static inline void multiply_depthwise(const edc_mve_layer *layer, const int8_t *const *windows,
                                      int32_t *sums) {
  const int8_t *w = layer->weights;
  const int32_t channels = layer->out_channels;
#if VECTORS
  const int8_t *const x = windows[0];
  const int8_t *const y = windows[1];
  const int8_t *const z = windows[2];
  /* From tap to tap; what comes after the last one meets weights of zero. */
  const mve_pred16_t taps = vctp16q(layer->kernel);
  const uint16x8_t apart = vmulq_n_u16(vidupq_n_u16(0, 1), layer->out_channels);
  uint16x8_t at = vpselq_u16(apart, vdupq_n_u16(0), taps);
  for (int32_t blocks = channels / EDC_MVE_BLOCK; blocks > 0; blocks--) {
#pragma GCC unroll 4
    for (int32_t i = 0; i < EDC_MVE_BLOCK; i++) {
      const int16x8_t weights = vldrbq_s16(w + i * EDC_MVE_TAPS);
      sums[i] = vmladavq_s16(vldrbq_gather_offset_s16(x, at), weights);
      sums[i + EDC_MVE_BLOCK] = vmladavq_s16(vldrbq_gather_offset_s16(y, at), weights);
      sums[i + 2 * EDC_MVE_BLOCK] = vmladavq_s16(vldrbq_gather_offset_s16(z, at), weights);
      at = vaddq_n_u16(at, 1);
    }
    w += EDC_MVE_BLOCK * EDC_MVE_TAPS;
    sums += EDC_MVE_POSITIONS * EDC_MVE_BLOCK;
  }
#else
  for (int32_t channel = 0; channel < channels; channel++) {
    for (int32_t position = 0; position < EDC_MVE_POSITIONS; position++) {
      int32_t sum = 0;
      for (int32_t tap = 0; tap < layer->kernel; tap++) {
        sum += windows[position][tap * channels + channel] * w[tap];
      }
      sums[position * EDC_MVE_BLOCK] = sum;
    }
    w += EDC_MVE_TAPS;
    sums += channel % EDC_MVE_BLOCK == EDC_MVE_BLOCK - 1
                ? EDC_MVE_POSITIONS * EDC_MVE_BLOCK - EDC_MVE_BLOCK + 1
                : 1;
  }
#endif
}

static inline void convolve(const edc_mve_layer *layer, const int8_t *in, int8_t *out,
                            int32_t *scratch, int depthwise) {
  const int32_t channels = layer->in_channels;
  const int32_t size = layer->in_width * channels;
  const int32_t row = layer->row;
  int32_t *const sums = scratch;
  int8_t *const edges = (int8_t *)(scratch + EDC_MVE_POSITIONS * layer->out_channels);
  int32_t first = -layer->pad_left;
  for (int32_t left = layer->out_width; left > 0; left -= EDC_MVE_POSITIONS) {
    const int8_t *windows[EDC_MVE_POSITIONS];
    for (int32_t i = 0; i < EDC_MVE_POSITIONS; i++) {
      /* Whole rows are read, so the last windows are copied too. Sums of positions behind the last
       * one go nowhere. */
      windows[i] = in + first * channels;
      if (first < 0 || first * channels + row > size) {
        gather(layer, in, first, edges + i * row);
        windows[i] = edges + i * row;
      }
      first += layer->stride;
    }
    if (depthwise) {
      multiply_depthwise(layer, windows, sums);
    } else {
      multiply(layer, windows, sums);
    }
    if (layer->out_zero_point == INT8_MIN) {
      finish(layer, sums, left, out, 1);
    } else {
      finish(layer, sums, left, out, 0);
    }
    out += EDC_MVE_POSITIONS * layer->out_channels;
  }
}

void edc_conv_mve(const edc_mve_layer *layer, const int8_t *in, int8_t *out, int32_t *scratch) {
  convolve(layer, in, out, scratch, 0);
}

void edc_depthwise_mve(const edc_mve_layer *layer, const int8_t *in, int8_t *out,
                       int32_t *scratch) {
  convolve(layer, in, out, scratch, 1);
}

/* Apart from the call of a whole layer, which so needs no stack. */
EDC_NEVER_INLINE void edc_conv_mve_stripe(const void *constants, const edc_chunk *chunk,
                                          const int8_t *in, int8_t *out, int32_t *scratch) {
  edc_mve_layer layer = *(const edc_mve_layer *)constants;
  layer.in_width = chunk->in_width;
  layer.pad_left = chunk->pad_left;
  layer.out_width = chunk->out_width;
  edc_conv_mve(&layer, in, out, scratch);
}

void edc_conv_mve_run(const void *constants, const edc_chunk *chunk, const int8_t *in, int8_t *out,
                      int32_t *scratch) {
  if (chunk == NULL) {
    edc_conv_mve(constants, in, out, scratch);
  } else {
    edc_conv_mve_stripe(constants, chunk, in, out, scratch);
  }
}

EDC_NEVER_INLINE void edc_depthwise_mve_stripe(const void *constants, const edc_chunk *chunk,
                                               const int8_t *in, int8_t *out, int32_t *scratch) {
  edc_mve_layer layer = *(const edc_mve_layer *)constants;
  layer.in_width = chunk->in_width;
  layer.pad_left = chunk->pad_left;
  layer.out_width = chunk->out_width;
  edc_depthwise_mve(&layer, in, out, scratch);
}

void edc_depthwise_mve_run(const void *constants, const edc_chunk *chunk, const int8_t *in,
                           int8_t *out, int32_t *scratch) {
  if (chunk == NULL) {
    edc_depthwise_mve(constants, in, out, scratch);
  } else {
    edc_depthwise_mve_stripe(constants, chunk, in, out, scratch);
  }
}
