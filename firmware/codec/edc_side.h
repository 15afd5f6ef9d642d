/* SPDX-License-Identifier: Apache-2.0 */
/* Side information: where a frame lay and how large it was, in a few bits (SPEC.md 5.2). */
#ifndef EDC_SIDE_H
#define EDC_SIDE_H

#include <stdint.h>

#include "edc_config.h"

EDC_BEGIN_C

#define EDC_SIDE_MAX 6 /* bytes of the wide form */

typedef struct {
  uint16_t first_scale;  /* scale code that the common form begins with */
  uint8_t scale_bits;    /* a: steps of 2^-a octaves */
  uint8_t location_bits; /* b: steps of 2^-b scales */
  uint8_t scale_field;   /* bits of the scale in the common form */
  uint8_t common_bytes;  /* of the common form, 2..4; the rest of their bits is the location */
  uint8_t squared;       /* 1 when spread is a square, as a variance is */
} edc_side;

/* What the normaliser removed -> out [EDC_SIDE_MAX]. |offset| < 2^29, 1 <= spread < 2^58. Returns
 * the bytes written; EDC_SIDE_MAX of them are the wide form. */
uint32_t edc_side_write(const edc_side *side, int32_t offset, uint64_t spread, uint8_t *out);

EDC_END_C

#endif
