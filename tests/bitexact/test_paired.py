"""The paired kernels at every shape they take, and at the limits that the generator proves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from edgecodec.compile.graph import Graph, Layer
from edgecodec.compile.kernels import (
    Kernel,
    Optimize,
    Target,
    choose_kernel,
    fold_channels,
    is_narrow,
    pair_weights,
    paired_obstacle,
)
from edgecodec.compile.plan import fold_bias
from edgecodec.compile.tflite_reader import read_graph
from edgecodec.errors import PlanError
from edgecodec.host.reference import run_every_layer
from tests.bitexact import c_kernels
from tests.tflite_builder import CONV, DEPTHWISE, LayerSpec, build_encoder
from tests.tools import require

DEPTHWISE_SHAPES = [(7, 1), (8, 1), (5, 2), (6, 2), (7, 2), (8, 2)]
"""Kernels and strides that fill four words."""


def _layer(spec: LayerSpec, width: int, channels: int, seed: int) -> Layer:
    """A layer of random weights behind one that makes its input channels."""
    return read_graph(build_encoder([LayerSpec(CONV, channels, 1), spec], width, seed=seed)).layers[1]


def _inputs(layer: Layer, seed: int) -> npt.NDArray[np.int8]:
    rng = np.random.default_rng(seed)
    source = rng.integers(-128, 128, (5, layer.input.width, layer.input.channels)).astype(np.int8)
    source[0], source[1] = -128, 127
    return source


def _assert_exact(layer: Layer, source: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    assert paired_obstacle(layer, fold_bias(layer)[1]) is None
    expected = run_every_layer(Graph((layer,)), source.reshape(len(source), -1))[0]
    np.testing.assert_array_equal(c_kernels.run_paired(layer, source), expected)
    np.testing.assert_array_equal(c_kernels.run_plain(layer, source), expected)
    return expected


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(("kernel", "stride"), DEPTHWISE_SHAPES)
def test_depthwise(kernel: int, stride: int, padding: str) -> None:
    require("cc", "Python.h")
    for width in range(kernel if padding == "VALID" else 1, 20):
        layer = _layer(LayerSpec(DEPTHWISE, 0, kernel, stride, padding, "RELU", zero_point=-128), width, 3, width)
        _assert_exact(layer, _inputs(layer, width))


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5, 7, 8, 9, 13])
def test_conv(kernel: int, stride: int, padding: str) -> None:
    require("cc", "Python.h")
    for width in range(kernel if padding == "VALID" else 1, 19, 3):
        layer = _layer(LayerSpec(CONV, 8, kernel, stride, padding), width, 1 + width % 5, width)
        if is_narrow(layer, fold_bias(layer)[1]):
            _assert_exact(layer, _inputs(layer, width))


def _at_the_limit(sign: int, parts: int = 1, over: int = 0) -> Layer:
    """Absolute weights that add up to 2^13 - 1 in each part, the most that is proven, and ``over`` in the first."""
    columns, lane = 68, (1 << 13) - 1  # 68 columns of two taps, of which 65 are used
    part = np.zeros(2 * columns, np.int64)
    part[: lane // 127] = 127
    part[lane // 127] = lane % 127
    flat = np.tile(part, parts)
    flat[lane // 127 + 1] += over
    flat[1::2] *= -1
    # One phase, one pair of taps: column c holds taps 0 and 1 of input channel c.
    weights = np.broadcast_to(sign * flat.reshape(-1, 2).T, (4, 2, parts * columns)).astype(np.int8)
    layer = _layer(LayerSpec(CONV, 4, 2, 1), 9, parts * columns, 0)
    return replace(layer, weights=weights, bias=np.zeros(4, np.int32), shift=np.full(4, -20, np.int32))


@pytest.mark.parametrize("parts", [1, 2, 4])
@pytest.mark.parametrize("sign", [1, -1])
def test_lanes_at_the_proven_limit(sign: int, parts: int) -> None:
    require("cc", "Python.h")
    layer = _at_the_limit(sign, parts)
    assert pair_weights(layer).parts == parts
    # The samples that drive every product of a position to the same side, and all to the other.
    worst = np.where(layer.weights[0] < 0, 127, -128).astype(np.int8)
    source = np.stack([np.tile(worst, (5, 1))[:9], np.tile(-1 - worst, (5, 1))[:9], np.tile(worst, (5, 1))[1:10]])
    outputs = _assert_exact(layer, np.ascontiguousarray(source))
    assert len(np.unique(outputs)) > 1


def test_one_more_takes_another_part() -> None:
    require("cc", "Python.h")
    layer = _at_the_limit(1, over=1)
    assert pair_weights(layer).parts > 1
    worst = np.where(layer.weights[0] < 0, 127, -128).astype(np.int8)
    _assert_exact(layer, np.ascontiguousarray(np.tile(worst, (1, 5, 1))[:, :9]))


def test_obstacles_are_named() -> None:
    layer = _at_the_limit(1, parts=4, over=1)
    assert "may reach 4193920, too much" in str(paired_obstacle(layer, fold_bias(layer)[1]))
    with pytest.raises(PlanError, match="too much for a lane"):
        pair_weights(layer)
    good = _at_the_limit(1)
    bound = fold_bias(good)[1]
    assert paired_obstacle(good, bound) is None
    assert "rounding" in str(paired_obstacle(good, 1 << 30))
    assert "rounding" in str(paired_obstacle(replace(good, shift=np.zeros(4, np.int32)), bound))
    assert "rounding" in str(paired_obstacle(replace(good, activation_max=100), bound))
    odd = _layer(LayerSpec(CONV, 6, 3), 9, 2, 0)
    assert "multiple of 4" in str(paired_obstacle(odd, fold_bias(odd)[1]))
    wide = _layer(LayerSpec(DEPTHWISE, 0, 3, 1), 9, 2, 0)
    assert "four words" in str(paired_obstacle(wide, fold_bias(wide)[1]))
    double = _layer(LayerSpec(DEPTHWISE, 0, 7, 2, depth_multiplier=2), 9, 2, 0)
    assert "depth multiplier 2" in str(paired_obstacle(double, fold_bias(double)[1]))


def test_choice_follows_the_target() -> None:
    layer = _at_the_limit(1)
    bound = fold_bias(layer)[1]

    def kernel(of: Layer = layer, **target: object) -> Kernel:
        return choose_kernel(of, bound, Target(**target)).kernel  # type: ignore[arg-type]

    assert kernel() is Kernel.CONV_PAIRED
    assert kernel(optimize=Optimize.FLASH) is Kernel.CONV
    assert kernel(long_multiply=False) is Kernel.CONV_TWIN
    assert kernel(long_multiply=False, optimize=Optimize.FLASH) is Kernel.CONV
    # 4 channels of 2 x 68 weights: 4 x 4 x 68 bytes of words for 544, and 12 more for the channels.
    assert kernel(optimize=Optimize.BALANCED) is Kernel.CONV  # 556 bytes for 4,896 multiplications
    longer = replace(layer, output=replace(layer.output, width=200))
    assert kernel(longer, optimize=Optimize.BALANCED) is Kernel.CONV_PAIRED


def test_pairs_by_hand() -> None:
    layer = _layer(LayerSpec(CONV, 4, 3, 2), 9, 1, 0)
    weights = np.arange(1, 13, dtype=np.int8).reshape(4, 3, 1)
    paired = pair_weights(replace(layer, weights=weights))
    # Phase 0 has taps 0 and 2, phase 1 tap 1 and none; two more columns of zeros make four.
    lane = 1 << 21
    assert (paired.tap_pairs, paired.columns) == (1, 4)
    assert paired.words[0, :, 0].tolist() == [3 + 1 * lane, 2 * lane, 0, 0]
    assert paired.words[0, :, 3].tolist() == [12 + 10 * lane, 11 * lane, 0, 0]


@pytest.mark.parametrize("op", [CONV, DEPTHWISE])
@pytest.mark.parametrize("seed", range(12))
def test_lanes_of_zero_beside_negative_ones(op: str, seed: int) -> None:
    """Sparse weights and samples: a middle lane of 0 above a negative low lane is all ones before the borrow."""
    require("cc", "Python.h")
    rng = np.random.default_rng([seed, 70])
    layer = _layer(LayerSpec(op, 4, 7, 2), 40, 4 if op == DEPTHWISE else 2, seed)
    weights = np.where(rng.random(layer.weights.shape) < 0.8, 0, layer.weights)
    source = rng.integers(-3, 4, (20, 40, layer.input.channels))
    source[rng.random(source.shape) < 0.7] = 0
    # Every unit of the accumulator shows in the output.
    fine = replace(
        layer,
        input=replace(layer.input, zero_point=0),
        weights=weights.astype(np.int8),
        bias=np.zeros(4, np.int32),
        multiplier=np.full(4, 1 << 30, np.int32),
        shift=np.full(4, -1, np.int32),
    )
    _assert_exact(fine, source.astype(np.int8))


@pytest.mark.parametrize("zero_point", [-128, -127, 0, 127])
@pytest.mark.parametrize("right", [1, 2, 9, 21, 22, 23, 31])
@pytest.mark.parametrize("op", [CONV, DEPTHWISE])
def test_rounding_folded_into_the_offset(op: str, right: int, zero_point: int) -> None:
    """All of -128..127 and beyond, at halves too, with biases up to the largest accumulator that is allowed."""
    require("cc", "Python.h")
    rng = np.random.default_rng([right, zero_point + 128])
    layer = _layer(LayerSpec(op, 8, 7, 2), 60, 8 if op == DEPTHWISE else 2, right)
    reach = 128 * np.abs(layer.weights.astype(np.int64)).sum(axis=(1, 2) if op == CONV else 0)
    step = (1 << right) * rng.integers(-200, 200, 8) + (1 << right >> 1)
    bias = np.clip(step, reach - (1 << 30) + 1, (1 << 30) - 1 - reach)
    layer = replace(
        layer,
        input=replace(layer.input, zero_point=0),
        output=replace(layer.output, zero_point=zero_point),
        bias=bias.astype(np.int32),
        multiplier=np.array([1 << 30, (1 << 30) + 1, (1 << 31) - 1, 0, *rng.integers(1 << 30, 1 << 31, 4)], np.int32),
        shift=np.full(8, -right, np.int32),
    )
    kernel = Kernel.CONV_PAIRED if op == CONV else Kernel.DEPTHWISE_PAIRED
    assert fold_channels(layer, kernel, fold_bias(layer)[0]).rectified == (zero_point == -128 and right <= 22)
    outputs = _assert_exact(layer, _inputs(layer, right))
    assert right > 22 or len(np.unique(outputs)) > 1


def test_constants_of_a_channel_by_hand() -> None:
    layer = _at_the_limit(1)
    multiplier, bias = 3 << 29, 1000
    layer = replace(
        layer,
        output=replace(layer.output, zero_point=-128),
        multiplier=np.full(4, multiplier, np.int32),
        shift=np.full(4, -4, np.int32),
    )
    folded_bias = np.full(4, bias, np.int32)
    found = fold_channels(layer, Kernel.CONV_PAIRED, folded_bias)
    first = (bias - (1 << 20)) * 2 * multiplier + (1 << 31)
    assert (found.offset[0], found.multiplier[0], found.down[0]) == (first + (1 << 35) - (128 << 36), 2 * multiplier, 4)
    signed = replace(layer, output=replace(layer.output, zero_point=-127))
    found = fold_channels(signed, Kernel.CONV_PAIRED, folded_bias)
    assert (found.offset[0], found.multiplier[0], found.down[0]) == (first, 2 * multiplier, 3)
    found = fold_channels(signed, Kernel.POINTWISE, folded_bias)
    assert found.offset[0] == first + ((1 << 20) - (1 << 24)) * 2 * multiplier
