"""The fast kernels of 16-bit activations at every shape, as this machine compiles them.

tests/emulated runs them as cores do.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from edgecodec.codec.arrays import Activations
from edgecodec.codec.graph import Graph, Layer, Op
from edgecodec.codec.numerics import INT16X8
from edgecodec.codec.reference import run_every_layer, run_layers
from edgecodec.codec.tflite_reader import read_graph
from edgecodec.compile.arena import align
from edgecodec.compile.cascade import make_cascade
from edgecodec.compile.kernels import KERNELS, Kernel, choose_kernel
from edgecodec.compile.kernels.bytes import CONV_BYTES
from edgecodec.compile.kernels.mve16 import CONV16_MVE, DEPTHWISE16_MVE
from edgecodec.compile.kernels.pairs16 import (
    CONV16_BYTES,
    CONV16_BYTES_ONE_BY_ONE,
    CONV16_SINGLE,
    CONV16_WORDS,
    DEPTHWISE16_BYTES,
    DEPTHWISE16_BYTES_SHORT,
)
from edgecodec.compile.kernels.plain16 import CONV16, DEPTHWISE16
from edgecodec.compile.target import Optimize, Target
from edgecodec.host.oracles import tflm_encoder
from tests.bitexact import c_kernels
from tests.bitexact.test_int16x8 import ENCODERS, inputs_of
from tests.random_encoders import random_encoder
from tests.tflite_builder import CONV, DEPTHWISE, LayerSpec, build_encoder
from tests.tools import require

FAST = [
    kernel
    for kernel in KERNELS
    if kernel.numerics == INT16X8 and kernel not in (CONV16, DEPTHWISE16, CONV16_BYTES_ONE_BY_ONE)
]
"""All but the plain ones, and what differs from :data:`CONV16_BYTES` on cores alone."""
CONVOLUTIONS = [kernel for kernel in FAST if Op.CONV in kernel.ops]


def layer_of(spec: LayerSpec, width: int, channels: int, seed: int = 0, **changes: Any) -> Layer:
    """A layer behind a convolution that makes its channels, with members changed."""
    data = build_encoder([LayerSpec(CONV, channels, 1), spec], width, seed=seed, numerics=INT16X8)
    return replace(read_graph(data).layers[1], **changes)


@cache
def random_layers(seed: int) -> tuple[tuple[Layer, ...], list[Activations]]:
    """A random encoder's layers, and its input and their outputs by the reference."""
    graph = random_encoder(seed, INT16X8).graph
    quantized = inputs_of(graph, seed)
    return graph.layers, [quantized[:, :, None], *run_every_layer(graph, quantized)]


def assert_exact(layer: Layer, kernel: Kernel, seed: int = 0) -> None:
    assert kernel.refusal(layer) is None
    shape = (5, layer.input.width, layer.input.channels)
    source = np.random.default_rng(seed).integers(-32768, 32768, shape).astype(np.int16)
    source[0], source[1] = -32768, 32767
    expected = run_every_layer(Graph((layer,)), source.reshape(len(source), -1))[0]
    np.testing.assert_array_equal(c_kernels.run(layer, kernel, source), expected)


@pytest.mark.parametrize("kernel", FAST, ids=repr)
def test_random_encoders(kernel: Kernel) -> None:
    """Those that TFLM and the reference agree on."""
    require("cc", "Python.h")
    taken = 0
    for seed in range(ENCODERS):
        layers, outputs = random_layers(seed)
        for layer, source, expected in zip(layers, outputs, outputs[1:], strict=False):
            if kernel.refusal(layer) is None:
                np.testing.assert_array_equal(c_kernels.run(layer, kernel, source), expected)
                taken += 1
    assert taken > (30 if Op.CONV in kernel.ops else 3)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("kernel", FAST, ids=repr)
def test_shapes(kernel: Kernel, padding: str) -> None:
    """Windows beyond either edge and both, columns that fill words or do not, a last position alone."""
    require("cc", "Python.h")
    op, taken = CONV if Op.CONV in kernel.ops else DEPTHWISE, 0
    blocks = 4 if kernel is CONV16_MVE else 1
    for number, (taps, stride) in enumerate((t, s) for t in (1, 2, 3, 7, 8, 17) for s in (1, 2, 3)):
        for width in range(taps if padding == "VALID" else 2, 21, 5):
            channels = (1, 2, 3, 4, 12)[(number + width) % 5] * (4 if op == DEPTHWISE else 1)
            activation = ("NONE", "RELU")[width % 2]
            spec = LayerSpec(op, blocks * (1 + (number + width) % 9), taps, stride, padding, activation)
            layer = layer_of(spec, width, channels, width)
            if kernel.refusal(layer) is None:
                assert_exact(layer, kernel, width)
                taken += 1
    assert taken > 30


