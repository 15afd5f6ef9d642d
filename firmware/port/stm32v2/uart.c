/* SPDX-License-Identifier: Apache-2.0 */
/* USART of the later STM32 (F0, F3, F7, G0, G4, H7, L0, L4, U5, WB; RM0385 chapter 31, RM0351
 * chapter 40): status and flags to clear in registers of their own, one byte each way. */
#include "edc_board.h"
#include "edc_chip.h"
#include "edc_cortex_m.h"
#include "edc_port.h"
#include "edc_wait.h"

typedef struct {
  volatile uint32_t control1;
  uint32_t unused0[2];
  volatile uint32_t
      baud_divider; /* 0x0C, clock / baud: a 16th of it is the divider of 16 samples a bit */
  uint32_t unused1[3];
  volatile uint32_t status; /* 0x1C, ISR */
  volatile uint32_t clear;  /* ICR */
  volatile uint32_t rx_data;
  volatile uint32_t tx_data;
} stm32v2_usart;

_Static_assert(offsetof(stm32v2_usart, status) == 0x1C, "registers lie where the manual says");
_Static_assert(offsetof(stm32v2_usart, tx_data) == 0x28, "registers lie where the manual says");

#define USART ((stm32v2_usart *)EDC_UART_BASE)
#define STATUS_OVERRUN (1u << 3) /* the same bit of `clear` */
#define STATUS_RX_FULL (1u << 5)
#define STATUS_TX_EMPTY (1u << 7)
#define CONTROL1_ENABLE (1u << 0)
#define CONTROL1_RX_ENABLE (1u << 2)
#define CONTROL1_TX_ENABLE (1u << 3)
#define CONTROL1_RX_INTERRUPT (1u << 5)

_Static_assert(EDC_UART_CLOCK_HZ / EDC_UART_BAUD >= 16, "the USART takes 16 samples a bit");

void edc_chip_uart_init(void) {
  USART->baud_divider = (EDC_UART_CLOCK_HZ + EDC_UART_BAUD / 2u) / EDC_UART_BAUD;
  USART->control1 =
      CONTROL1_ENABLE | CONTROL1_TX_ENABLE | CONTROL1_RX_ENABLE | CONTROL1_RX_INTERRUPT;
}

int edc_port_read(void) {
  const uint32_t status = USART->status;
  if (status & STATUS_OVERRUN) {
    /* Reading the byte does not clear it here. It asks for the interrupt, and nothing would sleep.
     */
    USART->clear = STATUS_OVERRUN;
  }
  if ((status & STATUS_RX_FULL) == 0) {
    /* The interrupt stays until the byte is taken, so one that comes now ends the sleep. */
    edc_cortex_m_clear_pending(EDC_UART_RX_IRQ);
    if ((USART->status & (STATUS_RX_FULL | STATUS_OVERRUN)) == 0) {
      edc_cortex_m_sleep_until(EDC_UART_RX_IRQ);
    }
    return -1;
  }
  return (int)(USART->rx_data & 0xFFu);
}

void edc_port_write(const uint8_t *bytes, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (!edc_wait_for_uart(&USART->status, STATUS_TX_EMPTY, STATUS_TX_EMPTY)) {
      return;
    }
    USART->tx_data = bytes[i];
  }
}
