"""Requantisation with 16-bit activations, as ``firmware/codec/edc_requantize16.h`` wants its constants.

With ``m`` the layer's multiplier and ``s`` its shift (SPEC.md 1.4), an output is ``floor((acc m + 2^(s-1)) / 2^s)``. If
``s > 16``, floors nest: it is ``floor((floor(acc m / 2^16) + 2^(s-17)) / 2^(s-16))``, whose inner part fits 32 bits.
Where also ``s <= 32``, both sides times ``2^(32-s)`` make it the rounded high word of ``acc (m 2^(32-s))``.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from edgecodec.codec.graph import Layer

_LEAST_SHIFT = 17
"""From where on the lowest 16 bits of the product never count."""
_HIGH_SHIFT = 32
"""Up to where the result is a high word."""


def refusals(layer: Layer) -> Iterator[str | None]:
    """The refusal of a layer whose sums leave int32, whose shifts are small, or that wants a clamp of its own."""
    if layer.accumulator_bound >= 1 << 31:
        yield f"sums may reach {layer.accumulator_bound:,}, more than int32 holds"
    least = int(_shifts(layer).min())
    if least < _LEAST_SHIFT:
        yield f"a shift of {least} wants the general rounding; {_LEAST_SHIFT} is the least without"
    if layer.activation_max != layer.numerics.highest or layer.activation_min not in (0, layer.numerics.lowest):
        yield "a tight activation wants a clamp of its own"


def fits_high_word(layer: Layer) -> bool:
    """Whether every output is the rounded high word of one product."""
    return int(_shifts(layer).max()) <= _HIGH_SHIFT


def high_multipliers(layer: Layer) -> npt.NDArray[np.int32]:
    """Multipliers ``[out]`` whose products' high words, rounded, are the outputs."""
    return (layer.reduced_multiplier.astype(np.int64) << _HIGH_SHIFT - _shifts(layer)).astype(np.int32)


def packed_multipliers(layer: Layer) -> npt.NDArray[np.int32]:
    """Multipliers in the upper halves, and shifts less 17 in the lower ones ``[out]``."""
    return (layer.reduced_multiplier.astype(np.int64) << 16 | _shifts(layer) - _LEAST_SHIFT).astype(np.int32)


def upper_multipliers(layer: Layer) -> npt.NDArray[np.int32]:
    """Multipliers in the upper halves ``[out]``: the high word of their product is its floor by ``2^16``."""
    return (layer.reduced_multiplier.astype(np.int64) << 16).astype(np.int32)


def high_shifts(layer: Layer) -> npt.NDArray[np.int32]:
    """Shifts to the left behind that ``[out]``, less than 0."""
    return (16 - _shifts(layer)).astype(np.int32)


def _shifts(layer: Layer) -> npt.NDArray[np.int64]:
    """Shifts ``[out]``; where the multiplier is 0 any is right."""
    return np.where(layer.reduced_multiplier == 0, _LEAST_SHIFT, layer.total_shift).astype(np.int64)
