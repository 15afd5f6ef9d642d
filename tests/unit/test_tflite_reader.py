"""The graph reader: what it reads from good files, how it refuses all others."""

from __future__ import annotations

import contextlib
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecodec.codec.graph import Op, quantize_multiplier, same_padding
from edgecodec.codec.reference import run_layers
from edgecodec.codec.tflite_reader import read_graph
from edgecodec.errors import EdgecodecError, InputError, UnsupportedOpError
from edgecodec.host.oracles import tflm_encoder
from tests.tflite_builder import (
    CONV,
    DEPTHWISE,
    MALFORMED,
    LayerSpec,
    build_encoder,
    dynamic_batch_encoder,
    malformed_encoder,
    per_tensor_encoder,
    small_encoder,
)
from tests.tools import require

GOOD = small_encoder()


def test_family_encoder() -> None:
    graph = read_graph(GOOD)
    assert [layer.op for layer in graph.layers] == [Op.CONV, Op.CONV, Op.DEPTHWISE, Op.CONV, Op.CONV]
    assert [(layer.input.width, layer.output.width) for layer in graph.layers] == [
        (64, 32), (32, 16), (16, 8), (8, 8), (8, 8)
    ]  # fmt: skip
    assert [layer.weights.shape for layer in graph.layers] == [(8, 7, 1), (12, 7, 8), (7, 12), (10, 1, 12), (6, 1, 10)]
    # Even width, stride 2, kernel 7: five samples of padding, two of them left.
    assert [layer.pad_left for layer in graph.layers] == [2, 2, 2, 0, 0]
    assert [layer.activation for layer in graph.layers] == ["RELU"] * 4 + ["NONE"]
    assert graph.macs == 32 * 8 * 7 + 16 * 12 * 7 * 8 + 8 * 12 * 7 + 8 * 10 * 12 + 8 * 6 * 10
    assert (graph.input.channels, graph.latent.channels, graph.input.zero_point) == (1, 6, -3)


@pytest.mark.parametrize("vertical", [False, True])
def test_both_axes_read_alike(vertical: bool) -> None:
    layers = [LayerSpec(CONV, 4, 5, 2, vertical=vertical), LayerSpec(DEPTHWISE, 0, 3, 1, "VALID", vertical=vertical)]
    graph = read_graph(build_encoder(layers, 33))
    assert [(layer.kernel, layer.stride, layer.padding) for layer in graph.layers] == [(5, 2, "SAME"), (3, 1, "VALID")]
    assert [layer.output.width for layer in graph.layers] == [17, 15]


def test_one_weight_scale_serves_all_channels() -> None:
    layer = read_graph(per_tensor_encoder()).layers[0]
    assert len(set(layer.multiplier.tolist())) == 1
    assert len(layer.multiplier) == 8


def test_a_batch_of_any_size_is_a_batch_of_one() -> None:
    """The converter's default for a Keras model: TFLM runs the file as it is, and so do we."""
    require("module:tflite_micro")
    data = dynamic_batch_encoder()
    graph = read_graph(data)
    inputs = np.random.default_rng(0).integers(-128, 128, (8, 64)).astype(np.int8)
    found = run_layers(graph, inputs)
    assert np.array_equal(found, run_layers(read_graph(GOOD), inputs))
    assert np.array_equal(tflm_encoder(data, graph).run(inputs), found)


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ("float_model", "a float model: convert with .*representative_dataset"),
        ("int16_input", "16-bit activations .*TFLITE_BUILTINS_INT8"),
        ("uint8_output", "older uint8 scheme"),
        ("op_add", "give `edgecodec quantize` the Keras model"),
        ("tanh", "train with ReLU"),
        ("dynamic_width", "fixed frame length"),
    ],
)
def test_refusal_names_the_way_out(kind: str, hint: str) -> None:
    with pytest.raises(UnsupportedOpError) as caught:
        read_graph(malformed_encoder(kind))
    assert caught.value.hint is not None
    assert re.search(hint, caught.value.hint)


@pytest.mark.parametrize("kind", MALFORMED)
def test_refused(kind: str) -> None:
    with pytest.raises((InputError, UnsupportedOpError)) as caught:
        read_graph(malformed_encoder(kind))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("float_model", "FLOAT32; expected INT8"),
        ("dynamic_width", "dynamic shape"),
        ("op_add", r"op 5 is ADD \(output tensor 'encoder/add'\)"),
        ("custom_op", "CUSTOM MyConv"),
        ("tanh", "CONV_2D 'encoder/conv_0': fused activation TANH"),
        ("dilation", "CONV_2D 'encoder/conv_0': 7 taps at dilation 43 reach over 259 positions; at most 255"),
        ("unit_axis_stride", r"CONV_2D 'encoder/conv_0': strides \[2, 0\]"),
        ("depth_multiplier", "DEPTHWISE_CONV_2D 'encoder/dw_2': has depth multiplier 2 for 12 to 12 channels"),
        ("relu6_at_tiny_scale", "tensor 'encoder/conv_0' has scale .* leaves int32"),
        ("skip_connection", "layers must follow one another"),
    ],
)
def test_refusal_names_op_tensor_and_layer(kind: str, message: str) -> None:
    with pytest.raises(UnsupportedOpError, match=message):
        read_graph(malformed_encoder(kind))


@pytest.mark.parametrize("data", [b"", b"\0" * 4, b"\0" * 64, b"not a model at all", b"\x1c\0\0\0TFL3"])
def test_not_a_model(data: bytes) -> None:
    with pytest.raises(InputError):
        read_graph(data)


def test_truncated_anywhere() -> None:
    for length in range(0, len(GOOD), 61):
        with pytest.raises(EdgecodecError):
            read_graph(GOOD[:length])


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=12))
def test_damaged_bytes_never_raise_anything_else(edits: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for place, value in edits:
        data[place] = value
    graph = None
    with contextlib.suppress(EdgecodecError):
        graph = read_graph(bytes(data))
    if graph is not None:
        assert all(np.all(layer.multiplier >= 0) for layer in graph.layers)


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (0.0, (0, 0)),
        (1.0, (1 << 30, 1)),
        (0.5, (1 << 30, 0)),
        (0.75, (3 << 29, 0)),
        (3.0, (3 << 29, 2)),
        (2.0**-32, (1 << 30, -31)),
        (2.0**-33, (0, 0)),  # the shift would be -32: TFLite gives zero
        (1.0 - 2.0**-40, (1 << 30, 1)),  # rounds up to 2^31, halved
    ],
)
def test_quantize_multiplier(ratio: float, expected: tuple[int, int]) -> None:
    assert quantize_multiplier(ratio) == expected


@given(st.floats(2.0**-31, 2.0**20))
def test_quantize_multiplier_is_close(ratio: float) -> None:
    mantissa, exponent = quantize_multiplier(ratio)
    assert 1 << 30 <= mantissa < 1 << 31
    assert math.isclose(mantissa * 2.0 ** (exponent - 31), ratio, rel_tol=2.0**-31)


def test_quantize_multiplier_refuses_nonsense() -> None:
    for ratio in (math.nan, math.inf, -1.0):
        with pytest.raises(UnsupportedOpError):
            quantize_multiplier(ratio)


@pytest.mark.parametrize(
    ("width", "kernel", "stride", "expected"),
    [(320, 7, 2, (160, 2)), (319, 7, 2, (160, 3)), (1, 9, 3, (1, 4)), (5, 1, 3, (2, 0)), (8, 4, 1, (8, 1))],
)
def test_same_padding(width: int, kernel: int, stride: int, expected: tuple[int, int]) -> None:
    assert same_padding(width, kernel, stride) == expected
