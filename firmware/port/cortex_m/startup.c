/* From reset to main on any Cortex-M, without the start files of a C library. */
#include <stddef.h>
#include <stdint.h>

extern uint32_t edc_stack_top[];
extern uint32_t edc_data_start[], edc_data_end[], edc_data_load[];
extern uint32_t edc_bss_start[], edc_bss_end[];

int main(void);
void edc_reset(void);
void edc_start(void);
void edc_fault(void);
void edc_systick(void);

/* Every exception but reset. Loops, so that a debugger shows where and the host sees silence. */
void edc_fault(void) {
  for (;;) {
  }
}

/* Of timers that count SysTick's wraps; a fault without one. */
__attribute__((weak, alias("edc_fault"))) void edc_systick(void);

/* Assembly, because nothing that the compiler may turn into FP or MVE code can run before CPACR
 * allows it. */
__attribute__((naked, noreturn, used)) void edc_reset(void) {
  __asm volatile(".syntax unified\n"
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
                 "ldr r0, =0xE000ED88\n" /* CPACR: full access to CP10 and CP11 */
                 "ldr r1, [r0]\n"
                 "orr r1, r1, #0x00F00000\n"
                 "str r1, [r0]\n"
                 "dsb\n"
                 "isb\n"
#endif
                 "bl edc_start\n"
                 ".ltorg\n");
}

/* In integers: to C the linker's symbols are unrelated arrays, which may not be compared. */
static size_t words_between(const uint32_t *start, const uint32_t *end) {
  return ((uintptr_t)end - (uintptr_t)start) / sizeof *start;
}

__attribute__((noreturn, used)) void edc_start(void) {
  size_t data_words = words_between(edc_data_start, edc_data_end);
  for (size_t i = 0; i < data_words; ++i) {
    edc_data_start[i] = edc_data_load[i];
  }
  size_t bss_words = words_between(edc_bss_start, edc_bss_end);
  for (size_t i = 0; i < bss_words; ++i) {
    edc_bss_start[i] = 0;
  }
  (void)main();
  for (;;) {
  }
}

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
