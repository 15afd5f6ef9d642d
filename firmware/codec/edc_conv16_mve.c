/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_conv16_mve.h"

#include "edc_requantize16.h"
#include "edc_taps.h"

/* Elsewhere the same tables are worked through without vectors, so that any machine can check what
 * the vectors compute. */
#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)
#define VECTORS 1
#include <arm_mve.h>
#else
#define VECTORS 0
#endif

/* The samples under the taps of a position at an edge, zeros where the tensor ends and in the rest
 * of the row. */
static void gather(const edc_mve16_layer *layer, const int16_t *in, int32_t first,
                   int16_t *window) {
  const int32_t channels = layer->in_channels;
  const edc_tap_range taps = edc_taps_from(first, layer->kernel, layer->in_width);
  const int32_t begin = taps.first * channels;
  const int32_t end = taps.last * channels;
  in += first * channels;
#if VECTORS
  int16x8_t samples;
  for (int32_t at = 0; at < layer->row; at += EDC_MVE16_LANES) {
    /* Nothing is read outside: lanes from begin to end alone. */
    const mve_pred16_t behind =
        at < begin ? (mve_pred16_t)~vctp16q((uint32_t)(begin - at)) : 0xFFFF;
    const mve_pred16_t before = at < end ? vctp16q((uint32_t)(end - at)) : 0;
    samples = vldrhq_z_s16(in + at, behind & before);
    vstrhq_s16(window + at, samples);
  }
#else
  for (int32_t at = 0; at < layer->row; at++) {
    window[at] = at >= begin && at < end ? in[at] : 0;
  }
#endif
}

#if VECTORS
/* Four accumulators rounded and saturated: VMULH is the floor of the product by the multiplier
 * times 2^-16, VRSHL by less than 0 shifts to the right and takes halves up. */
static inline int32x4_t requantize(int32x4_t acc, const edc_mve16_channels *block, int32_t least) {
  const int32x4_t high = vmulhq_s32(acc, vldrwq_s32(block->multiplier));
  const int32x4_t value = vrshlq_s32(high, vldrwq_s32(block->shift));
  return vminq_s32(vmaxq_s32(value, vdupq_n_s32(least)), vdupq_n_s32(INT16_MAX));
}
#else
static inline int16_t requantize(int32_t acc, const edc_mve16_channels *block, int32_t channel,
                                 int rectified) {
  const int16_t multiplier = (int16_t)(block->multiplier[channel] >> 16);
  return edc_saturate16(edc_rescale(acc, multiplier, -1 - (int)block->shift[channel]), rectified);
}
#endif

/* Rows of outputs from sums; `left` says how many positions there are. */
static void finish(const edc_mve16_layer *layer, const int32_t *sums, int32_t left, int16_t *out) {
  const edc_mve16_channels *block = layer->channels;
  /* What has no row goes to the first, which is written last. */
  int16_t *x = out;
  int16_t *y = left > 1 ? out + layer->out_channels : out;
  int16_t *z = left > 2 ? out + 2 * layer->out_channels : out;
#if VECTORS
  const int32_t least = layer->rectified ? 0 : INT16_MIN;
#endif
  for (int32_t blocks = layer->out_channels / EDC_MVE16_BLOCK; blocks > 0; blocks--) {
#if VECTORS
    const int32x4_t bias = vldrwq_s32(block->bias);
    const int32_t *const second = sums + EDC_MVE16_BLOCK;
    const int32_t *const third = sums + 2 * EDC_MVE16_BLOCK;
    vstrhq_s32(z, requantize(vaddq_s32(vldrwq_s32(third), bias), block, least));
    vstrhq_s32(y, requantize(vaddq_s32(vldrwq_s32(second), bias), block, least));
    vstrhq_s32(x, requantize(vaddq_s32(vldrwq_s32(sums), bias), block, least));
#else
    int16_t *const rows[EDC_MVE16_POSITIONS] = {x, y, z};
    for (int32_t i = EDC_MVE16_POSITIONS * EDC_MVE16_BLOCK - 1; i >= 0; i--) {
      const int32_t channel = i % EDC_MVE16_BLOCK;
      rows[i / EDC_MVE16_BLOCK][channel] =
          requantize(sums[i] + block->bias[channel], block, channel, layer->rectified);
    }
#endif
    block++;
    sums += EDC_MVE16_POSITIONS * EDC_MVE16_BLOCK;
    x += EDC_MVE16_BLOCK;
    y += EDC_MVE16_BLOCK;
    z += EDC_MVE16_BLOCK;
  }
}

