"""The kernels for cores that multiply 32 x 32 to 64 bits (``edc_conv_paired.h``): two taps a word.

Tap ``t`` belongs to phase ``t % stride``, where the strided convolution is a plain one; taps 2j and 2j + 1 of a phase
make one word ``v + w 2^22``, the first in the low lane. Missing taps are zeros. ``edc_conv_winograd`` divides a phase's
taps in turn into two filters and packs each so.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from edgecodec.codec.graph import Layer, Op
from edgecodec.compile.kernels.base import (
    BLOCK_CHANNELS,
    Cadence,
    Cost,
    Kernel,
    PackedLayer,
    channels_refusal,
    depth_multiplier_refusal,
    memory_offset,
    rounding_refusal,
    sizes,
    zero_points,
)
from edgecodec.compile.kernels.requantization import fold_channels
from edgecodec.compile.tables import Table
from edgecodec.compile.target import Optimize, Target

LANE_BITS = 22
"""Bits of the lower two of the three sums in a 64-bit accumulator."""
HIGH_LANE_BITS = 64 - 2 * LANE_BITS
"""Bits of the third sum, which has the products of the second taps of each pair alone."""
_COLUMN_MULTIPLE = 4
"""Columns that the kernels take at a time."""
_DEPTHWISE_WORDS = 4
"""Words of taps that ``edc_depthwise_paired`` takes."""
_PART_INSTRUCTIONS = 15
"""Instructions of an output for each part."""
_SIGNED_INSTRUCTIONS = 25
"""Instructions of an output more where the layer is not rectified."""
_WINDOW_INSTRUCTIONS = 2.0
"""Instructions of a call for each byte of its window."""


class _PackedTaps(Kernel):
    """What all three have in common: how taps are packed, how far a lane reaches, and outputs behind the samples.

    It packs a conv layer's blocks of output channels, and a depthwise layer's channels as one.
    """

    struct = "edc_paired_layer"
    header = "edc_conv_paired.h"
    filters: ClassVar[int] = 1
    """Filters that a phase's taps are divided into."""
    known_parts: ClassVar[tuple[int, ...]]
    """Sums that the kernel can divide a block's columns into, so that no lane overflows."""
    order: ClassVar[str]
    """Axes of the weights."""
    bytes_per_weight = 2
    instructions_per_call = 200
    instructions_per_column: ClassVar[float] = 0
    """Instructions a column of an output channel and position, likewise."""

    def runs_on(self, target: Target) -> bool:
        return target.long_multiply

    @abstractmethod
    def _taps(self, layer: Layer) -> npt.NDArray[np.int8]:
        """Weights ``[out, kernel, in]``."""

    @abstractmethod
    def _blocks(self, layer: Layer) -> int:
        """Blocks of output channels, each of which has its own count of parts."""

    @abstractmethod
    def _words(self, filters: npt.NDArray[np.int64], parts: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """Words of each filter ``[filters, out, columns]`` in the order in which the kernel uses them."""

    @abstractmethod
    def _memory_offset(self, layer: Layer, tap_pairs: int) -> int:
        """How far the input must start behind the output."""

    @abstractmethod
    def _window_bytes(self, columns: int) -> int:
        """Scratch memory that holds the samples under the taps."""

    @abstractmethod
    def _kept_bytes(self, layer: Layer) -> int:
        """Scratch memory behind the window."""

    def _packed_cost(self, layer: Layer, columns: int, parts: float, window_bytes: int, *, rectified: bool) -> Cost:
        """What a layer of so many columns costs, whose blocks' columns are summed in so many parts, in the mean."""
        output = self.instructions_per_column * columns + self.instructions_per_output
        output += _PART_INSTRUCTIONS * parts + (0 if rectified else _SIGNED_INSTRUCTIONS)
        return Cost(output * layer.output.channels, self.instructions_per_call + _WINDOW_INSTRUCTIONS * window_bytes)

    def _tap_pairs(self, layer: Layer) -> int:
        """Pairs of taps of each filter of each of a layer's ``stride`` phases."""
        return -(-layer.kernel // (2 * self.filters * layer.stride))

    def _columns(self, layer: Layer, parts: int) -> npt.NDArray[np.int64]:
        """The first and the second tap of each column of each filter, ``[filters, 2, out, columns]``."""
        weights = self._taps(layer)
        out, length, channels = weights.shape
        pairs = self._tap_pairs(layer)
        padded = np.zeros((out, pairs * 2 * self.filters * layer.stride, channels), np.int64)
        padded[:, :length] = weights
        taps = padded.reshape(out, pairs, 2, self.filters, layer.stride, channels).transpose(3, 2, 0, 1, 4, 5)
        used = pairs * layer.stride * channels
        rest = -used % (_COLUMN_MULTIPLE * parts)
        return np.pad(taps.reshape(self.filters, 2, out, used), ((0, 0), (0, 0), (0, 0), (0, rest)))

    def _parts(self, layer: Layer) -> npt.NDArray[np.uint8] | None:
        """For each block of channels the fewest parts in which no lane overflows, ``[blocks]``, or None.

        A lane is at most an activation's reach times the sum of the absolute weights that go into it. The middle lane
        has all of them, the low lane no more; the high lane has those of the second tap of each pair.
        """
        found = np.zeros(self._blocks(layer), np.uint8)
        for parts in self.known_parts:
            columns = np.abs(self._columns(layer, parts)).sum(axis=0)
            second, both = (
                layer.numerics.reach
                * lane.reshape(len(found), -1, parts, lane.shape[1] // parts).sum(axis=3).max(axis=(1, 2))
                for lane in (columns[1], columns.sum(axis=0))
            )
            fits = (both < 1 << (LANE_BITS - 1)) & (second < 1 << (HIGH_LANE_BITS - 1))
            found[(found == 0) & fits] = parts
        return found if found.all() else None

    def _lane_refusal(self, layer: Layer) -> str | None:
        if self._parts(layer) is not None:
            return None
        sums = np.abs(self._taps(layer).astype(np.int64)).sum(axis=(1, 2))
        return f"sums of products may reach {layer.numerics.reach * int(sums.max())}, too much for a lane"

    def _pack(self, layer: Layer) -> PackedLayer:
        parts = self._parts(layer)
        assert parts is not None, "a layer without refusal has parts"
        taps = self._columns(layer, int(parts.max()))
        filters = taps[:, 0] + (taps[:, 1] << LANE_BITS)
        columns, tap_pairs = filters.shape[-1], self._tap_pairs(layer)
        words = self._words(filters, parts).astype(np.int32)
        weights = Table("weights", words, f"{self.order} {list(words.shape)}, pairs of taps")
        start = np.repeat(parts.astype(np.int64) << (LANE_BITS - 1), layer.output.channels // len(parts))
        folded = fold_channels(layer, start)
        of_parts = self._parts_tables(parts)
        pointers = (weights, *of_parts, folded.table)
        # Two positions, or four and the first sample after, of each filter's last pair of taps.
        rows = 2 * self.filters * (tap_pairs - 1) + self.filters - 1
        window = self._window_bytes(columns)
        return PackedLayer(
            kernel=self,
            layer=layer,
            tables=(weights, folded.table, *of_parts),
            fields={table.name: table for table in pointers}
            | sizes(layer)
            | {"stride": layer.stride, "pad_left": layer.pad_left, "tap_pairs": tap_pairs, "columns": columns}
            | zero_points(layer)
            | {"rectified": int(folded.rectified)},
            cost=self._packed_cost(layer, columns, float(parts.mean()), window, rectified=folded.rectified),
            cadence=Cadence(self.positions_together, latency=self.filters, lookahead=rows * layer.stride),
            memory_offset_bytes=self._memory_offset(layer, tap_pairs),
            scratch_bytes=window + self._kept_bytes(layer),
            window_bytes=window,
        )

    def _parts_tables(self, parts: npt.NDArray[np.uint8]) -> tuple[Table, ...]:
        """The table of parts, where the kernel knows more than one."""
        return (Table("parts", parts, "[out / 4]: sums of each block"),)


class ConvPackedTaps(_PackedTaps):
    """``edc_conv_paired``."""

    function = "edc_conv_paired"
    reason = "four products a multiplication"
    ops = (Op.CONV,)
    positions_together = 2
    instructions_per_column = 0.86
    instructions_per_output = 3
    known_parts: ClassVar[tuple[int, ...]] = (1, 2, 4)
    order = "[out / 4][columns][4]"

    def _refusals(self, layer: Layer) -> Iterator[str | None]:
        yield channels_refusal(layer)
        yield rounding_refusal(layer)
        yield self._lane_refusal(layer)

    def multiplications(self, packed: PackedLayer) -> int:
        """Multiplications of an output channel."""
        pairs = packed.layer.output.width // 2 + 1
        return pairs * packed.number("columns")

    def _taps(self, layer: Layer) -> npt.NDArray[np.int8]:
        return layer.weights

    def _blocks(self, layer: Layer) -> int:
        return layer.output.channels // BLOCK_CHANNELS

    def _words(self, filters: npt.NDArray[np.int64], parts: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        products, _, columns = filters.shape
        blocks = filters.reshape(products, -1, BLOCK_CHANNELS, columns).transpose(1, 0, 3, 2)
        return np.stack([_part_by_part(block, count) for block, count in zip(blocks, parts.tolist(), strict=True)])

    def _memory_offset(self, layer: Layer, tap_pairs: int) -> int:
        # Pair after pair: the samples are in the window before the outputs up to the pair's even one are written.
        pair = np.arange(layer.output.width // 2 + 1)
        written = np.minimum(2 * pair + 1, layer.output.width)
        return memory_offset(layer, written, 2 * (pair + tap_pairs) * layer.stride - layer.pad_left)

    def _window_bytes(self, columns: int) -> int:
        return 4 * columns

    def _kept_bytes(self, layer: Layer) -> int:
        return (4 * self.filters + 1) * layer.output.channels


class ConvWinograd(ConvPackedTaps):
    """``edc_conv_winograd``: the words of a phase's two filters follow those of the sum of both."""

    function = "edc_conv_winograd"
    reason = "sixteen products in three multiplications"
    goals = (Optimize.SPEED,)
    positions_together = 4
    instructions_per_column = 1.29
    filters = 2
    known_parts = (1, 2)

    def pays(self, layer: Layer, pack: Callable[[Kernel], PackedLayer]) -> bool:
        """Where it takes fewer multiplications than ``edc_conv_paired``, which must be able to run the layer, too."""
        if CONV_PACKED_TAPS.refusal(layer) is not None:
            return False
        return self.multiplications(pack(self)) < CONV_PACKED_TAPS.multiplications(pack(CONV_PACKED_TAPS))

    def multiplications(self, packed: PackedLayer) -> int:
        """Multiplications of an output channel."""
        quads = -(-(packed.layer.output.width + 2) // 4)
        return 3 * quads * packed.number("columns")

    def _lane_refusal(self, layer: Layer) -> str | None:
        return "sums of products are too much for two lanes" if self._parts(layer) is None else None

    def _words(self, filters: npt.NDArray[np.int64], parts: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        return super()._words(np.concatenate([filters.sum(axis=0, keepdims=True), filters]), parts)

    def _memory_offset(self, layer: Layer, tap_pairs: int) -> int:
        # Two pairs together; the first sample of the next is looked at before, and read again.
        quad = np.arange((layer.output.width + 5) // 4)
        written = np.minimum(4 * quad + 2, layer.output.width)
        return memory_offset(layer, written, 4 * (quad + tap_pairs) * layer.stride - layer.pad_left)

    def _window_bytes(self, columns: int) -> int:
        return 3 * 4 * columns


class DepthwisePackedTaps(_PackedTaps):
    """``edc_depthwise_paired``."""

    function = "edc_depthwise_paired"
    reason = "four products a multiplication"
    ops = (Op.DEPTHWISE,)
    positions_together = 2
    instructions_per_output = 21
    instructions_per_call = 650
    known_parts = (1,)
    order = "[out][4]"

    def _refusals(self, layer: Layer) -> Iterator[str | None]:
        yield depth_multiplier_refusal(layer)
        if layer.stride not in (1, 2) or layer.stride * self._tap_pairs(layer) != _DEPTHWISE_WORDS:
            yield f"kernel {layer.kernel} with stride {layer.stride} does not fill four words"
        yield rounding_refusal(layer)
        yield self._lane_refusal(layer)

    def _taps(self, layer: Layer) -> npt.NDArray[np.int8]:
        # [kernel, out], so one input channel for each output channel.
        return layer.weights.T[:, :, None]

    def _blocks(self, layer: Layer) -> int:
        return 1

    def _parts_tables(self, parts: npt.NDArray[np.uint8]) -> tuple[Table, ...]:
        return ()

    def _words(self, filters: npt.NDArray[np.int64], parts: npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        return filters.reshape(filters.shape[1:])

    def _memory_offset(self, layer: Layer, tap_pairs: int) -> int:
        # Pair after pair, channel by channel: an output is written when its channel's samples are read.
        pair = np.arange(layer.output.width // 2 + 1)
        written = np.minimum(2 * pair + 1, layer.output.width)
        first_read = 2 * (pair + tap_pairs - 1) * layer.stride - layer.pad_left
        return memory_offset(layer, written, first_read, channel_by_channel=True)

    def _window_bytes(self, columns: int) -> int:
        return 0

    def _kept_bytes(self, layer: Layer) -> int:
        return (4 * (5 - layer.stride) + 1 + 2 * layer.stride) * layer.output.channels


def _part_by_part(block: npt.NDArray[np.int64], parts: int) -> npt.NDArray[np.int64]:
    """Words ``[products, columns, 4]`` in the order in which they are used, ``[products columns, 4]``."""
    products, columns, channels = block.shape
    return block.reshape(products, parts, columns // parts, channels).swapaxes(0, 1).reshape(-1, channels)


CONV_PACKED_TAPS = ConvPackedTaps()
CONV_WINOGRAD = ConvWinograd()
DEPTHWISE_PACKED_TAPS = DepthwisePackedTaps()
