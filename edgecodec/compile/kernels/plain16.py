"""The plain kernels of 16-bit activations (``edc_conv16.h``): any layer of them on any core, no working memory."""

from __future__ import annotations

import numpy as np

from edgecodec.codec.graph import Layer, Op
from edgecodec.codec.numerics import INT16X8
from edgecodec.compile.kernels.plain import PlainKernel
from edgecodec.compile.tables import Table


class _Plain16(PlainKernel):
    """What both have in common: sums in int32 where the layer's bound proves that they fit, else in int64."""

    struct = "edc_conv16_layer"
    header = "edc_conv16.h"
    numerics = INT16X8

    def _channels(self, layer: Layer) -> tuple[Table, ...]:
        if layer.accumulator_bound < 1 << 31:
            bias = Table("bias", layer.bias.astype(np.int32), "[out]")
        else:
            bias = Table("wide_bias", layer.bias.astype(np.int64), "[out]")
        return (
            bias,
            Table("multiplier", layer.reduced_multiplier.astype(np.uint16), "[out], Q15"),
            Table("shift", layer.total_shift.astype(np.uint8), "[out], right"),
        )

    def _rounding(self, layer: Layer) -> dict[str, int]:
        return {"activation_min": layer.activation_min, "activation_max": layer.activation_max}


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
    instructions_per_mac = 8.0
    instructions_per_output = 60
    order = "[kernel][out]"
    channel_by_channel = True


CONV16 = Conv16()
DEPTHWISE16 = Depthwise16()
