#include "edc_context.h"

static void start(const void *tables, void *state) {
  (void)tables;
  ((edc_context_state *)state)->context = 0;
}

static void position(const void *tables, void *state, const uint16_t *indices, uint32_t levels,
                     edc_range *coder) {
  const edc_context_level *level = ((const edc_context_tables *)tables)->levels;
  edc_context_state *context_state = state;
  uint32_t context = context_state->context;
  context_state->context = indices[0] + 1u;
  for (uint32_t i = 0; i < levels; i++, level++) {
    const uint32_t index = indices[i];
    const uint16_t *group = level->group_starts +
                            (uint32_t)level->classes[context] * level->group_count +
                            level->groups[index];
    const uint8_t *member = level->member_starts + level->ranks[index];
    const uint32_t share = (uint32_t)(group[1] - group[0] - 1) % 0x8000 + 1; /* of the group */
    const uint32_t part = (uint32_t)(member[1] - member[0] - 1) % 0x100 + 1; /* of it, the index */
    edc_range_encode(coder, 2 * (group[0] * 256u + share * member[0]), 2 * share * part);
    context = index + 1;
  }
}

const edc_index_model edc_context_model = {start, position};
