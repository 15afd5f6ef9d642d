"""UF2: a board in its boot loader shows a drive, and flashes itself from the file copied there."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgecodec.device.flash.base import FlashPlan, FlashTool
from edgecodec.errors import DeviceError
from edgecodec.firmware.artifacts import UF2
from edgecodec.firmware.uf2 import INFO_FILE, find_volumes

if TYPE_CHECKING:
    from edgecodec.boards.schema import Board, Uf2Volume


class Uf2Drive(FlashTool):
    """The board's own boot loader."""

    name = "uf2"
    remedy = "hold BOOTSEL while plugging the board in, so that it shows its drive"
    # A drive that is mounted says that the board waits for a file.
    preference = 0
    takes_serial_number = False

    def is_available(self, board: Board) -> bool:
        """Whether ``board`` shows its drive."""
        return self.flashes(board) and bool(self._volumes(board))

    def plan(self, board: Board, folder: Path, probe: str | None = None) -> CopyPlan:
        """How to copy the firmware in ``folder`` to the drive of ``board``, the one at the path ``probe`` if given.

        Raises DeviceError when there is no such drive or, without ``probe``, more than one; InputError when the board
        shows none.
        """
        volumes = self._volumes(board, None if probe is None else [Path(probe)])
        if not volumes and probe is None:
            raise self.missing(board)
        if not volumes:
            raise DeviceError(f"{probe} is no drive of {board.name}: its {INFO_FILE} is missing or names another board")
        if len(volumes) > 1:
            drives = ", ".join(map(str, volumes))
            raise DeviceError(f"several drives of {board.name}: {drives}", hint="choose one with --probe")
        return CopyPlan(self, folder, volumes[0])

    def _volumes(self, board: Board, candidates: list[Path] | None = None) -> list[Path]:
        keys: Uf2Volume = self.keys(board)
        return find_volumes(keys.board_id, candidates)


@dataclass(frozen=True)
class CopyPlan(FlashPlan):
    """A file to copy."""

    volume: Path
    """The drive that ``firmware.uf2`` is copied to."""

    def lines(self) -> list[str]:
        """The plan as a line for a shell."""
        return [f"cp {shlex.quote(str(self.folder / UF2))} {shlex.quote(str(self.volume))}"]

    def run(self) -> None:
        """Copy the file, and wait until the drive has it. Raises DeviceError when it cannot be copied."""
        try:
            with (self.volume / UF2).open("wb") as file:
                file.write((self.folder / UF2).read_bytes())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise DeviceError(f"drive {self.volume}: {UF2} cannot be copied ({error.strerror})") from error
