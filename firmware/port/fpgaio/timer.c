/* SPDX-License-Identifier: Apache-2.0 */
/* Counter of the system control block FPGAIO of Arm's MPS2 and MPS3 boards: 32 bits, counts up. */
#include "edc_board.h"
#include "edc_chip.h"
#include "edc_port.h"

typedef struct {
  uint32_t unused[6];
  volatile uint32_t counter;  /* 0x018 */
  volatile uint32_t prescale; /* the counter steps each time this many clocks and one have gone */
} fpgaio;

#define FPGAIO ((fpgaio *)EDC_TIMER_BASE)

void edc_chip_timer_init(void) { FPGAIO->prescale = 0; }

uint32_t edc_port_ticks(void) { return FPGAIO->counter; }

uint32_t edc_port_ticks_hz(void) { return EDC_TIMER_HZ; }
