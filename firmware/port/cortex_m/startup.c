/* SPDX-License-Identifier: Apache-2.0 */
/* From reset to main on any Cortex-M, without the start files of a C library, and from a fault back
 * to reset. */
#include <stddef.h>
#include <stdint.h>

#include "edc_cortex_m.h"

extern uint32_t edc_stack_bottom[], edc_stack_top[];
extern uint32_t edc_data_start[], edc_data_end[], edc_data_load[];
extern uint32_t edc_bss_start[], edc_bss_end[];

int main(void);
void edc_reset(void);
void edc_start(void);
void edc_fault(void);
void edc_keep_fault(uint32_t pc, uint32_t lr, uint32_t xpsr, uint32_t exception);
void edc_systick(void);

#define SYSTEM_REGISTER(address) (*(volatile uint32_t *)(address))
#define AIRCR SYSTEM_REGISTER(0xE000ED0Cu)
#define AIRCR_RESET 0x05FA0004u /* key, SYSRESETREQ */
#define CFSR SYSTEM_REGISTER(0xE000ED28u)
#define CFSR_MMFAR_VALID (1u << 7)
#define CFSR_BFAR_VALID (1u << 15)
#define HFSR SYSTEM_REGISTER(0xE000ED2Cu)
#define MMFAR SYSTEM_REGISTER(0xE000ED34u)
#define BFAR SYSTEM_REGISTER(0xE000ED38u)
#define DHCSR SYSTEM_REGISTER(0xE000EDF0u)
#define DHCSR_DEBUGGER 1u

/* Armv7-M and the Armv8-M Main extension have fault status registers and show whether a debugger is
 * there; on the others both may be read as anything. */
#if __ARM_ARCH_ISA_THUMB == 2
#define IS_MAIN 1
#else
#define IS_MAIN 0
#endif

#define COLD __attribute__((cold)) /* small rather than fast, whatever the rest is compiled for */

#define KEPT_MAGIC 0xEDC0FA17u

/* In RAM that neither a reset nor start-up changes; after power-on it may hold anything. */
typedef struct {
  uint32_t magic;
  uint32_t sum;
  edc_fault_record fault;
} kept_fault;

/* Not static: what is written to it before a reset is never read again as far as C knows. */
kept_fault edc_kept_fault __attribute__((section(".noinit")));

const edc_fault_record *edc_cortex_m_last_fault(void) { return &edc_kept_fault.fault; }

COLD static uint32_t sum_of(const edc_fault_record *fault) {
  const uint32_t *words = (const uint32_t *)fault;
  uint32_t sum = KEPT_MAGIC;
  for (size_t i = 0; i < sizeof *fault / sizeof *words; ++i) {
    sum = (sum << 5) - sum + words[i];
  }
  return sum;
}

/* What was kept counts for one start, so that a reset of another cause says nothing of it. */
COLD static void take_kept_fault(void) {
  kept_fault *kept = &edc_kept_fault;
  if (kept->magic != KEPT_MAGIC || kept->sum != sum_of(&kept->fault)) {
    kept->fault = (edc_fault_record){0};
  }
  kept->magic = 0;
}

__attribute__((noreturn)) COLD static void keep_and_restart(void) {
  edc_kept_fault.magic = KEPT_MAGIC;
  edc_kept_fault.sum = sum_of(&edc_kept_fault.fault);
  __asm volatile("dsb" ::: "memory");
#if IS_MAIN
  if (DHCSR & DHCSR_DEBUGGER) {
    __asm volatile("bkpt 0");
  }
#endif
  AIRCR = AIRCR_RESET;
  for (;;) {
  }
}

/* Every exception but reset comes here: none is enabled, so the configurable faults escalate to
 * HardFault. Assembly, because the stack may have overflowed: what the CPU saved is read if it lies
 * within the stack, and then all of the stack is there for what follows. */
__attribute__((naked, used)) void edc_fault(void) {
  __asm volatile(".syntax unified\n"
                 "mrs r3, msp\n"
                 "ldr r0, =edc_stack_bottom\n"
                 "ldr r1, =edc_stack_top\n"
                 "msr msp, r1\n"
                 "subs r1, r1, #32\n"
                 "movs r2, #0\n"
                 "cmp r3, r0\n"
                 "blo 1f\n"
                 "cmp r3, r1\n"
                 "bhi 1f\n"
                 "ldr r0, [r3, #24]\n" /* PC, LR, xPSR */
                 "ldr r1, [r3, #20]\n"
                 "ldr r2, [r3, #28]\n"
                 "b 2f\n"
                 "1:\n"
                 "movs r0, #0\n"
                 "movs r1, #0\n"
                 "2:\n"
                 "mrs r3, ipsr\n"
                 "bl edc_keep_fault\n"
                 ".ltorg\n");
}

