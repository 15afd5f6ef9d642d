/* SPDX-License-Identifier: Apache-2.0 */
/* nRF51 and nRF52 (nRF51 Series Reference Manual, chapters 13, 14 and 29; nRF52840 Product
 * Specification, CLOCK, GPIO and UART): the crystal oscillator, whose rate the UART needs, and the
 * UART's pins. */
#include <stddef.h>
#include <stdint.h>

#include "edc_board.h"
#include "edc_chip.h"
#include "edc_wait.h"

typedef struct {
  volatile uint32_t start_crystal; /* task */
  uint32_t unused0[63];
  volatile uint32_t crystal_runs; /* 0x100, event */
} nrf_clock;

typedef struct {
  uint32_t unused0[0x508 / 4];
  volatile uint32_t set; /* 0x508, outputs */
  uint32_t unused1[3];
  volatile uint32_t set_direction; /* 0x518, bit n: pin n is an output */
  uint32_t unused2[121];
  volatile uint32_t configuration[32]; /* 0x700 */
} nrf_gpio;

typedef struct {
  uint32_t unused0[0x508 / 4];
  volatile uint32_t select[4]; /* RTS, TXD, CTS, RXD */
} nrf_uart_pins;

_Static_assert(offsetof(nrf_clock, crystal_runs) == 0x100, "registers lie where the manual says");
_Static_assert(offsetof(nrf_gpio, set_direction) == 0x518, "registers lie where the manual says");
_Static_assert(offsetof(nrf_gpio, configuration) == 0x700, "registers lie where the manual says");

#define CLOCK ((nrf_clock *)0x40000000u)
#define GPIO(port) ((nrf_gpio *)(0x50000000u + 0x300u * (port)))
#define UART_PINS ((nrf_uart_pins *)EDC_UART_BASE)
#define SELECT_TXD 1
#define SELECT_RXD 3
#define SELECTED(port, pin) (32u * (port) + (pin))
#define INPUT_PULLED_UP 0xCu /* input, connected, pull-up */

#if __ARM_ARCH_ISA_THUMB == 2 /* nRF52; the nRF51 has no such registers */
#define FICR_PART (*(const volatile uint32_t *)0x10000130u)
#define FICR_REVISION (*(const volatile uint32_t *)0x10000134u)
#define UICR_APPROTECT (*(const volatile uint32_t *)0x10001208u)
#define APPROTECT_DISABLE (*(volatile uint32_t *)0x40000558u)

/* Revisions of 2021 and later close the debug port at each reset, unless UICR.APPROTECT is 5Ah
 * (HwDisabled, what a tool that flashes writes after it has erased the chip) and firmware writes
 * 5Ah to APPROTECT.DISABLE as well. As Nordic's MDK does, what UICR says is passed on, so that a
 * chip that was closed on purpose stays closed. (nRF52832, nRF52833 and nRF52840 Product
 * Specification, "Debug and trace"; their errata, configuration 249: the revisions.) */
static void open_debug_port(void) {
  const uint32_t part = FICR_PART;
  const uint32_t first = part == 0x06 ? 7u : part == 0x0D ? 2u : part == 0x08 ? 5u : UINT32_MAX;
  if (FICR_REVISION >= first) {
    APPROTECT_DISABLE = UICR_APPROTECT;
  }
}
#else
static void open_debug_port(void) {}
#endif

void edc_chip_setup(void) {
  open_debug_port();
  CLOCK->crystal_runs = 0;
  CLOCK->start_crystal = 1;
  edc_wait_or_restart(&CLOCK->crystal_runs, 1, 1);
  /* The level before the direction, so that the line never falls. */
  GPIO(EDC_UART_TX_PORT)->set = UINT32_C(1) << EDC_UART_TX_PIN;
  GPIO(EDC_UART_TX_PORT)->set_direction = UINT32_C(1) << EDC_UART_TX_PIN;
  GPIO(EDC_UART_RX_PORT)->configuration[EDC_UART_RX_PIN] = INPUT_PULLED_UP;
  UART_PINS->select[SELECT_TXD] = SELECTED(EDC_UART_TX_PORT, EDC_UART_TX_PIN);
  UART_PINS->select[SELECT_RXD] = SELECTED(EDC_UART_RX_PORT, EDC_UART_RX_PIN);
}