#if VECTORS
/* Sums of two channels; the weights behind them. */
static inline const int8_t *multiply_pair(const int16_t *const *windows, const int8_t *w0,
                                          int32_t row, int32_t *sums) {
  const int16_t *x = windows[0];
  const int16_t *y = windows[1];
  const int16_t *z = windows[2];
  const int8_t *w1 = w0 + row;
  int32_t x0 = 0, x1 = 0, y0 = 0, y1 = 0, z0 = 0, z1 = 0;
  int32_t vectors = row / EDC_MVE16_LANES;
  do {
    /* Three pointers, each with a register: at -Os the compiler makes one of them, and spills. */
    __asm__("" : "+r"(x), "+r"(y), "+r"(z));
    const int16x8_t first = vldrbq_s16(w0);
    w0 += EDC_MVE16_LANES;
    const int16x8_t second = vldrbq_s16(w1);
    w1 += EDC_MVE16_LANES;
    int16x8_t samples = vldrhq_s16(x);
    x += EDC_MVE16_LANES;
    x0 = vmladavaq_s16(x0, samples, first);
    x1 = vmladavaq_s16(x1, samples, second);
    samples = vldrhq_s16(y);
    y += EDC_MVE16_LANES;
    y0 = vmladavaq_s16(y0, samples, first);
    y1 = vmladavaq_s16(y1, samples, second);
    samples = vldrhq_s16(z);
    z += EDC_MVE16_LANES;
    z0 = vmladavaq_s16(z0, samples, first);
    z1 = vmladavaq_s16(z1, samples, second);
  } while (--vectors > 0);
  sums[0] = x0;
  sums[1] = x1;
  sums[EDC_MVE16_BLOCK] = y0;
  sums[EDC_MVE16_BLOCK + 1] = y1;
  sums[2 * EDC_MVE16_BLOCK] = z0;
  sums[2 * EDC_MVE16_BLOCK + 1] = z1;
  return w1;
}
#endif

/* sums[out / 4][position][4] of products of the windows of three positions with the weights.
 * Inlined, it would have to share the registers that its inner loop is made for. */
EDC_NEVER_INLINE void multiply(const edc_mve16_layer *layer, const int16_t *const *windows,
                               int32_t *sums) {
  const int8_t *weights = layer->weights;
  const int32_t row = layer->row;
  for (int32_t blocks = layer->out_channels / EDC_MVE16_BLOCK; blocks > 0; blocks--) {
#if VECTORS
    weights = multiply_pair(windows, weights, row, sums);
    weights = multiply_pair(windows, weights, row, sums + 2);
#else
    for (int32_t channel = 0; channel < EDC_MVE16_BLOCK; channel++) {
      for (int32_t position = 0; position < EDC_MVE16_POSITIONS; position++) {
        int32_t sum = 0;
        for (int32_t i = 0; i < row; i++) {
          sum += windows[position][i] * weights[i];
        }
        sums[position * EDC_MVE16_BLOCK + channel] = sum;
      }
      weights += row;
    }
#endif
    sums += EDC_MVE16_POSITIONS * EDC_MVE16_BLOCK;
  }
}

void edc_conv16_mve(const edc_mve16_layer *layer, const int16_t *in, int16_t *out,
                    int32_t *scratch) {
  const int32_t channels = layer->in_channels;
  const int32_t size = layer->in_width * channels;
  const int32_t row = layer->row;
  int32_t *const sums = scratch;
  int16_t *const edges = (int16_t *)(scratch + EDC_MVE16_POSITIONS * layer->out_channels);
  int32_t first = -layer->pad_left;
  for (int32_t left = layer->out_width; left > 0; left -= EDC_MVE16_POSITIONS) {
    const int16_t *windows[EDC_MVE16_POSITIONS];
    for (int32_t i = 0; i < EDC_MVE16_POSITIONS; i++) {
      /* Whole rows are read, so the last windows are copied too. Sums of positions behind the last
       * one go nowhere. */
      windows[i] = in + first * channels;
      if (i >= left) {
        windows[i] = windows[0];
      } else if (first < 0 || first * channels + row > size) {
        gather(layer, in, first, edges + i * row);
        windows[i] = edges + i * row;
      }
      first += layer->stride;
    }
    multiply(layer, windows, sums);
    finish(layer, sums, left, out);
    out += EDC_MVE16_POSITIONS * layer->out_channels;
  }
}

