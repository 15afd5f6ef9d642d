"""The numpy reference against hand-worked values and a scalar transcription of SPEC.md."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecodec.bundle import Bundle
from edgecodec.codec import reference
from edgecodec.codec.graph import Graph, Layer, Op, Tensor, quantize_multiplier
from edgecodec.codec.reference import ReferenceExecutor, quantize_latent, requantize, run_every_layer, run_layers
from edgecodec.errors import InputError
from tests.tflite_builder import ppg_frames


def _layer(  # One convolution with ratio M 2^(e - 31) on every channel.
    weights: list[list[list[int]]], width: int, *, stride: int = 1, padding: str = "SAME", bias: int = 0
) -> Layer:
    array = np.array(weights, np.int8)
    out, kernel, channels = array.shape
    out_width = -(-width // stride) if padding == "SAME" else (width - kernel) // stride + 1
    pad = max((out_width - 1) * stride + kernel - width, 0) // 2 if padding == "SAME" else 0
    return Layer(
        name="conv",
        op=Op.CONV,
        input=Tensor("in", width, channels, 1.0, 0),
        output=Tensor("out", out_width, out, 1.0, 0),
        kernel=kernel,
        stride=stride,
        padding=padding,
        pad_left=pad,
        depth_multiplier=0,
        weights=array,
        bias=np.full(out, bias, np.int32),
        multiplier=np.full(out, 1 << 30, np.int32),
        shift=np.full(out, 1, np.int32),
        activation="NONE",
        activation_min=-128,
        activation_max=127,
    )


def test_same_padding_of_an_even_width_at_stride_two() -> None:
    # Width 4, kernel 3, stride 2: one tap of padding, on the right. Outputs at 0 and 2.
    layer = _layer([[[1], [10], [2]]], 4, stride=2, bias=5)
    assert layer.pad_left == 0
    out = run_layers(Graph((layer,)), np.array([[1, 2, 3, 4]], np.int8))
    assert out.tolist() == [[[1 + 20 + 6 + 5], [3 + 40 + 0 + 5]]]


def test_padding_counts_as_the_zero_point() -> None:
    layer = _layer([[[1], [1], [1]]], 2)
    layer = replace(layer, input=replace(layer.input, zero_point=-100))
    # Real inputs are 1 and 2 over the zero point; the taps outside add nothing.
    assert run_layers(Graph((layer,)), np.array([[-99, -98]], np.int8)).tolist() == [[[3], [3]]]


def test_valid_padding_and_channels() -> None:
    layer = _layer([[[1, 2], [3, 4]], [[-1, 0], [0, 1]]], 3, padding="VALID")
    out = run_layers(Graph((layer,)), np.array([[1, 2, 3, 4, 5, 6]], np.int8))
    assert out.tolist() == [[[1 + 4 + 9 + 16, -1 + 4], [3 + 8 + 15 + 24, -3 + 6]]]


def test_depthwise_multiplier_reads_its_input_channel() -> None:
    layer = _layer([[[1]], [[1]], [[1]], [[1]]], 2)
    layer = replace(
        layer,
        op=Op.DEPTHWISE,
        depth_multiplier=2,
        input=replace(layer.input, channels=2),
        weights=np.array([[1, 2, 3, 4]], np.int8),
    )
    out = run_layers(Graph((layer,)), np.array([[10, 20, 1, 2]], np.int8))
    assert out.tolist() == [[[10, 20, 60, 80], [1, 2, 3 * 2, 4 * 2]]]


@pytest.mark.parametrize(
    ("acc", "ratio", "expected"),
    [
        (3, 0.5, 2),  # the doubling high multiply rounds half up ...
        (-3, 0.5, -1),
        (6, 0.25, 2),  # ... and the division by a power of two half away from zero
        (-6, 0.25, -2),
        (5, 0.25, 2),  # twice rounded: 5/4 is 2.5/2, then 3/2, then 2, where one rounding gives 1
        (3, 0.125, 1),  # 3/8 is 1.5/4, then 2/4, then 1, where one rounding gives 0
        (-9, 4.0, -36),
        (1000, 1.0, 127),
        (-1000, 1.0, -128),
        (77, 0.0, 0),
    ],
)
def test_requantize_by_hand(acc: int, ratio: float, expected: int) -> None:
    multiplier, shift = quantize_multiplier(ratio)
    layer = replace(_layer([[[1]]], 1), multiplier=np.array([multiplier]), shift=np.array([shift]))
    assert requantize(np.array([acc], np.int64), layer).tolist() == [expected]


def _rounding_divide(value: int, bits: int) -> int:
    """gemmlowp's RoundingDivideByPOT: to nearest, halves away from zero."""
    sign = -1 if value < 0 else 1
    return sign * ((abs(value) + (1 << bits >> 1)) >> bits)


