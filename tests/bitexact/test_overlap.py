"""Outputs that run over their own inputs: no byte too near, none farther than it must be, the least arena.

Every sweep of the kernels runs them in such an arena (``c_kernels``); here the limit itself is looked at.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecodec.codec.graph import Graph, Layer
from edgecodec.codec.reference import run_every_layer
from edgecodec.codec.tflite_reader import read_graph
from edgecodec.compile.arena import align, lead_bytes, place
from edgecodec.compile.kernels import Kernel
from tests.bitexact import c_kernels
from tests.tflite_builder import CONV, DEPTHWISE, LayerSpec, build_encoder
from tests.tools import require

Run = Callable[[Layer, npt.NDArray[np.int8], int], npt.NDArray[np.int8]]
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


def check(layer: Layer, kernel: Kernel, run: Run) -> None:
    rng = np.random.default_rng(4)
    source = rng.integers(-128, 128, (8, layer.input.width, layer.input.channels)).astype(np.int8)
    expected = run_every_layer(Graph((layer,)), source.reshape(len(source), -1))[0]
    lead = lead_bytes(layer, kernel)
    np.testing.assert_array_equal(run(layer, source, lead), expected)
    if 0 < lead < align(layer.output.size_bytes):
        assert not np.array_equal(run(layer, source, lead - 4), expected), f"{lead} is more than it takes"


@pytest.mark.parametrize(("kernel", "stride", "channels", "out"), SHAPES)
def test_lead_is_enough_and_no_more(kernel: int, stride: int, channels: int, out: int) -> None:
    require("cc", "Python.h")
    layer = layer_of(CONV, kernel, stride, channels, out)
    check(layer, Kernel.CONV, c_kernels.run_plain)
    check(layer, Kernel.CONV_PAIRED, c_kernels.run_paired)
    smaller = replace(layer, weights=layer.weights // 4)
    check(smaller, Kernel.CONV_WINOGRAD, partial(c_kernels.run_paired, winograd=True))
    check(layer, Kernel.CONV_MVE, c_kernels.run_mve)
    if kernel == 1:
        check(layer, Kernel.POINTWISE, c_kernels.run_pointwise)
    depthwise = layer_of(DEPTHWISE, kernel, stride, channels, 0)
    check(depthwise, Kernel.DEPTHWISE, c_kernels.run_plain)
    check(depthwise, Kernel.DEPTHWISE_MVE, c_kernels.run_mve)
    if stride * -(-kernel // (2 * stride)) == 4:
        check(depthwise, Kernel.DEPTHWISE_PAIRED, c_kernels.run_paired)


def test_leads_by_hand() -> None:
    # Row p of 40 bytes is written while input rows from 2p - 2 on, of 32 bytes, are still read; p = 1 is the worst:
    # 2 * 40 - 0.
    layer = layer_of(CONV, 7, 2, 32, 40, width=160)
    assert layer.pad_left == 2
    assert lead_bytes(layer, Kernel.CONV) == 80
    # The pair q is written with all rows before 4q + 6 in the window: 40 (2q + 1) - 32 (4q + 6) is never above 0.
    assert lead_bytes(layer, Kernel.CONV_PAIRED) == 0
    # Rows 0 to 2 are written with all samples before row 4 read: 3 * 40 - 4 * 32 < 0.
    assert lead_bytes(layer, Kernel.CONV_MVE) == 0
    # Rows grow by 8 bytes: the last of 40 positions is 39 rows of 8 ahead and one of 48.
    wider = layer_of(CONV, 1, 1, 40, 48)
    assert lead_bytes(wider, Kernel.CONV) == 39 * 8 + 48
    depthwise = layer_of(DEPTHWISE, 7, 2, 40, 0)
    # Pair p, rows up to 2p, is written while input rows from 4p + 2 on are read.
    assert lead_bytes(depthwise, Kernel.DEPTHWISE_PAIRED) == 0
    # With stride 1 row 2p while rows from 2p + 3 on are read.
    assert lead_bytes(layer_of(DEPTHWISE, 7, 1, 40, 0), Kernel.DEPTHWISE_PAIRED) == 0
    # Written and read channel by channel: row 1 of the output is one row ahead of row 0 of the input.
    assert lead_bytes(depthwise, Kernel.DEPTHWISE) == 40
    # Three rows at a time: the next ones start from row 4.
    assert lead_bytes(depthwise, Kernel.DEPTHWISE_MVE) == 0


def least_arena(sizes: list[int], leads: list[int], works: list[int]) -> int:
    """By trying every place of every tensor."""
    places = range(0, sum(sizes) + 1, 4)

    def fit(before: tuple[int, int], after: tuple[int, int], lead: int) -> bool:
        (a, size_a), (b, _) = before, after
        return a >= b + lead or b >= a + size_a

    return min(
        max(o + s + work for o, s, work in zip(offsets, sizes, behind(works), strict=True))
        for offsets in itertools.product(places, repeat=len(sizes))
        if all(fit((offsets[i], sizes[i]), (offsets[i + 1], sizes[i + 1]), leads[i]) for i in range(len(leads)))
    )


def behind(works: list[int]) -> list[int]:
    """What must be free behind each tensor: the work of the steps before and after it."""
    return [max(before, after) for before, after in zip([0, *works], [*works, 0], strict=True)]


@given(st.data(), st.lists(st.integers(1, 4).map(lambda n: 4 * n), min_size=2, max_size=4))
def test_arena_is_the_least(data: st.DataObject, sizes: list[int]) -> None:
    leads = [4 * data.draw(st.integers(0, size // 4)) for size in sizes[1:]]
    works = [4 * data.draw(st.integers(0, 3)) for _ in leads]
    offsets, arena = place(sizes, leads, works)
    ends = [offset + size + work for offset, size, work in zip(offsets, sizes, behind(works), strict=True)]
    assert arena == max(ends)
    for index, lead in enumerate(leads):
        before, after = offsets[index], offsets[index + 1]
        assert before >= after + lead or after >= before + sizes[index]
    assert arena == least_arena(sizes, leads, works)
