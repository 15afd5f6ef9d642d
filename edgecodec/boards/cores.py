"""The Cortex-M cores, and what they can do that decides between kernels."""

from __future__ import annotations

_WITHOUT_LONG_MULTIPLY = ("cortex-m0", "cortex-m0plus", "cortex-m1", "cortex-m23")
_WITHOUT_SIMD = (*_WITHOUT_LONG_MULTIPLY, "cortex-m3")
_WITHOUT_VTOR = ("cortex-m0", "cortex-m1")
_WITH_VECTORS = ("cortex-m52", "cortex-m55", "cortex-m85")
CORES = (*_WITHOUT_SIMD, "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m35p", *_WITH_VECTORS)
"""Names of the cores that kernels can be chosen for, as ``-mcpu`` has them."""


def has_long_multiply(core: str) -> bool:
    """Whether a core multiplies 32 x 32 to 64 bits in one instruction, as all but Armv6-M and Cortex-M23 do."""
    return core not in _WITHOUT_LONG_MULTIPLY


def has_vtor(core: str) -> bool:
    """Whether a core may have its vector table elsewhere than at 0.

    Cortex-M0 and M1 have no such register (VTOR); a Cortex-M0+ that was made without ignores the write.
    """
    return core not in _WITHOUT_VTOR


def has_simd(core: str, mcpu: str = "") -> bool:
    """Whether a core multiplies two 16-bit halves of a word at once (DSP extension).

    ``mcpu``, the compiler's option, may say that its maker left the extension out (``+nodsp``).
    """
    return core not in _WITHOUT_SIMD and "+nodsp" not in mcpu


def has_vectors(core: str, mcpu: str = "") -> bool:
    """Whether a core has the M-profile Vector Extension (MVE, Helium).

    ``mcpu``, the compiler's option, may say that its maker left the extension out (``+nomve``).
    """
    return core in _WITH_VECTORS and "+nomve" not in mcpu
