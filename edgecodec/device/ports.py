"""The serial ports of this machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from serial.tools import list_ports as serial_ports

from edgecodec.documents import INLINE, Document

if TYPE_CHECKING:
    from edgecodec.boards.schema import Board


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


@dataclass(frozen=True)
class BoardPort:
    """A serial port, and whose it may be."""

    port: PortInfo = field(metadata=INLINE)
    """The port; its keys stand beside ``boards``."""
    boards: tuple[str, ...]
    """Names of the boards whose files name the port's USB device."""


@dataclass(frozen=True)
class PortsDocument(Document):
    """The serial ports of this machine."""

    SCHEMA = "edgecodec.ports"

    ports: tuple[BoardPort, ...]
    """Each port, sorted by name."""

    @classmethod
    def of(cls, boards: Iterable[Board]) -> PortsDocument:
        """The ports of this machine, each with those of ``boards`` that it may be."""
        names: dict[tuple[int | None, int | None], list[str]] = {}
        for board in boards:
            for vid, pid in dict.fromkeys((usb.vid, usb.pid) for usb in board.usb):
                names.setdefault((vid, pid), []).append(board.name)
        return cls(tuple(BoardPort(port, tuple(names.get((port.vid, port.pid), ()))) for port in list_ports()))


def list_ports() -> list[PortInfo]:
    """The serial ports of this machine, sorted by name."""
    found = [
        PortInfo(port.device, port.description, port.hwid, port.vid, port.pid, port.serial_number)
        for port in serial_ports.comports()
    ]
    return sorted(found, key=lambda port: port.device)
