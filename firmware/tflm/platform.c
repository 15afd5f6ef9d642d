/* SPDX-License-Identifier: Apache-2.0 */
/* What TensorFlow Lite Micro asks of its platform: nothing is printed, and a failed check ends as a
 * fault does. The C library's own would pull in formatted output, files and a heap. */

void DebugLog(const char *format, ...);
int DebugVsnprintf(char *buffer, unsigned int capacity, const char *format, ...);
_Noreturn void abort(void);
_Noreturn void __assert_func(const char *file, int line, const char *function, const char *text);
_Noreturn void __cxa_pure_virtual(void);
int __aeabi_atexit(void *object, void (*destroy)(void *object), void *module);
extern void *__dso_handle;

void DebugLog(const char *format, ...) { (void)format; }

int DebugVsnprintf(char *buffer, unsigned int capacity, const char *format, ...) {
  (void)buffer;
  (void)capacity;
  (void)format;
  return 0;
}

_Noreturn void abort(void) { __builtin_trap(); }

/* Of newlib's assert. */
_Noreturn void __assert_func(const char *file, int line, const char *function, const char *text) {
  (void)file;
  (void)line;
  (void)function;
  (void)text;
  abort();
}

_Noreturn void __cxa_pure_virtual(void) { abort(); }

/* The program does not end, so nothing is destroyed. */
int __aeabi_atexit(void *object, void (*destroy)(void *object), void *module) {
  (void)object;
  (void)destroy;
  (void)module;
  return 0;
}

void *__dso_handle;
