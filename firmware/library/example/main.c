/* SPDX-License-Identifier: Apache-2.0 */
/* The codec and its server in a program of your own: port.c has the five functions that they ask
 * for. */
#include "edc_port.h"
#include "edc_served_model.h"
#include "edc_server.h"

int main(void) {
  static const edc_server_config config = {.board = "example", .version = "1", .window = 1};

  edc_port_init();

  /* The codec alone: a frame of ADC counts to indices. */
  static uint32_t state[EDC_SERVED_STATE_BYTES / 4];
  static int16_t frame[EDC_SERVED_SAMPLES];
  static uint16_t indices[EDC_SERVED_POSITIONS * EDC_SERVED_LEVELS];
  edc_frame_stats stats;
  if (edc_encode(&EDC_SERVED_MODEL, state, frame, indices, &stats) != EDC_OK) {
    return 1;
  }

  /* And the server, which `edgecodec flash-and-verify --no-flash --port PORT` talks to. */
  edc_server_init(&config);
  for (;;) {
    edc_server_poll();
  }
}
