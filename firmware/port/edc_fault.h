/* SPDX-License-Identifier: Apache-2.0 */
/* edgecodec: why a firmware restarted, as HELLO tells it (SPEC.md, section 2).
 *
 * Start-up keeps it for the firmware that edgecodec builds; firmware of your own that keeps such a
 * record fills it and names it in edc_server_config.
 */
#ifndef EDC_FAULT_H
#define EDC_FAULT_H

#include <stdint.h>

/* As `exception`: hardware that start-up needs did not get ready. */
#define EDC_FAULT_TIMEOUT 256u

typedef struct {
  uint32_t exception; /* its number (3 HardFault); 0 when the firmware did not restart by itself */
  uint32_t pc;        /* what was running; with lr and xpsr 0 when the stack had overflowed */
  uint32_t lr;
  uint32_t xpsr;
  uint32_t cfsr; /* fault status; 0 on Armv6-M and Armv8-M Baseline, which have none */
  uint32_t hfsr;
  uint32_t address; /* BFAR or MMFAR where CFSR says that it holds, else 0; of a time-out the
                       register that was waited for */
} edc_fault_record;

#endif
