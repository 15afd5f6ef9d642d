/* SPDX-License-Identifier: Apache-2.0 */
/* UART of Arm's Cortex-M System Design Kit (DDI 0479, APB UART): one byte each way. */
#include "edc_board.h"
#include "edc_chip.h"
#include "edc_cortex_m.h"
#include "edc_port.h"
#include "edc_wait.h"

typedef struct {
  volatile uint32_t data;
  volatile uint32_t state;
  volatile uint32_t control;
  volatile uint32_t interrupt_status;
  volatile uint32_t baud_divider; /* at least 16 */
} cmsdk_uart;

#define UART ((cmsdk_uart *)EDC_UART_BASE)
#define STATE_TX_FULL 1u
#define STATE_RX_FULL 2u
#define CONTROL_TX_ENABLE 1u
#define CONTROL_RX_ENABLE 2u
#define CONTROL_RX_INTERRUPT 8u
#define INTERRUPT_RX 2u

_Static_assert(EDC_UART_CLOCK_HZ / EDC_UART_BAUD >= 16, "the UART divides its clock by 16 or more");

void edc_chip_uart_init(void) {
  UART->baud_divider = EDC_UART_CLOCK_HZ / EDC_UART_BAUD;
  UART->control = CONTROL_TX_ENABLE | CONTROL_RX_ENABLE | CONTROL_RX_INTERRUPT;
}

int edc_port_read(void) {
  if ((UART->state & STATE_RX_FULL) == 0) {
    /* A byte that comes after the second look makes the interrupt pending, which ends the sleep. */
    UART->interrupt_status = INTERRUPT_RX;
    edc_cortex_m_clear_pending(EDC_UART_RX_IRQ);
    if ((UART->state & STATE_RX_FULL) == 0) {
      edc_cortex_m_sleep_until(EDC_UART_RX_IRQ);
    }
    return -1;
  }
  return (int)(UART->data & 0xFFu);
}

void edc_port_write(const uint8_t *bytes, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (!edc_wait_for_uart(&UART->state, STATE_TX_FULL, 0)) {
      return;
    }
    UART->data = bytes[i];
  }
}
