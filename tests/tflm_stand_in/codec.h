/* The generated C as the stand-in calls it. */
#ifndef CODEC_H
#define CODEC_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int op; /* 0 CONV_2D, 1 DEPTHWISE_CONV_2D */
  int width;
  int channels;
} StandInLayer;

extern const StandInLayer stand_in_layers[];
extern const uint32_t stand_in_layer_count;
extern const uint32_t stand_in_state_bytes;

void stand_in_run(void *state, uint32_t layer);
int8_t *stand_in_output(void *state, uint32_t layer);
int8_t *stand_in_input(void *state);
int8_t *stand_in_latent(void *state);

#ifdef __cplusplus
}
#endif

#endif
