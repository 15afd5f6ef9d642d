"""The kernel of convolutions over channels alone (``edc_pointwise.h``), for cores with SIMD: two products at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgecodec.codec.graph import Layer, Op
from edgecodec.compile.kernels.base import (
    BLOCK_CHANNELS,
    Kernel,
    PackedLayer,
    memory_offset_of_groups,
    plain_cadence,
    rounding_refusal,
)
from edgecodec.compile.kernels.requantization import fold_channels
from edgecodec.compile.tables import Table
from edgecodec.compile.target import Optimize, Target

_IN_CHANNELS = 4
"""Input channels that the kernel takes at a time."""
START = 1 << 24
"""What its sums start at, so that they are never negative."""


class Pointwise(Kernel):
    """``edc_pointwise``."""

    function = "edc_pointwise"
    struct = "edc_pointwise_layer"
    header = "edc_pointwise.h"
    reason = "two products an instruction"
    ops = (Op.CONV,)
    goals = (Optimize.SPEED,)
    bytes_per_weight = 2
    positions_together = 2
    instructions_per_mac = 0.75
    instructions_per_output = 17
    instructions_per_call = 400

    def runs_on(self, target: Target) -> bool:
        """Where two 16-bit halves of a word are multiplied at once."""
        return target.simd

    def _refusals(self, layer: Layer) -> Iterator[str | None]:
        if layer.kernel != 1 or layer.pad_left != 0:
            yield "it looks at more than one position"
        if layer.input.channels % _IN_CHANNELS or layer.output.channels % BLOCK_CHANNELS:
            yield f"{layer.input.channels} to {layer.output.channels} channels are no multiples of {BLOCK_CHANNELS}"
        yield rounding_refusal(layer)
        reach = layer.numerics.reach * int(np.abs(layer.weights.astype(np.int64)).sum(axis=(1, 2)).max())
        if reach > START:
            yield f"sums of products may reach {reach}, more than they start at"

    def _pack(self, layer: Layer) -> PackedLayer:
        channels = layer.output.channels
        pairs = layer.weights.astype(np.int64).reshape(channels // BLOCK_CHANNELS, BLOCK_CHANNELS, -1, 2)
        words = (pairs[..., 0] & 0xFFFF) + ((pairs[..., 1] & 0xFFFF) << 16)
        packed = words.transpose(0, 2, 1).astype(np.uint32)
        weights = Table("weights", packed, f"[out / 4][in / 2][4] {list(packed.shape)}, two channels a word")
        folded = fold_channels(layer, np.full(channels, START))
        return PackedLayer(
            kernel=self,
            layer=layer,
            tables=(weights, folded.table),
            fields={
                "weights": weights,
                "channels": folded.table,
                "in_channels": layer.input.channels,
                "out_width": layer.output.width,
                "out_channels": channels,
                "stride": layer.stride,
                "out_zero_point": layer.output.zero_point,
                "rectified": int(folded.rectified),
            },
            cost=self._cost(layer),
            cadence=plain_cadence(layer, self.positions_together),
            memory_offset_bytes=memory_offset_of_groups(layer, self.positions_together),
            scratch_bytes=4 * layer.input.channels + channels,
        )


POINTWISE = Pointwise()
