#include "edc_conv.h"

#include "edc_requantize.h"

/* The taps [first, last) of one output position that lie inside the tensor, and where they start.
 */
typedef struct {
  int32_t start; /* input position of tap 0, negative inside the left padding */
  int32_t first;
  int32_t last;
} tap_range;

static tap_range taps_at(const edc_conv_layer *layer, int32_t position) {
  const int32_t start = position * layer->stride - layer->pad_left;
  const int32_t left = layer->in_width - start; /* taps before the right edge */
  const tap_range range = {
      .start = start,
      .first = start < 0 ? -start : 0,
      .last = left < layer->kernel ? left : layer->kernel,
  };
  return range;
}

static int32_t dot(const int8_t *a, const int8_t *b, int32_t count) {
  int32_t sum = 0;
  for (int32_t i = 0; i < count; i++) {
    sum += a[i] * b[i];
  }
  return sum;
}

static int32_t sum_of(const int8_t *values, int32_t count) {
  int32_t sum = 0;
  for (int32_t i = 0; i < count; i++) {
    sum += values[i];
  }
  return sum;
}

static int8_t finish(const edc_conv_layer *layer, int32_t channel, int32_t acc) {
  const int32_t scaled = edc_requantize(acc, layer->multiplier[channel], layer->shift[channel]);
  return edc_clamp(scaled + layer->out_zero_point, layer->activation_min, layer->activation_max);
}

void edc_conv(const edc_conv_layer *layer, const int8_t *in, int8_t *out) {
  const int32_t channels = layer->in_channels;
  const int32_t row = layer->kernel * channels; /* weights of one output channel */
  for (int32_t position = 0; position < layer->out_width; position++) {
    const tap_range taps = taps_at(layer, position);
    /* Along one axis the samples under the kernel are contiguous, as its weights are. */
    const int32_t skipped = taps.first * channels;
    const int32_t end = taps.last * channels;
    const int8_t *patch = in + (taps.start + taps.first) * channels;
    const int8_t *weights = layer->weights;
    for (int32_t channel = 0; channel < layer->out_channels; channel++) {
      int32_t acc = layer->bias[channel] + dot(patch, weights + skipped, end - skipped);
      if (end - skipped != row) {
        /* A tap in the padding counts as the zero point, which the folded bias takes away. */
        acc += layer->in_zero_point * (sum_of(weights, skipped) + sum_of(weights + end, row - end));
      }
      *out++ = finish(layer, channel, acc);
      weights += row;
    }
  }
}

void edc_depthwise(const edc_conv_layer *layer, const int8_t *in, int8_t *out) {
  const int32_t channels = layer->out_channels;
  const int32_t multiplier = channels / layer->in_channels;
  for (int32_t position = 0; position < layer->out_width; position++) {
    const tap_range taps = taps_at(layer, position);
    for (int32_t channel = 0; channel < channels; channel++) {
      const int8_t *weight = layer->weights + channel;
      int32_t acc = layer->bias[channel];
      for (int32_t tap = 0; tap < layer->kernel; tap++) {
        const int32_t sample =
            tap < taps.first || tap >= taps.last
                ? layer->in_zero_point
                : in[(taps.start + tap) * layer->in_channels + channel / multiplier];
        acc += sample * weight[tap * channels];
      }
      *out++ = finish(layer, channel, acc);
    }
  }
}
