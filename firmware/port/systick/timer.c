/* SPDX-License-Identifier: Apache-2.0 */
/* SysTick (Armv6-M, Armv7-M and Armv8-M architecture reference manuals): 24 bits, counts down.
 *
 * The exception at each 1 -> 0 counts the wraps. It is the only exception that is ever taken, and
 * costs a few instructions in 2^24 ticks.
 */
#include "edc_board.h"
#include "edc_chip.h"
#include "edc_port.h"

typedef struct {
  volatile uint32_t control;
  volatile uint32_t reload;
  volatile uint32_t value; /* any write clears it */
} systick;

#define SYSTICK ((systick *)EDC_TIMER_BASE)
#define CONTROL_ENABLE 1u
#define CONTROL_EXCEPTION 2u
#define CONTROL_CORE_CLOCK 4u /* or the reference clock, a fraction of it */
#define COUNTER_BITS 24
#define COUNTER_MAX 0x00FFFFFFu
#define LOOKS 1000u

void edc_systick(void);

static volatile uint32_t wraps;

void edc_systick(void) { wraps = wraps + 1; }

void edc_chip_timer_init(void) {
  SYSTICK->reload = COUNTER_MAX;
  SYSTICK->value = 0;
  SYSTICK->control = CONTROL_ENABLE | CONTROL_EXCEPTION |
                     (EDC_TIMER_HZ == EDC_TIMER_CLOCK_HZ ? CONTROL_CORE_CLOCK : 0u);
}

uint32_t edc_port_ticks(void) {
  uint32_t before;
  uint32_t value;
  /* At 0 the exception may be due but not taken yet, so that value belongs to neither wrap. A
   * counter that stands at 0 is read as it is: the host then sees ticks of 0. */
  uint32_t looks = LOOKS;
  do {
    before = wraps;
    value = SYSTICK->value;
  } while ((value == 0 || wraps != before) && --looks != 0);
  return (before << COUNTER_BITS) + (COUNTER_MAX - value);
}

uint32_t edc_port_ticks_hz(void) { return EDC_TIMER_HZ; }
