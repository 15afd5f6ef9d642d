/* SPDX-License-Identifier: Apache-2.0 */
/* edgecodec: an engine that is watched calls these around each layer (edc_engine.h).
 *
 * The server has them, to time layers and to send what they put out. Plain C and C++.
 */
#ifndef EDC_WATCH_H
#define EDC_WATCH_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A layer that runs in parts starts and ends with each. */
void edc_watch_layer_starts(void);
void edc_watch_layer_ends(uint32_t layer);

/* After each end: `output` is the layer's tensor, activations [positions][channels] of `bytes`
 * bytes, or NULL when it is kept nowhere. */
void edc_watch_layer_output(uint32_t layer, const int8_t *output, uint32_t bytes);

#ifdef __cplusplus
}
#endif

#endif
