/* SPDX-License-Identifier: Apache-2.0 */
/* edgecodec: a learned PPG codec in integers. The one header that a program includes, beside its
 * model's own. C99 and C++11.
 *
 *   Status      edc_status, edc_strerror
 *   Models      edc_model, edc_info, edc_model_info
 *   One frame   edc_encode
 *   A stream    edc_encoder.h, which a model whose bundle has packets includes
 *   Updates     edc_blob.h, for models that are no part of the program
 *
 * A model is a constant, generated as <prefix>_model.c and .h from a bundle; any number of them are
 * in a program. Memory is the caller's; nothing is allocated, nothing is global.
 */
#ifndef EDC_H
#define EDC_H

#include <stddef.h>
#include <stdint.h>

#include "edc_config.h"

/* Version of this C and of what is generated beside it. */
#define EDC_VERSION_MAJOR 0
#define EDC_VERSION_MINOR 1
#define EDC_VERSION_PATCH 0

EDC_STATIC_ASSERT((-3 >> 1) == -2, "edgecodec needs an arithmetic right shift");

EDC_BEGIN_C

/** 0 fine, positive what is to be done, negative an error. */
typedef enum {
  EDC_OK = 0,
  EDC_IDLE = 1,   /**< nothing to do until more samples are there, or no more fragments */
  EDC_MORE = 2,   /**< more is to be done: call again */
  EDC_PACKET = 3, /**< a packet is ready */
  EDC_BUSY = 4,   /**< not all samples were taken: two frames wait already */
  /** a pointer is NULL, memory is not aligned, or a number is out of its range */
  EDC_ERROR_ARGUMENT = -1,
  EDC_ERROR_SIZE = -2,    /**< memory, or the longest fragment, is too small */
  EDC_ERROR_PACKETS = -3, /**< the model has no packets, or another engine runs its encoder */
  EDC_ERROR_BLOB = -4,    /**< no model's blob, or cut off, or damaged */
  EDC_ERROR_VERSION = -5, /**< the blob is for another version of the codec's C, or another core */
  EDC_ERROR_KERNEL = -6   /**< the blob needs a kernel that the program does not have */
} edc_status;

/** One line of English for a status. Never NULL. */
const char *edc_strerror(int status);

/** A codec: kernels, layers, tables. Opaque; `<prefix>_model`, for instance. */
typedef struct edc_model edc_model;

/** What a model is, in figures. */
typedef struct {
  const char *name;          /**< the bundle's */
  const uint8_t *digest;     /**< [32], SHA-256 of the bundle's manifest */
  const uint32_t *codes;     /**< [levels], codes of each level's codebook */
  const uint8_t *bits;       /**< [levels], what a level's index takes, packed plainly */
  uint32_t rate_mhz;         /**< samples in 1000 s; 0 when the bundle does not say */
  uint32_t state_bytes;      /**< working memory of edc_encode, aligned to 4 bytes */
  uint32_t encoder_bytes;    /**< working memory of an encoder (edc_init); 0 without packets */
  uint32_t packet_bytes_max; /**< of the longest packet; 0 when the model has none */
  uint16_t samples;          /**< T, ADC counts of a frame */
  uint16_t positions;        /**< P, latent vectors of a frame */
  uint16_t levels;           /**< L, codebook indices of a position */
  uint16_t latent_channels;  /**< D, entries of a latent vector */
  uint16_t layers;           /**< of the encoder */
  uint16_t latent_bytes;     /**< of a latent vector: D, or 2 D with 16-bit activations */
} edc_info;

/** The figures of a model. NULL for NULL. */
const edc_info *edc_model_info(const edc_model *model);

/** What the normaliser removed from a frame, for the decoder (SPEC.md 1.1): by z-score the sum and
 * T^2 times the variance, by least and largest count the least and their difference, otherwise 0
 * and 0. */
typedef struct {
  int32_t offset;
  uint64_t spread;
} edc_frame_stats;

/** Encode one frame.
 *
 * @param model    the codec
 * @param state    [state_bytes], aligned to 4 bytes; holds nothing between frames, so any number of
 *                 threads may encode at once, each with a state of its own
 * @param frame    [samples], ADC counts
 * @param indices  [positions][levels], codebook indices
 * @param stats    what the normaliser removed
 * @return EDC_OK or EDC_ERROR_ARGUMENT
 */
int edc_encode(const edc_model *model, void *state, const int16_t *frame, uint16_t *indices,
               edc_frame_stats *stats);

EDC_END_C

#endif
