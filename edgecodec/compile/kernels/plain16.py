"""The plain kernels of 16-bit activations (``edc_conv16.h``): any layer of them on any core, no working memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from edgecodec.codec.graph import Layer, Op
from edgecodec.codec.numerics import INT16X8
from edgecodec.compile.kernels.base import Kernel, PackedLayer, memory_offset, plain_cadence, sizes
from edgecodec.compile.tables import Table
from edgecodec.compile.target import Optimize, Target


class _Plain16(Kernel):
    """What both have in common: sums in int32 where the layer's bound proves that they fit, else in int64."""

    struct = "edc_conv16_layer"
    header = "edc_conv16.h"
    reason = "the only kernel of 16-bit activations"
    numerics = INT16X8
    goals = tuple(Optimize)
    instructions_per_call = 450
    order: ClassVar[str]
    """Axes of the weights."""
    channel_by_channel: ClassVar[bool]
    """Whether it reads a row's channels as it writes those of the output."""

    def runs_on(self, target: Target) -> bool:
        return True

    def _refusals(self, layer: Layer) -> Iterator[str | None]:
        yield from ()  # it runs any layer

    def _pack(self, layer: Layer) -> PackedLayer:
        if layer.accumulator_bound < 1 << 31:
            bias = Table("bias", layer.bias.astype(np.int32), "[out]")
        else:
            bias = Table("wide_bias", layer.bias.astype(np.int64), "[out]")
        tables = (
            Table("weights", layer.weights, f"{self.order} {list(layer.weights.shape)}"),
            bias,
            Table("multiplier", layer.reduced_multiplier.astype(np.uint16), "[out], Q15"),
            Table("shift", layer.total_shift.astype(np.uint8), "[out], right"),
        )
        position = np.arange(layer.output.width)
        offset = memory_offset(
            layer,
            position + 1,
            position * layer.stride - layer.pad_left,
            channel_by_channel=self.channel_by_channel,
        )
        return PackedLayer(
            kernel=self,
            layer=layer,
            tables=tables,
            fields={table.name: table for table in tables}
            | sizes(layer)
            | {"kernel": layer.kernel, "stride": layer.stride, "pad_left": layer.pad_left}
            | {"activation_min": layer.activation_min, "activation_max": layer.activation_max},
            cost=self._cost(layer),
            cadence=plain_cadence(layer),
            memory_offset_bytes=offset,
        )


class Conv16(_Plain16):
    """``edc_conv16``."""

    function = "edc_conv16"
    ops = (Op.CONV,)
    instructions_per_mac = 5.0
    instructions_per_output = 65
    order = "[out][kernel][in]"
    channel_by_channel = False


class Depthwise16(_Plain16):
    """``edc_depthwise16``."""

    function = "edc_depthwise16"
    ops = (Op.DEPTHWISE,)
    instructions_per_mac = 16.0
    instructions_per_output = 90
    order = "[kernel][out]"
    channel_by_channel = True


CONV16 = Conv16()
DEPTHWISE16 = Depthwise16()
