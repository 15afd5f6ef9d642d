"""The kernel for cores whose multiplication keeps 32 bits (``edc_conv_twin.h``): two output channels' taps a word."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from edgecodec.codec.graph import Layer, Op
from edgecodec.compile.kernels.base import (
    BLOCK_CHANNELS,
    Kernel,
    PackedLayer,
    channels_refusal,
    memory_offset_of_groups,
    plain_cadence,
    rounding_refusal,
    sizes,
    zero_points,
)
from edgecodec.compile.kernels.requantization import shifts
from edgecodec.compile.tables import Table, rows_of, structure
from edgecodec.compile.target import Target

LANE_BITS = 16
"""Bits of the two lanes of a word, ``v + w 2^16``."""
_COLUMNS = 2
"""Columns that the kernel takes at a time."""
_LONGEST_PART = 255
"""Pairs of columns of a part, at most: its length is a byte."""
_CHANNEL = structure(bias=np.int32, multiplier=np.int32, down=np.int32)


class ConvPackedChannels(Kernel):
    """``edc_conv_twin``."""

    function = "edc_conv_twin"
    struct = "edc_twin_layer"
    header = "edc_conv_twin.h"
    reason = "two products a multiplication, which keeps 32 bits on this core"
    ops = tuple(Op)  # no other kernel is faster on its cores, so that it says why it is not for depthwise layers
    bytes_per_weight = 2
    instructions_per_mac = 3.4
    instructions_per_output = 90
    instructions_per_call = 600

    def runs_on(self, target: Target) -> bool:
        """Where a multiplication keeps 32 bits."""
        return not target.long_multiply

    def _refusals(self, layer: Layer) -> Iterator[str | None]:
        if layer.op is Op.DEPTHWISE:
            yield "a depthwise layer's channels share no samples"
        yield channels_refusal(layer)
        yield rounding_refusal(layer)
        if any(_part_lengths(block, layer.numerics.reach) is None for block in _blocks(layer)):
            yield "two weights of -128 side by side are too much for a lane"

    def _pack(self, layer: Layer) -> PackedLayer:
        blocks = _blocks(layer)
        lengths = [found for block in blocks if (found := _part_lengths(block, layer.numerics.reach)) is not None]
        words = blocks[:, 0::2] + (blocks[:, 1::2] << LANE_BITS)
        # A high lane of -128 above a negative low one wraps, as the sums do.
        wrapped = (words.transpose(0, 2, 1) & 0xFFFFFFFF).astype(np.uint32).view(np.int32)
        columns = wrapped.shape[1]
        # Each part gives an even channel half a lane on top.
        bias = layer.folded_bias.reshape(-1, BLOCK_CHANNELS).copy()
        bias[:, 0::2] -= np.array([len(part) << (LANE_BITS - 1) for part in lengths], np.int32)[:, None]
        rows = rows_of(_CHANNEL, bias=bias.reshape(-1), multiplier=layer.multiplier, down=-1 - shifts(layer))
        ended = np.concatenate([np.append(part, np.uint8(0)) for part in lengths])
        tables = (
            Table("weights", wrapped, f"[out / 4][columns][2] {list(wrapped.shape)}, two channels a word"),
            Table("parts", ended, "pairs of columns of each part, 0 after each block"),
            Table("channels", rows, "[out]: bias, multiplier, down", struct="edc_twin_channel"),
        )
        return PackedLayer(
            kernel=self,
            layer=layer,
            tables=tables,
            fields={table.name: table for table in tables}
            | sizes(layer)
            | {"stride": layer.stride, "pad_left": layer.pad_left, "kernel": layer.kernel, "columns": columns}
            | zero_points(layer),
            cost=self._cost(layer),
            cadence=plain_cadence(layer),
            memory_offset_bytes=memory_offset_of_groups(layer, self.positions_together),
            scratch_bytes=4 * columns,
        )


def _blocks(layer: Layer) -> npt.NDArray[np.int64]:
    """Weights ``[out / 4, 4, columns]``; a missing last column is zeros."""
    flat = layer.weights.astype(np.int64).reshape(layer.output.channels, -1)
    padded = np.pad(flat, ((0, 0), (0, -flat.shape[1] % _COLUMNS)))
    return padded.reshape(len(flat) // BLOCK_CHANNELS, BLOCK_CHANNELS, -1)


def _part_lengths(block: npt.NDArray[np.int64], reach: int) -> npt.NDArray[np.uint8] | None:
    """Pairs of columns of each part of a block ``[4, columns]``, each as long as no lane overflows; None if one may.

    A lane is at most ``reach``, an activation's magnitude, times the sum of the absolute weights that go into it.
    """
    pairs = np.abs(block).reshape(BLOCK_CHANNELS, -1, _COLUMNS).sum(axis=2).T
    most = ((1 << (LANE_BITS - 1)) - 1) // reach
    lengths: list[int] = []
    total = np.full(BLOCK_CHANNELS, most + 1)
    for pair in pairs:
        total = total + pair
        if total.max() > most or lengths[-1] == _LONGEST_PART:
            lengths.append(0)
            total = pair
        lengths[-1] += 1
    return None if pairs.max() > most else np.array(lengths, np.uint8)


CONV_PACKED_CHANNELS = ConvPackedChannels()
