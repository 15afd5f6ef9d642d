"""The pointwise kernel at every shape it takes, without SIMD; tests/emulated runs it with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from edgecodec.codec.graph import Graph, Layer
from edgecodec.codec.reference import run_every_layer
from edgecodec.codec.tflite_reader import read_graph
from edgecodec.compile.kernels import choose_kernel
from edgecodec.compile.kernels.mve import CONV_MVE
from edgecodec.compile.kernels.packed_taps import CONV_PACKED_TAPS
from edgecodec.compile.kernels.plain import CONV as PLAIN_CONV
from edgecodec.compile.kernels.pointwise import POINTWISE
from edgecodec.compile.target import Optimize, Target
from tests.bitexact import c_kernels
from tests.tflite_builder import CONV, DEPTHWISE, LayerSpec, build_encoder
from tests.tools import require


def _layer(spec: LayerSpec, width: int, channels: int, seed: int) -> Layer:
    return read_graph(build_encoder([LayerSpec(CONV, channels, 1), spec], width, seed=seed)).layers[1]


def _assert_exact(layer: Layer, source: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    assert POINTWISE.refusal(layer) is None
    expected = run_every_layer(Graph((layer,)), source.reshape(len(source), -1))[0]
    np.testing.assert_array_equal(c_kernels.run_pointwise(layer, source), expected)
    return expected


@pytest.mark.parametrize("zero_point", [-128, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("channels", [4, 8, 12, 40])
def test_shapes(channels: int, stride: int, zero_point: int) -> None:
    require("cc", "Python.h")
    for width in (1, 2, 5, 8, 9):
        layer = _layer(LayerSpec(CONV, 8, 1, stride, "SAME", zero_point=zero_point), width, channels, width)
        source = np.random.default_rng(width).integers(-128, 128, (5, width, channels)).astype(np.int8)
        source[0], source[1] = -128, 127
        _assert_exact(layer, source)


@pytest.mark.parametrize("sign", [1, -1])
def test_largest_sums(sign: int) -> None:
    """Sums of 2^24 to either side: 1,024 channels whose weights are 128, the most that a sum may start with."""
    require("cc", "Python.h")
    layer = _layer(LayerSpec(CONV, 4, 1), 2, 1024, 0)
    layer = replace(
        layer,
        weights=np.full_like(layer.weights, -128),
        bias=np.full(4, sign * 1000, np.int32),
        input=replace(layer.input, zero_point=0),
        output=replace(layer.output, zero_point=0),
        multiplier=np.full(4, 1 << 30, np.int32),
        shift=np.array([-17, -16, -15, -1], np.int32),
    )
    source = np.full((1, 2, 1024), -128 if sign > 0 else 127, np.int8)
    _assert_exact(layer, source)


def test_weights_by_hand() -> None:
    layer = _layer(LayerSpec(CONV, 4, 1), 3, 4, 0)
    weights = np.array([[1, -1, 127, -128], [2, 3, 4, 5], [6, 7, 8, 9], [0, 0, -1, -1]], np.int8)
    words = POINTWISE.pack(replace(layer, weights=weights[:, None])).array("weights")
    assert words.tolist() == [
        [[0xFFFF0001, 0x00030002, 0x00070006, 0], [0xFF80007F, 0x00050004, 0x00090008, 0xFFFFFFFF]]
    ]


def test_choice_and_refusals() -> None:
    good = _layer(LayerSpec(CONV, 4, 1), 9, 8, 0)
    simd = Target(simd=True)
    assert choose_kernel(good, simd).kernel is POINTWISE
    assert choose_kernel(good, Target()).kernel is CONV_PACKED_TAPS
    assert choose_kernel(good, Target(Optimize.FLASH, simd=True)).kernel is PLAIN_CONV
    assert choose_kernel(good, Target(simd=True, vectors=True)).kernel is CONV_MVE
    for spec, channels, reason in (
        (LayerSpec(CONV, 4, 2), 8, "one position"),
        (LayerSpec(DEPTHWISE, 0, 1), 8, "CONV_2D alone"),
        (LayerSpec(CONV, 4, 1), 6, "multiples of 4"),
        (LayerSpec(CONV, 6, 1), 8, "multiples of 4"),
    ):
        layer = _layer(spec, 9, channels, 0)
        assert reason in str(POINTWISE.refusal(layer))
        assert choose_kernel(layer, simd).kernel is not POINTWISE
    assert "rounding" in str(POINTWISE.refusal(replace(good, bias=np.full(good.output.channels, 1 << 30, np.int32))))
    wide = _layer(LayerSpec(CONV, 4, 1), 1, 1028, 0)
    wide = replace(wide, weights=np.full_like(wide.weights, -128))
    assert "may reach 16842752" in str(POINTWISE.refusal(wide))
    assert POINTWISE.pack(good).array("channels")["offset"].dtype == np.int64
