/* SPDX-License-Identifier: Apache-2.0 */
/* edgecodec: answers the requests of the host (SPEC.md, section 2).
 *
 * Knows the codec through edc_model.h and edc_served_model.h and the hardware through edc_port.h.
 * All memory is static and sized by the model.
 */
#ifndef EDC_SERVER_H
#define EDC_SERVER_H

#include <stdint.h>

#include "edc_fault.h"

#define EDC_SERVER_PROTOCOL 5
#define EDC_SERVER_TEXT_MAX 40 /* bytes of the board's name and of the version that HELLO sends */

/* What HELLO tells beside the model. */
typedef struct {
  const char *board;
  const char *version;
  uint8_t window;                    /* requests the host may have in flight */
  uint32_t calibration_instructions; /* a loop of known length; 0 when ticks are cycles */
  uint32_t calibration_ticks;        /* and what it took */
  const edc_fault_record *fault;     /* why the firmware restarted; NULL: it did not */
} edc_server_config;

/* `config` must outlive the server. */
void edc_server_init(const edc_server_config *config);

/* Take the bytes that have come and answer the requests they complete. Call it forever. */
void edc_server_poll(void);

#endif
