"""The kernels of 16-bit activations for the M-profile Vector Extension, Helium (``edc_conv16_mve.h``)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator

import numpy as np

from edgecodec.codec.graph import Layer, Op
from edgecodec.codec.numerics import INT16X8
from edgecodec.compile.kernels.base import (
    BLOCK_CHANNELS,
    Kernel,
    PackedLayer,
    channels_refusal,
    depth_multiplier_refusal,
    memory_offset,
    memory_offset_of_groups,
    plain_cadence,
    sizes,
)
from edgecodec.compile.kernels.requantization16 import high_shifts, refusals, upper_multipliers
from edgecodec.compile.tables import Table, rows_of, structure
from edgecodec.compile.target import Optimize, Target

LANES = 8
"""Samples of a vector."""
_LONGEST_ROW = 65528
"""Samples whose number fits 16 bits."""
_BLOCK = (np.int32, BLOCK_CHANNELS)
"""A constant of the channels that are computed together."""
_CHANNELS = structure(bias=_BLOCK, multiplier=_BLOCK, shift=_BLOCK)


class _Mve16(Kernel):
    """What both have in common: constants of four channels side by side."""

    struct = "edc_mve16_layer"
    header = "edc_conv16_mve.h"
    numerics = INT16X8
    goals = tuple(Optimize)
    instructions_per_call = 400

    def runs_on(self, target: Target) -> bool:
        """Where there are vectors."""
        return target.vectors

    def _refusals(self, layer: Layer) -> Iterator[str | None]:
        yield channels_refusal(layer)
        yield from refusals(layer)

    @abstractmethod
    def _row(self, layer: Layer) -> int:
        """Samples under the taps of a position, as many as the kernel's window has."""

    @abstractmethod
    def _weights(self, layer: Layer) -> Table:
        """The table of weights."""

    @abstractmethod
    def _memory_offset(self, layer: Layer) -> int:
        """How far the input must start behind the output."""

    def _pack(self, layer: Layer) -> PackedLayer:
        row = self._row(layer)
        members = {
            "bias": layer.bias.astype(np.int32),
            "multiplier": upper_multipliers(layer),
            "shift": high_shifts(layer),
        }
        blocks = {name: values.reshape(-1, BLOCK_CHANNELS) for name, values in members.items()}
        comment = "[out / 4]: bias, multiplier and shift of four"
        tables = (
            self._weights(layer),
            Table("channels", rows_of(_CHANNELS, **blocks), comment, struct="edc_mve16_channels"),
        )
        return PackedLayer(
            kernel=self,
            layer=layer,
            tables=tables,
            fields={table.name: table for table in tables}
            | sizes(layer)
            | {"stride": layer.stride, "pad_left": layer.pad_left, "kernel": layer.kernel, "row": row}
            | {"rectified": int(layer.activation_min == 0)},
            cost=self._cost(layer),
            cadence=plain_cadence(layer),  # a stripe may end within the positions that go together
            memory_offset_bytes=self._memory_offset(layer),
            scratch_bytes=self.positions_together * (4 * layer.output.channels + 2 * row) if row else 0,
        )


class Conv16Mve(_Mve16):
    """``edc_conv16_mve``."""

    function = "edc_conv16_mve"
    reason = "eight products an instruction"
    ops = (Op.CONV,)
    positions_together = 3
    instructions_per_mac = 0.3
    instructions_per_output = 9.2

    def _refusals(self, layer: Layer) -> Iterator[str | None]:
        yield from super()._refusals(layer)
        if layer.kernel * layer.input.channels > _LONGEST_ROW:
            yield f"{layer.kernel * layer.input.channels:,} samples under the taps are more than {_LONGEST_ROW:,}"

    def _row(self, layer: Layer) -> int:
        samples = layer.kernel * layer.input.channels
        return samples + -samples % LANES

    def _weights(self, layer: Layer) -> Table:
        rows = layer.weights.reshape(layer.output.channels, -1)
        packed = np.pad(rows, ((0, 0), (0, self._row(layer) - rows.shape[1])))
        return Table("weights", packed, f"[out][row] {list(packed.shape)}")

    def _memory_offset(self, layer: Layer) -> int:
        return memory_offset_of_groups(layer, self.positions_together)


class Depthwise16Mve(_Mve16):
    """``edc_depthwise16_mve``."""

    function = "edc_depthwise16_mve"
    reason = "four channels an instruction"
    ops = (Op.DEPTHWISE,)
    instructions_per_mac = 2.0
    instructions_per_output = 5

    def _refusals(self, layer: Layer) -> Iterator[str | None]:
        yield depth_multiplier_refusal(layer)
        yield from super()._refusals(layer)

    def _row(self, layer: Layer) -> int:
        return 0

    def _weights(self, layer: Layer) -> Table:
        return Table("weights", layer.weights, f"[kernel][out] {list(layer.weights.shape)}")

    def _memory_offset(self, layer: Layer) -> int:
        position = np.arange(layer.output.width)
        first_read = position * layer.stride - layer.pad_left
        return memory_offset(layer, position + 1, first_read, channel_by_channel=True)


CONV16_MVE = Conv16Mve()
DEPTHWISE16_MVE = Depthwise16Mve()
