/* SPDX-License-Identifier: Apache-2.0 */
/* What the proofs share. Each function of a harness is one proof: CBMC tries all values of what is
 * made by any_*() within what ASSUME leaves. */
#ifndef PROOF_H
#define PROOF_H

#include <stddef.h>
#include <stdint.h>

#define ASSUME(condition) __CPROVER_assume(condition)
#define PROVE(condition) __CPROVER_assert(condition, #condition)

uint8_t any_u8(void);
uint16_t any_u16(void);
uint32_t any_u32(void);
uint64_t any_u64(void);
int8_t any_i8(void);
int16_t any_i16(void);
int32_t any_i32(void);
int64_t any_i64(void);

#endif
