"""The kernel for cores with SIMD whose weights are bytes (``edc_conv_bytes.h``): two products at once, little flash."""

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
from edgecodec.compile.kernels.pointwise import START
from edgecodec.compile.kernels.requantization import fold_channels
from edgecodec.compile.tables import Table
from edgecodec.compile.target import Target

_COLUMN_MULTIPLE = 4
"""Columns that the kernel takes at a time."""


class ConvBytes(Kernel):
    """``edc_conv_bytes``."""

    function = "edc_conv_bytes"
    struct = "edc_bytes_layer"
    header = "edc_conv_bytes.h"
    reason = "two products an instruction, of weights that take a byte"
    ops = (Op.CONV,)
    positions_together = 2
    instructions_per_mac = 0.98
    instructions_per_output = 24
    instructions_per_call = 500

    def runs_on(self, target: Target) -> bool:
        """Where two 16-bit halves of a word are multiplied at once."""
        return target.simd

    def _refusals(self, layer: Layer) -> Iterator[str | None]:
        yield channels_refusal(layer)
        yield rounding_refusal(layer)
        reach = layer.numerics.reach * int(np.abs(layer.weights.astype(np.int64)).sum(axis=(1, 2)).max())
        if reach > START:
            yield f"sums of products may reach {reach}, more than they start at"

    def _pack(self, layer: Layer) -> PackedLayer:
        columns = _columns(layer)
        # [block, pair of outputs, output, four columns, two, column]: outputs and the two with a column share a word.
        fours = columns.reshape(-1, BLOCK_CHANNELS // 2, 2, columns.shape[1] // 4, 2, 2).astype(np.int64) & 0xFF
        shifts = np.array([0, 8])[:, None, None, None] + np.array([0, 16])[:, None]
        words = (fours << shifts).sum(axis=(2, 4)).transpose(0, 2, 3, 1).reshape(len(fours), -1, 2).astype(np.uint32)
        comment = f"[out / 4][columns / 4][2][2] {list(words.shape)}, two columns of two outputs a word"
        weights = Table("weights", words, comment)
        folded = fold_channels(layer, np.full(layer.output.channels, START))
        return PackedLayer(
            kernel=self,
            layer=layer,
            tables=(weights, folded.table),
            fields={"weights": weights, "channels": folded.table}
            | sizes(layer)
            | {"stride": layer.stride, "pad_left": layer.pad_left, "columns": columns.shape[1]}
            | zero_points(layer)
            | {"rectified": int(folded.rectified)},
            cost=self._cost(layer),
            cadence=plain_cadence(layer, self.positions_together),
            memory_offset_bytes=memory_offset_of_groups(layer, self.positions_together),
            scratch_bytes=4 * columns.shape[1] + layer.output.channels,
        )


def _columns(layer: Layer) -> npt.NDArray[np.int8]:
    """Weights ``[out, columns]``, zeros behind the taps."""
    flat = layer.weights.reshape(layer.output.channels, -1)
    return np.pad(flat, ((0, 0), (0, -flat.shape[1] % _COLUMN_MULTIPLE)))


CONV_BYTES = ConvBytes()
