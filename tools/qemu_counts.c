/* SPDX-License-Identifier: Apache-2.0 */
/* QEMU plug-in: instructions executed at each address, between two executions of a marked one.
 *
 * qemu-system-arm ... -plugin qemu_counts.so,out=FILE,mark=ADDRESS
 *
 * Each time the instruction at the marked address is about to run, FILE gets a line
 * "ADDRESS COUNT" for each address that has run since the last time, and the line "=". Addresses
 * are hexadecimal. The firmware is not touched and no timer is asked.
 *
 * Built by the host's compiler with -shared -fPIC; QEMU resolves its functions when it loads it.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of QEMU's plug-in API, version 1 (docs/devel/tcg-plugins.rst of QEMU): declared here, because
 * distributions ship no header. */
#define EXPORT __attribute__((visibility("default")))
typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum { QEMU_PLUGIN_INLINE_ADD_U64 = 0 };
enum { QEMU_PLUGIN_CB_NO_REGS = 0 };
typedef void (*qemu_plugin_tb_cb)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*qemu_plugin_vcpu_cb)(unsigned int, void *);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, qemu_plugin_tb_cb);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, qemu_plugin_vcpu_cb, int,
                                            void *);
void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *, int, void *, uint64_t);

EXPORT int qemu_plugin_version = 1;
EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv);

#define BUCKETS 4096u

/* QEMU translates an address again when it likes, so a counter belongs to the address. */
typedef struct counter {
  uint64_t address;
  uint64_t count;
  struct counter *next;
} counter;

static counter *buckets[BUCKETS];
static uint64_t mark;
static FILE *out;

static counter *counter_of(uint64_t address) {
  counter **place = &buckets[(address >> 1) % BUCKETS];
  while (*place != NULL && (*place)->address != address) {
    place = &(*place)->next;
  }
  if (*place == NULL) {
    *place = calloc(1, sizeof **place);
    if (*place == NULL) {
      abort();
    }
    (*place)->address = address;
  }
  return *place;
}

static void at_mark(unsigned int cpu, void *unused) {
  (void)cpu;
  (void)unused;
  for (uint32_t bucket = 0; bucket < BUCKETS; bucket++) {
    for (counter *each = buckets[bucket]; each != NULL; each = each->next) {
      if (each->count > 0) {
        fprintf(out, "%" PRIx64 " %" PRIu64 "\n", each->address, each->count);
        each->count = 0;
      }
    }
  }
  fputs("=\n", out);
  fflush(out); /* whoever started QEMU may end it by force */
}

static void at_translation(qemu_plugin_id_t id, struct qemu_plugin_tb *block) {
  (void)id;
  for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); i++) {
    struct qemu_plugin_insn *instruction = qemu_plugin_tb_get_insn(block, i);
    const uint64_t address = qemu_plugin_insn_vaddr(instruction);
    if (address == mark) {
      qemu_plugin_register_vcpu_insn_exec_cb(instruction, at_mark, QEMU_PLUGIN_CB_NO_REGS, NULL);
    }
    qemu_plugin_register_vcpu_insn_exec_inline(instruction, QEMU_PLUGIN_INLINE_ADD_U64,
                                               &counter_of(address)->count, 1);
  }
}

static const char *value_of(const char *argument, const char *name) {
  const size_t length = strlen(name);
  return strncmp(argument, name, length) == 0 && argument[length] == '=' ? argument + length + 1
                                                                         : NULL;
}

int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv) {
  (void)info;
  for (int i = 0; i < argc; i++) {
    const char *file = value_of(argv[i], "out");
    const char *address = value_of(argv[i], "mark");
    if (file != NULL) {
      out = fopen(file, "w");
    } else if (address != NULL) {
      mark = strtoull(address, NULL, 16);
    }
  }
  if (out == NULL || mark == 0) {
    fputs("qemu_counts: wants out=FILE, which can be written, and mark=ADDRESS\n", stderr);
    return 1;
  }
  qemu_plugin_register_vcpu_tb_trans_cb(id, at_translation);
  return 0;
}
