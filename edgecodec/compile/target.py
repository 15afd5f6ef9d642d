"""What code is generated for: what the core can do, and what the code shall be good at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from edgecodec.boards import cores


class Optimize(StrEnum):
    """The goal: what the generated code shall be good at."""

    SPEED = "speed"
    BALANCED = "balanced"
    FLASH = "flash"


DEFAULT_OPTIMIZE = Optimize.BALANCED
"""On a Cortex-M4 the 08x preset's codec takes two thirds of the flash of `speed` and 1.6 times its instructions."""


@dataclass(frozen=True)
class Target:
    """A goal, and the features of a core that decide between kernels."""

    optimize: Optimize = Optimize.SPEED
    """What the generated code shall be good at."""
    long_multiply: bool = True
    """Whether the core multiplies 32 x 32 to 64 bits in one instruction: all but Cortex-M0, M0+ and M23."""
    simd: bool = False
    """Whether the core multiplies two 16-bit halves of a word at once (DSP extension)."""
    vectors: bool = False
    """Whether the core has the M-profile Vector Extension (Helium)."""

    @classmethod
    def of_core(cls, core: str | None, optimize: str = DEFAULT_OPTIMIZE, mcpu: str = "") -> Target:
        """The target of a core, less what the compiler's option ``mcpu`` takes away.

        ``core`` is one of :data:`edgecodec.boards.cores.CORES`, or None for any that multiplies to 64 bits: Cortex-M3
        and up.
        """
        if core is None:
            return cls(Optimize(optimize))
        return cls(
            Optimize(optimize),
            long_multiply=cores.has_long_multiply(core),
            simd=cores.has_simd(core, mcpu),
            vectors=cores.has_vectors(core, mcpu),
        )


DEFAULT_TARGET = Target(DEFAULT_OPTIMIZE)
"""Any core from Cortex-M3 up: what is generated unless a core is named."""
HOST_TARGET = Target()
"""What runs on this machine."""
