/* SPDX-License-Identifier: Apache-2.0 */
/* STM32F4 (RM0090, RM0368, RM0383, RM0390: RCC and GPIO): the UART's pins and clock. The internal
 * oscillator of 16 MHz runs since reset and clocks everything. */
#include <stddef.h>
#include <stdint.h>

#include "edc_board.h"
#include "edc_chip.h"

typedef struct {
  volatile uint32_t mode;  /* two bits a pin */
  uint32_t unused0[2];     /* output type, speed */
  volatile uint32_t pulls; /* 0x0C, two bits a pin */
  uint32_t unused1[4];
  volatile uint32_t functions[2]; /* 0x20, four bits a pin */
} stm32_gpio;

_Static_assert(offsetof(stm32_gpio, functions) == 0x20, "registers lie where the manual says");

#define GPIO(port) ((stm32_gpio *)(0x40020000u + 0x400u * (port)))
#define RCC_BASE 0x40023800u
#define RCC_AHB1_ENABLE ((volatile uint32_t *)(RCC_BASE + 0x30u)) /* bit n: port n */
#define MODE_FUNCTION 2u
#define PULL_UP 1u

#if EDC_UART_BASE == 0x40011000u /* USART1 */
#define UART_ENABLE ((volatile uint32_t *)(RCC_BASE + 0x44u))
#define UART_ENABLE_BIT 4
#elif EDC_UART_BASE == 0x40004400u /* USART2 */
#define UART_ENABLE ((volatile uint32_t *)(RCC_BASE + 0x40u))
#define UART_ENABLE_BIT 17
#elif EDC_UART_BASE == 0x40011400u /* USART6 */
#define UART_ENABLE ((volatile uint32_t *)(RCC_BASE + 0x44u))
#define UART_ENABLE_BIT 5
#else
#error "uart.base is none of USART1, USART2 and USART6"
#endif

_Static_assert(EDC_CORE_HZ == 16000000u, "the core runs from the internal oscillator");

static void set_field(volatile uint32_t *reg, uint32_t shift, uint32_t bits, uint32_t value) {
  uint32_t mask = ((UINT32_C(1) << bits) - 1u) << shift;
  *reg = (*reg & ~mask) | (value << shift);
}

static void connect(uint32_t port, uint32_t pin) {
  *RCC_AHB1_ENABLE |= UINT32_C(1) << port;
  (void)*RCC_AHB1_ENABLE; /* the clock comes two cycles after the write: RM0090, 7.3.9 */
  set_field(&GPIO(port)->pulls, 2u * pin, 2, PULL_UP);
  set_field(&GPIO(port)->functions[pin / 8u], 4u * (pin % 8u), 4, EDC_UART_PIN_FUNCTION);
  set_field(&GPIO(port)->mode, 2u * pin, 2, MODE_FUNCTION);
}

void edc_chip_setup(void) {
  *UART_ENABLE |= UINT32_C(1) << UART_ENABLE_BIT;
  (void)*UART_ENABLE;
  connect(EDC_UART_TX_PORT, EDC_UART_TX_PIN);
  connect(EDC_UART_RX_PORT, EDC_UART_RX_PIN);
}
