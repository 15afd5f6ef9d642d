/* SPDX-License-Identifier: Apache-2.0 */
/* edgecodec: waits for hardware that end, on any Cortex-M. */
#ifndef EDC_WAIT_H
#define EDC_WAIT_H

#include <stdbool.h>
#include <stdint.h>

#include "edc_cortex_m.h"
#include "edc_port.h"

/* Looks at a register before it is given up: some 10 cycles each, so 20 ms at 480 MHz, more than a
 * byte takes at 1200 baud, and a second at 8 MHz. A crystal or PLL takes some milliseconds. */
#define EDC_WAIT_LOOKS (UINT32_C(1) << 20)

/* Look at most `looks` times whether the bits `mask` of a register are `value`. */
static inline bool edc_wait_for(const volatile uint32_t *reg, uint32_t mask, uint32_t value,
                                uint32_t looks) {
  for (; looks != 0; --looks) {
    if ((*reg & mask) == value) {
      return true;
    }
    edc_port_feed_watchdog();
  }
  return false;
}

/* For a UART to take a byte, which one place of a port waits for. When it did not, the bytes that
 * follow do not wait as long again, so that a message is given up as a whole. */
static inline bool edc_wait_for_uart(const volatile uint32_t *reg, uint32_t mask, uint32_t value) {
  static bool given_up;
  given_up = !edc_wait_for(reg, mask, value, given_up ? 1u : EDC_WAIT_LOOKS);
  return !given_up;
}

/* For what nothing works without: a restart gives it another chance, and HELLO tells. */
static inline void edc_wait_or_restart(const volatile uint32_t *reg, uint32_t mask,
                                       uint32_t value) {
  if (!edc_wait_for(reg, mask, value, EDC_WAIT_LOOKS)) {
    edc_cortex_m_restart_without(reg);
  }
}

#endif
