"""The vector kernels' tables and control flow at every shape, without vectors; tests/emulated runs them with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from edgecodec.codec.graph import Graph, Layer, Op
from edgecodec.codec.reference import run_every_layer
from edgecodec.codec.tflite_reader import read_graph
from edgecodec.compile.kernels import choose_kernel
from edgecodec.compile.kernels.mve import CONV_MVE, DEPTHWISE_MVE
from edgecodec.compile.kernels.packed_taps import CONV_PACKED_TAPS
from edgecodec.compile.target import Optimize, Target
from tests.bitexact import c_kernels
from tests.tflite_builder import CONV, DEPTHWISE, LayerSpec, build_encoder
from tests.tools import require


def _layer(spec: LayerSpec, width: int, channels: int, seed: int) -> Layer:
    return read_graph(build_encoder([LayerSpec(CONV, channels, 1), spec], width, seed=seed)).layers[1]


def _assert_exact(layer: Layer, seed: int) -> None:
    source: npt.NDArray[np.int8]
    shape = (5, layer.input.width, layer.input.channels)
    source = np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)
    source[0], source[1] = -128, 127
    assert c_kernels.mve(layer).refusal(layer) is None
    expected = run_every_layer(Graph((layer,)), source.reshape(len(source), -1))[0]
    np.testing.assert_array_equal(c_kernels.run_mve(layer, source), expected)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5, 7, 8, 17])
def test_conv(kernel: int, stride: int, padding: str) -> None:
    require("cc", "Python.h")
    for width in range(kernel if padding == "VALID" else 1, 22, 3):
        layer = _layer(LayerSpec(CONV, 8, kernel, stride, padding), width, 1 + width % 6, width)
        if layer.is_narrow:
            _assert_exact(layer, width)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [1, 3, 7, 8])
def test_depthwise(kernel: int, stride: int, padding: str) -> None:
    require("cc", "Python.h")
    for width in range(kernel if padding == "VALID" else 1, 22, 3):
        layer = _layer(LayerSpec(DEPTHWISE, 0, kernel, stride, padding), width, 12, width)
        if layer.is_narrow:
            _assert_exact(layer, width)


def test_weights_by_hand() -> None:
    layer = _layer(LayerSpec(CONV, 4, 3), 9, 6, 0)
    weights = np.arange(4 * 18, dtype=np.int8).reshape(4, 3, 6)
    packed = CONV_MVE.pack(replace(layer, weights=weights))
    # Two weights of each channel are in its second vector, with zeros behind.
    assert packed.array("weights").tolist() == [[*range(18 * out, 18 * out + 18), *[0] * 14] for out in range(4)]
    assert packed.number("row") == 32
    # Sums of three positions and their windows.
    assert packed.scratch_bytes == 3 * (4 * 4 + 32)
    depthwise = _layer(LayerSpec(DEPTHWISE, 0, 3), 9, 4, 0)
    packed = DEPTHWISE_MVE.pack(replace(depthwise, weights=np.arange(12, dtype=np.int8).reshape(3, 4)))
    assert packed.array("weights").tolist() == [[out, 4 + out, 8 + out, 0, 0, 0, 0, 0] for out in range(4)]
    assert packed.number("row") == 12
    assert packed.scratch_bytes == 3 * (4 * 4 + 12)


def test_choice_and_refusals() -> None:
    good = _layer(LayerSpec(CONV, 4, 3), 9, 2, 0)
    for optimize in Optimize:
        assert choose_kernel(good, Target(optimize, vectors=True)).kernel is CONV_MVE
    assert choose_kernel(good, Target()).kernel is CONV_PACKED_TAPS
    odd = _layer(LayerSpec(CONV, 6, 3), 9, 2, 0)
    assert "multiple of 4" in str(CONV_MVE.refusal(odd))
    assert choose_kernel(odd, Target(vectors=True)).kernel is not CONV_MVE
    double = _layer(LayerSpec(DEPTHWISE, 0, 7, 2, depth_multiplier=2), 9, 4, 0)
    assert "depth multiplier 2" in str(DEPTHWISE_MVE.refusal(double))
    assert "rounding" in str(CONV_MVE.refusal(replace(good, bias=np.full(good.output.channels, 1 << 30, np.int32))))
    long = _layer(LayerSpec(DEPTHWISE, 0, 9, 2), 20, 4, 0)
    assert "9 taps are more than 8" in str(DEPTHWISE_MVE.refusal(long))
    channels = 65536 // 7 // 4 * 4  # times 7 taps is 65,520, and with four more it is 65,548
    for more, fits in ((0, True), (4, False)):
        weights = np.zeros((7, 4), np.int8)
        wide = replace(good, op=Op.DEPTHWISE, depth_multiplier=1, kernel=7, weights=weights)
        wide = replace(wide, input=replace(wide.input, channels=channels + more))
        assert (DEPTHWISE_MVE.refusal(wide) is None) == fits
