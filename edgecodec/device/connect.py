"""Brings firmware and host together: start the emulated board, or find, flash and open a real one."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgecodec.boards.toolchain import find_toolchain
from edgecodec.device.emulator import Emulator, find_qemu
from edgecodec.device.flash import flash, flash_tool, plan_flash
from edgecodec.device.flash.base import FlashPlan
from edgecodec.device.ports import PortInfo, list_ports
from edgecodec.errors import DeviceError, InputError, LinkError
from edgecodec.firmware.build import cached_firmware
from edgecodec.firmware.project import FirmwareProject
from edgecodec.firmware.report import Firmware
from edgecodec.firmware.symbols import function_at
from edgecodec.link.client import BoardExecutor

if TYPE_CHECKING:
    from edgecodec.boards.schema import Board


@dataclass(frozen=True)
class Attachment:
    """How to reach a board; by default its emulator when it is emulated only, otherwise what is plugged in."""

    port: str | None = None
    """Serial port; found by the board's USB IDs when None."""
    probe: str | None = None
    """Serial number of the USB device that carries port and debug probe; for UF2, the path of the drive."""
    baud: int | None = None
    """Rate of the link, built into the firmware; the board's own when None."""
    flash: bool = True
    """Put the firmware on the board first; otherwise it runs there already."""
    method: str | None = None
    """``pyocd``, ``openocd``, ``jlink`` or ``uf2``; the first that this machine has when None."""
    emulate: bool = False
    """Run a real board's firmware on the emulator that stands in for it."""

    def emulates(self, board: Board) -> bool:
        """Whether the emulator is started: asked for, or all there is and no port was named."""
        return self.emulate or (not board.is_real and self.port is None and self.flash)

    def builds(self, board: Board) -> bool:
        """Whether firmware is built and put on the board; otherwise it runs there already."""
        return self.emulates(board) or (board.is_real and self.flash)

    def checked(self, board: Board) -> Board:
        """The board as it is reached, with its rate, counter and RAM; firmware is to be made for this one.

        Raises InputError for goals that contradict each other or the board, DeviceError when it has no emulator.
        """
        if self.probe == "":
            raise InputError("the probe's serial number is empty", hint="`edgecodec ports` lists those of this machine")
        if self.emulate and (self.port, self.probe, self.method, self.flash) != (None, None, None, True):
            raise InputError("--emulate starts a board of its own; it takes no port, probe or way of flashing")
        if not board.is_real and self.probe is None and self.method is None and not self.flash and self.port is None:
            raise InputError(f"board {board.name} is emulated only: without flashing, name the --port it listens on")
        if not board.is_real and (self.probe is not None or self.method is not None):
            raise InputError(f"board {board.name} is emulated only; there is nothing to flash")
        if self.emulate and board.emulator is None:
            raise DeviceError(f"board {board.name} has no emulator", hint="flash the real one and pass its --port")
        reached = board.emulated() if self.emulates(board) else board
        return reached.with_baud(self.baud)


AUTO = Attachment()

Notify = Callable[[str], None]
"""``notify(what)``, called as each step of reaching a board begins."""


@contextmanager
def connected(
    project: FirmwareProject, attachment: Attachment = AUTO, notify: Notify = lambda what: None
) -> Iterator[tuple[BoardExecutor, Firmware | None]]:
    """A board that runs a project's firmware, and that firmware (None when it ran there already).

    The project must be for the board as :meth:`Attachment.checked` gives it. Builds the firmware or takes it from the
    cache; the emulator ends with the block. ``notify`` is told what runs now. Raises BuildError when the firmware
    cannot be built, DeviceError and LinkError when the board is missing, silent, of another bundle or engine, or
    restarted after a fault, InputError for goals that contradict each other.
    """
    target = _reached(project, attachment)
    if attachment.emulates(target):
        notify(f"building firmware for {target.name}")
        firmware = cached_firmware(project)
        notify(f"booting {target.name}")
        name_of: Callable[[int], str | None] = partial(function_at, firmware.elf)
        with (
            Emulator(target, firmware.elf) as emulator,
            BoardExecutor(project.bundle, emulator.url, function_at=name_of) as executor,
        ):
            yield executor, firmware
        return
    port, serial_number = _port(target, attachment)
    built = None
    if target.is_real and attachment.flash:
        notify(f"building firmware for {target.name}")
        built = cached_firmware(project)
        notify(f"flashing {target.name}")
        flash(_flash_plan(target, built.folder, attachment, serial_number))
    notify(f"waiting for {target.name} at {port}")
    # What runs there already may be another build, so its addresses are left to the user.
    name_of = (lambda _: None) if built is None else partial(function_at, built.elf)
    with BoardExecutor(project.bundle, port, baud=target.uart.baud, function_at=name_of) as executor:
        running, wanted = executor.hello.engine, project.engine
        if not wanted.accepts(running):
            raise DeviceError(
                f"port {port}: the firmware's engine is {running}; expected {wanted.name}",
                hint=f"build and flash it again, or leave out --engine {wanted.name}",
            )
        yield executor, built


