/* SPDX-License-Identifier: Apache-2.0 */
/* Cycle counter of the Data Watchpoint and Trace unit (Armv7-M ARM, C1.8; Armv8-M ARM, B14): 32
 * bits, counts up with the core's clock. Optional in the architecture, there on most Cortex-M3 and
 * up, never on Cortex-M0 and M0+. */
#include "edc_board.h"
#include "edc_chip.h"
#include "edc_port.h"

typedef struct {
  volatile uint32_t control;
  volatile uint32_t cycles; /* 0x004 */
  uint32_t unused[1002];
  volatile uint32_t lock; /* 0xFB0, LAR */
} dwt;

_Static_assert(offsetof(dwt, lock) == 0xFB0, "registers lie where the manual says");

#define DWT ((dwt *)EDC_TIMER_BASE)
#define DWT_CONTROL_COUNT 1u
#define DWT_UNLOCK 0xC5ACCE55u /* Cortex-M7 takes no other write without it; others ignore it */
#define DEBUG_CONTROL ((volatile uint32_t *)0xE000EDFC)
#define DEBUG_CONTROL_TRACE (1u << 24) /* without it, DWT is switched off */

void edc_chip_timer_init(void) {
  *DEBUG_CONTROL |= DEBUG_CONTROL_TRACE;
  DWT->lock = DWT_UNLOCK;
  DWT->cycles = 0;
  DWT->control |= DWT_CONTROL_COUNT;
}

uint32_t edc_port_ticks(void) { return DWT->cycles; }

uint32_t edc_port_ticks_hz(void) { return EDC_TIMER_HZ; }
