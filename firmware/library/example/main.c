/* The codec and its server in a program of your own: port.c has the five functions that they ask
 * for. */
#include "edc_model.h"
#include "edc_port.h"
#include "edc_server.h"

int main(void) {
  static const edc_server_config config = {.board = "example", .version = "1", .window = 1};

  edc_port_init();

  /* The codec alone: a frame of ADC counts to indices. */
  static edc_model_state state;
  static int16_t frame[EDC_MODEL_FRAME_SAMPLES];
  static uint16_t indices[EDC_MODEL_INDEX_COUNT];
  edc_frame_stats stats;
  if (edc_model_encode(&state, frame, indices, &stats) != EDC_OK) {
    return 1;
  }

  /* And the server, which `edgecodec flash-and-verify --no-flash --port PORT` talks to. */
  edc_server_init(&config);
  for (;;) {
    edc_server_poll();
  }
}
