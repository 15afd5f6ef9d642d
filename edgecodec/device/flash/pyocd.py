"""PyOCD (https://pyocd.io), a Python package: CMSIS-DAP, ST-LINK and J-Link probes."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edgecodec.device.flash.base import ProgramTool
from edgecodec.errors import install_extra
from edgecodec.firmware.artifacts import ELF

if TYPE_CHECKING:
    from edgecodec.boards.schema import Board, PyocdTarget


class PyOcd(ProgramTool):
    """``pyocd load``, in the Python that runs edgecodec."""

    name = "pyocd"
    title = "pyocd"
    remedy = install_extra("flash")
    preference = 1
    preference_with_pack = 4
    """Place where pyOCD knows the board only by a vendor's pack, which it would have to download."""

    def preference_on(self, board: Board) -> int:
        """Place among the tools that can flash ``board``: last where pyOCD needs a vendor's pack."""
        keys: PyocdTarget = self.keys(board)
        return self.preference_with_pack if keys.pack else self.preference

    def location(self) -> str | None:
        """Folder of the Python package, which is not imported; None when it is not installed."""
        spec = importlib.util.find_spec("pyocd")
        return None if spec is None or spec.origin is None else str(Path(spec.origin).parent)

    def version(self) -> str | None:
        """Version of the Python package; None when it is not installed."""
        try:
            return importlib.metadata.version("pyocd")
        except importlib.metadata.PackageNotFoundError:
            return None

    def command(self, board: Board, probe: str | None) -> tuple[str, ...]:
        """Write and start the ELF file; ask nothing and wait for no probe."""
        keys: PyocdTarget = self.keys(board)
        uid = () if probe is None else ("--uid", probe)
        options = ("--no-config", "--no-wait", "--target", keys.target)
        return (sys.executable, "-m", "pyocd", "load", *options, *uid, ELF)
