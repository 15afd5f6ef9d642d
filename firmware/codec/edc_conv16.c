/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_conv16.h"

#include "edc_requantize16.h"
#include "edc_taps.h"

EDC_DOT(dot16, int16_t)

static edc_tap_range taps_at(const edc_conv16_layer *layer, int32_t position) {
  return edc_taps_from(position * layer->stride - layer->pad_left, layer->kernel, layer->in_width);
}

static int64_t wide_dot(const int16_t *a, const int8_t *b, int32_t count) {
  int64_t sum = 0;
  for (int32_t i = 0; i < count; i++) {
    sum += a[i] * b[i];
  }
  return sum;
}

static inline int16_t clamp(const edc_conv16_layer *layer, int32_t value) {
  return (int16_t)(value < layer->activation_min   ? layer->activation_min
                   : value > layer->activation_max ? layer->activation_max
                                                   : value);
}

/* |acc| < 2^47, and what is shifted fits int32 behind that. */
static int16_t finish_wide(const edc_conv16_layer *layer, int32_t channel, int64_t acc) {
  const int shift = layer->shift[channel];
  return clamp(
      layer, (int32_t)((acc * layer->multiplier[channel] + ((int64_t)1 << (shift - 1))) >> shift));
}

/* The output of a sum, to which the bias comes. */
static inline int16_t finish(const edc_conv16_layer *layer, int32_t channel, int32_t sum) {
  const int down = layer->shift[channel] - EDC_RESCALE_SHIFT;
  if (layer->wide_bias != NULL) {
    return finish_wide(layer, channel, layer->wide_bias[channel] + sum);
  }
  const int32_t acc = layer->bias[channel] + sum;
  if (down < 0) {
    return finish_wide(layer, channel, acc);
  }
  return clamp(layer, edc_rescale(acc, (int16_t)layer->multiplier[channel], down));
}

void edc_conv16(const edc_conv16_layer *layer, const int16_t *in, int16_t *out) {
  const int32_t channels = layer->in_channels;
  const int32_t row = layer->kernel * channels; /* weights of one output channel */
  for (int32_t position = 0; position < layer->out_width; position++) {
    const edc_tap_range taps = taps_at(layer, position);
    /* Along one axis the samples under the kernel are contiguous, as its weights are. */
    const int32_t count = (taps.last - taps.first) * channels;
    const int16_t *patch = in + (taps.start + taps.first) * channels;
    const int8_t *weights = layer->weights + taps.first * channels;
    for (int32_t channel = 0; channel < layer->out_channels; channel++) {
      *out++ = layer->wide_bias == NULL
                   ? finish(layer, channel, dot16(patch, weights, count))
                   : finish_wide(layer, channel,
                                 layer->wide_bias[channel] + wide_dot(patch, weights, count));
      weights += row;
    }
  }
}

/* Channels of a depthwise layer that are computed together, where each has an input channel. */
#define TOGETHER 4

void edc_depthwise16(const edc_conv16_layer *layer, const int16_t *in, int16_t *out) {
  const int32_t in_channels = layer->in_channels;
  const int32_t channels = layer->out_channels;
  const int32_t multiplier = channels / in_channels;
  for (int32_t position = 0; position < layer->out_width; position++) {
    const edc_tap_range taps = taps_at(layer, position);
    const int16_t *patch = in + (taps.start + taps.first) * in_channels;
    const int8_t *weights = layer->weights + taps.first * channels;
    int32_t channel = 0;
    /* Sums are of at most 255 taps, below 2^30. */
    for (; multiplier == 1 && channel + TOGETHER <= channels; channel += TOGETHER) {
      int32_t a = 0, b = 0, c = 0, d = 0;
      const int16_t *x = patch;
      const int8_t *w = weights;
      for (int32_t tap = taps.first; tap < taps.last; tap++) {
        a += x[0] * w[0];
        b += x[1] * w[1];
        c += x[2] * w[2];
        d += x[3] * w[3];
        x += channels;
        w += channels;
      }
      const int32_t sums[TOGETHER] = {a, b, c, d};
      for (int32_t i = 0; i < TOGETHER; i++) {
        *out++ = finish(layer, channel + i, sums[i]);
      }
      patch += TOGETHER;
      weights += TOGETHER;
    }
    int32_t left = multiplier; /* output channels of this input channel */
    for (; channel < channels; channel++) {
      int32_t sum = 0;
      const int16_t *x = patch;
      const int8_t *w = weights;
      for (int32_t tap = taps.first; tap < taps.last; tap++) {
        sum += *x * *w;
        x += in_channels;
        w += channels;
      }
      *out++ = finish(layer, channel, sum);
      weights++;
      if (--left == 0) {
        left = multiplier;
        patch++;
      }
    }
  }
}

/* Apart from the call of a whole layer, which so needs no stack. */
EDC_NEVER_INLINE void edc_conv16_stripe(const void *constants, const edc_chunk *chunk,
                                        const int16_t *in, int16_t *out) {
  edc_conv16_layer layer = *(const edc_conv16_layer *)constants;
  layer.in_width = chunk->in_width;
  layer.pad_left = chunk->pad_left;
  layer.out_width = chunk->out_width;
  edc_conv16(&layer, in, out);
}

void edc_conv16_run(const void *constants, const edc_chunk *chunk, const int8_t *in, int8_t *out,
                    int32_t *scratch) {
  const int16_t *const source = (const int16_t *)(const void *)in;
  int16_t *const target = (int16_t *)(void *)out;
  (void)scratch;
  if (chunk == NULL) {
    edc_conv16(constants, source, target);
  } else {
    edc_conv16_stripe(constants, chunk, source, target);
  }
}

EDC_NEVER_INLINE void edc_depthwise16_stripe(const void *constants, const edc_chunk *chunk,
                                             const int16_t *in, int16_t *out) {
  edc_conv16_layer layer = *(const edc_conv16_layer *)constants;
  layer.in_width = chunk->in_width;
  layer.pad_left = chunk->pad_left;
  layer.out_width = chunk->out_width;
  edc_depthwise16(&layer, in, out);
}

void edc_depthwise16_run(const void *constants, const edc_chunk *chunk, const int8_t *in,
                         int8_t *out, int32_t *scratch) {
  const int16_t *const source = (const int16_t *)(const void *)in;
  int16_t *const target = (int16_t *)(void *)out;
  (void)scratch;
  if (chunk == NULL) {
    edc_depthwise16(constants, source, target);
  } else {
    edc_depthwise16_stripe(constants, chunk, source, target);
  }
}
