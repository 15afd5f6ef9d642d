"""The kernel whose weights are bytes at every shape it takes, without SIMD; tests/emulated runs it with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from edgecodec.codec.graph import Graph, Layer
from edgecodec.codec.reference import run_every_layer
from edgecodec.codec.tflite_reader import read_graph
from edgecodec.compile.kernels import choose_kernel
from edgecodec.compile.kernels.bytes import CONV_BYTES
from edgecodec.compile.kernels.mve import CONV_MVE
from edgecodec.compile.kernels.packed_taps import CONV_PACKED_TAPS, CONV_WINOGRAD
from edgecodec.compile.kernels.plain import CONV as PLAIN_CONV
from edgecodec.compile.target import Optimize, Target
from tests.bitexact import c_kernels
from tests.tflite_builder import CONV, DEPTHWISE, LayerSpec, build_encoder
from tests.tools import require

SIMD = Target(Optimize.BALANCED, simd=True)


def _layer(spec: LayerSpec, width: int, channels: int, seed: int) -> Layer:
    return read_graph(build_encoder([LayerSpec(CONV, channels, 1), spec], width, seed=seed)).layers[1]


def _assert_exact(layer: Layer, source: npt.NDArray[np.int8]) -> None:
    assert CONV_BYTES.refusal(layer) is None
    expected = run_every_layer(Graph((layer,)), source.reshape(len(source), -1))[0]
    np.testing.assert_array_equal(c_kernels.run(layer, CONV_BYTES, source), expected)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("taps", [1, 2, 3, 7, 8])
def test_shapes(taps: int, stride: int, padding: str) -> None:
    """Columns that fill words of four or do not, windows beyond either edge and both, a last position alone."""
    require("cc", "Python.h")
    for channels in (1, 3, 4, 10):
        for width in range(taps if padding == "VALID" else 1, 14, 2):
            zero_point = -128 if width % 4 == 1 else 5
            layer = _layer(LayerSpec(CONV, 8, taps, stride, padding, zero_point=zero_point), width, channels, width)
            source = np.random.default_rng(width).integers(-128, 128, (4, width, channels)).astype(np.int8)
            source[0], source[1] = -128, 127
            _assert_exact(layer, source)


@pytest.mark.parametrize("sign", [1, -1])
def test_largest_sums(sign: int) -> None:
    """Sums of 2^24 to either side: 1,024 columns whose weights are 128, the most that a sum may start with."""
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
    _assert_exact(layer, np.full((1, 2, 1024), -128 if sign > 0 else 127, np.int8))
    wide = _layer(LayerSpec(CONV, 4, 1), 1, 1028, 0)
    wide = replace(wide, weights=np.full_like(wide.weights, -128))
    assert "may reach 16842752" in str(CONV_BYTES.refusal(wide))


def test_weights_by_hand() -> None:
    layer = _layer(LayerSpec(CONV, 4, 5), 5, 1, 0)
    weights = np.array([[1, -1, 127, -128, 9], [2, 3, 4, 5, 9], [6, 7, 8, 9, 9], [0, 0, -1, -1, 9]], np.int8)
    packed = CONV_BYTES.pack(replace(layer, weights=weights[:, :, None]))
    assert packed.number("columns") == 8
    assert packed.array("weights").tolist() == [
        [[0x047F0201, 0xFF080006], [0x058003FF, 0xFF090007], [0x00000909, 0x00000909], [0, 0]]
    ]


def test_choice_and_refusals() -> None:
    good = _layer(LayerSpec(CONV, 4, 7), 40, 8, 0)
    assert choose_kernel(good, SIMD).kernel is CONV_BYTES
    assert choose_kernel(good, Target(Optimize.BALANCED)).kernel is CONV_PACKED_TAPS
    assert choose_kernel(good, Target(simd=True)).kernel is CONV_WINOGRAD
    assert choose_kernel(good, Target(Optimize.FLASH, simd=True)).kernel is PLAIN_CONV
    assert choose_kernel(good, Target(Optimize.BALANCED, simd=True, vectors=True)).kernel is CONV_MVE
    for spec, reason in (
        (LayerSpec(DEPTHWISE, 0, 7), "CONV_2D alone"),
        (LayerSpec(CONV, 6, 7), "no multiple of 4"),
    ):
        layer = _layer(spec, 9, 8, 0)
        assert reason in str(CONV_BYTES.refusal(layer))
        assert choose_kernel(layer, SIMD).kernel is not CONV_BYTES
    assert "rounding" in str(CONV_BYTES.refusal(replace(good, bias=np.full(4, 1 << 30, np.int32))))
    # A layer that the lanes of packed taps are too narrow for is still not left to the plain kernel.
    wide = _layer(LayerSpec(CONV, 4, 7), 9, 100, 0)
    wide = replace(wide, weights=np.full_like(wide.weights, 127))
    assert CONV_PACKED_TAPS.refusal(wide) is not None
    assert choose_kernel(wide, Target(simd=True)).kernel is CONV_BYTES
