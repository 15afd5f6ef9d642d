"""Puts firmware onto a real board: pyOCD, OpenOCD, J-Link Commander, or a file copied to the board's drive."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgecodec.errors import DeviceError, InputError
from edgecodec.firmware.artifacts import BINARY, ELF, UF2
from edgecodec.firmware.uf2 import find_volumes

if TYPE_CHECKING:
    from edgecodec.boards.schema import Board

_JLINK_SCRIPT = "flash.jlink"
_JLINK_PROGRAMS = ("JLinkExe", "JLink.exe", "JLink")
_JLINK_SPEED_KHZ = 4000
_TIMEOUT_S = 180
_REMEDIES = {
    "pyocd": "pip install 'edgecodec[flash]'",
    "openocd": "install the Debian package openocd",
    "jlink": "install SEGGER's J-Link software",
    "uf2": "hold BOOTSEL while plugging the board in, so that it shows its drive",
}


@dataclass(frozen=True)
class FlashPlan:
    """How a firmware is put onto a board, before it is done."""

    method: str
    """``pyocd``, ``openocd``, ``jlink`` or ``uf2``."""
    folder: Path
    """Of the firmware; commands run there, so that no path needs quoting in a tool's own language."""
    command: tuple[str, ...]
    """What is run; empty for ``uf2``."""
    script: str | None = None
    """Content of the file ``flash.jlink`` that the command reads."""
    volume: Path | None = None
    """The drive that ``firmware.uf2`` is copied to; None when it is not there yet."""

    def lines(self) -> list[str]:
        """The same as lines for a shell."""
        if self.method == "uf2":
            return [f"cp {shlex.quote(str(self.folder / UF2))} {shlex.quote(str(self.volume or 'DRIVE'))}"]
        lines = [f"cd {shlex.quote(str(self.folder))}"]
        if self.script is not None:
            lines.append(f"printf %s {shlex.quote(self.script)} > {_JLINK_SCRIPT}")
        return [*lines, shlex.join(self.command)]


def plan_flash(board: Board, folder: Path, *, method: str | None = None, probe: str | None = None) -> FlashPlan:
    """How to put the firmware in ``folder`` onto a board.

    ``folder`` is one that :func:`edgecodec.firmware.build.build_firmware` wrote.

    ``method`` is the first of the board's that this machine has the tool for by default; ``probe`` is the serial
    number of the debug probe, for ``uf2`` the drive's path. Raises DeviceError when the board cannot be flashed or a
    tool is missing, InputError for a method that the board has not.
    """
    if board.flash is None:
        raise DeviceError(f"board {board.name} is emulated only; there is nothing to flash")
    if method is not None and method not in board.flash.methods:
        raise InputError(f"{board.name} is not flashed by {method}; expected one of {', '.join(board.flash.methods)}")
    if probe is not None and (not probe or any(not c.isprintable() or c in "\\{}[]$\"';" for c in probe)):
        raise InputError(f"the probe {probe!r} is no serial number")
    chosen = method or _first_method(board)
    if not (chosen == "uf2" and probe is not None) and not is_available(board, chosen):
        raise DeviceError(f"{board.name} cannot be flashed by {chosen}: it is not here; {_REMEDIES[chosen]}")
    return _PLANS[chosen](board, folder, probe)


