"""Boards: their data, firmware, emulator, serial link and test harness."""
