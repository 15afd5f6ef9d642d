/* SPDX-License-Identifier: Apache-2.0 */
/* Timer of Arm's Cortex-M System Design Kit (DDI 0479, APB timer): 32 bits, counts down. */
#include "edc_board.h"
#include "edc_chip.h"
#include "edc_port.h"

typedef struct {
  volatile uint32_t control;
  volatile uint32_t value;
  volatile uint32_t reload;
} cmsdk_timer;

#define TIMER ((cmsdk_timer *)EDC_TIMER_BASE)
#define CONTROL_ENABLE 1u

void edc_chip_timer_init(void) {
  TIMER->control = 0;
  TIMER->reload = UINT32_MAX;
  TIMER->value = UINT32_MAX;
  TIMER->control = CONTROL_ENABLE;
}

uint32_t edc_port_ticks(void) { return UINT32_MAX - TIMER->value; }

uint32_t edc_port_ticks_hz(void) { return EDC_TIMER_HZ; }
