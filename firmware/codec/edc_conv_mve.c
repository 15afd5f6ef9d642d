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

/* The samples under the taps of a position at an edge, the zero point where the tensor ends. What
 * comes after them meets weights of zero. */
static void gather(const edc_mve_layer *layer, const int8_t *in, int32_t first, int8_t *window) {
  const int32_t channels = layer->in_channels;
  for (int32_t tap = 0; tap < layer->kernel; tap++) {
    const int32_t row = first + tap;
    const int inside = row >= 0 && row < layer->in_width;
    for (int32_t channel = 0; channel < channels; channel++) {
      *window++ = inside ? in[row * channels + channel] : layer->in_zero_point;
    }
  }
}

/* edc_requantize_narrow of a block's accumulators less their bias, saturated into out. */
static inline void finish(const int32_t *sums, const edc_mve_channels *block, int32_t zero_point,
                          int8_t *out) {
#if VECTORS
  /* VQRDMULH doubles and rounds as the doubled accumulator's product does; VSHL by less than 0
   * shifts to the right. */
  const int32x4_t acc = vaddq_s32(vldrwq_s32(sums), vldrwq_s32(block->bias));
  int32x4_t high = vqrdmulhq_s32(acc, vldrwq_s32(block->multiplier));
  high = vaddq_s32(high, vshrq_n_s32(high, 31));
  high = vaddq_n_s32(vshlq_s32(high, vldrwq_s32(block->shift)), 2 * zero_point + 1);
  const int32x4_t value = vshrq_n_s32(high, 1);
  const int32x4_t least = vdupq_n_s32(INT8_MIN);
  const int32x4_t most = vdupq_n_s32(INT8_MAX);
  vstrbq_s32(out, vminq_s32(vmaxq_s32(value, least), most));
#else
  for (int32_t i = 0; i < EDC_MVE_BLOCK; i++) {
    out[i] = edc_saturate(edc_requantize_narrow(sums[i] + block->bias[i], block->multiplier[i],
                                                -(int)block->shift[i], 2 * zero_point + 1));
  }
#endif
}

/* sums[p][c] of products of the windows of three positions with two channels at a time. */
static inline void multiply(const int8_t *const windows[EDC_MVE_POSITIONS], const int8_t *weights,
                            int32_t row, int32_t channels, int32_t *sums) {
#if VECTORS
  int32_t *const sums_y = sums + channels;
  int32_t *const sums_z = sums_y + channels;
  if (row == EDC_MVE_BYTES) {
    /* A short row: the samples stay where they are. */
    const int8x16_t x = vldrbq_s8(windows[0]);
    const int8x16_t y = vldrbq_s8(windows[1]);
    const int8x16_t z = vldrbq_s8(windows[2]);
    for (int32_t channel = 0; channel < channels; channel++) {
      const int8x16_t w = vldrbq_s8(weights);
      weights += EDC_MVE_BYTES;
      sums[channel] = vmladavq_s8(x, w);
      sums_y[channel] = vmladavq_s8(y, w);
      sums_z[channel] = vmladavq_s8(z, w);
    }
    return;
  }
  for (int32_t channel = 0; channel < channels; channel += 2) {
    const int8_t *x = windows[0];
    const int8_t *y = windows[1];
    const int8_t *z = windows[2];
    int32_t x0 = 0;
    int32_t x1 = 0;
    int32_t y0 = 0;
    int32_t y1 = 0;
    int32_t z0 = 0;
    int32_t z1 = 0;
    for (int32_t left = row / EDC_MVE_BYTES; left > 0; left--) {
      const int8x16_t w0 = vldrbq_s8(weights);
      const int8x16_t w1 = vldrbq_s8(weights + EDC_MVE_BYTES);
      weights += 2 * EDC_MVE_BYTES;
      int8x16_t samples = vldrbq_s8(x);
      x += EDC_MVE_BYTES;
      x0 = vmladavaq_s8(x0, samples, w0);
      x1 = vmladavaq_s8(x1, samples, w1);
      samples = vldrbq_s8(y);
      y += EDC_MVE_BYTES;
      y0 = vmladavaq_s8(y0, samples, w0);
      y1 = vmladavaq_s8(y1, samples, w1);
      samples = vldrbq_s8(z);
      z += EDC_MVE_BYTES;
      z0 = vmladavaq_s8(z0, samples, w0);
      z1 = vmladavaq_s8(z1, samples, w1);
    }
    sums[channel] = x0;
    sums[channel + 1] = x1;
    sums_y[channel] = y0;
    sums_y[channel + 1] = y1;
    sums_z[channel] = z0;
    sums_z[channel + 1] = z1;
  }
#else
  for (int32_t channel = 0; channel < channels; channel++) {
    const int8_t *w = weights + channel / 2 * 2 * row + channel % 2 * EDC_MVE_BYTES;
    for (int32_t position = 0; position < EDC_MVE_POSITIONS; position++) {
      int32_t sum = 0;
      for (int32_t i = 0; i < row; i++) {
        sum += windows[position][i] * w[i / EDC_MVE_BYTES * 2 * EDC_MVE_BYTES + i % EDC_MVE_BYTES];
      }
      sums[position * channels + channel] = sum;
    }
  }
#endif
}