def describe(project: FirmwareProject, attachment: Attachment = AUTO) -> list[str]:
    """What :func:`connected` would do, as lines for a shell; builds the firmware and touches no board.

    Raises BuildError, and InputError for goals that contradict each other. A board that is not plugged in is no error.
    """
    target = _reached(project, attachment)
    if attachment.emulates(target):
        firmware = cached_firmware(project)
        return [shlex.join(Emulator(target, firmware.elf).command("host=127.0.0.1,port=PORT"))]
    lines = []
    serial_number = None
    try:
        port, serial_number = _port(target, attachment)
    except (DeviceError, LinkError) as error:
        port = f"({error})"
    if target.is_real and attachment.flash:
        lines += _flash_plan(target, cached_firmware(project).folder, attachment, serial_number).lines()
    return [*lines, f"# then frames at {target.uart.baud} baud over port {port}"]


def check(board: Board, attachment: Attachment = AUTO) -> None:
    """Raise what :func:`connected` would for want of a port, a tool or sense, before anything is built or run."""
    target = attachment.checked(board)
    if attachment.emulates(board):
        find_qemu()
    else:
        _, serial_number = _port(target, attachment)
        if target.is_real and attachment.flash:
            _flash_plan(target, Path(), attachment, serial_number)
    if attachment.builds(board):
        find_toolchain()


def find_port(board: Board, probe: str | None = None, ports: list[PortInfo] | None = None) -> PortInfo:
    """The serial port of a board, by its USB IDs and the USB device's serial number ``probe``.

    Looks through ``ports``, by default those of this machine. Raises DeviceError when there is none, or more than one.
    """
    here = list_ports() if ports is None else ports
    if not board.usb:
        raise DeviceError(f"board {board.name} names no USB device", hint="pass --port (`edgecodec ports` lists them)")
    wanted = {(usb.vid, usb.pid) for usb in board.usb}
    found = [port for port in here if (port.vid, port.pid) in wanted]
    if probe is not None:
        found = [port for port in found if (port.serial_number or "").lower() == probe.lower()]
    if len(found) == 1:
        return found[0]
    if found:
        choice = ", ".join(f"{port.device} (serial number {port.serial_number})" for port in found)
        raise DeviceError(f"several ports may be {board.name}: {choice}", hint="choose with --port or --probe")
    names = ", ".join(f"{usb.name} ({usb.vid:04x}:{usb.pid:04x})" for usb in board.usb)
    which = "" if probe is None else f" with serial number {probe}"
    seen = ", ".join(port.device for port in here) or "none"
    raise DeviceError(
        f"no {board.name} found: expected a serial port of {names}{which}; ports here: {seen}",
        hint="plug it in or pass --port",
    )


def _reached(project: FirmwareProject, attachment: Attachment) -> Board:
    """The project's board. Raises InputError when ``attachment`` reaches another than the project was made for."""
    reached = attachment.checked(project.board)
    if reached != project.board:
        raise InputError(
            f"the project is for board {project.board.name} with other RAM, counter or rate than it is reached with",
            hint="make it for attachment.checked(board)",
        )
    return reached


def _port(board: Board, attachment: Attachment) -> tuple[str, str | None]:
    """Port and serial number of its USB device, None when that is not known."""
    if attachment.port is not None:
        if os.name == "posix" and "://" not in attachment.port and not os.path.exists(attachment.port):
            raise LinkError(
                f"port {attachment.port}: no such port", hint="`edgecodec ports` lists those of this machine"
            )
        known = {port.device: port.serial_number for port in list_ports() if (port.vid, port.pid) in _ids(board)}
        return attachment.port, known.get(attachment.port)
    # A drive's path is no serial number: the port is then the only one of its kind.
    by_path = attachment.method is not None and not flash_tool(attachment.method).takes_serial_number
    found = find_port(board, None if by_path else attachment.probe)
    return found.device, found.serial_number


def _ids(board: Board) -> set[tuple[int | None, int | None]]:
    return {(usb.vid, usb.pid) for usb in board.usb}


def _flash_plan(board: Board, folder: Path, attachment: Attachment, serial_number: str | None) -> FlashPlan:
    plan = plan_flash(board, folder, method=attachment.method, probe=attachment.probe)
    if attachment.probe is None and serial_number is not None and plan.tool.takes_serial_number:
        # The probe beside the port that was found: with two boards plugged in, not the other one's.
        return plan_flash(board, folder, method=plan.tool.name, probe=serial_number)
    return plan
