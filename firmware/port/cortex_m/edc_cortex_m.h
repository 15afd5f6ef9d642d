/* SPDX-License-Identifier: Apache-2.0 */
/* edgecodec: what ports share on any Cortex-M: sleep until an interrupt is pending, and restarts.
 *
 * The interrupt is enabled for the sleep alone and masked then: it wakes the CPU, but no handler
 * runs, so nothing disturbs a measurement.
 */
#ifndef EDC_CORTEX_M_H
#define EDC_CORTEX_M_H

#include <stdint.h>

#include "edc_fault.h"

#define EDC_NVIC_ISER ((volatile uint32_t *)0xE000E100) /* set enable, one bit an interrupt */
#define EDC_NVIC_ICER ((volatile uint32_t *)0xE000E180) /* clear enable */
#define EDC_NVIC_ICPR ((volatile uint32_t *)0xE000E280) /* clear pending */

/* Why the firmware restarted: `exception` is 0 when it did not by itself. */
const edc_fault_record *edc_cortex_m_last_fault(void);

/* Restart, because what start-up needs is not ready: the record names its register. */
__attribute__((noreturn)) void edc_cortex_m_restart_without(const volatile uint32_t *reg);

static inline void edc_cortex_m_clear_pending(uint32_t irq) {
  EDC_NVIC_ICPR[irq / 32] = UINT32_C(1) << (irq % 32);
}

/* Returns at once when `irq` is pending. */
static inline void edc_cortex_m_sleep_until(uint32_t irq) {
  __asm volatile("cpsid i" ::: "memory");
  EDC_NVIC_ISER[irq / 32] = UINT32_C(1) << (irq % 32);
  __asm volatile("dsb\n\twfi" ::: "memory");
  EDC_NVIC_ICER[irq / 32] = UINT32_C(1) << (irq % 32);
  /* The barriers keep the interrupt, which has no handler, from being taken when masking ends. */
  __asm volatile("dsb\n\tisb\n\tcpsie i" ::: "memory");
}

#endif
