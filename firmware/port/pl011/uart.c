/* SPDX-License-Identifier: Apache-2.0 */
/* Arm's PrimeCell UART PL011 (DDI 0183): queues each way, of 16 bytes up to revision r1p4 and of 32
 * from r1p5 on, which the RP2040 has (RP2040 Datasheet, section 4.2). Nothing here counts on
 * either: the flags say when a queue is empty or full. */
#include "edc_board.h"
#include "edc_chip.h"
#include "edc_cortex_m.h"
#include "edc_port.h"
#include "edc_wait.h"

typedef struct {
  volatile uint32_t data;
  uint32_t unused0[5];
  volatile uint32_t flags; /* 0x018 */
  uint32_t unused1[2];
  volatile uint32_t baud_integer;  /* 0x024 */
  volatile uint32_t baud_fraction; /* in 64ths */
  volatile uint32_t line_control;
  volatile uint32_t control;
  volatile uint32_t queue_levels; /* 0x034 */
  volatile uint32_t interrupt_mask;
} pl011;

_Static_assert(offsetof(pl011, interrupt_mask) == 0x38, "registers lie where the manual says");

#define UART ((pl011 *)EDC_UART_BASE)
#define FLAG_RX_EMPTY (1u << 4)
#define FLAG_TX_FULL (1u << 5)
#define LINE_QUEUES (1u << 4)
#define LINE_8_BITS (3u << 5)
#define CONTROL_ENABLE 1u
#define CONTROL_TX_ENABLE (1u << 8)
#define CONTROL_RX_ENABLE (1u << 9)
#define INTERRUPT_RX (1u << 4)
#define INTERRUPT_RX_TIMEOUT (1u << 6) /* bytes fewer than the level have lain for 32 bit times */

/* Clock / (16 baud) in 64ths, rounded. */
#define BAUD_DIVIDER (((EDC_UART_CLOCK_HZ * 8u) / EDC_UART_BAUD + 1u) / 2u)

_Static_assert(EDC_UART_CLOCK_HZ / EDC_UART_BAUD >= 16, "the UART divides its clock by 16 or more");

void edc_chip_uart_init(void) {
  UART->control = 0;
  UART->baud_integer = BAUD_DIVIDER / 64u;
  UART->baud_fraction = BAUD_DIVIDER % 64u;
  UART->line_control = LINE_QUEUES | LINE_8_BITS; /* takes the divider over */
  UART->queue_levels = 0;                         /* interrupt at an eighth: 2 or 4 bytes */
  UART->interrupt_mask = INTERRUPT_RX | INTERRUPT_RX_TIMEOUT;
  UART->control = CONTROL_ENABLE | CONTROL_TX_ENABLE | CONTROL_RX_ENABLE;
}

int edc_port_read(void) {
  if (UART->flags & FLAG_RX_EMPTY) {
    /* The interrupt stays until the queue is empty, so a byte that comes now ends the sleep. */
    edc_cortex_m_clear_pending(EDC_UART_RX_IRQ);
    if (UART->flags & FLAG_RX_EMPTY) {
      edc_cortex_m_sleep_until(EDC_UART_RX_IRQ);
    }
    return -1;
  }
  return (int)(UART->data & 0xFFu);
}

void edc_port_write(const uint8_t *bytes, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (!edc_wait_for_uart(&UART->flags, FLAG_TX_FULL, 0)) {
      return;
    }
    UART->data = bytes[i];
  }
}
