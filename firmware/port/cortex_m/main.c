/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_board.h"
#include "edc_chip.h"
#include "edc_cortex_m.h"
#include "edc_port.h"
#include "edc_server.h"

void edc_port_init(void) {
#if EDC_BOARD_HAS_SETUP
  edc_chip_setup();
#endif
  edc_chip_uart_init();
  edc_chip_timer_init();
}

#if EDC_TIMER_COUNTS_INSTRUCTIONS

/* On an emulated board the counter follows the instructions executed, at a rate that only the
 * emulator knows; a loop of known length tells the host, long enough to tell it to 1 in 10^6. */
#define LOOP_TURNS (UINT32_C(1) << 21)
#define LOOP_INSTRUCTIONS 2u

static uint32_t time_loop(uint32_t turns) {
  uint32_t start = edc_port_ticks();
  __asm volatile(".syntax unified\n"
                 "1: subs %0, %0, #1\n"
                 "bne 1b\n"
                 : "+l"(turns)
                 :
                 : "cc");
  return edc_port_ticks() - start;
}

static void calibrate(edc_server_config *config) {
  /* The difference of two lengths leaves out what it costs to read the counter. */
  uint32_t short_ticks = time_loop(1);
  config->calibration_ticks = time_loop(1 + LOOP_TURNS) - short_ticks;
  config->calibration_instructions = LOOP_TURNS * LOOP_INSTRUCTIONS;
}

#else

static void calibrate(edc_server_config *config) {
  config->calibration_instructions = 0;
  config->calibration_ticks = 0;
}

#endif

int main(void) {
  static edc_server_config config = {
      .board = EDC_BOARD_NAME, .version = EDC_FIRMWARE_VERSION, .window = EDC_LINK_WINDOW};
  config.fault = edc_cortex_m_last_fault();
  edc_port_init();
  calibrate(&config);
  edc_server_init(&config);
  for (;;) {
    edc_server_poll();
  }
}
