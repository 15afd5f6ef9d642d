/* SPDX-License-Identifier: Apache-2.0 */
#include "edc_chain.h"

typedef uint32_t EDC_MAY_ALIAS word;

/* Rows of a layer's input that exist. */
static int32_t available(const edc_chain *chain, const edc_chain_rows *rows, uint32_t layer) {
  if (layer == 0) {
    return chain->layers->in_width;
  }
  const edc_chain_layer *const before = &chain->layers[layer - 1];
  const int32_t position = rows[layer - 1].position;
  return position == 0 || position == before->out_width ? position : position - before->lag;
}

/* Input row under tap 0 of a layer's next position, negative inside the left padding. */
static int32_t next_row(const edc_chain_layer *layer, const edc_chain_rows *rows) {
  return rows->position * layer->stride - layer->pad_left;
}

void edc_chain_next(const edc_chain *chain, const edc_chain_rows *rows, int8_t *arena,
                    edc_chunk *chunk) {
  uint32_t i = chain->count;
  const edc_chain_layer *layer;
  int32_t left;
  int32_t count; /* positions */
  int32_t row;
  int32_t there;
  int32_t lacking = UINT16_MAX; /* rows of the layer's output */
  do {
    layer = &chain->layers[--i];
    left = layer->out_width - rows[i].position;
    count = lacking + (rows[i].position == 0 ? layer->lag : 0);
    count = count < layer->chunk ? (count + layer->mask) & ~layer->mask : layer->chunk;
    if (count >= left) {
      /* The last one has the outputs that are behind, too. */
      const int fits = left + layer->lag <= layer->chunk || left <= layer->mask + 1;
      count = fits ? left : (left - 1) & ~layer->mask;
    }
    row = next_row(layer, &rows[i]);
    int32_t needed = row + count * layer->stride + layer->tail;
    if (needed > layer->in_width || (count == left && layer->lag > 0)) {
      needed = layer->in_width;
    }
    there = available(chain, rows, i);
    lacking = needed - there;
  } while (lacking > 0);
  const int32_t start = row < 0 ? 0 : row;
  const int last = i + 1 == chain->count;
  chunk->layer = i;
  chunk->in = arena + layer->in + (start - rows[i].first) * layer->in_channels;
  chunk->out = arena + (last ? chain->out : layer[1].in) +
               (rows[i].position - (last ? 0 : rows[i + 1].first)) * layer->out_channels;
  chunk->in_width = (uint16_t)(there - start);
  chunk->out_width = (uint16_t)count;
  chunk->pad_left = (uint16_t)(start - row);
  chunk->resumes = rows[i].position > 0;
  chunk->pauses = count < left;
}

/* To lies before from. */
static void move_down(int8_t *to, const int8_t *from, int32_t count) {
  if ((((uintptr_t)to | (uintptr_t)from | (uint32_t)count) & 3u) == 0) {
    word *target = (word *)(void *)to;
    const word *source = (const word *)(const void *)from;
    for (int32_t left = count / 4; left > 0; left--) {
      *target++ = *source++;
    }
  } else {
    for (; count > 0; count--) {
      *to++ = *from++;
    }
  }
}

int edc_chain_done(const edc_chain *chain, edc_chain_rows *rows, int8_t *arena,
                   const edc_chunk *chunk) {
  const uint32_t i = chunk->layer;
  const edc_chain_layer *const layer = &chain->layers[i];
  rows[i].position = (uint16_t)(rows[i].position + chunk->out_width);
  if (i > 0) {
    const int32_t there = available(chain, rows, i);
    const int32_t row = next_row(layer, &rows[i]);
    int32_t first = row < there ? row : there;
    first = first < 0 ? 0 : first;
    int8_t *const buffer = arena + layer->in;
    move_down(buffer, buffer + (first - rows[i].first) * layer->in_channels,
              (there - first) * layer->in_channels);
    rows[i].first = (uint16_t)first;
  }
  return i + 1 == chain->count && !chunk->pauses;
}

/* The cascade's next stripe. Returns its layer. */
EDC_NEVER_INLINE uint32_t run_chunk(const edc_model *model, const edc_chain *chain, int8_t *memory,
                                    edc_progress *progress) {
  edc_chain_rows *const rows = (edc_chain_rows *)(void *)(memory + model->rows);
  for (uint32_t i = 0; !progress->begun && i < chain->count; i++) {
    rows[i].position = 0;
    rows[i].first = 0;
  }
  edc_chunk chunk;
  edc_chain_next(chain, rows, memory, &chunk);
  const uint32_t index = chain->first + chunk.layer;
  const edc_layer *const layer = &model->layers[index];
  layer->run(layer->constants, &chunk, chunk.in, chunk.out,
             (int32_t *)(void *)(memory + layer->scratch));
  progress->begun = !edc_chain_done(chain, rows, memory, &chunk);
  if (!progress->begun) {
    progress->layer += chain->count;
  }
  return index;
}

uint32_t edc_next_chunk(const edc_model *model, void *state, edc_progress *progress) {
  for (uint32_t i = 0; i < model->chain_count; i++) {
    if (model->chains[i].first == progress->layer) {
      return run_chunk(model, &model->chains[i], (int8_t *)state, progress);
    }
  }
  return edc_next_layer(model, state, progress);
}
