/* SPDX-License-Identifier: Apache-2.0 */
/* edgecodec: all that the link asks of a chip. A port is these five functions, and a sixth where a
 * watchdog runs.
 *
 * The server calls them from one thread and never from an interrupt.
 */
#ifndef EDC_PORT_H
#define EDC_PORT_H

#include <stddef.h>
#include <stdint.h>

/* Clocks, pins, UART (8N1) and counter. Called once, before the others. */
void edc_port_init(void);

/* The next received byte, 0..255, or -1 when none has come. Does not wait for one in a loop, but
 * may put the CPU to sleep until the UART wakes it. */
int edc_port_read(void);

/* Send `count` bytes; returns when the UART has taken them all, or takes no more for so long that
 * the rest is given up: the host asks again for what it does not get. */
void edc_port_write(const uint8_t *bytes, size_t count);

/* A counter that counts up and wraps at 2^32: CPU cycles, or a timer at a fixed rate. */
uint32_t edc_port_ticks(void);

/* Nominal rate of the counter in Hz. */
uint32_t edc_port_ticks_hz(void);

/* Called at each look for received bytes, after each answer and in loops that wait for hardware,
 * so at least once a frame; edc_server.c has a weak one that does nothing. A port whose watchdog
 * runs on while the CPU sleeps must not let edc_port_read sleep for longer than its period. */
void edc_port_feed_watchdog(void);

#endif
