/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_conv_twin.h"

#include "edc_requantize.h"

#define HALF (1 << 15) /* half of the low lane */

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

/* Adds the products of a block's columns, part by part, to its four channels: even ones take the
 * low lanes, odd ones the high. Returns where the weights end; *parts goes behind the block's 0. */
#if defined(__thumb__) && __ARM_ARCH_ISA_THUMB == 1
/* The compiler does not load several words at a time, and spills: the loop takes the eight low
 * registers, so the accumulators are in high ones, which can be added to and no more. A function of
 * its own, so that neither optimisation nor a frame pointer takes a register away; r9, which some
 * systems reserve, is left alone. */
const int32_t *edc_twin_sums(const int32_t *x, const int32_t *w, const uint8_t **parts,
                             int32_t sums[EDC_TWIN_BLOCK]);
#define COLUMN(sample)                                                                             \
  "ldmia r1!, {r4, r5}\n"                                                                          \
  "muls r4, " sample ", r4\n"                                                                      \
  "adds r6, r6, r4\n"                                                                              \
  "muls r5, " sample ", r5\n"                                                                      \
  "adds r7, r7, r5\n"
#define SPLIT(sum, low, high)                                                                      \
  "uxth r4, " sum "\n"                                                                             \
  "add " low ", r4\n"                                                                              \
  "asrs " sum ", " sum ", #16\n"                                                                   \
  "add " high ", " sum "\n"
__asm__(".syntax unified\n"
        ".thumb\n"
        ".section .text.edc_twin_sums, \"ax\", %progbits\n"
        ".p2align 2\n"
        ".global edc_twin_sums\n"
        ".hidden edc_twin_sums\n"
        ".type edc_twin_sums, %function\n"
        ".thumb_func\n"
        "edc_twin_sums:\n"
        "push {r4-r7, lr}\n"
        "mov r4, r8\n"
        "mov r5, r10\n"
        "mov r6, r11\n"
        "push {r2-r6}\n"
        "ldr r2, [r2]\n"
        "push {r2}\n" /* [sp]: the next part's length; then parts, sums */
        "ldmia r3!, {r4-r7}\n"
        "mov r8, r4\n"
        "mov r10, r5\n"
        "mov r11, r6\n"
        "mov r12, r7\n"
        "1:\n"
        "ldr r2, [sp]\n"
        "ldrb r4, [r2]\n"
        "adds r2, r2, #1\n"
        "str r2, [sp]\n"
        "lsls r4, r4, #3\n"
        "beq 3f\n"
        "adds r4, r4, r0\n"
        "mov lr, r4\n" /* end of the part */
        "movs r6, #128\n"
        "lsls r6, r6, #8\n" /* half of the low lane */
        "movs r7, r6\n"
        "2:\n"
        "ldmia r0!, {r2, r3}\n" COLUMN("r2")
            COLUMN("r3") "cmp r0, lr\n"
                         "bne 2b\n" SPLIT("r6", "r8", "r10")
                             SPLIT("r7", "r11", "r12") "b 1b\n"
                                                       "3:\n"
                                                       "ldr r3, [sp, #4]\n"
                                                       "str r2, [r3]\n"
                                                       "ldr r3, [sp, #8]\n"
                                                       "mov r4, r8\n"
                                                       "mov r5, r10\n"
                                                       "mov r6, r11\n"
                                                       "mov r7, r12\n"
                                                       "stmia r3!, {r4-r7}\n"
                                                       "mov r0, r1\n"
                                                       "add sp, #12\n"
                                                       "pop {r4-r6}\n"
                                                       "mov r8, r4\n"
                                                       "mov r10, r5\n"
                                                       "mov r11, r6\n"
                                                       "pop {r4-r7, pc}\n"
                                                       ".size edc_twin_sums, . - edc_twin_sums\n"
                                                       ".text\n");
#undef COLUMN
#undef SPLIT
_Static_assert(HALF == 128 << 8, "the assembly's start");
#else
static const int32_t *edc_twin_sums(const int32_t *x, const int32_t *w, const uint8_t **parts,
                                    int32_t sums[EDC_TWIN_BLOCK]) {
  const uint8_t *length = *parts;
  for (; *length != 0; length++) {
    uint32_t first = HALF;
    uint32_t second = HALF;
    for (int32_t columns = 2 * *length; columns != 0; columns--) {
      const uint32_t sample = (uint32_t)*x++;
      first += sample * (uint32_t)*w++;
      second += sample * (uint32_t)*w++;
    }
    sums[0] += (int32_t)(first & 0xFFFFu);
    sums[1] += (int32_t)first >> 16;
    sums[2] += (int32_t)(second & 0xFFFFu);
    sums[3] += (int32_t)second >> 16;
  }
  *parts = length + 1;
  return w;
}
#endif

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
      int32_t sums[EDC_TWIN_BLOCK] = {channel[0].bias, channel[1].bias, channel[2].bias,
                                      channel[3].bias};
      weights = edc_twin_sums(scratch, weights, &parts, sums);
      for (int32_t i = 0; i < EDC_TWIN_BLOCK; i++) {
        *out++ = finish(channel + i, sums[i], bias);
      }
    }
  }
}

/* Apart from the call of a whole layer, which so needs no stack. */
EDC_NEVER_INLINE void edc_conv_twin_stripe(const void *constants, const edc_chunk *chunk,
                                           const int8_t *in, int8_t *out, int32_t *scratch) {
  edc_twin_layer layer = *(const edc_twin_layer *)constants;
  layer.in_width = chunk->in_width;
  layer.pad_left = chunk->pad_left;
  layer.out_width = chunk->out_width;
  edc_conv_twin(&layer, in, out, scratch);
}

void edc_conv_twin_run(const void *constants, const edc_chunk *chunk, const int8_t *in, int8_t *out,
                       int32_t *scratch) {
  if (chunk == NULL) {
    edc_conv_twin(constants, in, out, scratch);
  } else {
    edc_conv_twin_stripe(constants, chunk, in, out, scratch);
  }
}
