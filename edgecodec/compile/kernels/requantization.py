"""Constants of the requantisation of output channels, as ``firmware/codec/edc_requantize.h`` wants them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecodec.codec.graph import Layer
from edgecodec.compile.tables import Table, rows_of, structure

_FOLDED_CHANNEL = structure(offset=np.int64, multiplier=np.uint32, down=np.uint32)
_RECTIFIED_SHIFT_MAX = 22
"""So that zero point and rounding, 2^(39 + shift), stay far below 2^63."""


@dataclass(frozen=True)
class FoldedChannels:
    """Requantisation of channels with the constants of each folded into one offset."""

    table: Table
    """Rows ``[out]`` of ``edc_folded_channel``: int64 ``offset``, uint32 ``multiplier`` and ``down``."""
    rectified: bool
    """Whether what lies below the zero point saturates, so that both roundings and the zero point are one offset."""


def fold_channels(layer: Layer, start: npt.NDArray[np.int64]) -> FoldedChannels:
    """Fold the constants of a layer whose sums start at ``start [out]`` and have no bias.

    An output is ``(sum multiplier + offset) 2^-32``, shifted and rounded once more. ``sum`` is the accumulator without
    its bias, on top of ``start``. With ``a`` the accumulator, ``m`` the layer's multiplier and ``s`` its shift to the
    right, TFLM's first rounding is ``h = floor((2 a m + 2^31) / 2^32)`` and its second, for ``h >= 0``,
    ``floor((h + 2^(s-1)) / 2^s)``. Floors nest, so zero point and second rounding can be part of the offset; where
    ``h < 0`` that result is at most the zero point, and wrong only where it should be less, which a zero point that is
    the lowest activation hides.
    """
    multiplier = 2 * layer.multiplier.astype(np.int64)
    shift = np.where(multiplier == 0, 1, -layer.shift.astype(np.int64))
    offset = (layer.folded_bias.astype(np.int64) - start) * multiplier + (1 << 31)
    zero_point = layer.output.zero_point
    rectified = zero_point == layer.numerics.lowest and int(shift.max()) <= _RECTIFIED_SHIFT_MAX
    if rectified:
        offset = offset + (2 * zero_point + 1 << 31 + shift)
    down = shift if rectified else shift - 1
    rows = rows_of(_FOLDED_CHANNEL, offset=offset, multiplier=multiplier, down=down)
    return FoldedChannels(
        Table("channels", rows, "[out]: offset, multiplier, down", struct="edc_folded_channel"), rectified
    )


def shifts(layer: Layer) -> npt.NDArray[np.int32]:
    """Shifts ``[out]``; where the multiplier is 0 any is right, and -1 is one that the narrow rounding knows."""
    return np.where(layer.multiplier == 0, np.int32(-1), layer.shift).astype(np.int32)
