/* SPDX-License-Identifier: Apache-2.0 */
/* UART of Nordic's nRF51 and nRF52 (nRF51 Series Reference Manual, chapter 29): a receive queue of
 * six bytes, an event for each byte. */
#include "edc_board.h"
#include "edc_chip.h"
#include "edc_cortex_m.h"
#include "edc_port.h"
#include "edc_wait.h"

typedef struct {
  volatile uint32_t start_rx;
  uint32_t unused0;
  volatile uint32_t start_tx; /* 0x008 */
  uint32_t unused1[63];
  volatile uint32_t rx_ready; /* 0x108, event */
  uint32_t unused2[4];
  volatile uint32_t tx_ready; /* 0x11C, event */
  uint32_t unused3[121];
  volatile uint32_t interrupt_set; /* 0x304 */
  uint32_t unused4[126];
  volatile uint32_t enable; /* 0x500 */
  uint32_t unused5[5];
  volatile uint32_t rxd; /* 0x518 */
  volatile uint32_t txd;
  uint32_t unused6;
  volatile uint32_t baud_rate; /* 0x524 */
} nrf_uart;

_Static_assert(offsetof(nrf_uart, rx_ready) == 0x108, "registers lie where the manual says");
_Static_assert(offsetof(nrf_uart, baud_rate) == 0x524, "registers lie where the manual says");

#define UART ((nrf_uart *)EDC_UART_BASE)
#define ENABLE_UART 4u
#define INTERRUPT_RX_READY (1u << 2)

/* In units of clock / 2^32, of which the UART keeps the upper 20 bits. */
#define BAUD_RATE ((((uint64_t)EDC_UART_BAUD << 32) / EDC_UART_CLOCK_HZ + 0x800u) & 0xFFFFF000u)

void edc_chip_uart_init(void) {
  UART->baud_rate = (uint32_t)BAUD_RATE;
  UART->enable = ENABLE_UART;
  UART->interrupt_set = INTERRUPT_RX_READY;
  UART->start_rx = 1;
  UART->start_tx = 1;
}

int edc_port_read(void) {
  if (UART->rx_ready == 0) {
    /* A byte that comes after the second look makes the interrupt pending, which ends the sleep. */
    edc_cortex_m_clear_pending(EDC_UART_RX_IRQ);
    if (UART->rx_ready == 0) {
      edc_cortex_m_sleep_until(EDC_UART_RX_IRQ);
    }
    return -1;
  }
  /* Before the byte is taken, or the event of the next one in the queue would be lost. */
  UART->rx_ready = 0;
  return (int)(UART->rxd & 0xFFu);
}

static bool is_sending; /* the event of the last byte has come or will */

void edc_port_write(const uint8_t *bytes, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (is_sending && !edc_wait_for_uart(&UART->tx_ready, 1, 1)) {
      return;
    }
    UART->tx_ready = 0;
    UART->txd = bytes[i];
    is_sending = true;
  }
}
