/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_conv.h"

#include "edc_requantize.h"
#include "edc_taps.h"

EDC_DOT(dot8, int8_t)

static edc_tap_range taps_at(const edc_conv_layer *layer, int32_t position) {
  return edc_taps_from(position * layer->stride - layer->pad_left, layer->kernel, layer->in_width);
}

static int32_t sum_of(const int8_t *values, int32_t step, int32_t count) {
  int32_t sum = 0;
  for (int32_t i = 0; i < count; i++) {
    sum += values[i * step];
  }
  return sum;
}

static inline int8_t finish(const edc_conv_layer *layer, int32_t channel, int32_t acc) {
  const int32_t multiplier = layer->multiplier[channel];
  const int shift = layer->shift[channel];
  if (layer->narrow) {
    return edc_saturate(
        edc_requantize_narrow(acc, multiplier, -1 - shift, 2 * layer->out_zero_point + 1));
  }
  return edc_clamp(edc_requantize(acc, multiplier, shift) + layer->out_zero_point,
                   layer->activation_min, layer->activation_max);
}

void edc_conv(const edc_conv_layer *layer, const int8_t *in, int8_t *out) {
  const int32_t channels = layer->in_channels;
  const int32_t row = layer->kernel * channels; /* weights of one output channel */
  for (int32_t position = 0; position < layer->out_width; position++) {
    const edc_tap_range taps = taps_at(layer, position);
    /* Along one axis the samples under the kernel are contiguous, as its weights are. */
    const int32_t skipped = taps.first * channels;
    const int32_t end = taps.last * channels;
    const int8_t *patch = in + (taps.start + taps.first) * channels;
    const int8_t *weights = layer->weights;
    for (int32_t channel = 0; channel < layer->out_channels; channel++) {
      int32_t acc = layer->bias[channel] + dot8(patch, weights + skipped, end - skipped);
      if (end - skipped != row) {
        /* A tap in the padding counts as the zero point, which the folded bias takes away. */
        acc += layer->in_zero_point *
               (sum_of(weights, 1, skipped) + sum_of(weights + end, 1, row - end));
      }
      *out++ = finish(layer, channel, acc);
      weights += row;
    }
  }
}

void edc_depthwise(const edc_conv_layer *layer, const int8_t *in, int8_t *out) {
  const int32_t in_channels = layer->in_channels;
  const int32_t channels = layer->out_channels;
  const int32_t multiplier = channels / in_channels;
  for (int32_t position = 0; position < layer->out_width; position++) {
    const edc_tap_range taps = taps_at(layer, position);
    const int8_t *patch = in + (taps.start + taps.first) * in_channels;
    const int8_t *weights = layer->weights;
    int32_t left = multiplier; /* output channels of this input channel */
    for (int32_t channel = 0; channel < channels; channel++) {
      int32_t acc = layer->bias[channel];
      const int8_t *x = patch;
      const int8_t *w = weights + taps.first * channels;
      for (int32_t tap = taps.first; tap < taps.last; tap++) {
        acc += *x * *w;
        x += in_channels;
        w += channels;
      }
      if (taps.last - taps.first != layer->kernel) {
        acc += layer->in_zero_point * (sum_of(weights, channels, taps.first) +
                                       sum_of(w, channels, layer->kernel - taps.last));
      }
      *out++ = finish(layer, channel, acc);
      weights++;
      if (--left == 0) {
        left = multiplier;
        patch++;
      }
    }
  }
}

/* Apart from the call of a whole layer, which so needs no stack. */
EDC_NEVER_INLINE void edc_conv_stripe(const void *constants, const edc_chunk *chunk,
                                      const int8_t *in, int8_t *out) {
  edc_conv_layer layer = *(const edc_conv_layer *)constants;
  layer.in_width = chunk->in_width;
  layer.pad_left = chunk->pad_left;
  layer.out_width = chunk->out_width;
  edc_conv(&layer, in, out);
}

void edc_conv_run(const void *constants, const edc_chunk *chunk, const int8_t *in, int8_t *out,
                  int32_t *scratch) {
  (void)scratch;
  if (chunk == NULL) {
    edc_conv(constants, in, out);
  } else {
    edc_conv_stripe(constants, chunk, in, out);
  }
}

EDC_NEVER_INLINE void edc_depthwise_stripe(const void *constants, const edc_chunk *chunk,
                                           const int8_t *in, int8_t *out) {
  edc_conv_layer layer = *(const edc_conv_layer *)constants;
  layer.in_width = chunk->in_width;
  layer.pad_left = chunk->pad_left;
  layer.out_width = chunk->out_width;
  edc_depthwise(&layer, in, out);
}

void edc_depthwise_run(const void *constants, const edc_chunk *chunk, const int8_t *in, int8_t *out,
                       int32_t *scratch) {
  (void)scratch;
  if (chunk == NULL) {
    edc_depthwise(constants, in, out);
  } else {
    edc_depthwise_stripe(constants, chunk, in, out);
  }
}