@settings(max_examples=300)
@given(st.integers(-(2**31) + 1, 2**31 - 1), st.integers(2**30, 2**31 - 1), st.integers(-31, 0))
def test_requantize_is_two_roundings(acc: int, multiplier: int, shift: int) -> None:
    layer = replace(_layer([[[1]]], 1), multiplier=np.array([multiplier], np.int32), shift=np.array([shift], np.int32))
    high = (acc * multiplier + (1 << 30)) // (1 << 31)  # to nearest, halves up
    expected = min(127, max(-128, _rounding_divide(high, -shift)))
    assert requantize(np.array([acc], np.int64), layer).tolist() == [expected]


def test_chunks_change_nothing(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = ppg_frames(37, bundle.codec.samples, 3)
    whole = ReferenceExecutor(bundle.codec).stages(frames)
    monkeypatch.setattr(reference, "_CHUNK_ELEMENTS", 5000)
    parts = ReferenceExecutor(bundle.codec).stages(frames)
    for name in ("input", "latent", "indices", "offset", "spread"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))


def test_every_layer_ends_in_the_latent(bundle: Bundle) -> None:
    stages = ReferenceExecutor(bundle.codec).stages(ppg_frames(3, bundle.codec.samples))
    outputs = run_every_layer(bundle.codec.graph, stages.input)
    assert [output.shape[1:] for output in outputs] == [
        (layer.output.width, layer.output.channels) for layer in bundle.codec.graph.layers
    ]
    np.testing.assert_array_equal(outputs[-1], stages.latent)
    np.testing.assert_array_equal(quantize_latent(bundle.codec.rvq, outputs[-1]), stages.indices)


def test_shapes_and_types(bundle: Bundle) -> None:
    stages = ReferenceExecutor(bundle.codec).stages(ppg_frames(2, bundle.codec.samples))
    assert (stages.input.dtype, stages.input.shape) == (np.int8, (2, bundle.codec.samples))
    assert (stages.latent.dtype, stages.latent.shape) == (
        np.int8,
        (2, bundle.codec.positions, bundle.codec.rvq.dimension),
    )
    assert (stages.indices.dtype, stages.indices.shape) == (np.uint16, (2, bundle.codec.positions, bundle.codec.levels))
    assert (stages.offset.dtype, stages.spread.dtype) == (np.int32, np.uint64)
    none = ReferenceExecutor(bundle.codec).stages(np.zeros((0, bundle.codec.samples), np.int16))
    assert none.indices.shape == (0, bundle.codec.positions, bundle.codec.levels)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((2, 64), np.float32), "float32"),
        (np.zeros((2, 64), bool), "bool"),
        (np.zeros((2, 63), np.int16), r"\(2, 63\)"),
        (np.zeros(64, np.int16), r"\(64,\)"),
        (np.zeros((1, 2, 64), np.int16), "shape"),
        (np.full((1, 64), 40000), "40000"),
        ("frames", "expected int16"),
    ],
)
def test_refuses_other_frames(bundle: Bundle, frames: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ReferenceExecutor(bundle.codec).encode(frames)  # type: ignore[arg-type]


def test_takes_other_integers_that_fit(bundle: Bundle) -> None:
    frames = ppg_frames(4, bundle.codec.samples)
    executor = ReferenceExecutor(bundle.codec)
    expected = executor.encode(frames)
    np.testing.assert_array_equal(executor.encode(frames.astype(np.int64)), expected)
    np.testing.assert_array_equal(executor.encode(np.asfortranarray(frames)), expected)
    np.testing.assert_array_equal(executor.encode(np.repeat(frames, 2, axis=0)[::2]), expected)


def test_refuses_other_inputs_and_latents(bundle: Bundle) -> None:
    with pytest.raises(InputError, match="int8"):
        run_layers(bundle.codec.graph, np.zeros((1, bundle.codec.samples), np.int16))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="expected int8"):
        run_layers(bundle.codec.graph, np.zeros((1, bundle.codec.samples + 1), np.int8))
    with pytest.raises(InputError, match="latents"):
        quantize_latent(bundle.codec.rvq, np.zeros((1, 2, bundle.codec.rvq.dimension + 1), np.int8))
