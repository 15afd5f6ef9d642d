#include "edc.h"

#include "edc_model.h"

const char *edc_strerror(int status) {
  switch (status) {
  case EDC_OK:
    return "fine";
  case EDC_ERROR_ARGUMENT:
    return "a pointer is NULL, or memory is not aligned to 4 bytes";
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
