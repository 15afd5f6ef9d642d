"""The kernel for cores without a long multiplication, at every shape it takes and at the limit that is proven."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from edgecodec.codec.graph import Graph, Layer
from edgecodec.codec.reference import run_every_layer
from edgecodec.codec.tflite_reader import read_graph
from edgecodec.compile.kernels.packed_channels import CONV_PACKED_CHANNELS
from edgecodec.errors import PlanError
from tests.bitexact import c_kernels
from tests.tflite_builder import CONV, DEPTHWISE, LayerSpec, build_encoder
from tests.tools import require


def _layer(spec: LayerSpec, width: int, channels: int, seed: int) -> Layer:
    return read_graph(build_encoder([LayerSpec(CONV, channels, 1), spec], width, seed=seed)).layers[1]


def _assert_exact(layer: Layer, source: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    assert CONV_PACKED_CHANNELS.refusal(layer) is None
    expected = run_every_layer(Graph((layer,)), source.reshape(len(source), -1))[0]
    np.testing.assert_array_equal(c_kernels.run_packed_channels(layer, source), expected)
    return expected


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5, 7, 8, 13])
def test_shapes(kernel: int, stride: int, padding: str) -> None:
    require("cc", "Python.h")
    for width in range(kernel if padding == "VALID" else 1, 19, 3):
        layer = _layer(LayerSpec(CONV, 8, kernel, stride, padding), width, 1 + width % 5, width)
        if not layer.is_narrow:
            continue
        source = np.random.default_rng(width).integers(-128, 128, (5, width, layer.input.channels)).astype(np.int8)
        source[0], source[1] = -128, 127
        _assert_exact(layer, source)


def _with_weights(rows: npt.NDArray[np.int64], *, zero_point: int = 0) -> Layer:
    """A 1x1 layer of weights ``[4, columns]``; a shift that keeps its sums apart."""
    columns = rows.shape[1]
    layer = _layer(LayerSpec(CONV, 4, 1), 6, columns, 0)
    source = replace(layer.input, zero_point=zero_point)
    return replace(
        layer,
        input=source,
        weights=rows.reshape(4, 1, columns).astype(np.int8),
        bias=np.zeros(4, np.int32),
        shift=np.full(4, -11, np.int32),
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_lanes_at_the_proven_limit(sign: int) -> None:
    """Absolute weights of 255 a part, 127 + 127 + 1 + 0, driven to either end of a lane by the worst samples."""
    require("cc", "Python.h")
    flat = sign * np.tile([127, -127, 1, 0], 5)
    layer = _with_weights(np.stack([flat, -flat, flat, np.roll(flat, 1)]))
    assert CONV_PACKED_CHANNELS.pack(layer).array("parts").tolist() == [2, 2, 2, 2, 2, 0]
    worst = np.where(flat < 0, 127, -128).astype(np.int8)
    source = np.stack([np.tile(worst, (6, 1)), np.tile(-1 - worst, (6, 1))])
    assert len(np.unique(_assert_exact(layer, source))) > 2


def test_one_more_begins_another_part() -> None:
    require("cc", "Python.h")
    flat = np.array([127, -127, 1, 1, 3, 0])
    layer = _with_weights(np.stack([flat] * 4))
    assert CONV_PACKED_CHANNELS.pack(layer).array("parts").tolist() == [1, 2, 0]
    worst = np.where(flat < 0, 127, -128).astype(np.int8)
    _assert_exact(layer, np.tile(worst, (1, 6, 1)))


def test_odd_columns_and_the_lowest_weight() -> None:
    require("cc", "Python.h")
    rows = np.array([[-128, 5, -128], [7, -128, 127], [-128, -1, 0], [0, -1, -128]])
    layer = _with_weights(rows, zero_point=-3)
    packed = CONV_PACKED_CHANNELS.pack(layer)
    words = packed.array("weights")
    assert packed.number("columns") == 4
    assert words.shape == (1, 4, 2)
    # Low lane -128, high lane 7; then a high lane of -128 above a low one of -1.
    assert words[0, 0].tolist() == [(7 << 16) - 128, (0 << 16) - 128]
    assert words[0, 2].tolist() == [(127 << 16) - 128, -(128 << 16)]
    source = np.random.default_rng(0).integers(-128, 128, (20, 6, 3)).astype(np.int8)
    _assert_exact(layer, source)


def test_bias_is_less_half_a_lane_a_part() -> None:
    flat = np.array([127, 0, 127, 1, 0, 0])
    layer = replace(_with_weights(np.stack([flat] * 4)), bias=np.array([10, 20, 30, 40], np.int32))
    packed = CONV_PACKED_CHANNELS.pack(layer)
    assert packed.array("parts").tolist() == [3, 0]
    assert packed.array("channels")["bias"].tolist() == [10 - 32768, 20, 30 - 32768, 40]


def test_refusals_are_named() -> None:
    good = _with_weights(np.ones((4, 3), np.int64))
    assert CONV_PACKED_CHANNELS.refusal(good) is None
    assert "rounding" in str(
        CONV_PACKED_CHANNELS.refusal(replace(good, bias=np.full(good.output.channels, 1 << 30, np.int32)))
    )
    assert "rounding" in str(CONV_PACKED_CHANNELS.refusal(replace(good, shift=np.zeros(4, np.int32))))
    lowest = _with_weights(np.full((4, 2), -128))
    assert "-128 side by side" in str(CONV_PACKED_CHANNELS.refusal(lowest))
    with pytest.raises(PlanError, match="-128 side by side"):
        CONV_PACKED_CHANNELS.pack(lowest)
    odd = _layer(LayerSpec(CONV, 6, 3), 9, 2, 0)
    assert "multiple of 4" in str(CONV_PACKED_CHANNELS.refusal(odd))
    depthwise = _layer(LayerSpec(DEPTHWISE, 0, 7, 2), 9, 2, 0)
    assert "depthwise" in str(CONV_PACKED_CHANNELS.refusal(depthwise))