void edc_conv_mve(const edc_mve_layer *layer, const int8_t *in, int8_t *out, int32_t *scratch) {
  const int32_t in_channels = layer->in_channels;
  const int32_t channels = layer->out_channels;
  const int32_t size = layer->in_width * in_channels;
  const int32_t row = layer->row;
  int32_t *const sums = scratch; /* [positions][out_channels] */
  int8_t *const edges = (int8_t *)(scratch + EDC_MVE_POSITIONS * channels); /* [positions][row] */
  int32_t first = -layer->pad_left;
  for (int32_t i = 0; i < EDC_MVE_POSITIONS * row; i++) {
    edges[i] = 0;
  }
  for (int32_t left = layer->out_width; left > 0; left -= EDC_MVE_POSITIONS) {
    const int8_t *windows[EDC_MVE_POSITIONS];
    for (int32_t i = 0; i < EDC_MVE_POSITIONS; i++) {
      /* Whole vectors are read, so the last windows are copied too. Sums of positions behind the
       * last one go nowhere. */
      windows[i] = in + first * in_channels;
      if (first < 0 || first * in_channels + row > size) {
        gather(layer, in, first, edges + i * row);
        windows[i] = edges + i * row;
      }
      first += layer->stride;
    }
    multiply(windows, layer->weights, row, channels, sums);
    const int32_t *sum = sums;
    for (int32_t i = 0; i < EDC_MVE_POSITIONS && i < left; i++) {
      const edc_mve_channels *block = layer->channels;
      const int8_t *const end = out + channels;
      for (; out != end; out += EDC_MVE_BLOCK) {
        finish(sum, block++, layer->out_zero_point, out);
        sum += EDC_MVE_BLOCK;
      }
    }
  }
}

/* sums[4] += taps of four channels from x and w on, a row of `step` apart. */
static inline void multiply_taps(const int8_t *x, const int8_t *w, int32_t taps, int32_t step,
                                 int32_t *sums) {
#if VECTORS
  int32x4_t acc = vldrwq_s32(sums);
  for (; taps > 0; taps--) {
    acc = vaddq_s32(acc, vmulq_s32(vldrbq_s32(x), vldrbq_s32(w)));
    x += step;
    w += step;
  }
  vstrwq_s32(sums, acc);
#else
  for (; taps > 0; taps--) {
    for (int32_t i = 0; i < EDC_MVE_BLOCK; i++) {
      sums[i] += x[i] * w[i];
    }
    x += step;
    w += step;
  }
#endif
}

void edc_depthwise_mve(const edc_mve_layer *layer, const int8_t *in, int8_t *out) {
  const int32_t channels = layer->in_channels;
  const int32_t kernel = layer->kernel;
  const int32_t zero_point = layer->in_zero_point;
  int32_t start = -layer->pad_left;
  for (int32_t position = 0; position < layer->out_width; position++) {
    const int32_t inside = layer->in_width - start; /* taps before the right edge */
    const int32_t first = start < 0 ? -start : 0;
    const int32_t last = inside < kernel ? inside : kernel;
    const int8_t *x = in + (start + first) * channels;
    const int8_t *w = layer->weights;
    const edc_mve_channels *block = layer->channels;
    for (int32_t channel = 0; channel < channels; channel += EDC_MVE_BLOCK) {
      int32_t sums[EDC_MVE_BLOCK] = {0, 0, 0, 0};
      multiply_taps(x, w + first * channels, last - first, channels, sums);
      for (int32_t tap = 0; last - first != kernel && tap < kernel; tap++) {
        /* A tap in the padding counts as the zero point. */
        for (int32_t i = 0; (tap < first || tap >= last) && i < EDC_MVE_BLOCK; i++) {
          sums[i] += zero_point * w[tap * channels + i];
        }
      }
      finish(sums, block++, layer->out_zero_point, out);
      x += EDC_MVE_BLOCK;
      w += EDC_MVE_BLOCK;
      out += EDC_MVE_BLOCK;
    }
    start += layer->stride;
  }
}
