"""What the Cortex-M cores can do that decides between kernels."""

from __future__ import annotations

CORES = (
    *("cortex-m0", "cortex-m0plus", "cortex-m1", "cortex-m3", "cortex-m4", "cortex-m7"),
    *("cortex-m23", "cortex-m33", "cortex-m35p", "cortex-m52", "cortex-m55", "cortex-m85"),
)


def has_long_multiply(core: str) -> bool:
    """Whether a core multiplies 32 x 32 to 64 bits in one instruction, as all but Armv6-M and Cortex-M23 do."""
    return core not in {"cortex-m0", "cortex-m0plus", "cortex-m1", "cortex-m23"}


def may_have_vectors(core: str) -> bool:
    """Whether a core comes with the M-profile Vector Extension, unless its maker left it out."""
    return core in {"cortex-m52", "cortex-m55", "cortex-m85"}
