/* SPDX-License-Identifier: Apache-2.0 */
/* USART of STM32F1, F2 and F4 (RM0041 chapter 23, RM0090 chapter 30): one byte each way. */
#include "edc_board.h"
#include "edc_chip.h"
#include "edc_cortex_m.h"
#include "edc_port.h"
#include "edc_wait.h"

typedef struct {
  volatile uint32_t status;
  volatile uint32_t data;
  volatile uint32_t
      baud_divider; /* clock / baud: a 16th of it is the divider of 16 samples a bit */
  volatile uint32_t control1;
} stm32_usart;

#define USART ((stm32_usart *)EDC_UART_BASE)
#define STATUS_OVERRUN (1u << 3)
#define STATUS_RX_FULL (1u << 5)
#define STATUS_TX_EMPTY (1u << 7)
#define CONTROL1_RX_ENABLE (1u << 2)
#define CONTROL1_TX_ENABLE (1u << 3)
#define CONTROL1_RX_INTERRUPT (1u << 5)
#define CONTROL1_ENABLE (1u << 13)

_Static_assert(EDC_UART_CLOCK_HZ / EDC_UART_BAUD >= 16, "the USART takes 16 samples a bit");

void edc_chip_uart_init(void) {
  USART->baud_divider = (EDC_UART_CLOCK_HZ + EDC_UART_BAUD / 2u) / EDC_UART_BAUD;
  USART->control1 =
      CONTROL1_ENABLE | CONTROL1_TX_ENABLE | CONTROL1_RX_ENABLE | CONTROL1_RX_INTERRUPT;
}

int edc_port_read(void) {
  uint32_t status = USART->status;
  if ((status & (STATUS_RX_FULL | STATUS_OVERRUN)) == 0) {
    /* The interrupt stays until the byte is taken, so one that comes now ends the sleep. */
    edc_cortex_m_clear_pending(EDC_UART_RX_IRQ);
    status = USART->status;
    if ((status & (STATUS_RX_FULL | STATUS_OVERRUN)) == 0) {
      edc_cortex_m_sleep_until(EDC_UART_RX_IRQ);
    }
    return -1;
  }
  /* Behind a read of the status this clears an overrun too, also one that comes without a byte:
   * until then it asks for the interrupt, and nothing would sleep. */
  const uint32_t byte = USART->data;
  return status & STATUS_RX_FULL ? (int)(byte & 0xFFu) : -1;
}

void edc_port_write(const uint8_t *bytes, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (!edc_wait_for_uart(&USART->status, STATUS_TX_EMPTY, STATUS_TX_EMPTY)) {
      return;
    }
    USART->data = bytes[i];
  }
}
