"""The kernels for the M-profile Vector Extension, Helium (``edc_conv_mve.h``)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from edgecodec.codec.graph import Layer, Op
from edgecodec.compile.kernels.base import (
    BLOCK_CHANNELS,
    Kernel,
    PackedLayer,
    channels_refusal,
    depth_multiplier_refusal,
    memory_offset_of_groups,
    plain_cadence,
    rounding_refusal,
    sizes,
    zero_points,
)
from edgecodec.compile.kernels.requantization import shifts
from edgecodec.compile.tables import Table, rows_of, structure
from edgecodec.compile.target import Optimize, Target

VECTOR_BYTES = 16
"""Bytes of a vector."""
TAPS = 8
"""Taps of ``edc_depthwise_mve``, at most."""
_LONGEST_ROW = 65535
"""Samples whose places fit 16 bits."""
_BLOCK = (np.int32, BLOCK_CHANNELS)
"""A constant of the channels that are computed together."""
_CHANNELS = structure(bias=_BLOCK, multiplier=_BLOCK, shift=_BLOCK)


class _Mve(Kernel):
    """What both have in common: rows of weights with zeros behind, and constants of four channels side by side."""

    struct = "edc_mve_layer"
    header = "edc_conv_mve.h"
    goals = tuple(Optimize)
    positions_together = 3
    instructions_per_call = 500
    order: ClassVar[str]
    """Axes of the weights."""

    def runs_on(self, target: Target) -> bool:
        return target.vectors

    @abstractmethod
    def _row(self, layer: Layer) -> int:
        """Samples under the taps of a position, as many as the kernel's window has."""

    @abstractmethod
    def _weights(self, layer: Layer) -> npt.NDArray[np.int8]:
        """Weights of each output channel, zeros behind."""

    def _refusals(self, layer: Layer) -> Iterator[str | None]:
        yield channels_refusal(layer)
        row = self._row(layer)
        if row > _LONGEST_ROW:
            yield f"{row:,} samples under the taps are more than {_LONGEST_ROW:,}"
        yield rounding_refusal(layer)

    def _pack(self, layer: Layer) -> PackedLayer:
        row, packed = self._row(layer), self._weights(layer)
        members = {"bias": layer.folded_bias, "multiplier": layer.multiplier, "shift": shifts(layer)}
        blocks = {name: values.reshape(-1, BLOCK_CHANNELS) for name, values in members.items()}
        comment = "[out / 4]: bias, multiplier and shift of four"
        tables = (
            Table("weights", packed, f"{self.order} {list(packed.shape)}"),
            Table("channels", rows_of(_CHANNELS, **blocks), comment, struct="edc_mve_channels"),
        )
        return PackedLayer(
            kernel=self,
            layer=layer,
            tables=tables,
            fields={table.name: table for table in tables}
            | sizes(layer)
            | {"stride": layer.stride, "pad_left": layer.pad_left, "kernel": layer.kernel, "row": row}
            | zero_points(layer),
            cost=self._cost(layer),
            cadence=plain_cadence(layer),  # a stripe may end within the positions that go together
            memory_offset_bytes=memory_offset_of_groups(layer, self.positions_together),
            scratch_bytes=self.positions_together * (4 * layer.output.channels + row),
        )


class ConvMve(_Mve):
    """``edc_conv_mve``."""

    function = "edc_conv_mve"
    reason = "sixteen products an instruction"
    ops = (Op.CONV,)
    instructions_per_mac = 0.13
    instructions_per_output = 7
    order = "[out][row]"

    def _row(self, layer: Layer) -> int:
        samples = layer.kernel * layer.input.channels
        return samples + -samples % VECTOR_BYTES

    def _weights(self, layer: Layer) -> npt.NDArray[np.int8]:
        rows = layer.weights.reshape(layer.output.channels, -1)
        return np.pad(rows, ((0, 0), (0, self._row(layer) - rows.shape[1])))


class DepthwiseMve(_Mve):
    """``edc_depthwise_mve``."""

    function = "edc_depthwise_mve"
    reason = "all taps an instruction"
    ops = (Op.DEPTHWISE,)
    instructions_per_mac = 0
    instructions_per_output = 9
    order = "[out][8]"

    def _refusals(self, layer: Layer) -> Iterator[str | None]:
        yield depth_multiplier_refusal(layer)
        if layer.kernel > TAPS:
            yield f"{layer.kernel} taps are more than {TAPS}"
        yield from super()._refusals(layer)

    def _row(self, layer: Layer) -> int:
        return layer.kernel * layer.input.channels

    def _weights(self, layer: Layer) -> npt.NDArray[np.int8]:
        return np.pad(layer.weights.T, ((0, 0), (0, TAPS - layer.kernel)))


CONV_MVE = ConvMve()
DEPTHWISE_MVE = DepthwiseMve()
