"""J-Link Commander, which comes with SEGGER's J-Link software: J-Link probes."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING

from edgecodec.device.flash.base import ProgramTool
from edgecodec.firmware.artifacts import BINARY

if TYPE_CHECKING:
    from edgecodec.boards.schema import Board, JlinkDevice

_SCRIPT = "flash.jlink"
_PROGRAMS = ("JLinkExe", "JLink.exe", "JLink")
_SPEED_KHZ = 4000


class JLink(ProgramTool):
    """J-Link Commander with a command file."""

    name = "jlink"
    title = "J-Link Commander"
    remedy = "install SEGGER's J-Link software"
    preference = 3

    def location(self) -> str | None:
        """J-Link Commander under any of its names on the path; None when it is not there."""
        return next((path for path in map(shutil.which, _PROGRAMS) if path), None)

    def command(self, board: Board, probe: str | None) -> tuple[str, ...]:
        """Run the command file over SWD, without windows, and end at the first error."""
        keys: JlinkDevice = self.keys(board)
        program = self.location()
        assert program is not None
        serial = () if probe is None else ("-SelectEmuBySN", probe)
        device = ("-Device", keys.device, "-If", "SWD", "-Speed", str(_SPEED_KHZ))
        rest = ("-AutoConnect", "1", "-ExitOnError", "1", "-NoGui", "1", "-CommandFile", _SCRIPT)
        return (program, *device, *serial, *rest)

    def scripts(self, board: Board) -> Mapping[str, str]:
        """The command file: reset, write the image to the start of flash, reset, go."""
        return {_SCRIPT: f"r\nloadbin {BINARY}, {board.memory.flash.origin:#010x}\nr\ng\nexit\n"}
