/* SPDX-License-Identifier: Apache-2.0 */
#include "host.h"

#include <string.h>

#include "edc_port.h"
#include "edc_served_model.h"
#include "edc_server.h"

static const uint8_t *rx;
static size_t rx_count;
static uint8_t *tx;
static size_t tx_count;
static size_t tx_capacity;
static uint32_t ticks;
static uint32_t fed;

void edc_port_init(void) {}

int edc_port_read(void) {
  if (rx_count == 0) {
    return -1;
  }
  --rx_count;
  return *rx++;
}

void edc_port_write(const uint8_t *bytes, size_t count) {
  for (size_t i = 0; i < count && tx_count < tx_capacity; ++i) {
    tx[tx_count++] = bytes[i];
  }
}

uint32_t edc_port_ticks(void) { return ticks += HOST_TICK_STEP; }

uint32_t edc_port_ticks_hz(void) { return 1000000; }

void edc_port_feed_watchdog(void) { ++fed; }

void host_start(const uint32_t *fault) {
  static edc_fault_record kept;
  static edc_server_config config = {.board = "host",
                                     .version = "1.2.3",
                                     .window = 4,
                                     .calibration_instructions = 3000,
                                     .calibration_ticks = 1000};
  if (fault) {
    memcpy(&kept, fault, sizeof kept);
  }
  config.fault = fault ? &kept : NULL;
  ticks = UINT32_MAX - 150; /* wraps within the first frame */
  edc_server_init(&config);
}

size_t host_exchange(const uint8_t *bytes, size_t count, uint8_t *out, size_t capacity) {
  rx = bytes;
  rx_count = count;
  tx = out;
  tx_count = 0;
  tx_capacity = capacity;
  edc_server_poll();
  return tx_count;
}

uint32_t host_runs(void) { return stub_runs; }

uint32_t host_fed(void) { return fed; }