@pytest.mark.parametrize("kernel", CONVOLUTIONS, ids=repr)
def test_dilation(kernel: Kernel) -> None:
    require("cc", "Python.h")
    for dilation in (2, 3):
        assert_exact(layer_of(LayerSpec(CONV, 8, 5, dilation=dilation), 31, 3), kernel)


@pytest.mark.parametrize("kernel", CONVOLUTIONS, ids=repr)
@pytest.mark.parametrize(("taps", "stride", "out"), [(31, 8, 8), (63, 16, 16), (33, 8, 16)])
def test_light_encoders(taps: int, stride: int, out: int, kernel: Kernel) -> None:
    """One linear convolution of a whole frame, by TFLM, the reference and the kernel."""
    require("cc", "Python.h", "module:tflite_micro")
    data = build_encoder([LayerSpec(CONV, out, taps, stride)], 320, numerics=INT16X8)
    graph = read_graph(data)
    quantized = inputs_of(graph, taps)
    expected = tflm_encoder(data, graph).run(quantized)
    np.testing.assert_array_equal(run_layers(graph, quantized), expected)
    np.testing.assert_array_equal(c_kernels.run(graph.layers[0], kernel, quantized[:, :, None]), expected)


@pytest.mark.parametrize("kernel", FAST, ids=repr)
def test_every_shift(kernel: Kernel) -> None:
    """The least multiplier, the largest and none, sums at both ends of int32, channels of very different shifts."""
    require("cc", "Python.h")
    op = CONV if Op.CONV in kernel.ops else DEPTHWISE
    for shifts in ((-2, -3, -8, -17), (-2, -17, -18, -31), (-20, -25, -30, -31)):
        layer = layer_of(LayerSpec(op, 4, 7), 20, 4)
        # An output is then less than 2^15 where the shift is -16 or more.
        bias = np.array([1, -1, 1, -1]) * ((1 << 31) - 1 - (1 << 28))
        changes = {"shift": np.array(shifts, np.int32), "bias": bias.astype(np.int64)}
        for multiplier in ((1 << 30,) * 4, (0x7FFFFFFF, 0x7FFEFFFF, 1 << 30, 0), (0x40008000, 0x40007FFF, 0, 0)):
            assert_exact(replace(layer, multiplier=np.array(multiplier, np.int32), **changes), kernel)


@pytest.mark.parametrize("kernel", FAST, ids=repr)
def test_memory_offset_is_enough_and_no_more(kernel: Kernel) -> None:
    require("cc", "Python.h")
    op = CONV if Op.CONV in kernel.ops else DEPTHWISE
    tight = 0
    for taps, stride, channels, out in ((1, 1, 4, 12), (3, 1, 8, 12), (5, 2, 4, 16), (7, 1, 4, 8)):
        layer = layer_of(LayerSpec(op, out, taps, stride), 40, channels)
        source = np.random.default_rng(4).integers(-32768, 32768, (8, 40, channels)).astype(np.int16)
        expected = run_every_layer(Graph((layer,)), source.reshape(8, -1))[0]
        offset = kernel.pack(layer).memory_offset_bytes
        np.testing.assert_array_equal(c_kernels.run(layer, kernel, source, offset), expected)
        if 0 < offset < align(layer.output.size_bytes):
            tight += 1
            assert not np.array_equal(c_kernels.run(layer, kernel, source, offset - 4), expected)
    assert tight >= 1


@pytest.mark.parametrize("kernel", FAST, ids=repr)
def test_stripes(kernel: Kernel) -> None:
    require("cc", "Python.h")
    op = CONV if Op.CONV in kernel.ops else DEPTHWISE
    for taps, stride, width in ((7, 2, 61), (8, 1, 30), (5, 3, 62)):
        layer = layer_of(LayerSpec(op, 8, taps, stride), width, 4)
        source = np.random.default_rng(width).integers(-32768, 32768, (width, 4)).astype(np.int16)
        expected = run_every_layer(Graph((layer,)), source.reshape(1, -1))[0][0]
        packed = [kernel.pack(layer)]
        for stripe in (1, 2, 5, 8):
            cascade = make_cascade(packed, 0, 0, [stripe])
            np.testing.assert_array_equal(c_kernels.run_cascade(packed, cascade, source), expected)