def flash(plan: FlashPlan) -> None:
    """Do it; the board then starts the firmware. Raises DeviceError with what the tool said when it fails."""
    if plan.method == "uf2":
        _copy(plan)
        return
    if plan.script is not None:
        (plan.folder / _JLINK_SCRIPT).write_text(plan.script, encoding="utf-8")
    try:
        done = subprocess.run(
            plan.command,
            cwd=plan.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DeviceError(f"{plan.method} did not end within {_TIMEOUT_S} s; unplug the probe and try again") from error
    except OSError as error:
        raise DeviceError(f"{plan.command[0]} cannot be run ({error.strerror})") from error
    if done.returncode != 0:
        raise DeviceError(
            f"{plan.method} could not flash the board: {_reason(done.stdout)}; is its probe "
            "plugged in? (`edgecodec doctor` says which are)"
        )


def available_methods(board: Board) -> list[str]:
    """The board's methods that this machine has the tool for, best first."""
    if board.flash is None:
        return []
    order = ["pyocd", "openocd", "jlink"]
    if board.flash.pyocd is not None and board.flash.pyocd.pack:
        order = ["openocd", "jlink", "pyocd"]
    # A drive that is mounted says that the board waits for a file.
    return [name for name in ("uf2", *order) if name in board.flash.methods and is_available(board, name)]


def is_available(board: Board, method: str) -> bool:
    """Whether the tool of ``method`` is here; for ``uf2``, whether the board shows its drive."""
    if method == "pyocd":
        return importlib.util.find_spec("pyocd") is not None
    if method == "openocd":
        return shutil.which("openocd") is not None
    if method == "jlink":
        return jlink_program() is not None
    return board.flash is not None and board.flash.uf2 is not None and bool(find_volumes(board.flash.uf2.board_id))


def jlink_program() -> str | None:
    """J-Link Commander, under any of its names."""
    return next((path for path in map(shutil.which, _JLINK_PROGRAMS) if path), None)


def _first_method(board: Board) -> str:
    assert board.flash is not None
    found = available_methods(board)
    if not found:
        ways = "; or ".join(f"{name}: {_REMEDIES[name]}" for name in board.flash.methods)
        raise DeviceError(f"nothing here can flash {board.name}; {ways}")
    return found[0]


def _pyocd(board: Board, folder: Path, probe: str | None) -> FlashPlan:
    assert board.flash is not None
    assert board.flash.pyocd is not None
    uid = () if probe is None else ("--uid", probe)
    options = ("--no-config", "--no-wait", "--target", board.flash.pyocd.target)
    return FlashPlan("pyocd", folder, (sys.executable, "-m", "pyocd", "load", *options, *uid, ELF))


def _openocd(board: Board, folder: Path, probe: str | None) -> FlashPlan:
    assert board.flash is not None
    assert board.flash.openocd is not None
    scripts = [word for script in board.flash.openocd.scripts for word in ("-f", script)]
    serial = [] if probe is None else ["-c", f"adapter serial {{{probe}}}"]
    return FlashPlan("openocd", folder, ("openocd", *scripts, *serial, "-c", f"program {ELF} verify reset exit"))


def _jlink(board: Board, folder: Path, probe: str | None) -> FlashPlan:
    assert board.flash is not None
    assert board.flash.jlink is not None
    serial = () if probe is None else ("-SelectEmuBySN", probe)
    device = ("-Device", board.flash.jlink.device, "-If", "SWD", "-Speed", str(_JLINK_SPEED_KHZ))
    rest = ("-AutoConnect", "1", "-ExitOnError", "1", "-NoGui", "1", "-CommandFile", _JLINK_SCRIPT)
    script = f"r\nloadbin {BINARY}, {board.memory.flash.origin:#010x}\nr\ng\nexit\n"
    return FlashPlan("jlink", folder, (jlink_program() or "JLinkExe", *device, *serial, *rest), script)


def _uf2(board: Board, folder: Path, probe: str | None) -> FlashPlan:
    assert board.flash is not None
    assert board.flash.uf2 is not None
    volumes = find_volumes(board.flash.uf2.board_id, None if probe is None else [Path(probe)])
    if not volumes:
        raise DeviceError(f"{probe} is no drive of {board.name}: its INFO_UF2.TXT is missing or names another board")
    if len(volumes) > 1:
        drives = ", ".join(map(str, volumes))
        raise DeviceError(f"several drives of {board.name}: {drives}; choose one with --probe")
    return FlashPlan("uf2", folder, (), volume=volumes[0])


_PLANS = {"pyocd": _pyocd, "openocd": _openocd, "jlink": _jlink, "uf2": _uf2}


def _copy(plan: FlashPlan) -> None:
    assert plan.volume is not None
    try:
        with (plan.volume / UF2).open("wb") as file:
            file.write((plan.folder / UF2).read_bytes())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise DeviceError(f"drive {plan.volume}: {UF2} cannot be copied ({error.strerror})") from error


def _reason(output: str) -> str:
    """The line of a tool's output that says why."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"error|fail|cannot|no .*(probe|target|device)", line, re.IGNORECASE)]
    return errors[0] if errors else (lines[-1] if lines else "it printed nothing")
