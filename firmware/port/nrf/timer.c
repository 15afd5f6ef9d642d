/* SPDX-License-Identifier: Apache-2.0 */
/* TIMER of Nordic's nRF51 and nRF52 (nRF51 Series Reference Manual, chapter 18): 32 bits, up. */
#include "edc_board.h"
#include "edc_chip.h"
#include "edc_port.h"

typedef struct {
  volatile uint32_t start;
  uint32_t unused0[2];
  volatile uint32_t clear; /* 0x00C */
  uint32_t unused1[12];
  volatile uint32_t capture; /* 0x040, of compare register 0 */
  uint32_t unused2[304];
  volatile uint32_t mode; /* 0x504 */
  volatile uint32_t bit_mode;
  uint32_t unused3;
  volatile uint32_t prescaler; /* 0x510 */
  uint32_t unused4[11];
  volatile uint32_t compare; /* 0x540, register 0 */
} nrf_timer;

_Static_assert(offsetof(nrf_timer, compare) == 0x540, "registers lie where the manual says");

#define TIMER ((nrf_timer *)EDC_TIMER_BASE)
#define MODE_TIMER 0u
#define BIT_MODE_32 3u

_Static_assert(EDC_TIMER_HZ == 16000000u, "the timer counts its clock of 16 MHz undivided");

void edc_chip_timer_init(void) {
  TIMER->mode = MODE_TIMER;
  TIMER->bit_mode = BIT_MODE_32;
  TIMER->prescaler = 0;
  TIMER->clear = 1;
  TIMER->start = 1;
}

uint32_t edc_port_ticks(void) {
  TIMER->capture = 1;
  return TIMER->compare;
}

uint32_t edc_port_ticks_hz(void) { return EDC_TIMER_HZ; }
