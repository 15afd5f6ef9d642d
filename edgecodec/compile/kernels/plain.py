"""The plain kernels (``edc_conv.h``): any layer on any core, the least flash, no working memory."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import numpy as np

from edgecodec.codec.graph import Layer, Op
from edgecodec.compile.kernels.base import (
    Kernel,
    PackedLayer,
    memory_offset,
    plain_cadence,
    sizes,
    zero_points,
)
from edgecodec.compile.kernels.requantization import shifts
from edgecodec.compile.tables import Table
from edgecodec.compile.target import Optimize, Target


class PlainKernel(Kernel):
    """What all have in common, of either width: the constants as the bundle has them, position after position."""

    reason = "least flash"
    goals = tuple(Optimize)
    instructions_per_call = 450
    order: ClassVar[str]
    """Axes of the weights."""
    channel_by_channel: ClassVar[bool]
    """Whether it reads a row's channels as it writes those of the output; else all samples for each output channel."""

    def runs_on(self, target: Target) -> bool:
        """On any core."""
        return True

    def _refusals(self, layer: Layer) -> Iterator[str | None]:
        yield from ()  # it runs any layer

    @abstractmethod
    def _channels(self, layer: Layer) -> tuple[Table, ...]:
        """Constants of the output channels."""

    @abstractmethod
    def _rounding(self, layer: Layer) -> dict[str, int]:
        """Members that say what becomes of a sum."""

    def _pack(self, layer: Layer) -> PackedLayer:
        weights = Table("weights", layer.weights, f"{self.order} {list(layer.weights.shape)}")
        tables = (weights, *self._channels(layer))
        # A row is written while the samples under its taps are read.
        position = np.arange(layer.output.width)
        first_read = position * layer.stride - layer.pad_left
        return PackedLayer(
            kernel=self,
            layer=layer,
            tables=tables,
            fields={table.name: table for table in tables}
            | sizes(layer)
            | {"kernel": layer.kernel, "stride": layer.stride, "pad_left": layer.pad_left}
            | self._rounding(layer),
            cost=self._cost(layer),
            cadence=plain_cadence(layer),
            memory_offset_bytes=memory_offset(
                layer, position + 1, first_read, channel_by_channel=self.channel_by_channel
            ),
        )


class _Plain(PlainKernel):
    """Those of 8-bit activations."""

    struct = "edc_conv_layer"
    header = "edc_conv.h"

    def _channels(self, layer: Layer) -> tuple[Table, ...]:
        return (
            Table("bias", layer.folded_bias, "[out], input zero point folded in"),
            Table("multiplier", layer.multiplier, "[out], Q31"),
            Table("shift", shifts(layer).astype(np.int8), "[out], positive left"),
        )

    def _rounding(self, layer: Layer) -> dict[str, int]:
        return zero_points(layer) | {
            "activation_min": layer.activation_min,
            "activation_max": layer.activation_max,
            "narrow": int(layer.is_narrow),
        }


class Conv(_Plain):
    """``edc_conv``."""

    function = "edc_conv"
    ops = (Op.CONV,)
    instructions_per_mac = 5.0
    instructions_per_output = 65
    order = "[out][kernel][in]"
    channel_by_channel = False


class Depthwise(_Plain):
    """``edc_depthwise``."""

    function = "edc_depthwise"
    ops = (Op.DEPTHWISE,)
    instructions_per_mac = 16.0
    instructions_per_output = 90
    order = "[kernel][out]"
    channel_by_channel = True


CONV = Conv()
DEPTHWISE = Depthwise()
