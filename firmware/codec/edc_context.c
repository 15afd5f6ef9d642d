/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_context.h"

static void edc_context_start(const void *tables, void *state) {
  (void)tables;
  ((edc_context_state *)state)->context = 0;
}

static void edc_context_position(const void *tables, void *state, const uint16_t *indices,
                                 uint32_t levels, edc_range *coder) {
  const edc_context_level *level = ((const edc_context_tables *)tables)->levels;
  edc_context_state *context_state = state;
  uint32_t context = context_state->context;
  context_state->context = indices[0] + 1u;
  const uint16_t *end = indices + levels;
  do {
    const uint32_t index = *indices;
    const edc_context_code *code = level->codes + index;
    const uint16_t *group =
        level->group_starts + level->classes[context] * level->group_count + code->group;
    const uint32_t share = (uint16_t)(group[1] - group[0] - 1) + 1u; /* of the group */
    const uint32_t part = (uint32_t)code->last - code->start + 1;    /* of it, the index */
    edc_range_encode(coder, group[0] * 256u + share * code->start, share * part);
    context = index + 1;
    level++;
  } while (++indices != end);
}

const edc_index_model edc_context_model = {edc_context_start, edc_context_position};
