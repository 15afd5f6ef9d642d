"""Boards at work: emulated, found on a serial port, flashed, and connected to the host."""
