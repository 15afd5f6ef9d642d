/* SPDX-License-Identifier: Apache-2.0 */
/* The link and the server on this machine: the port reads and writes memory. */
#ifndef HOST_H
#define HOST_H

#include <stddef.h>
#include <stdint.h>

#define HOST_TICK_STEP 100u /* the counter advances by this at each look */

/* `fault`: of what the firmware restarted, seven words, or NULL; copied. */
void host_start(const uint32_t *fault);
/* Feed `count` received bytes and let the server answer; returns the bytes that it sent. */
size_t host_exchange(const uint8_t *bytes, size_t count, uint8_t *out, size_t capacity);
uint32_t host_runs(void);
uint32_t host_fed(void); /* calls of edc_port_feed_watchdog */

#endif
