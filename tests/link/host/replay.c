/* SPDX-License-Identifier: Apache-2.0 */
/* Feeds stdin to the server in pieces of odd sizes and prints its answers; run under sanitizers. */
#include <stdio.h>

#include "host.h"

int main(void) {
  static uint8_t in[257];
  static uint8_t out[1 << 20];
  host_start(NULL);
  for (size_t want = 1;; want = want % 256 + 1) {
    size_t count = fread(in, 1, want, stdin);
    if (count == 0) {
      break;
    }
    size_t sent = host_exchange(in, count, out, sizeof out);
    if (fwrite(out, 1, sent, stdout) != sent) {
      return 1;
    }
  }
  return 0;
}
