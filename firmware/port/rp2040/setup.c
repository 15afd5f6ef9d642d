/* SPDX-License-Identifier: Apache-2.0 */
/* RP2040 (RP2040 Datasheet, sections 2.14 to 2.19): the crystal of 12 MHz, the system PLL at 125
 * MHz, and the UART's pins. */
#include <stddef.h>
#include <stdint.h>

#include "edc_board.h"
#include "edc_chip.h"
#include "edc_wait.h"

#define POINTER(address) ((volatile uint32_t *)(address))
#define REGISTER(address) (*POINTER(address))
/* Each register has aliases that set or clear the bits written: section 2.1.2. */
#define SET_BITS 0x2000u
#define CLEAR_BITS 0x3000u

#define RESETS 0x4000C000u
#define RESETS_DONE 0x08u
#define RESET_IO_BANK0 (1u << 5)
#define RESET_PADS_BANK0 (1u << 8)
#define RESET_PLL_SYS (1u << 12)
#define RESET_UART0 (1u << 22)

#define XOSC 0x40024000u
#define XOSC_STATUS 0x04u
#define XOSC_STARTUP 0x0Cu
#define XOSC_RANGE_1_15_MHZ 0xAA0u
#define XOSC_ENABLE (0xFABu << 12)
#define XOSC_STABLE (1u << 31)
#define XOSC_HZ 12000000u
#define XOSC_DELAY ((XOSC_HZ / 1000u + 128u) / 256u) /* a millisecond in units of 256 cycles */

#define PLL_SYS 0x40028000u
#define PLL_POWER 0x04u
#define PLL_FEEDBACK 0x08u
#define PLL_DIVIDERS 0x0Cu
#define PLL_LOCKED (1u << 31)
#define PLL_POWER_OFF (1u << 0)
#define PLL_DIVIDERS_OFF (1u << 3)
#define PLL_VCO_OFF (1u << 5)
#define PLL_MULTIPLIER 125u /* VCO at 1,500 MHz */
#define PLL_DIVIDER_1 6u
#define PLL_DIVIDER_2 2u

_Static_assert(EDC_CORE_HZ == XOSC_HZ * PLL_MULTIPLIER / PLL_DIVIDER_1 / PLL_DIVIDER_2,
               "setup.core_hz is what the PLL gives");

#define CLOCKS 0x40008000u
#define CLOCK_REF 0x30u
#define CLOCK_SYS 0x3Cu
#define CLOCK_PERIPHERAL 0x48u
#define CLOCK_SELECTED 0x08u /* from a clock's control register; bit n: source n is in use */
#define REF_FROM_XOSC 2u
#define SYS_FROM_REF 0u
#define SYS_FROM_PLL 1u              /* "auxiliary", whose source 0 is the system PLL */
#define PERIPHERAL_ENABLE (1u << 11) /* from the system clock */

#define IO_BANK0 0x40014000u
#define PIN_CONTROL(pin) (IO_BANK0 + 8u * (pin) + 4u)
#define PADS_BANK0 0x4001C000u
#define PAD(pin) (PADS_BANK0 + 4u + 4u * (pin))
#define PAD_PULL_DOWN (1u << 2)
#define PAD_PULL_UP (1u << 3)

static void release(uint32_t blocks) {
  REGISTER(RESETS + CLEAR_BITS) = blocks;
  edc_wait_or_restart(POINTER(RESETS + RESETS_DONE), blocks, blocks);
}

static void choose_source(uint32_t clock, uint32_t source) {
  REGISTER(CLOCKS + clock) = source;
  const uint32_t in_use = UINT32_C(1) << source;
  edc_wait_or_restart(POINTER(CLOCKS + clock + CLOCK_SELECTED), in_use, in_use);
}

static void start_clocks(void) {
  REGISTER(XOSC) = XOSC_RANGE_1_15_MHZ;
  REGISTER(XOSC + XOSC_STARTUP) = XOSC_DELAY;
  REGISTER(XOSC + SET_BITS) = XOSC_ENABLE;
  edc_wait_or_restart(POINTER(XOSC + XOSC_STATUS), XOSC_STABLE, XOSC_STABLE);
  choose_source(CLOCK_REF, REF_FROM_XOSC);
  choose_source(CLOCK_SYS, SYS_FROM_REF); /* a debugger may have left the PLL in use */

  REGISTER(RESETS + SET_BITS) = RESET_PLL_SYS;
  release(RESET_PLL_SYS);
  REGISTER(PLL_SYS) = 1; /* the crystal undivided */
  REGISTER(PLL_SYS + PLL_FEEDBACK) = PLL_MULTIPLIER;
  REGISTER(PLL_SYS + PLL_POWER + CLEAR_BITS) = PLL_POWER_OFF | PLL_VCO_OFF;
  edc_wait_or_restart(POINTER(PLL_SYS), PLL_LOCKED, PLL_LOCKED);
  REGISTER(PLL_SYS + PLL_DIVIDERS) = (PLL_DIVIDER_1 << 16) | (PLL_DIVIDER_2 << 12);
  REGISTER(PLL_SYS + PLL_POWER + CLEAR_BITS) = PLL_DIVIDERS_OFF;
  choose_source(CLOCK_SYS, SYS_FROM_PLL);
  REGISTER(CLOCKS + CLOCK_PERIPHERAL) = PERIPHERAL_ENABLE;
}

void edc_chip_setup(void) {
  start_clocks();
  release(RESET_IO_BANK0 | RESET_PADS_BANK0 | RESET_UART0);
  /* Pads start with a pull-down, which an open line would read as a byte without end. */
  REGISTER(PAD(EDC_UART_RX_PIN) + CLEAR_BITS) = PAD_PULL_DOWN;
  REGISTER(PAD(EDC_UART_RX_PIN) + SET_BITS) = PAD_PULL_UP;
  REGISTER(PIN_CONTROL(EDC_UART_TX_PIN)) = EDC_UART_PIN_FUNCTION;
  REGISTER(PIN_CONTROL(EDC_UART_RX_PIN)) = EDC_UART_PIN_FUNCTION;
}
