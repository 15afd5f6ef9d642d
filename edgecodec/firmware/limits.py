"""Whether a firmware fits: its board's memory, the user's limits, the stack that is reserved for it."""

from __future__ import annotations

from dataclasses import dataclass

from edgecodec.errors import BuildError
from edgecodec.firmware.report import BuildReport, MemoryUse


@dataclass(frozen=True)
class Limits:
    """What a firmware may take beside what its board has."""

    flash: int | None = None
    """Bytes of flash; None for all of the board's."""
    ram: int | None = None
    """Bytes of RAM; None for all of the board's."""


NO_LIMITS = Limits()
"""All of the board's memory."""


class SizeLimitError(BuildError):
    """The firmware is too large; ``memory`` says what takes the space, or is None when that is not known."""

    def __init__(
        self, message: str, memory: MemoryUse | None = None, stderr: str = "", *, hint: str | None = None
    ) -> None:
        super().__init__(message, stderr, hint=hint)
        self.memory = memory


class LimitExceededError(SizeLimitError):
    """The firmware is larger than a limit that the user set, which is a finding, not a failure to find out."""


def check_limits(report: BuildReport, limits: Limits) -> None:
    """Raise LimitExceededError when a firmware takes more than ``limits``."""
    takes = {"flash": (report.flash_bytes, limits.flash), "RAM": (report.ram_bytes, limits.ram)}
    over = [
        f"{size:,} bytes of {name}, the limit is {limit:,}"
        for name, (size, limit) in takes.items()
        if limit is not None and size > limit
    ]
    if over:
        raise LimitExceededError(
            f"the firmware for {report.board} is too large: it takes {'; '.join(over)}",
            report.memory,
            hint="choose a smaller model, --optimize flash or a higher limit",
        )


def check_stack(report: BuildReport) -> None:
    """Raise SizeLimitError when a firmware may take more stack than its board keeps for it."""
    needed = report.stack_use.bytes
    if needed is not None and needed > report.stack:
        raise SizeLimitError(
            f"the firmware for {report.board} may take {needed:,} bytes of stack, {report.stack:,} are reserved "
            f"(deepest: {' > '.join(report.stack_use.path)})",
            report.memory,
            hint="raise stack_bytes in the board's file",
        )
