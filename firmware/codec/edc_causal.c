/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_causal.h"

#include <stddef.h>

#define TAPS 3
#define LIKELIHOOD_BITS 15
#define SHARE_SHIFT (EDC_RANGE_BITS - LIKELIHOOD_BITS)

#if defined(__ARM_FEATURE_SIMD32) && __ARM_FEATURE_SIMD32
#include <arm_acle.h>
#define PAIRS 1
typedef int16x2_t __attribute__((may_alias)) pair_of_int16;
typedef uint32_t __attribute__((may_alias)) four_of_int8;

static inline int16x2_t even(uint32_t four) { return __sxtb16((int8x4_t)four); }

static inline int16x2_t odd(uint32_t four) {
#if defined(__GNUC__) && defined(__arm__)
  int16x2_t pair; /* in one instruction, which GCC makes two of */
  __asm("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(four));
  return pair;
#else
  return __sxtb16((int8x4_t)(four >> 8 | four << 24));
#endif
}
#else
#define PAIRS 0
#endif

/* Share of 2^15 of the likelier side: round(2^15 / (1 + exp(-(i + 1/2) / 32))). */
static const uint16_t likelihoods[256] = {
    16512, 16768, 17024, 17279, 17534, 17789, 18042, 18295, 18547, 18798, 19048, 19297, 19544,
    19790, 20034, 20276, 20517, 20756, 20992, 21227, 21460, 21690, 21918, 22143, 22367, 22587,
    22805, 23021, 23233, 23443, 23650, 23854, 24056, 24254, 24449, 24642, 24831, 25018, 25201,
    25382, 25559, 25733, 25904, 26072, 26237, 26399, 26558, 26714, 26866, 27016, 27163, 27306,
    27447, 27585, 27720, 27852, 27981, 28107, 28231, 28352, 28470, 28585, 28698, 28808, 28915,
    29020, 29123, 29223, 29320, 29416, 29509, 29599, 29687, 29774, 29858, 29939, 30019, 30097,
    30172, 30246, 30318, 30388, 30456, 30522, 30587, 30649, 30711, 30770, 30828, 30884, 30939,
    30992, 31044, 31094, 31143, 31191, 31237, 31282, 31326, 31368, 31409, 31449, 31488, 31526,
    31563, 31599, 31634, 31667, 31700, 31732, 31763, 31793, 31822, 31850, 31878, 31904, 31930,
    31955, 31980, 32003, 32026, 32049, 32070, 32091, 32112, 32132, 32151, 32170, 32188, 32205,
    32222, 32239, 32255, 32270, 32285, 32300, 32314, 32328, 32341, 32354, 32367, 32379, 32391,
    32402, 32414, 32424, 32435, 32445, 32455, 32464, 32474, 32483, 32491, 32500, 32508, 32516,
    32524, 32531, 32538, 32545, 32552, 32559, 32565, 32571, 32577, 32583, 32589, 32594, 32600,
    32605, 32610, 32615, 32619, 32624, 32628, 32633, 32637, 32641, 32645, 32648, 32652, 32656,
    32659, 32662, 32666, 32669, 32672, 32675, 32678, 32680, 32683, 32686, 32688, 32691, 32693,
    32695, 32698, 32700, 32702, 32704, 32706, 32708, 32710, 32711, 32713, 32715, 32716, 32718,
    32720, 32721, 32723, 32724, 32725, 32727, 32728, 32729, 32730, 32731, 32733, 32734, 32735,
    32736, 32737, 32738, 32739, 32740, 32740, 32741, 32742, 32743, 32744, 32744, 32745, 32746,
    32746, 32747, 32748, 32748, 32749, 32750, 32750, 32751, 32751, 32752, 32752, 32753, 32753,
    32754, 32754, 32755, 32755, 32755, 32756, 32756, 32756, 32757};

/* Four sums of products of a block of weights with x [count]. */
static inline void dot_four(const int8_t *weights, const int16_t *x, uint32_t count,
                            int32_t *sums) {
  int32_t s0 = sums[0];
  int32_t s1 = sums[1];
  int32_t s2 = sums[2];
  int32_t s3 = sums[3];
  const int16_t *end = x + count;
#if PAIRS
  const four_of_int8 *w = (const four_of_int8 *)weights;
  for (; x != end; x += 4, w += 4) {
    const pair_of_int16 front = ((const pair_of_int16 *)x)[0];
    const pair_of_int16 back = ((const pair_of_int16 *)x)[1];
    const uint32_t w0 = w[0];
    const uint32_t w1 = w[1];
    s0 = __smlad(even(w0), front, s0);
    s0 = __smlad(odd(w0), back, s0);
    s1 = __smlad(even(w1), front, s1);
    s1 = __smlad(odd(w1), back, s1);
    const uint32_t w2 = w[2];
    const uint32_t w3 = w[3];
    s2 = __smlad(even(w2), front, s2);
    s2 = __smlad(odd(w2), back, s2);
    s3 = __smlad(even(w3), front, s3);
    s3 = __smlad(odd(w3), back, s3);
  }
#else
  const int8_t *w = weights;
  for (; x != end; x += 4, w += 16) {
    s0 += w[0] * x[0] + w[2] * x[1] + w[1] * x[2] + w[3] * x[3];
    s1 += w[4] * x[0] + w[6] * x[1] + w[5] * x[2] + w[7] * x[3];
    s2 += w[8] * x[0] + w[10] * x[1] + w[9] * x[2] + w[11] * x[3];
    s3 += w[12] * x[0] + w[14] * x[1] + w[13] * x[2] + w[15] * x[3];
  }
#endif
  sums[0] = s0;
  sums[1] = s1;
  sums[2] = s2;
  sums[3] = s3;
}

static inline void take_bias(const int32_t *bias, int32_t *sums) {
  for (uint32_t i = 0; i < 4; i++) {
    sums[i] = bias[i];
  }
}

static inline int32_t dot(const int8_t *weights, const int16_t *x, uint32_t count, int32_t sum) {
#if PAIRS
  const four_of_int8 *a = (const four_of_int8 *)weights;
  const pair_of_int16 *pair = (const pair_of_int16 *)x;
  for (uint32_t i = 0; i < count; i += 4, pair += 2) {
    const uint32_t v = *a++;
    sum = __smlad(even(v), pair[0], sum);
    sum = __smlad(odd(v), pair[1], sum);
  }
#else
  for (uint32_t i = 0; i < count; i += 4, weights += 4, x += 4) {
    sum += weights[0] * x[0] + weights[2] * x[1] + weights[1] * x[2] + weights[3] * x[3];
  }
#endif
  return sum;
}

static inline int16_t saturate(int32_t value) {
#if PAIRS && defined(__GNUC__) && defined(__arm__)
  int32_t kept;
  __asm("ssat %0, #16, %1" : "=r"(kept) : "r"(value));
  return (int16_t)kept;
#else
  return (int16_t)(value < INT16_MIN ? INT16_MIN : value > INT16_MAX ? INT16_MAX : value);
#endif
}

static inline int16_t rectified(int32_t value) {
  const int16_t kept = saturate(value);
  return kept < 0 ? 0 : kept;
}

/* One position of a block; x [channels] is changed. Before the first position x was 0, and what
 * the rows of the history hold does not matter. */
static void run_block(const edc_causal_block *block, uint32_t position, uint32_t channels,
                      int16_t *history, int16_t *inner, int16_t *x) {
  const uint32_t dilation = block->dilation;
  int16_t *oldest = history + (position & (2 * dilation - 1)) * channels;
  const int16_t *middle = history + ((position + dilation) & (2 * dilation - 1)) * channels;
  const edc_dense *taps = &block->taps;
  const int8_t *weights = taps->weights;
  int32_t sums[4];
  for (uint32_t out = 0; out < channels; out += 4, weights += 4 * TAPS * channels) {
    take_bias(taps->bias + out, sums);
    if (position >= 2 * dilation) {
      dot_four(weights, oldest, channels, sums);
    }
    if (position >= dilation) {
      dot_four(weights + 4 * channels, middle, channels, sums);
    }
    dot_four(weights + 8 * channels, x, channels, sums);
    for (uint32_t i = 0; i < 4; i++) {
      inner[out + i] = rectified(sums[i] >> taps->shift);
    }
  }
  const edc_dense *mix = &block->mix;
  weights = mix->weights;
  for (uint32_t out = 0; out < channels; out += 4, weights += 4 * channels) {
    take_bias(mix->bias + out, sums);
    dot_four(weights, inner, channels, sums);
    for (uint32_t i = 0; i < 4; i++) {
      oldest[out + i] = x[out + i];
      x[out + i] = saturate(x[out + i] + saturate(sums[i] >> mix->shift));
    }
  }
}

/* Hidden channels of a level below the indices above it. */
static void run_hidden(const edc_causal_level *level, uint32_t number, const int16_t *x,
                       const uint16_t *indices, int16_t *h) {
  const edc_dense *hidden = &level->hidden;
  const int8_t *weights = hidden->weights;
  int32_t sums[4];
  for (uint32_t out = 0; out < hidden->outputs; out += 4, weights += 4 * hidden->inputs) {
    take_bias(hidden->bias + out, sums);
    dot_four(weights, x, hidden->inputs, sums);
    for (uint32_t above = 0; above < number; above++) {
      const int8_t *row = level->above[above] + (uint32_t)indices[above] * hidden->outputs + out;
      for (uint32_t i = 0; i < 4; i++) {
        sums[i] += row[i] * (1 << level->above_shift);
      }
    }
    for (uint32_t i = 0; i < 4; i++) {
      h[out + i] = rectified(sums[i] >> hidden->shift);
    }
  }
}

/* The decisions from the root of the tree to an index. */
static void code_index(const edc_causal_level *level, uint32_t hidden, const int16_t *h,
                       uint32_t index, edc_range *coder) {
  const uint32_t rank = level->ranks[index];
  uint32_t first = 0;
  uint32_t end = level->codes;
  while (end - first > 1) {
    const uint32_t middle = first + (end - first + 1) / 2;
    const int32_t bias = level->node_bias[middle - 1] * (1 << level->node_bias_shift);
    const int32_t sum = dot(level->nodes + (middle - 1) * hidden, h, hidden, bias);
    const uint32_t size = (sum < 0 ? 0 - (uint32_t)sum : (uint32_t)sum) >> level->node_shift;
    const uint32_t likely = likelihoods[size < 255 ? size : 255];
    const uint32_t behind = sum >= 0 ? likely : (1u << LIKELIHOOD_BITS) - likely;
    const uint32_t before = (1u << LIKELIHOOD_BITS) - behind;
    if (rank >= middle) {
      edc_range_encode(coder, before << SHARE_SHIFT, behind << SHARE_SHIFT);
      first = middle;
    } else {
      edc_range_encode(coder, 0, before << SHARE_SHIFT);
      end = middle;
    }
  }
}

/* What the next position is told of this one: row 0 of a level that is left out. */
static void embed(const edc_causal_network *network, const uint16_t *indices, uint32_t levels,
                  int16_t *input) {
  const uint32_t size = network->embedding_size;
  int16_t *to = input;
  for (uint32_t number = 0; number < network->level_count; number++) {
    const uint32_t row = number < levels ? indices[number] + 1u : 0;
    const int8_t *from = network->levels[number].embedding + row * size;
    for (uint32_t i = 0; i < size; i++) {
      *to++ = from[i];
    }
  }
  while (to < input + network->input.inputs) {
    *to++ = 0;
  }
}

static void edc_causal_start(const void *tables, void *state) {
  uint32_t *position = state;
  *position = 0;
  embed(tables, NULL, 0, (int16_t *)(position + 1));
}

static void edc_causal_position(const void *tables, void *state, const uint16_t *indices,
                                uint32_t levels, edc_range *coder) {
  const edc_causal_network *network = tables;
  const uint32_t channels = network->channels;
  uint32_t *position = state;
  int16_t *input = (int16_t *)(position + 1);
  int16_t *x = input + network->input.inputs;
  int16_t *inner = x + channels;
  int16_t *h = inner + channels;
  int16_t *history = h + network->hidden;
  const edc_dense *first = &network->input;
  const int8_t *weights = first->weights;
  int32_t sums[4];
  for (uint32_t out = 0; out < channels; out += 4, weights += 4 * first->inputs) {
    take_bias(first->bias + out, sums);
    dot_four(weights, input, first->inputs, sums);
    for (uint32_t i = 0; i < 4; i++) {
      x[out + i] = saturate(sums[i] >> first->shift);
    }
  }
  for (uint32_t number = 0; number < network->block_count; number++) {
    const edc_causal_block *block = network->blocks + number;
    run_block(block, *position, channels, history, inner, x);
    history += 2u * block->dilation * channels;
  }
  for (uint32_t number = 0; number < levels; number++) {
    const edc_causal_level *level = network->levels + number;
    run_hidden(level, number, x, indices, h);
    code_index(level, network->hidden, h, indices[number], coder);
  }
  embed(network, indices, levels, input);
  *position += 1;
}

const edc_index_model edc_causal_model = {edc_causal_start, edc_causal_position};
