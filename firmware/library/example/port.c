/* SPDX-License-Identifier: Apache-2.0 */
/* The five functions of edc_port.h over standard input and output. Replace each body by your SDK's.
 */
#include "edc_port.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* Yours: clocks, pins, UART (8N1, no flow control) and a free-running counter. */
void edc_port_init(void) { (void)setvbuf(stdout, NULL, _IONBF, 0); }

/* Yours: the next byte, or -1 at once when none has come. */
int edc_port_read(void) {
  int byte = getchar();
  if (byte == EOF) {
    exit(0);
  }
  return byte;
}

/* Yours: send; may wait until the UART has taken the bytes. */
void edc_port_write(const uint8_t *bytes, size_t count) { (void)fwrite(bytes, 1, count, stdout); }

/* Yours: CPU cycles or a timer, up, wrapping at 2^32. */
uint32_t edc_port_ticks(void) { return (uint32_t)clock(); }

uint32_t edc_port_ticks_hz(void) { return (uint32_t)CLOCKS_PER_SEC; }