void edc_depthwise16_mve(const edc_mve16_layer *layer, const int16_t *in, int16_t *out) {
  const int32_t channels = layer->out_channels;
#if VECTORS
  const int32_t least = layer->rectified ? 0 : INT16_MIN;
#endif
  int32_t first = -layer->pad_left;
  for (int32_t left = layer->out_width; left > 0; left--) {
    const edc_tap_range taps = edc_taps_from(first, layer->kernel, layer->in_width);
    const int16_t *patch = in + (first + taps.first) * channels;
    const int8_t *weights = layer->weights + taps.first * channels;
    const edc_mve16_channels *block = layer->channels;
    for (int32_t blocks = channels / EDC_MVE16_BLOCK; blocks > 0; blocks--) {
      const int16_t *x = patch;
      const int8_t *w = weights;
#if VECTORS
      int32x4_t sums = vldrwq_s32(block->bias);
      for (int32_t count = taps.last - taps.first; count > 0; count--) {
        sums = vaddq_s32(sums, vmulq_s32(vldrhq_s32(x), vldrbq_s32(w)));
        x += channels;
        w += channels;
      }
      vstrhq_s32(out, requantize(sums, block, least));
      out += EDC_MVE16_BLOCK;
#else
      for (int32_t i = 0; i < EDC_MVE16_BLOCK; i++) {
        int32_t sum = block->bias[i];
        for (int32_t tap = 0; tap < taps.last - taps.first; tap++) {
          sum += x[tap * channels + i] * w[tap * channels + i];
        }
        *out++ = requantize(sum, block, i, layer->rectified);
      }
#endif
      block++;
      patch += EDC_MVE16_BLOCK;
      weights += EDC_MVE16_BLOCK;
    }
    first += layer->stride;
  }
}

static inline edc_mve16_layer stripe_of(const void *constants, const edc_chunk *chunk) {
  edc_mve16_layer layer = *(const edc_mve16_layer *)constants;
  layer.in_width = chunk->in_width;
  layer.pad_left = chunk->pad_left;
  layer.out_width = chunk->out_width;
  return layer;
}

/* Apart from the call of a whole layer, which so needs no stack. */
EDC_NEVER_INLINE void edc_conv16_mve_stripe(const void *constants, const edc_chunk *chunk,
                                            const int16_t *in, int16_t *out, int32_t *scratch) {
  const edc_mve16_layer layer = stripe_of(constants, chunk);
  edc_conv16_mve(&layer, in, out, scratch);
}

void edc_conv16_mve_run(const void *constants, const edc_chunk *chunk, const int8_t *in,
                        int8_t *out, int32_t *scratch) {
  const int16_t *const source = (const int16_t *)(const void *)in;
  int16_t *const target = (int16_t *)(void *)out;
  if (chunk == NULL) {
    edc_conv16_mve(constants, source, target, scratch);
  } else {
    edc_conv16_mve_stripe(constants, chunk, source, target, scratch);
  }
}

EDC_NEVER_INLINE void edc_depthwise16_mve_stripe(const void *constants, const edc_chunk *chunk,
                                                 const int16_t *in, int16_t *out) {
  const edc_mve16_layer layer = stripe_of(constants, chunk);
  edc_depthwise16_mve(&layer, in, out);
}

void edc_depthwise16_mve_run(const void *constants, const edc_chunk *chunk, const int8_t *in,
                             int8_t *out, int32_t *scratch) {
  const int16_t *const source = (const int16_t *)(const void *)in;
  int16_t *const target = (int16_t *)(void *)out;
  (void)scratch;
  if (chunk == NULL) {
    edc_depthwise16_mve(constants, source, target);
  } else {
    edc_depthwise16_mve_stripe(constants, chunk, source, target);
  }
}
