"""The kernels of 16-bit activations that take two taps at a time (``edc_conv16_pairs.h``).

``edc_conv16_words`` has weights of 16 bits, ``edc_conv16_bytes`` bytes: on cores with the DSP extension the first is
faster, the second takes half the flash; Cortex-M3 has the second alone, and Cortex-M0 ``edc_conv16_single``, which
takes one position at a time.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from edgecodec.codec.graph import Layer, Op
from edgecodec.codec.numerics import INT16X8
from edgecodec.compile.kernels.base import (
    BLOCK_CHANNELS,
    Cost,
    Kernel,
    PackedLayer,
    channels_refusal,
    depth_multiplier_refusal,
    memory_offset,
    memory_offset_of_groups,
    plain_cadence,
    sizes,
)
from edgecodec.compile.kernels.requantization16 import fits_high_word, high_multipliers, packed_multipliers, refusals
from edgecodec.compile.tables import Table, rows_of, structure
from edgecodec.compile.target import Optimize, Target

_COLUMN_MULTIPLE = 4
"""Columns that the kernels take at a time."""
_MOST_COLUMNS = 65532
"""Columns whose number fits 16 bits."""
_BLOCK = (np.int32, BLOCK_CHANNELS)
"""A constant of the channels that are computed together."""
_CHANNELS = structure(bias=_BLOCK, multiplier=_BLOCK)


class _Blocks(Kernel):
    """What all have in common: constants of four channels side by side."""

    struct = "edc_pairs_layer"
    header = "edc_conv16_pairs.h"
    numerics = INT16X8
    multiplies_long: ClassVar[bool] = True
    """Whether its cores multiply 32 x 32 to 64 bits, so that the high word of one product may be an output."""

    def _fields(self, layer: Layer, weights: Table, columns: int) -> dict[str, int | Table]:
        """Members of the structure."""
        more = -layer.output.channels % BLOCK_CHANNELS
        high = self.multiplies_long and fits_high_word(layer)
        members = {
            "bias": layer.bias.astype(np.int32),
            "multiplier": high_multipliers(layer) if high else packed_multipliers(layer),
        }
        blocks = {name: np.pad(values, (0, more)).reshape(-1, BLOCK_CHANNELS) for name, values in members.items()}
        comment = "[out / 4]: bias and multiplier of four"
        return (
            {"weights": weights}
            | {"channels": Table("channels", rows_of(_CHANNELS, **blocks), comment, struct="edc_pairs_channels")}
            | sizes(layer)
            | {"stride": layer.stride, "pad_left": layer.pad_left, "columns": columns}
            | {"high": int(high), "rectified": int(layer.activation_min == 0)}
        )


class _Pairs(_Blocks):
    """Convolutions."""

    ops = (Op.CONV,)
    positions_together = 2
    instructions_per_column: ClassVar[float]
    """Instructions a position for each sample under the taps, to have it in the window."""
    instructions_per_position: ClassVar[float]
    """Instructions a position beside those."""

    def _refusals(self, layer: Layer) -> Iterator[str | None]:
        yield from refusals(layer)
        if layer.kernel * layer.input.channels > _MOST_COLUMNS:
            yield f"{layer.kernel * layer.input.channels:,} samples under the taps are more than {_MOST_COLUMNS:,}"

    @abstractmethod
    def _weights(self, columns: npt.NDArray[np.int64]) -> Table:
        """The table of weights ``[out / 4, 4, columns]``."""

    def _pack(self, layer: Layer) -> PackedLayer:
        flat = layer.weights.astype(np.int64).reshape(layer.output.channels, -1)
        columns = np.pad(flat, ((0, -len(flat) % BLOCK_CHANNELS), (0, -flat.shape[1] % _COLUMN_MULTIPLE)))
        weights = self._weights(columns.reshape(-1, BLOCK_CHANNELS, columns.shape[1]))
        fields = self._fields(layer, weights, columns.shape[1])
        return PackedLayer(
            kernel=self,
            layer=layer,
            tables=tuple(value for value in fields.values() if isinstance(value, Table)),
            fields=fields,
            cost=self._packed_cost(columns.size, len(columns)),
            cadence=plain_cadence(layer, self.positions_together),
            memory_offset_bytes=memory_offset_of_groups(layer, self.positions_together),
            scratch_bytes=self._scratch_bytes(columns.shape[1], layer.output.channels),
        )

    def _scratch_bytes(self, columns: int, channels: int) -> int:
        """Working memory: windows of two positions, and outputs of a position that there is not."""
        return 4 * columns + 2 * channels

    def _packed_cost(self, weights: int, channels: int) -> Cost:
        """What a layer costs by the figures above, with what fills its tables up."""
        position = (
            weights * self.instructions_per_mac
            + channels * self.instructions_per_output
            + weights // channels * self.instructions_per_column
            + self.instructions_per_position
        )
        return Cost(position, self.instructions_per_call)


class Conv16Words(_Pairs):
    """``edc_conv16_words``."""

    function = "edc_conv16_words"
    reason = "two products an instruction"
    goals = (Optimize.SPEED,)
    bytes_per_weight = 2
    instructions_per_mac = 0.73
    instructions_per_output = 8.3
    instructions_per_column = 2.4
    instructions_per_position = 30
    instructions_per_call = 560

    def runs_on(self, target: Target) -> bool:
        """Where two 16-bit halves of a word are multiplied at once."""
        return target.simd

    def _weights(self, columns: npt.NDArray[np.int64]) -> Table:
        pairs = columns.reshape(*columns.shape[:2], -1, 2) & 0xFFFF
        words = (pairs[..., 0] + (pairs[..., 1] << 16)).transpose(0, 2, 1).astype(np.uint32)
        return Table("weights", words, f"[out / 4][columns / 2][4] {list(words.shape)}, two columns a word")


class Conv16Bytes(_Pairs):
    """``edc_conv16_bytes`` with the DSP extension."""

    function = "edc_conv16_bytes"
    reason = "two products an instruction, of weights that take a byte"
    instructions_per_mac = 0.98
    instructions_per_output = 8.9
    instructions_per_column = 2.4
    instructions_per_position = 36
    instructions_per_call = 390

    def runs_on(self, target: Target) -> bool:
        """Where two 16-bit halves of a word are multiplied at once."""
        return target.simd

    def _weights(self, columns: npt.NDArray[np.int64]) -> Table:
        # [block, pair of outputs, output, pair of columns, column]: two outputs and two columns share a word.
        fours = columns.reshape(len(columns), BLOCK_CHANNELS // 2, 2, -1, 2) & 0xFF
        shifts = np.array([0, 8])[:, None, None] + np.array([0, 16])
        words = (fours << shifts).sum(axis=(2, 4)).transpose(0, 2, 1).astype(np.uint32)
        return Table("weights", words, f"[out / 4][columns / 2][2] {list(words.shape)}, two columns of two outputs")


class Conv16BytesOneByOne(Conv16Bytes):
    """``edc_conv16_bytes`` without the DSP extension."""

    reason = "eight sums in registers"
    instructions_per_mac = 2.19
    instructions_per_output = 14.7
    instructions_per_column = 2.4
    instructions_per_position = 33
    instructions_per_call = 405

    def runs_on(self, target: Target) -> bool:
        """Where 32 x 32 are multiplied to 64 bits, and no halves of a word."""
        return target.long_multiply and not target.simd


class Conv16Single(Conv16Bytes):
    """``edc_conv16_single``, where a multiplication keeps 32 bits and registers are few."""

    function = "edc_conv16_single"
    reason = "four sums in registers"
    positions_together = 1
    instructions_per_mac = 4.15
    instructions_per_output = 33
    instructions_per_column = 4.5
    instructions_per_position = 20
    instructions_per_call = 500
    multiplies_long = False

    def runs_on(self, target: Target) -> bool:
        """Where a multiplication keeps 32 bits."""
        return not target.long_multiply

    def _scratch_bytes(self, columns: int, channels: int) -> int:
        return 2 * columns


class Depthwise16Bytes(_Blocks):
    """``edc_depthwise16_bytes`` where 32 x 32 are multiplied to 64 bits."""

    function = "edc_depthwise16_bytes"
    reason = "four sums in registers"
    ops = (Op.DEPTHWISE,)
    instructions_per_mac = 3.8
    instructions_per_output = 14
    instructions_per_call = 300

    def runs_on(self, target: Target) -> bool:
        """Where 32 x 32 are multiplied to 64 bits."""
        return target.long_multiply

    def _refusals(self, layer: Layer) -> Iterator[str | None]:
        yield depth_multiplier_refusal(layer)
        yield channels_refusal(layer)
        yield from refusals(layer)

    def _pack(self, layer: Layer) -> PackedLayer:
        fours = np.ascontiguousarray(layer.weights).view(np.dtype("<u4"))
        weights = Table("weights", fours, f"[kernel][out / 4] {list(fours.shape)}, four channels a word")
        fields = self._fields(layer, weights, layer.kernel)
        position = np.arange(layer.output.width)
        first_read = position * layer.stride - layer.pad_left
        return PackedLayer(
            kernel=self,
            layer=layer,
            tables=tuple(value for value in fields.values() if isinstance(value, Table)),
            fields=fields,
            cost=self._cost(layer),
            cadence=plain_cadence(layer),
            memory_offset_bytes=memory_offset(layer, position + 1, first_read, channel_by_channel=True),
        )


class Depthwise16BytesShort(Depthwise16Bytes):
    """``edc_depthwise16_bytes`` where a multiplication keeps 32 bits."""

    instructions_per_mac = 8.5
    instructions_per_output = 50
    multiplies_long = False

    def runs_on(self, target: Target) -> bool:
        """Where a multiplication keeps 32 bits."""
        return not target.long_multiply


CONV16_WORDS = Conv16Words()
CONV16_BYTES = Conv16Bytes()
CONV16_BYTES_ONE_BY_ONE = Conv16BytesOneByOne()
CONV16_SINGLE = Conv16Single()
DEPTHWISE16_BYTES = Depthwise16Bytes()
DEPTHWISE16_BYTES_SHORT = Depthwise16BytesShort()