__attribute__((noreturn, used)) COLD void edc_keep_fault(uint32_t pc, uint32_t lr, uint32_t xpsr,
                                                         uint32_t exception) {
  edc_fault_record *fault = &edc_kept_fault.fault;
  *fault = (edc_fault_record){.exception = exception, .pc = pc, .lr = lr, .xpsr = xpsr};
#if IS_MAIN
  uint32_t status = CFSR;
  fault->cfsr = status;
  fault->hfsr = HFSR;
  if (status & CFSR_BFAR_VALID) {
    fault->address = BFAR;
  } else if (status & CFSR_MMFAR_VALID) {
    fault->address = MMFAR;
  }
#endif
  keep_and_restart();
}

COLD void edc_cortex_m_restart_without(const volatile uint32_t *reg) {
  uint32_t caller = (uint32_t)(uintptr_t)__builtin_return_address(0);
  edc_kept_fault.fault = (edc_fault_record){
      .exception = EDC_FAULT_TIMEOUT, .pc = caller & ~1u, .address = (uint32_t)(uintptr_t)reg};
  keep_and_restart();
}

/* Of timers that count SysTick's wraps; a fault without one. */
__attribute__((weak, alias("edc_fault"))) void edc_systick(void);

typedef union {
  uint32_t *stack;
  void (*handler)(void);
} edc_vector;

/* No interrupt is taken, so the table ends with the system exceptions. */
__attribute__((section(".vectors"), used)) static const edc_vector vectors[16] = {
    {.stack = edc_stack_top},
    {.handler = edc_reset},
    {.handler = edc_fault}, /* NMI */
    {.handler = edc_fault}, /* HardFault */
    {.handler = edc_fault}, /* MemManage */
    {.handler = edc_fault}, /* BusFault */
    {.handler = edc_fault}, /* UsageFault */
    {.handler = edc_fault}, /* SecureFault */
    {0},
    {0},
    {0},
    {.handler = edc_fault}, /* SVCall */
    {.handler = edc_fault}, /* DebugMonitor */
    {0},
    {.handler = edc_fault}, /* PendSV */
    {.handler = edc_systick},
};

/* Assembly, because nothing that the compiler may turn into FP or MVE code can run before CPACR
 * allows it. A boot loader may have left VTOR at a table of its own, and MSP within a stack of its
 * own. */
__attribute__((naked, noreturn, used)) void edc_reset(void) {
  __asm volatile(".syntax unified\n"
#if EDC_CORE_HAS_VTOR
                 "ldr r0, =0xE000ED08\n" /* VTOR */
                 "ldr r1, =vectors\n"
                 "str r1, [r0]\n"
                 "dsb\n"
#endif
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
                 "ldr r0, =0xE000ED88\n" /* CPACR: full access to CP10 and CP11 */
                 "ldr r1, [r0]\n"
                 "orr r1, r1, #0x00F00000\n"
                 "str r1, [r0]\n"
                 "dsb\n"
                 "isb\n"
#endif
                 "ldr r0, =edc_stack_top\n"
                 "msr msp, r0\n"
                 "bl edc_start\n"
                 ".ltorg\n");
}

/* In integers: to C the linker's symbols are unrelated arrays, which may not be compared. */
static size_t words_between(const uint32_t *start, const uint32_t *end) {
  return ((uintptr_t)end - (uintptr_t)start) / sizeof *start;
}

__attribute__((noreturn, used)) COLD void edc_start(void) {
  size_t data_words = words_between(edc_data_start, edc_data_end);
  for (size_t i = 0; i < data_words; ++i) {
    edc_data_start[i] = edc_data_load[i];
  }
  size_t bss_words = words_between(edc_bss_start, edc_bss_end);
  for (size_t i = 0; i < bss_words; ++i) {
    edc_bss_start[i] = 0;
  }
  take_kept_fault();
  (void)main();
  for (;;) {
  }
}
