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

/* Wait until the bits `mask` of a register are `value`; false when they do not become so. */
static inline bool edc_wait_for(const volatile uint32_t *reg, uint32_t mask, uint32_t value) {
  for (uint32_t looks = EDC_WAIT_LOOKS; looks != 0; --looks) {
    if ((*reg & mask) == value) {
      return true;
    }
    edc_port_feed_watchdog();
  }
  return false;
}

/* The same for what nothing works without: a restart gives it another chance, and HELLO tells. */
static inline void edc_wait_or_restart(const volatile uint32_t *reg, uint32_t mask,
                                       uint32_t value) {
  if (!edc_wait_for(reg, mask, value)) {
    edc_cortex_m_restart_without(reg);
  }
}

#endif
