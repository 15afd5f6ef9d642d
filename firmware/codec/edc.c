/* SPDX-License-Identifier: Apache-2.0 */
#include "edc.h"

#include "edc_model.h"

const char *edc_strerror(int status) {
  switch (status) {
  case EDC_OK:
    return "fine";
  case EDC_IDLE:
    return "nothing to do";
  case EDC_MORE:
    return "more to do";
  case EDC_PACKET:
    return "a packet is ready";
  case EDC_BUSY:
    return "not all samples were taken: two frames wait already";
  case EDC_ERROR_ARGUMENT:
    return "a pointer is NULL, memory is not aligned, or a number is out of its range";
  case EDC_ERROR_SIZE:
    return "memory, or the longest fragment, is too small";
  case EDC_ERROR_PACKETS:
    return "the model has no packets, or another engine runs its encoder";
  case EDC_ERROR_BLOB:
    return "no model's blob, or cut off, or damaged";
  case EDC_ERROR_VERSION:
    return "the blob is for another version of the codec's C, or another core";
  case EDC_ERROR_KERNEL:
    return "the blob needs a kernel that the program does not have";
  default:
    return "unknown status";
  }
}

const edc_info *edc_model_info(const edc_model *model) {
  return model == NULL ? NULL : &model->info;
}

int edc_encode(const edc_model *model, void *state, const int16_t *frame, uint16_t *indices,
               edc_frame_stats *stats) {
  if (model == NULL || state == NULL || ((uintptr_t)state & 3u) != 0 || frame == NULL ||
      indices == NULL || stats == NULL) {
    return EDC_ERROR_ARGUMENT;
  }
  edc_model_normalize(model, state, frame, stats);
  edc_model_infer(model, state);
  edc_model_search(model, state, indices);
  return EDC_OK;
}
