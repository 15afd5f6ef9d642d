"""The serial ports of this machine."""

from __future__ import annotations

from dataclasses import dataclass

from serial.tools import list_ports as serial_ports


@dataclass(frozen=True)
class PortInfo:
    """A serial port of this machine."""

    device: str
    """The port as ``--port`` takes it."""
    description: str
    """What the system calls it; ``n/a`` when it has no name for it."""
    hardware_id: str
    """USB VID:PID and serial number as one text, where there are any."""
    vid: int | None = None
    """USB vendor ID; null when the port is not on USB."""
    pid: int | None = None
    """USB product ID; null when the port is not on USB."""
    serial_number: str | None = None
    """Serial number of the USB device, which is that of the debug probe on the same device; null when it has none."""


def list_ports() -> list[PortInfo]:
    """The serial ports of this machine, sorted by name."""
    found = [
        PortInfo(port.device, port.description, port.hwid, port.vid, port.pid, port.serial_number)
        for port in serial_ports.comports()
    ]
    return sorted(found, key=lambda port: port.device)
