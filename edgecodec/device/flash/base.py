"""What a flash tool is, and the two ways in which they work: a program that is run, a file that is copied."""

from __future__ import annotations

import re
import shlex
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from edgecodec import processes
from edgecodec.errors import DeviceError, InputError

if TYPE_CHECKING:
    from edgecodec.boards.schema import Board

_QUOTING = "\\{}[]$\"';"
"""Characters that the tools' own languages take for more than text."""


def check_probe(probe: str | None) -> None:
    """Raise InputError for a probe whose name a tool could take for anything but a name."""
    if probe is not None and (not probe or any(not c.isprintable() or c in _QUOTING for c in probe)):
        raise InputError(f"the probe {probe!r} is no serial number")


@dataclass(frozen=True)
class FlashPlan(ABC):
    """How a firmware is put onto a board, before it is done."""

    tool: FlashTool
    """The tool that made the plan."""
    folder: Path
    """Folder of the firmware; commands run there, so that no path needs quoting in a tool's own language."""

    @abstractmethod
    def lines(self) -> list[str]:
        """The plan as lines for a shell."""

    @abstractmethod
    def run(self) -> None:
        """Carry the plan out; the board then starts the firmware. Raises DeviceError with what the tool said."""


class FlashTool(ABC):
    """One way of putting firmware onto boards.

    A subclass says its name and place among the others, finds out whether it can work here, and plans. What it needs
    to know of a board is the key of its name in the board's file (:class:`edgecodec.boards.schema.Flashing`).
    """

    name: ClassVar[str]
    """The tool as ``--flash-with`` and board files call it."""
    remedy: ClassVar[str]
    """What to do where the tool is not available, in the imperative."""
    preference: ClassVar[int]
    """Place among the tools that can flash a board: the lowest is taken."""
    takes_serial_number: ClassVar[bool] = True
    """Whether the probe is told by the serial number of its USB device, which its serial port has, too."""

    def preference_on(self, board: Board) -> int:
        """Place among the tools that can flash ``board``; :attr:`preference` unless the board makes a difference."""
        return self.preference

    def flashes(self, board: Board) -> bool:
        """Whether the board's file has the keys for this tool."""
        return board.flash is not None and self.name in board.flash.methods

    def keys(self, board: Board) -> Any:
        """What the board's file says for this tool, of its own class in :mod:`edgecodec.boards.schema`.

        Raises InputError when it says nothing.
        """
        if not self.flashes(board):
            methods = board.flash.methods if board.flash is not None else ("nothing",)
            raise InputError(f"{board.name} is not flashed by {self.name}; expected one of {', '.join(methods)}")
        return getattr(board.flash, self.name)

    @abstractmethod
    def is_available(self, board: Board) -> bool:
        """Whether this machine can flash ``board``, one that has the keys for this tool, as far as the tool goes."""

    @abstractmethod
    def plan(self, board: Board, folder: Path, probe: str | None = None) -> FlashPlan:
        """How to put the firmware in ``folder`` onto ``board`` over the debug probe called ``probe``.

        Raises DeviceError when the tool is not available, InputError when it does not flash this board.
        """

    def missing(self, board: Board) -> DeviceError:
        """The error that says that the tool is not available."""
        return DeviceError(f"{board.name} cannot be flashed by {self.name}: it is not here", hint=self.remedy)


class ProgramTool(FlashTool):
    """A flash tool that is a program to install, which talks to the board through a debug probe."""

    title: ClassVar[str]
    """The program's name as people know it."""
    debian_package: ClassVar[str | None] = None
    """The Debian package that has it; None when there is none."""
    mac_command: ClassVar[str | None] = None
    """The command that installs it on macOS; None when :attr:`~FlashTool.remedy` is right there, too."""
    timeout_s: ClassVar[float] = 180.0
    """Seconds after which a program that has not ended is given up."""

    @abstractmethod
    def location(self) -> str | None:
        """Where the program lies; None when it is not installed."""

    def version(self) -> str | None:
        """The installed version; None when the program does not say it without a board, or is not installed."""
        return None

    @abstractmethod
    def command(self, board: Board, probe: str | None) -> tuple[str, ...]:
        """The command line, to be run in the firmware's folder. Only called when the program is installed."""

    def scripts(self, board: Board) -> Mapping[str, str]:
        """Files that the command reads, by their names in the firmware's folder."""
        return {}

    def is_available(self, board: Board) -> bool:
        """Whether the program is installed."""
        return self.location() is not None

    def plan(self, board: Board, folder: Path, probe: str | None = None) -> CommandPlan:
        """How to put the firmware in ``folder`` onto ``board`` over the debug probe with serial number ``probe``.

        Raises DeviceError when the program is not installed, InputError when it does not flash this board.
        """
        self.keys(board)
        if not self.is_available(board):
            raise self.missing(board)
        return CommandPlan(self, folder, self.command(board, probe), self.scripts(board))


@dataclass(frozen=True)
class CommandPlan(FlashPlan):
    """A program to run."""

    tool: ProgramTool
    """The tool whose program it is."""
    command: tuple[str, ...]
    """The command line."""
    scripts: Mapping[str, str] = field(default_factory=dict)
    """Files that the command reads, by their names in the firmware's folder."""

    def lines(self) -> list[str]:
        """The plan as lines for a shell."""
        written = [f"printf %s {shlex.quote(text)} > {shlex.quote(name)}" for name, text in self.scripts.items()]
        return [f"cd {shlex.quote(str(self.folder))}", *written, shlex.join(self.command)]

    def run(self) -> None:
        """Run the program. Raises DeviceError with what it said when it fails, or when it does not end."""
        for name, text in self.scripts.items():
            (self.folder / name).write_text(text, encoding="utf-8")
        try:
            done = processes.run(self.command, merge=True, cwd=self.folder, timeout_s=self.tool.timeout_s)
        except subprocess.TimeoutExpired as error:
            raise DeviceError(
                f"{self.tool.name} did not end within {self.tool.timeout_s:g} s",
                hint="unplug the probe and try again",
            ) from error
        except OSError as error:
            raise DeviceError(f"{self.command[0]} cannot be run ({error.strerror})") from error
        if done.returncode != 0:
            raise DeviceError(
                f"{self.tool.name} could not flash the board: {_reason(done.stdout)}",
                hint="is its probe plugged in? (`edgecodec doctor` says which are)",
            )


def _reason(output: str) -> str:
    """The line of a program's output that says why it failed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"error|fail|cannot|no .*(probe|target|device)", line, re.IGNORECASE)]
    return errors[0] if errors else (lines[-1] if lines else "it printed nothing")
