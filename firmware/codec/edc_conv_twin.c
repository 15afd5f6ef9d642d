#include "edc_conv_twin.h"

#include "edc_requantize.h"

#define HALF (1 << 15) /* half of the low lane */

/* The loop is assembly where it pays, for the one compiler that it is tested with. It takes every
 * register that it can get, which neither a caller's needs nor a frame pointer may change. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__OPTIMIZE__) &&                           \
    !defined(__OPTIMIZE_SIZE__) && defined(__ARM_ARCH_ISA_THUMB) && __ARM_ARCH_ISA_THUMB == 1 &&   \
    !defined(__PIC__)
#define ASSEMBLY 1
#define OWN_REGISTERS __attribute__((noinline, optimize("omit-frame-pointer")))
#else
#define ASSEMBLY 0
#define OWN_REGISTERS
#endif

/* The samples under the taps of one position, the zero point where the tensor ends. */
static void gather(const edc_twin_layer *layer, const int8_t *in, int32_t position,
                   int32_t *window) {
  const int32_t channels = layer->in_channels;
  int32_t row = position * layer->stride - layer->pad_left;
  for (int32_t tap = 0; tap < layer->kernel; tap++, row++) {
    if (row >= 0 && row < layer->in_width) {
      const int8_t *sample = in + row * channels;
      for (int32_t channel = 0; channel < channels; channel++) {
        *window++ = *sample++;
      }
    } else {
      for (int32_t channel = 0; channel < channels; channel++) {
        *window++ = layer->in_zero_point;
      }
    }
  }
}

/* Adds the products of a block's columns, part by part, to its four channels: even ones to low,
 * odd ones to high. Returns where the weights end; *parts goes behind the block's 0. */
static OWN_REGISTERS const int32_t *multiply_block(const int32_t *x, const int32_t *w,
                                                   const uint8_t **parts, int32_t low[2],
                                                   int32_t high[2]) {
#if ASSEMBLY
  /* The compiler does not load several words at a time, and spills: the loop takes the eight low
   * registers, so the accumulators are in high ones, which can be added to and no more. */
  const uint8_t *lengths = *parts;
  int32_t low0 = low[0];
  int32_t low1 = low[1];
  int32_t high0 = high[0];
  int32_t high1 = high[1];
  uint32_t a;
  uint32_t b;
  const int32_t *end;
  register int32_t x0 __asm__("r2"); /* LDM wants ascending registers */
  register int32_t x1 __asm__("r3");
  register int32_t w0 __asm__("r4");
  register int32_t w1 __asm__("r5");
#define COLUMN(sample)                                                                             \
  "ldmia %[w]!, {%[w0], %[w1]}\n"                                                                  \
  "muls %[w0], " sample ", %[w0]\n"                                                                \
  "adds %[a], %[a], %[w0]\n"                                                                       \
  "muls %[w1], " sample ", %[w1]\n"                                                                \
  "adds %[b], %[b], %[w1]\n"
#define SPLIT(sum, low_lane, high_lane)                                                            \
  "uxth %[w0], " sum "\n"                                                                          \
  "add " low_lane ", %[w0]\n"                                                                      \
  "asrs " sum ", " sum ", #16\n"                                                                   \
  "add " high_lane ", " sum "\n"
  __asm__ volatile(
      ".syntax unified\n"
      "1:\n"
      "ldr %[x0], %[lengths]\n"
      "ldrb %[w0], [%[x0]]\n"
      "adds %[x0], %[x0], #1\n"
      "str %[x0], %[lengths]\n"
      "lsls %[w0], %[w0], #3\n"
      "beq 3f\n"
      "adds %[w0], %[w0], %[x]\n"
      "mov %[end], %[w0]\n"
      "movs %[a], #128\n"
      "lsls %[a], %[a], #8\n"
      "movs %[b], %[a]\n"
      "2:\n"
      "ldmia %[x]!, {%[x0], %[x1]}\n" COLUMN("%[x0]")
          COLUMN("%[x1]") "cmp %[x], %[end]\n"
                          "bne 2b\n" SPLIT("%[a]", "%[low0]", "%[high0]")
                              SPLIT("%[b]", "%[low1]", "%[high1]") "b 1b\n"
                                                                   "3:\n"
      : [a] "=&l"(a), [b] "=&l"(b), [x] "+l"(x), [w] "+l"(w), [x0] "=&l"(x0), [x1] "=&l"(x1),
        [w0] "=&l"(w0), [w1] "=&l"(w1), [end] "=&h"(end), [low0] "+h"(low0), [low1] "+h"(low1),
        [high0] "+h"(high0), [high1] "+h"(high1), [lengths] "+m"(lengths)
      :
      : "cc", "memory");
#undef COLUMN
#undef SPLIT
  low[0] = low0;
  low[1] = low1;
  high[0] = high0;
  high[1] = high1;
  *parts = lengths;
#else
  const uint8_t *length = *parts;
  for (; *length != 0; length++) {
    uint32_t first = HALF;
    uint32_t second = HALF;
    for (int32_t columns = 2 * *length; columns != 0; columns--) {
      const uint32_t sample = (uint32_t)*x++;
      first += sample * (uint32_t)*w++;
      second += sample * (uint32_t)*w++;
    }
    low[0] += (int32_t)(first & 0xFFFFu);
    low[1] += (int32_t)(second & 0xFFFFu);
    high[0] += (int32_t)first >> 16;
    high[1] += (int32_t)second >> 16;
  }
  *parts = length + 1;
#endif
  return w;
}

static inline int8_t finish(const edc_twin_channel *channel, int32_t acc, int32_t bias) {
  return edc_saturate(edc_requantize_narrow(acc, channel->multiplier, (int)channel->down, bias));
}

void edc_conv_twin(const edc_twin_layer *layer, const int8_t *in, int8_t *out, int32_t *scratch) {
  const int32_t bias = 2 * layer->out_zero_point + 1;
  scratch[layer->columns - 1] = 0; /* an odd number of columns has one more */
  for (int32_t position = 0; position < layer->out_width; position++) {
    gather(layer, in, position, scratch);
    const int32_t *weights = layer->weights;
    const uint8_t *parts = layer->parts;
    const edc_twin_channel *channel = layer->channels;
    const edc_twin_channel *const last = channel + layer->out_channels;
    for (; channel != last; channel += EDC_TWIN_BLOCK) {
      /* A sum starts at the middle of its low lane, which is then never negative and borrows
       * nothing; the even channels' bias has that much less for each part. */
      int32_t low[2] = {channel[0].bias, channel[2].bias};
      int32_t high[2] = {channel[1].bias, channel[3].bias};
      weights = multiply_block(scratch, weights, &parts, low, high);
      *out++ = finish(channel, low[0], bias);
      *out++ = finish(channel + 1, high[0], bias);
      *out++ = finish(channel + 2, low[1], bias);
      *out++ = finish(channel + 3, high[1], bias);
    }
  }
}

void edc_conv_twin_run(const void *constants, const edc_chunk *chunk, const int8_t *in, int8_t *out,
                       int32_t *scratch) {
  if (chunk == NULL) {
    edc_conv_twin(constants, in, out, scratch);
  } else {
    edc_twin_layer layer = *(const edc_twin_layer *)constants;
    layer.in_width = chunk->in_width;
    layer.pad_left = chunk->pad_left;
    layer.out_width = chunk->out_width;
    edc_conv_twin(&layer, in, out, scratch);
  }
}
