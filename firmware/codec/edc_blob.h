/* SPDX-License-Identifier: Apache-2.0 */
/* A model that is no part of the program: a blob, <prefix>.edcm, made beside its header by
 * `edgecodec generate --blob`, which devices get over the air and open where it lies, in flash that
 * is mapped to memory or in RAM (SPEC.md 6).
 *
 * The program has the kernels, the blob the weights, codebooks and structures. Tables are read
 * where the blob lies; only structures with pointers are copied, to the caller's memory.
 *
 * What the checksum tells is damage. Whatever the bytes are, opening reads nothing outside of the
 * blob and writes nothing outside of the memory. What a model does when it encodes, that somebody
 * made to do harm and whose checksum is right, cannot be promised: whether a blob is from whom it
 * should be is for the boot loader to check, by a signature over all of it, before it is opened.
 */
#ifndef EDC_BLOB_H
#define EDC_BLOB_H

#include "edc.h"

EDC_BEGIN_C

/** Any function, as a kernel set has it. */
typedef void edc_any_function(void);

/** Something that models point to: a function, or an object with functions. */
typedef struct {
  uint32_t number; /**< of name and types, made by edgecodec */
  union {
    edc_any_function *function;
    const void *object;
    uintptr_t address;
  } at;
} edc_kernel;

/** What a program has for blobs: `<prefix>_kernels`, generated. */
typedef struct {
  const edc_kernel *kernels; /**< [count] */
  uint32_t count;
} edc_kernel_set;

/** What a blob is, before it is opened. */
typedef struct {
  const uint8_t *digest; /**< [32] within the blob, SHA-256 of the bundle's manifest */
  size_t bytes;          /**< of the blob */
  size_t memory_bytes;   /**< that opening takes */
  size_t alignment;      /**< of blob and memory, a power of two, in bytes */
} edc_blob;

/** Check all of a blob and tell what it is.
 *
 * @param blob   aligned to 4 bytes
 * @param bytes  that may be read, at least the blob's; what is behind it does not matter
 * @param found  what it is
 * @return EDC_OK, EDC_ERROR_ARGUMENT; EDC_ERROR_BLOB when it is none, cut off or damaged;
 *         EDC_ERROR_VERSION when it is for another version of this C or another width of pointers
 */
int edc_blob_check(const void *blob, size_t bytes, edc_blob *found);

/** Check a blob, as edc_blob_check does, and make its model. Any number of them may be open.
 *
 * How much state, and how large frames a model takes, is its own: edc_model_info says it, and
 * edc_encode believes that the caller looked.
 *
 * @param blob          aligned as edc_blob_check says; in use, and unchanged, as long as the model
 * @param bytes         as for edc_blob_check
 * @param memory        aligned likewise and apart from the blob; in use as long as the model. After
 *                      an error it holds anything
 * @param memory_bytes  at least those that edc_blob_check says
 * @param kernels       what the model may call
 * @param model         the model, in memory; NULL after an error
 * @return as edc_blob_check; EDC_ERROR_ARGUMENT also for blob or memory that is not aligned,
 *         EDC_ERROR_SIZE for too little memory, EDC_ERROR_KERNEL when the blob needs a kernel that
 *         is not in the set, or is there with other types
 */
int edc_model_open(const void *blob, size_t bytes, void *memory, size_t memory_bytes,
                   const edc_kernel_set *kernels, const edc_model **model);

EDC_END_C

#endif
