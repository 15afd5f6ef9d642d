/* SPDX-License-Identifier: Apache-2.0 */
/* STM32F1 (RM0008, RM0041: RCC and GPIO): the UART's pins and clock. The internal oscillator of 8
 * MHz runs since reset and clocks everything. */
#include <stddef.h>
#include <stdint.h>

#include "edc_board.h"
#include "edc_chip.h"

typedef struct {
  volatile uint32_t configuration[2]; /* four bits a pin */
  uint32_t unused0[2];                /* input, output */
  volatile uint32_t set_reset;        /* 0x10 */
} stm32_gpio;

_Static_assert(offsetof(stm32_gpio, set_reset) == 0x10, "registers lie where the manual says");

#define GPIO(port) ((stm32_gpio *)(0x40010800u + 0x400u * (port)))
#define RCC_BASE 0x40021000u
#define RCC_APB2_ENABLE ((volatile uint32_t *)(RCC_BASE + 0x18u)) /* bit 2 + n: port n */
#define FUNCTION_OUTPUT 0xAu /* of the UART, push-pull, 2 MHz */
#define INPUT_PULLED 0x8u    /* to the level of the output register */

#if EDC_UART_BASE == 0x40013800u /* USART1 */
#define UART_ENABLE ((volatile uint32_t *)(RCC_BASE + 0x18u))
#define UART_ENABLE_BIT 14
#elif EDC_UART_BASE == 0x40004400u /* USART2 */
#define UART_ENABLE ((volatile uint32_t *)(RCC_BASE + 0x1Cu))
#define UART_ENABLE_BIT 17
#else
#error "uart.base is none of USART1 and USART2"
#endif

_Static_assert(EDC_CORE_HZ == 8000000u, "the core runs from the internal oscillator");

static void configure(uint32_t port, uint32_t pin, uint32_t value) {
  *RCC_APB2_ENABLE |= UINT32_C(4) << port;
  (void)*RCC_APB2_ENABLE; /* the clock comes a moment after the write */
  volatile uint32_t *reg = &GPIO(port)->configuration[pin / 8u];
  uint32_t shift = 4u * (pin % 8u);
  *reg = (*reg & ~(UINT32_C(0xF) << shift)) | (value << shift);
}

void edc_chip_setup(void) {
  *UART_ENABLE |= UINT32_C(1) << UART_ENABLE_BIT;
  (void)*UART_ENABLE;
  configure(EDC_UART_TX_PORT, EDC_UART_TX_PIN, FUNCTION_OUTPUT);
  configure(EDC_UART_RX_PORT, EDC_UART_RX_PIN, INPUT_PULLED);
  GPIO(EDC_UART_RX_PORT)->set_reset = UINT32_C(1) << EDC_UART_RX_PIN; /* pulled up: idle is high */
}
