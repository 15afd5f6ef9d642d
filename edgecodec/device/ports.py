"""The serial ports of this machine."""

from __future__ import annotations

from dataclasses import dataclass

from serial.tools import list_ports as serial_ports


@dataclass(frozen=True)
class PortInfo:
    """A serial port of this machine."""

    device: str
    """What ``--port`` takes."""
    description: str
    hardware_id: str
    """USB VID:PID and serial number as one text, where there are any."""
    vid: int | None = None
    """USB vendor; None when the port is not on USB."""
    pid: int | None = None
    serial_number: str | None = None
    """Of the USB device; a debug probe with a serial port has the same for both."""


def list_ports() -> list[PortInfo]:
    """The serial ports of this machine, sorted by name."""
    found = [
        PortInfo(port.device, port.description, port.hwid, port.vid, port.pid, port.serial_number)
        for port in serial_ports.comports()
    ]
    return sorted(found, key=lambda port: port.device)
