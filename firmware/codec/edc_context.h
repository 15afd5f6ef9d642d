/* Static tables of indices: classes of contexts by groups of indices (SPEC.md 5.5). */
#ifndef EDC_CONTEXT_H
#define EDC_CONTEXT_H

#include <stdint.h>

#include "edc_packet.h"

/* One level: K codes in group_count groups, J + 1 contexts. A share ends where the next one starts,
 * modulo the whole, 0 being all of it. */
typedef struct {
  const uint8_t *classes;       /* [J + 1]: 0 stands for no index before, i + 1 for index i */
  const uint8_t *groups;        /* [K], group of each index */
  const uint8_t *ranks;         /* [K], place of each index among all, sorted by group */
  const uint8_t *member_starts; /* [K + 1] by rank, of 2^8, within the group; the last 0 */
  const uint16_t *group_starts; /* [classes][group_count] and one 0, of 2^15 */
  uint16_t group_count;
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
