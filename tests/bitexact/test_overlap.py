"""Outputs that run over their own inputs: no byte too near, none farther than it must be, the least arena.

Every sweep of the kernels runs them in such an arena (``c_kernels``); here the limit itself is looked at.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecodec.codec.graph import Graph, Layer
from edgecodec.codec.reference import run_every_layer
from edgecodec.codec.tflite_reader import read_graph
from edgecodec.compile.arena import align, place
from edgecodec.compile.kernels import Kernel, packed_taps, plain
from edgecodec.compile.kernels import mve as mve_kernels
from edgecodec.compile.kernels.bytes import CONV_BYTES
from edgecodec.compile.kernels.pointwise import POINTWISE
from tests.bitexact import c_kernels
from tests.tflite_builder import CONV, DEPTHWISE, LayerSpec, build_encoder
from tests.tools import require

SHAPES = [
    # kernel, stride, channels in, channels out
    (7, 2, 32, 40),
    (7, 2, 4, 32),
    (1, 1, 40, 48),
    (1, 1, 48, 16),
    (3, 1, 8, 12),
    (5, 3, 4, 16),
    (7, 1, 8, 12),
]


def layer_of(op: str, kernel: int, stride: int, channels: int, out: int, width: int = 40) -> Layer:
    specs = [LayerSpec(CONV, channels, 1), LayerSpec(op, out, kernel, stride, "SAME")]
    return read_graph(build_encoder(specs, width, seed=3)).layers[1]


def check(layer: Layer, kernel: Kernel) -> None:
    rng = np.random.default_rng(4)
    source = rng.integers(-128, 128, (8, layer.input.width, layer.input.channels)).astype(np.int8)
    expected = run_every_layer(Graph((layer,)), source.reshape(len(source), -1))[0]
    offset = kernel.pack(layer).memory_offset_bytes
    np.testing.assert_array_equal(c_kernels.run(layer, kernel, source, offset), expected)
    if 0 < offset < align(layer.output.size_bytes):
        nearer = c_kernels.run(layer, kernel, source, offset - 4)
        assert not np.array_equal(nearer, expected), f"{offset} is more than it takes"


@pytest.mark.parametrize(("kernel", "stride", "channels", "out"), SHAPES)
def test_memory_offset_is_enough_and_no_more(kernel: int, stride: int, channels: int, out: int) -> None:
    require("cc", "Python.h")
    layer = layer_of(CONV, kernel, stride, channels, out)
    check(layer, plain.CONV)
    check(layer, packed_taps.CONV_PACKED_TAPS)
    smaller = replace(layer, weights=layer.weights // 4)
    check(smaller, packed_taps.CONV_WINOGRAD)
    check(layer, mve_kernels.CONV_MVE)
    check(layer, CONV_BYTES)
    if kernel == 1:
        check(layer, POINTWISE)
    depthwise = layer_of(DEPTHWISE, kernel, stride, channels, 0)
    check(depthwise, plain.DEPTHWISE)
    check(depthwise, mve_kernels.DEPTHWISE_MVE)
    if stride * -(-kernel // (2 * stride)) == 4:
        check(depthwise, packed_taps.DEPTHWISE_PACKED_TAPS)


def test_memory_offsets_by_hand() -> None:
    # Row p of 40 bytes is written while input rows from 2p - 2 on, of 32 bytes, are still read; p = 1 is the worst:
    # 2 * 40 - 0.
    layer = layer_of(CONV, 7, 2, 32, 40, width=160)
    assert layer.pad_left == 2
    assert plain.CONV.pack(layer).memory_offset_bytes == 80
    # The pair q is written with all rows before 4q + 6 in the window: 40 (2q + 1) - 32 (4q + 6) is never above 0.
    assert packed_taps.CONV_PACKED_TAPS.pack(layer).memory_offset_bytes == 0
    # Rows 0 to 2 are written with all samples before row 4 read: 3 * 40 - 4 * 32 < 0.
    assert mve_kernels.CONV_MVE.pack(layer).memory_offset_bytes == 0
    # Rows grow by 8 bytes: the last of 40 positions is 39 rows of 8 ahead and one of 48.
    wider = layer_of(CONV, 1, 1, 40, 48)
    assert plain.CONV.pack(wider).memory_offset_bytes == 39 * 8 + 48
    depthwise = layer_of(DEPTHWISE, 7, 2, 40, 0)
    # Pair p, rows up to 2p, is written while input rows from 4p + 2 on are read.
    assert packed_taps.DEPTHWISE_PACKED_TAPS.pack(depthwise).memory_offset_bytes == 0
    # With stride 1 row 2p while rows from 2p + 3 on are read.
    assert packed_taps.DEPTHWISE_PACKED_TAPS.pack(layer_of(DEPTHWISE, 7, 1, 40, 0)).memory_offset_bytes == 0
    # Written and read channel by channel: row 1 of the output is one row ahead of row 0 of the input.
    assert plain.DEPTHWISE.pack(depthwise).memory_offset_bytes == 40
    # Three rows at a time: the next ones start from row 4.
    assert mve_kernels.DEPTHWISE_MVE.pack(depthwise).memory_offset_bytes == 0


def least_arena(sizes: list[int], memory_offsets: list[int], works: list[int]) -> int:
    """By trying every place of every tensor."""
    places = range(0, sum(sizes) + 1, 4)

    def fit(before: tuple[int, int], after: tuple[int, int], memory_offset: int) -> bool:
        (a, size_a), (b, _) = before, after
        return a >= b + memory_offset or b >= a + size_a

    return min(
        max(o + s + work for o, s, work in zip(offsets, sizes, behind(works), strict=True))
        for offsets in itertools.product(places, repeat=len(sizes))
        if all(
            fit((offsets[i], sizes[i]), (offsets[i + 1], sizes[i + 1]), memory_offsets[i])
            for i in range(len(memory_offsets))
        )
    )


def behind(works: list[int]) -> list[int]:
    """What must be free behind each tensor: the work of the steps before and after it."""
    return [max(before, after) for before, after in zip([0, *works], [*works, 0], strict=True)]


@given(st.data(), st.lists(st.integers(1, 4).map(lambda n: 4 * n), min_size=2, max_size=4))
def test_arena_is_the_least(data: st.DataObject, sizes: list[int]) -> None:
    memory_offsets = [4 * data.draw(st.integers(0, size // 4)) for size in sizes[1:]]
    works = [4 * data.draw(st.integers(0, 3)) for _ in memory_offsets]
    offsets, arena = place(sizes, memory_offsets, works)
    ends = [offset + size + work for offset, size, work in zip(offsets, sizes, behind(works), strict=True)]
    assert arena == max(ends)
    for index, memory_offset in enumerate(memory_offsets):
        before, after = offsets[index], offsets[index + 1]
        assert before >= after + memory_offset or after >= before + sizes[index]
    assert arena == least_arena(sizes, memory_offsets, works)
