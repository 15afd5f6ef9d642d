"""OpenOCD (https://openocd.org): whatever probe its scripts for the board name."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from edgecodec.device.flash.base import ProgramTool
from edgecodec.device.programs import version_of
from edgecodec.firmware.artifacts import ELF

if TYPE_CHECKING:
    from edgecodec.boards.schema import Board, OpenocdScripts


class OpenOcd(ProgramTool):
    """OpenOCD's ``program`` command."""

    name = "openocd"
    title = "openocd"
    remedy = "install the Debian package openocd"
    debian_package = "openocd"
    mac_command = "brew install open-ocd"
    preference = 2

    def location(self) -> str | None:
        """``openocd`` on the path; None when it is not there."""
        return shutil.which("openocd")

    def version(self) -> str | None:
        """What ``openocd --version`` says; None when it is not on the path."""
        found = self.location()
        return None if found is None else version_of(found)

    def command(self, board: Board, probe: str | None) -> tuple[str, ...]:
        """Write, read back and start the ELF file."""
        keys: OpenocdScripts = self.keys(board)
        scripts = [word for script in keys.scripts for word in ("-f", script)]
        serial = [] if probe is None else ["-c", f"adapter serial {{{probe}}}"]
        return ("openocd", *scripts, *serial, "-c", f"program {ELF} verify reset exit")
