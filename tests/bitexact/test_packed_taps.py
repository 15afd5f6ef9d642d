"""The kernels of packed taps at every shape they take, and at the limits that the generator proves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from edgecodec.codec.graph import Graph, Layer, Op
from edgecodec.codec.reference import run_every_layer
from edgecodec.codec.tflite_reader import read_graph
from edgecodec.compile.kernels import Kernel, choose_kernel
from edgecodec.compile.kernels.packed_channels import CONV_PACKED_CHANNELS
from edgecodec.compile.kernels.packed_taps import CONV_PACKED_TAPS, CONV_WINOGRAD, DEPTHWISE_PACKED_TAPS
from edgecodec.compile.kernels.plain import CONV as PLAIN_CONV
from edgecodec.compile.kernels.pointwise import START
from edgecodec.compile.kernels.requantization import fold_channels
from edgecodec.compile.target import Optimize, Target
from edgecodec.errors import PlanError
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


def _assert_exact(
    layer: Layer, source: npt.NDArray[np.int8], winograd: tuple[bool, ...] = (False, True)
) -> npt.NDArray[np.int8]:
    assert False not in winograd or c_kernels.packed_taps(layer).refusal(layer) is None
    expected = run_every_layer(Graph((layer,)), source.reshape(len(source), -1))[0]
    for each in winograd if layer.op is Op.CONV else (False,):
        np.testing.assert_array_equal(
            c_kernels.run_packed_taps(layer, source, winograd=each), expected, f"winograd {each}"
        )
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
        if layer.is_narrow:
            _assert_exact(layer, _inputs(layer, width))


FIRST, SECOND = (1 << 14) - (1 << 12), (1 << 12) - 1
"""Absolute weights of the first and of the second taps of the pairs that fill the middle and the high lane."""


def _at_the_limit(
    sign: int,
    parts: int = 1,
    *,
    more_first: int = 0,
    less_first: int = 0,
    more_second: int = 0,
    winograd: bool = False,
) -> Layer:
    """As much as is proven in each part, and some more or less in the first."""
    columns = 100
    taps = np.zeros((4 if winograd else 2, parts, columns), np.int64)
    for total, tap in ((FIRST, 0), (SECOND, 1)):
        full = total // 127
        part = np.array([127] * full + [total % 127] + [0] * (columns - full - 1))
        if winograd:
            # Taps 0 and 2 are one filter's pair, 1 and 3 the other's.
            taps[2 * tap, :, 0::2], taps[2 * tap + 1, :, 1::2] = part[0::2], part[1::2]
        else:
            taps[tap] = part
    taps[0, 0, -2] += more_first
    taps[0, 0, 0] -= less_first
    taps[-2 if winograd else -1, 0, -2] += more_second
    taps[:, :, 1::3] *= -1
    weights = np.broadcast_to(sign * taps.reshape(len(taps), -1), (4, len(taps), parts * columns)).astype(np.int8)
    layer = _layer(LayerSpec(CONV, 4, len(taps), 1), 9, parts * columns, 0)
    return replace(layer, weights=weights, bias=np.zeros(4, np.int32), shift=np.full(4, -20, np.int32))


def _worst(layer: Layer) -> npt.NDArray[np.int8]:
    """Samples that drive every product of some position to the same side, and all to the other, for all positions."""
    worst = np.tile(np.where(layer.weights[0] < 0, 127, -128), (5, 1))
    shifted = [worst[shift : shift + layer.input.width] for shift in range(layer.kernel)]
    return np.array([*shifted, *(-1 - rows for rows in shifted)], np.int8)


@pytest.mark.parametrize(("winograd", "parts"), [(False, 1), (False, 2), (False, 4), (True, 1), (True, 2)])
@pytest.mark.parametrize("sign", [1, -1])
def test_lanes_at_the_proven_limit(sign: int, winograd: bool, parts: int) -> None:
    require("cc", "Python.h")
    layer = _at_the_limit(sign, parts, winograd=winograd)
    assert c_kernels.packed_taps(layer, winograd=winograd).pack(layer).array("parts").tolist() == [parts]
    outputs = _assert_exact(layer, _worst(layer), (winograd,))
    assert len(np.unique(outputs)) > 1


@pytest.mark.parametrize("winograd", [False, True])
@pytest.mark.parametrize("more", [{"more_first": 1}, {"less_first": 1, "more_second": 1}])
def test_one_more_takes_another_part(more: dict[str, int], winograd: bool) -> None:
    require("cc", "Python.h")
    layer = _at_the_limit(1, **more, winograd=winograd)
    assert c_kernels.packed_taps(layer, winograd=winograd).pack(layer).array("parts").tolist() == [2]
    _assert_exact(layer, _worst(layer), (winograd,))


@pytest.mark.parametrize("zero_point", [-128, 0])
@pytest.mark.parametrize("winograd", [False, True])
def test_blocks_of_different_parts(winograd: bool, zero_point: int) -> None:
    require("cc", "Python.h")
    large = _at_the_limit(1, 2 if winograd else 4, winograd=winograd)
    layer = _layer(LayerSpec(CONV, 12, large.kernel, 1, zero_point=zero_point), 9, large.input.channels, 0)
    weights = np.concatenate([large.weights // 32, large.weights, large.weights // 2]).astype(np.int8)
    layer = replace(layer, weights=weights, bias=np.zeros(12, np.int32), shift=np.full(12, -20, np.int32))
    parts = c_kernels.packed_taps(layer, winograd=winograd).pack(layer).array("parts")
    assert parts.tolist() == ([1, 2, 1] if winograd else [1, 4, 2])
    _assert_exact(layer, _worst(large), (winograd,))


def test_refusals_are_named() -> None:
    layer = _at_the_limit(1, parts=4, more_first=1)
    # (4 (2^14 - 1) + 1) 128
    assert "may reach 8388224, too much" in str(CONV_PACKED_TAPS.refusal(layer))
    with pytest.raises(PlanError, match=r"edc_conv_paired cannot run it: sums of products .* too much for a lane"):
        CONV_PACKED_TAPS.pack(layer)
    assert "two lanes" in str(CONV_WINOGRAD.refusal(layer))
    good = _at_the_limit(1)
    assert CONV_PACKED_TAPS.refusal(good) is None
    assert CONV_WINOGRAD.refusal(good) is None
    assert "rounding" in str(
        CONV_PACKED_TAPS.refusal(replace(good, bias=np.full(good.output.channels, 1 << 30, np.int32)))
    )
    assert "rounding" in str(
        CONV_WINOGRAD.refusal(replace(good, bias=np.full(good.output.channels, 1 << 30, np.int32)))
    )
    assert "rounding" in str(CONV_PACKED_TAPS.refusal(replace(good, shift=np.zeros(4, np.int32))))
    assert "rounding" in str(CONV_PACKED_TAPS.refusal(replace(good, activation_max=100)))
    odd = _layer(LayerSpec(CONV, 6, 3), 9, 2, 0)
    assert "multiple of 4" in str(CONV_PACKED_TAPS.refusal(odd))
    assert "multiple of 4" in str(CONV_WINOGRAD.refusal(odd))
    wide = _layer(LayerSpec(DEPTHWISE, 0, 3, 1), 9, 2, 0)
    assert "CONV_2D alone" in str(CONV_WINOGRAD.refusal(wide))
    assert "CONV_2D alone" in str(CONV_PACKED_TAPS.refusal(wide))
    assert "DEPTHWISE_CONV_2D alone" in str(DEPTHWISE_PACKED_TAPS.refusal(good))
    assert "four words" in str(DEPTHWISE_PACKED_TAPS.refusal(wide))
    double = _layer(LayerSpec(DEPTHWISE, 0, 7, 2, depth_multiplier=2), 9, 2, 0)
    assert "depth multiplier 2" in str(DEPTHWISE_PACKED_TAPS.refusal(double))


def test_choice_follows_the_target() -> None:
    layer = _at_the_limit(1)

    def kernel(of: Layer = layer, **target: object) -> Kernel:
        return choose_kernel(of, Target(**target)).kernel  # type: ignore[arg-type]  # fields of a dict

    assert kernel() is CONV_PACKED_TAPS
    assert kernel(optimize=Optimize.FLASH) is PLAIN_CONV
    assert kernel(long_multiply=False) is CONV_PACKED_CHANNELS
    assert kernel(long_multiply=False, optimize=Optimize.FLASH) is PLAIN_CONV
    # 4 channels of 2 x 100 weights: 4 x 4 x 100 bytes of words for 800, and 29 more for channels and parts.
    assert kernel(optimize=Optimize.BALANCED) is PLAIN_CONV  # 829 bytes for 7,200 multiplications
    longer = replace(layer, output=replace(layer.output, width=200))
    assert kernel(longer, optimize=Optimize.BALANCED) is CONV_PACKED_TAPS
    # Four taps are two pairs of one filter or one of two; seven by twos are two of each phase or one.
    for taps, stride, channels, expected in (
        (4, 1, 8, CONV_WINOGRAD),
        (7, 2, 8, CONV_WINOGRAD),
        (2, 1, 8, CONV_PACKED_TAPS),
        (5, 1, 8, CONV_PACKED_TAPS),
        (7, 2, 1, CONV_PACKED_TAPS),
    ):
        found = _layer(LayerSpec(CONV, 8, taps, stride), 80, channels, 0)
        assert kernel(found) is expected, (taps, stride, channels)
        assert kernel(found, optimize=Optimize.BALANCED) is not CONV_WINOGRAD


def test_pairs_by_hand() -> None:
    layer = _layer(LayerSpec(CONV, 4, 3, 2), 9, 1, 0)
    weights = np.arange(1, 13, dtype=np.int8).reshape(4, 3, 1)
    packed = CONV_PACKED_TAPS.pack(replace(layer, weights=weights))
    # Phase 0 has taps 0 and 2, phase 1 tap 1 and none; two more columns of zeros make four.
    lane = 1 << 22
    assert (packed.number("tap_pairs"), packed.number("columns")) == (1, 4)
    assert packed.array("weights")[0, :, 0].tolist() == [1 + 3 * lane, 2, 0, 0]
    assert packed.array("weights")[0, :, 3].tolist() == [10 + 12 * lane, 11, 0, 0]


def test_words_of_two_filters_by_hand() -> None:
    layer = _layer(LayerSpec(CONV, 4, 3, 1), 9, 1, 0)
    weights = np.arange(1, 13, dtype=np.int8).reshape(4, 3, 1)
    packed = CONV_WINOGRAD.pack(replace(layer, weights=weights))
    # One filter has taps 0 and 2, the other tap 1 and none; each product has four columns.
    lane = 1 << 22
    assert (packed.number("tap_pairs"), packed.number("columns")) == (1, 4)
    assert packed.array("weights")[0, :, 0].tolist() == [3 + 3 * lane, 0, 0, 0, 1 + 3 * lane, 0, 0, 0, 2, 0, 0, 0]


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
    packed = c_kernels.packed_taps(layer).pack(layer)
    assert packed.number("rectified") == (zero_point == -128 and right <= 22)
    outputs = _assert_exact(layer, _inputs(layer, right))
    assert right > 22 or len(np.unique(outputs)) > 1


def test_constants_of_a_channel_by_hand() -> None:
    layer = _at_the_limit(1)
    multiplier, bias = 3 << 29, 1000
    layer = replace(
        layer,
        input=replace(layer.input, zero_point=0),
        output=replace(layer.output, zero_point=-128),
        bias=np.full(4, bias, np.int32),
        multiplier=np.full(4, multiplier, np.int32),
        shift=np.full(4, -4, np.int32),
    )
    first = (bias - (1 << 21)) * 2 * multiplier + (1 << 31)
    packed = CONV_PACKED_TAPS.pack(layer)
    assert packed.array("channels")[0].tolist() == (first + (1 << 35) - (128 << 36), 2 * multiplier, 4)
    signed = replace(layer, output=replace(layer.output, zero_point=-127))
    assert CONV_PACKED_TAPS.pack(signed).array("channels")[0].tolist() == (first, 2 * multiplier, 3)
    # The pointwise kernel's sums start at 2^24.
    assert START == 1 << 24
    channel = fold_channels(signed, np.full(4, START)).table.values[0]
    assert channel["offset"] == first + ((1 << 21) - (1 << 24)) * 2 * multiplier
