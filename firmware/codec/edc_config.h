/* SPDX-License-Identifier: Apache-2.0 */
/* What the codec asks of a compiler, in one place: define any of these before, or with -D, to have
 * another. GCC, clang (and so Arm Compiler 6), IAR and MSVC are told apart below.
 */
#ifndef EDC_CONFIG_H
#define EDC_CONFIG_H

#include <stdint.h>

/* The public headers in C++. */
#ifdef __cplusplus
#define EDC_BEGIN_C extern "C" {
#define EDC_END_C }
#else
#define EDC_BEGIN_C
#define EDC_END_C
#endif

/* Checked when compiled; `message` is a string. */
#ifndef EDC_STATIC_ASSERT
#ifdef __cplusplus
#define EDC_STATIC_ASSERT(condition, message) static_assert(condition, message)
#elif defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define EDC_STATIC_ASSERT(condition, message) _Static_assert(condition, message)
#else
#define EDC_STATIC_ASSERT(condition, message) extern char edc_static_assert[(condition) ? 1 : -1]
#endif
#endif

/* Checked when it runs; nothing by default, as the codec checks its arguments itself. */
#ifndef EDC_ASSERT
#define EDC_ASSERT(condition) ((void)0)
#endif

/* In front of the constant tables of a model, to place them: a section in external flash, say. */
#ifndef EDC_TABLE
#define EDC_TABLE
#endif

/* In front of the functions that take the time, to place them: a section in RAM, say. */
#ifndef EDC_HOT
#define EDC_HOT
#endif

/* In front of a variable: its alignment in bytes. */
#ifndef EDC_ALIGNED
#if defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
#define EDC_ALIGNED(bytes) _Alignas(bytes)
#elif defined(_MSC_VER)
#define EDC_ALIGNED(bytes) __declspec(align(bytes))
#else
#define EDC_ALIGNED(bytes) __attribute__((aligned(bytes)))
#endif
#endif

/* A type that may point to any other's bytes, and how it is aligned. */
#ifndef EDC_MAY_ALIAS
#if defined(__GNUC__)
#define EDC_MAY_ALIAS __attribute__((may_alias))
#else
#define EDC_MAY_ALIAS /* IAR and MSVC do not take types for a promise */
#endif
#endif

/* A header's function. Clang warns of those that nothing calls where all is one file. */
#ifndef EDC_INLINE
#if defined(__GNUC__)
#define EDC_INLINE static inline __attribute__((unused))
#else
#define EDC_INLINE static inline
#endif
#endif

#ifndef EDC_ALWAYS_INLINE
#if defined(__GNUC__)
#define EDC_ALWAYS_INLINE static inline __attribute__((always_inline))
#define EDC_NEVER_INLINE static __attribute__((noinline))
#elif defined(_MSC_VER)
#define EDC_ALWAYS_INLINE static __forceinline
#define EDC_NEVER_INLINE static __declspec(noinline)
#else
#define EDC_ALWAYS_INLINE static inline
#define EDC_NEVER_INLINE static
#endif
#endif

/* Reads and writes before it come before those behind it, as an interrupt, another core or another
 * thread sees them. */
#ifndef EDC_BARRIER
#if defined(__GNUC__)
#define EDC_BARRIER() __atomic_thread_fence(__ATOMIC_SEQ_CST)
#elif defined(__ICCARM__)
#include <intrinsics.h>
#define EDC_BARRIER() __DMB()
#elif defined(_MSC_VER)
#include <intrin.h>
#define EDC_BARRIER() _ReadWriteBarrier() /* its volatile orders the rest */
#endif                                    /* no other: edc_encoder.c asks for it */
#endif

/* The place of the lowest set bit of a 32-bit number that is not 0. */
#ifndef EDC_CTZ
#if defined(__GNUC__)
#define EDC_CTZ(value) ((uint32_t)__builtin_ctz(value))
#elif defined(__ICCARM__)
#include <intrinsics.h>
#define EDC_CTZ(value) ((uint32_t)__CLZ(__RBIT(value)))
#else
EDC_INLINE uint32_t edc_lowest_bit(uint32_t value) {
  uint32_t place = 0;
  while ((value & 1u) == 0) {
    value >>= 1;
    place++;
  }
  return place;
}
#define EDC_CTZ(value) edc_lowest_bit(value)
#endif
#endif

#endif
