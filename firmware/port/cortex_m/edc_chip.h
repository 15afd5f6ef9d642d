/* SPDX-License-Identifier: Apache-2.0 */
/* edgecodec: the parts of a chip family that make up its port (edc_port.h), one folder a family.
 *
 * uart.c gives edc_port_read, edc_port_write and edc_chip_uart_init; timer.c gives
 * edc_port_ticks, edc_port_ticks_hz and edc_chip_timer_init; setup.c, of chips whose UART does not
 * work from reset, edc_chip_setup. Addresses, clocks and pins come from the generated edc_board.h.
 */
#ifndef EDC_CHIP_H
#define EDC_CHIP_H

/* Clocks and pins; before the others. */
void edc_chip_setup(void);
void edc_chip_uart_init(void);
void edc_chip_timer_init(void);

#endif