def test_words_by_hand() -> None:
    weights = np.array([[1, -1, 127, -128, 9], [2, 3, 4, 5, 9], [6, 7, 8, 9, 9]], np.int8)[:, :, None]
    layer = layer_of(LayerSpec(CONV, 3, 5), 9, 1, weights=weights)
    words = CONV16_WORDS.pack(layer)
    # The fourth output channel and three columns are zeros.
    assert words.array("weights")[0, :3].tolist() == [
        [0xFFFF0001, 0x00030002, 0x00070006, 0],
        [0xFF80007F, 0x00050004, 0x00090008, 0],
        [9, 9, 9, 0],
    ]
    assert not words.array("weights")[0, 3].any()
    assert words.number("columns") == 8
    # Two windows, and the outputs of a position that there is not.
    assert words.scratch_bytes == 2 * 2 * 8 + 2 * 3
    assert CONV16_BYTES.pack(layer).array("weights")[0].tolist() == [
        [0x03FF0201, 0x00070006],
        [0x0580047F, 0x00090008],
        [0x00000909, 0x00000009],
        [0, 0],
    ]


def test_multipliers_by_hand() -> None:
    multiplier = np.array([1 << 30, 0x60000000, 0, 0x7FFFFFFF], np.int32)
    layer = layer_of(LayerSpec(CONV, 4, 3), 9, 1, multiplier=multiplier, shift=np.array([-2, -5, 3, -17], np.int32))
    assert CONV16_BYTES.pack(layer).number("high") == 1
    # 16384 2^15, 24576 2^12, nothing, 32767 2^0.
    found = CONV16_BYTES.pack(layer).array("channels")["multiplier"][0]
    assert found.tolist() == [1 << 29, 24576 << 12, 0, 32767]
    # One shift of 33 is too much for a high word; a core without a long product never has one.
    more = replace(layer, shift=np.array([-2, -5, 3, -18], np.int32))
    for packed, last in ((CONV16_BYTES.pack(more), 16), (CONV16_SINGLE.pack(layer), 15)):
        assert packed.number("high") == 0
        found = packed.array("channels")["multiplier"][0]
        assert found.tolist() == [16384 << 16, 24576 << 16 | 3, 0, 32767 << 16 | last]


def test_choice() -> None:
    conv = layer_of(LayerSpec(CONV, 8, 31, 8), 320, 1)
    for target, kernel in (
        (Target(simd=True), CONV16_WORDS),
        (Target(Optimize.BALANCED, simd=True), CONV16_BYTES),
        (Target(), CONV16_BYTES_ONE_BY_ONE),
        (Target(Optimize.BALANCED), CONV16_BYTES_ONE_BY_ONE),
        (Target(Optimize.BALANCED, long_multiply=False), CONV16_SINGLE),
        (Target(Optimize.FLASH, simd=True), CONV16),
        *((Target(goal, simd=True, vectors=True), CONV16_MVE) for goal in Optimize),
    ):
        assert choose_kernel(conv, target).kernel is kernel
    depthwise = layer_of(LayerSpec(DEPTHWISE, 0, 7, 2), 20, 8)
    for target, kernel in (
        (Target(simd=True), DEPTHWISE16_BYTES),
        (Target(Optimize.BALANCED, long_multiply=False), DEPTHWISE16_BYTES_SHORT),
        (Target(simd=True, vectors=True), DEPTHWISE16_MVE),
        (Target(Optimize.FLASH), DEPTHWISE16),
    ):
        assert choose_kernel(depthwise, target).kernel is kernel
    double = layer_of(LayerSpec(DEPTHWISE, 0, 7, 2, depth_multiplier=2), 20, 4)
    assert choose_kernel(double, Target(simd=True)).kernel is DEPTHWISE16


@pytest.mark.parametrize("kernel", FAST, ids=repr)
def test_refusals(kernel: Kernel) -> None:
    op = CONV if Op.CONV in kernel.ops else DEPTHWISE
    good = layer_of(LayerSpec(op, 8, 3), 20, 8)
    assert kernel.refusal(good) is None
    for changes, reason in (
        ({"bias": np.full(8, 1 << 31, np.int64)}, "more than int32 holds"),
        ({"shift": np.full(8, -1, np.int32)}, "a shift of 16"),
        ({"activation_max": 32766}, "tight activation"),
        ({"activation_min": 1}, "tight activation"),
    ):
        assert reason in str(kernel.refusal(replace(good, **changes)))
    assert "alone" in str(CONV_BYTES.refusal(good))
