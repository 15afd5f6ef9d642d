/* edgecodec: sleep until an interrupt is pending, on any Cortex-M.
 *
 * Interrupts are masked: they wake the CPU but no handler runs, so nothing disturbs a measurement.
 */
#ifndef EDC_CORTEX_M_H
#define EDC_CORTEX_M_H

#include <stdint.h>

#define EDC_NVIC_ISER ((volatile uint32_t *)0xE000E100) /* set enable, one bit an interrupt */
#define EDC_NVIC_ICPR ((volatile uint32_t *)0xE000E280) /* clear pending */

static inline void edc_cortex_m_wake_on(uint32_t irq) {
  __asm volatile("cpsid i" ::: "memory");
  EDC_NVIC_ISER[irq / 32] = UINT32_C(1) << (irq % 32);
}

static inline void edc_cortex_m_clear_pending(uint32_t irq) {
  EDC_NVIC_ICPR[irq / 32] = UINT32_C(1) << (irq % 32);
}

static inline void edc_cortex_m_sleep(void) { __asm volatile("dsb\n\twfi" ::: "memory"); }

#endif
