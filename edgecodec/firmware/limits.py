"""Whether a firmware fits: its board's memory, the user's limits, the stack that is reserved for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgecodec.errors import BuildError

if TYPE_CHECKING:
    from edgecodec.boards.schema import Board
    from edgecodec.firmware.build import Firmware


@dataclass(frozen=True)
class Limits:
    """Bytes that a firmware may take beside what its board has; None when all of it."""

    flash: int | None = None
    ram: int | None = None


NO_LIMITS = Limits()


class SizeLimitError(BuildError):
    """The firmware is too large; ``memory`` says what takes the space (:meth:`Firmware.memory`)."""

    def __init__(self, message: str, memory: dict[str, Any] | None = None, stderr: str = "") -> None:
        super().__init__(message, stderr)
        self.memory = memory


def check_limits(firmware: Firmware, board: Board, limits: Limits) -> None:
    """Raise SizeLimitError when ``firmware`` takes more than ``limits`` or more stack than its board keeps for it."""
    takes = {"flash": (firmware.flash_bytes, limits.flash), "RAM": (firmware.ram_bytes, limits.ram)}
    over = [
        f"{size:,} bytes of {name}, the limit is {limit:,}"
        for name, (size, limit) in takes.items()
        if limit is not None and size > limit
    ]
    if over:
        raise SizeLimitError(
            f"the firmware for {board.name} is too large: it takes {'; '.join(over)}; "
            "choose a smaller model, --optimize flash or a higher limit",
            firmware.memory(),
        )
    needed = firmware.stack_use.bytes
    if needed is not None and needed > firmware.stack:
        raise SizeLimitError(
            f"the firmware for {board.name} may take {needed:,} bytes of stack, {firmware.stack:,} are reserved "
            f"(deepest: {' > '.join(firmware.stack_use.path)}); raise stack_bytes in the board's file",
            firmware.memory(),
        )
