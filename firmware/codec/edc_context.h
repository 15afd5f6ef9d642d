/* SPDX-License-Identifier: Apache-2.0 */
/* Static tables of indices: classes of contexts by groups of indices (SPEC.md 5.5). */
#ifndef EDC_CONTEXT_H
#define EDC_CONTEXT_H

#include <stdint.h>

#include "edc_packet.h"

/* An index: its group, and its share of it, of 2^8. */
typedef struct {
  uint8_t group;
  uint8_t start;
  uint8_t last; /* start and size, less 1 */
} edc_context_code;

/* One level: K codes in group_count groups, J + 1 contexts. A group ends where the next one starts,
 * modulo 2^16, 0 being all of it. */
typedef struct {
  const uint8_t *classes;        /* [J + 1]: 0 stands for no index before, i + 1 for index i */
  const edc_context_code *codes; /* [K] */
  const uint16_t *group_starts;  /* [classes][group_count] and one 0, of 2^16 */
  uint32_t group_count;
} edc_context_level;

typedef struct {
  const edc_context_level *levels;
} edc_context_tables;

typedef struct {
  uint32_t context; /* of the next position's first level */
} edc_context_state;

/* Takes edc_context_tables and edc_context_state. */
extern const edc_index_model edc_context_model;

#endif
