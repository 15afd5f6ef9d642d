"""Layers in stripes: the same integers by every kernel, no byte outside the buffers, no buffer larger than needed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edgecodec.codec.graph import Graph, Layer
from edgecodec.codec.reference import ReferenceExecutor, run_every_layer
from edgecodec.codec.tflite_reader import read_graph
from edgecodec.compile.cascade import make_cascade
from edgecodec.compile.kernels import Kernel, PackedLayer, choose_kernel
from edgecodec.compile.kernels import plain as plain_kernels
from edgecodec.compile.kernels.packed_taps import CONV_PACKED_TAPS, CONV_WINOGRAD, DEPTHWISE_PACKED_TAPS
from edgecodec.compile.plan import make_plan
from edgecodec.compile.target import Optimize, Target
from edgecodec.host.shim import HostShim
from tests.bitexact import c_kernels
from tests.random_encoders import random_encoder
from tests.tflite_builder import CONV, DEPTHWISE, LayerSpec, build_encoder, bundle_of
from tests.tools import require

TARGETS = {
    "plain": Target(Optimize.FLASH),
    "packed taps": Target(),
    "pointwise": Target(simd=True),
    "bytes": Target(Optimize.BALANCED, simd=True),
    "packed channels": Target(long_multiply=False),
    "mve": Target(simd=True, vectors=True),
}
SEEDS = [seed for seed in range(90) if len(random_encoder(seed).layers) > 1]


def pack(layers: Sequence[Layer], target: Target) -> list[PackedLayer]:
    return [choose_kernel(layer, target).packed for layer in layers]


def family(width: int, padding: str = "SAME", kernel: int = 7, stride: int = 2) -> Graph:
    """Layers that every kind of kernel takes."""
    specs = [
        LayerSpec(CONV, 8, kernel, stride, padding),
        LayerSpec(CONV, 12, kernel, stride, padding),
        LayerSpec(DEPTHWISE, 0, kernel, stride, padding),
        LayerSpec(CONV, 16, 1, 1, padding),
        LayerSpec(CONV, 4, 1, 1, padding),
    ]
    return read_graph(build_encoder(specs, width, seed=width))


def frame_of(graph: Graph, seed: int) -> npt.NDArray[np.int8]:
    rng = np.random.default_rng([seed, 50])
    return rng.integers(-128, 128, (graph.input.width, 1)).astype(np.int8)


def check(graph: Graph, target: Target, first: int, last: int, stripes: Sequence[int], seed: int = 0) -> None:
    packed = pack(graph.layers, target)
    frame = frame_of(graph, seed)
    outputs = [frame, *(output[0] for output in run_every_layer(graph, frame.reshape(1, -1)))]
    cascade = make_cascade(packed, first, last, stripes)
    found = c_kernels.run_cascade(packed, cascade, outputs[first])
    kernels = [str(each.kernel) for each in packed]
    np.testing.assert_array_equal(found, outputs[last + 1], f"{kernels} in {cascade.stripes}")


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("seed", SEEDS)
def test_random_encoders(seed: int, name: str) -> None:
    require("cc", "Python.h")
    graph = random_encoder(seed).graph
    rng = np.random.default_rng([seed, 40])
    first = int(rng.integers(len(graph.layers) - 1))
    last = int(rng.integers(first + 1, len(graph.layers)))
    count = last - first + 1
    for stripes in ([1] * count, rng.integers(1, 12, count).tolist(), [graph.input.width] * count):
        check(graph, TARGETS[name], first, last, stripes, seed)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("seeds", [range(45), range(45, 90)], ids=str)
def test_a_layer_alone(seeds: range, name: str) -> None:
    """In stripes, over the input that it still reads, as near as the plan puts it."""
    require("cc", "Python.h")
    for seed in seeds:
        graph = random_encoder(seed).graph
        rng = np.random.default_rng([seed, 41])
        index = int(rng.integers(len(graph.layers)))
        for stripe in (1, int(rng.integers(2, 12)), graph.input.width):
            check(graph, TARGETS[name], index, index, [stripe], seed)


@pytest.mark.parametrize("name", TARGETS)
def test_a_layer_alone_may_come_no_nearer_to_its_input(name: str) -> None:
    """Of kernels whose window a stripe fills anew, and of those that read nothing twice."""
    require("cc", "Python.h")
    graph = family(64)
    packed = pack(graph.layers, TARGETS[name])
    frame = frame_of(graph, 1)
    outputs = [frame, *(output[0] for output in run_every_layer(graph, frame.reshape(1, -1)))]
    nearer = 0
    for index in range(5):
        cascade = make_cascade(packed, index, index, [4])
        assert len(cascade.calls) > 1
        assert cascade.memory_offset_bytes >= packed[index].memory_offset_bytes
        if 0 < cascade.memory_offset_bytes < packed[index].layer.output.size_bytes:
            offset = cascade.memory_offset_bytes - 4
            found = c_kernels.run_cascade(packed, cascade, outputs[index], memory_offset=offset)
            nearer += not np.array_equal(found, outputs[index + 1])
    assert nearer > 0


@pytest.mark.parametrize("kernel", [CONV_PACKED_TAPS, CONV_WINOGRAD], ids=str)
def test_no_call_computes_more_than_a_stripe(kernel: Kernel) -> None:
    """The last one has the outputs that are behind, too; where a stripe is the fewest positions, there is no less."""
    specs = [LayerSpec(CONV, 8, 3), LayerSpec(CONV, 8, 7, 2, weight_limit=20)]
    for width in range(36, 52):
        graph = read_graph(build_encoder(specs, width))
        packed = [plain_kernels.CONV.pack(graph.layers[0]), kernel.pack(graph.layers[1])]
        latency, together = packed[1].cadence.latency, packed[1].cadence.granularity
        for first, stripe in itertools.product((0, 1), (4, 8, 12)):
            cascade = make_cascade(packed, first, 1, [stripe] * (2 - first))
            calls = [call for call in cascade.calls if call.layer == 1 - first]
            assert sum(call.positions for call in calls) == graph.layers[1].output.width
            assert [call.pauses for call in calls] == [True] * (len(calls) - 1) + [False]
            assert all(call.positions % together == 0 and call.positions <= stripe for call in calls[:-1])
            assert calls[-1].positions + latency <= stripe or calls[-1].positions <= together


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("width", [64, 65, 66, 67, 101])
def test_family(width: int, padding: str, name: str) -> None:
    require("cc", "Python.h")
    graph = family(width, padding)
    assert (pack(graph.layers, TARGETS[name])[0].kernel is plain_kernels.CONV) == (name == "plain")
    for stripes in ([1] * 5, [4, 2, 1, 1, 1], [16, 8, 4, 4, 4], [7, 5, 3, 2, 3], [3, 9, 2, 9, 2], [width] * 5):
        check(graph, TARGETS[name], 0, 4, stripes)
        check(graph, TARGETS[name], 1, 3, stripes[1:4])


@pytest.mark.parametrize("kernel", [1, 2, 3, 4, 7, 8])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_every_kernel_and_stride(kernel: int, stride: int) -> None:
    require("cc", "Python.h")
    for width in (61, 62):
        graph = family(width, kernel=kernel, stride=stride)
        for target in TARGETS.values():
            check(graph, target, 0, 4, [4, 4, 2, 2, 2])
            check(graph, target, 0, 4, [1, 2, 3, 1, 1])


@pytest.mark.parametrize("kernel", [CONV_PACKED_TAPS, CONV_WINOGRAD], ids=str)
@pytest.mark.parametrize("taps", [3, 7, 9, 15])
@pytest.mark.parametrize("stride", [1, 2])
def test_kernels_that_resume(kernel: Kernel, taps: int, stride: int) -> None:
    """Whether or not it saves anything, and with more than one pair of taps in a window."""
    require("cc", "Python.h")
    specs = [LayerSpec(CONV, 8, 3), LayerSpec(CONV, 12, taps, stride, weight_limit=20)]
    for width in range(36, 44):
        graph = read_graph(build_encoder(specs, width, seed=taps))
        layer = graph.layers[1]
        assert CONV_PACKED_TAPS.refusal(layer) is None
        packed = [plain_kernels.CONV.pack(graph.layers[0]), kernel.pack(layer)]
        assert packed[1].number("tap_pairs") > 1 or taps < 9
        frame = frame_of(graph, width)
        expected = run_every_layer(graph, frame.reshape(1, -1))[-1]
        for stripe in (1, 4, 8, 13, width):
            cascade = make_cascade(packed, 0, 1, [stripe, stripe])
            found = c_kernels.run_cascade(packed, cascade, frame)
            np.testing.assert_array_equal(found, expected[0])


def test_a_wrong_row_that_is_kept_shows() -> None:
    require("cc", "Python.h")
    graph = family(64)
    for target in TARGETS.values():
        packed = pack(graph.layers, target)
        cascade = make_cascade(packed, 0, 4, [4, 4, 2, 2, 2])
        frame = frame_of(graph, 3)
        right = c_kernels.run_cascade(packed, cascade, frame)
        # edc_depthwise_paired keeps what it has read in its scratch memory.
        for spoiled in (1, 2) if packed[2].kernel is not DEPTHWISE_PACKED_TAPS else (1,):

            def spoil(buffer: npt.NDArray[np.int8], layer: int, spoiled: int = spoiled) -> None:
                if layer == spoiled:
                    buffer[: graph.layers[layer].input.channels] ^= 0x40

            assert not np.array_equal(right, c_kernels.run_cascade(packed, cascade, frame, spoil=spoil))


def test_output_may_come_no_nearer_to_the_input() -> None:
    require("cc", "Python.h")
    graph = family(64)
    packed = pack(graph.layers, TARGETS["plain"])
    cascade = make_cascade(packed, 0, 2, [4, 2, 1])
    frame = frame_of(graph, 1)
    assert 0 < cascade.memory_offset_bytes < graph.layers[2].output.size_bytes
    right = c_kernels.run_cascade(packed, cascade, frame)
    nearer = c_kernels.run_cascade(packed, cascade, frame, memory_offset=cascade.memory_offset_bytes - 4)
    assert not np.array_equal(right, nearer)


def test_schedule_by_hand() -> None:
    """Two layers of kernel 3 and stride 2 on 16 samples, SAME: 8 and 4 positions, padding on the right alone."""
    graph = read_graph(build_encoder([LayerSpec(CONV, 4, 3, 2), LayerSpec(CONV, 8, 3, 2)], 16))
    assert [layer.pad_left for layer in graph.layers] == [0, 0]
    cascade = make_cascade([plain_kernels.CONV.pack(layer) for layer in graph.layers], 0, 1, [8, 1])
    # Position p of the second wants rows 2p to 2p + 2 of the first, which are made when they lack; the last has only 2.
    assert [(call.layer, call.positions) for call in cascade.calls] == [
        *((0, 3), (1, 1), (0, 2), (1, 1), (0, 2), (1, 1), (0, 1), (1, 1))
    ]
    assert [call.pauses for call in cascade.calls] == [True] * 6 + [False] * 2
    # Of three rows of 4 bytes the last is kept.
    assert [call.moved_bytes for call in cascade.calls if call.layer == 1] == [4, 4, 4, 0]
    assert cascade.rows == (3,)
    # 8 bytes are written when samples from 6 on, 16 when those from 10 on, 24 when those from 14 on are to be read.
    assert cascade.memory_offset_bytes == 12


@pytest.mark.parametrize("name", TARGETS)
def test_generated_code(name: str, tmp_path: Path) -> None:
    """Through plan and templates: a cascade of all layers, one in the middle, one at the end."""
    require("cc", "Python.h")
    specs = [
        *(LayerSpec(CONV, 8, 7, 2), LayerSpec(CONV, 12, 7, 2)),
        *(LayerSpec(DEPTHWISE, 0, 7, 2), LayerSpec(CONV, 16, 1)),
        LayerSpec(CONV, 6, 1),
    ]
    bundle = bundle_of(tmp_path / "b", build_encoder(specs, 203, seed=1), sizes=(9, 4))
    frames = bundle.frames()
    assert frames is not None
    expected = ReferenceExecutor(bundle.codec).stages(frames)
    whole = make_plan(bundle.codec, TARGETS[name], [])
    packed = [step.packed for step in whole.steps]
    for first, last, stripes in ((0, 4, [8, 4, 2, 2, 2]), (1, 2, [5, 3]), (3, 4, [2, 2])):
        cascade = make_cascade(packed, first, last, stripes)
        plan = make_plan(bundle.codec, TARGETS[name], [cascade])
        shim = HostShim(bundle, plan)
        found = shim.stages(frames)
        assert shim.state_bytes == plan.state_bytes
        np.testing.assert_array_equal(found.indices, expected.indices)
        np.testing.assert_array_equal(found.latent, expected.latent)
        assert sum(call.layer == first for call in plan.calls) > 1
        assert sorted({call.layer for call in plan.calls}) == list(range(5))
        if first == 0:
            assert plan.arena_bytes < whole.arena_bytes


@pytest.mark.parametrize("name", TARGETS)
def test_generated_code_in_short_calls(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several layers, each alone: in as many calls as it takes, and all others as ever."""
    require("cc", "Python.h")
    specs = [LayerSpec(CONV, 8, 7, 2), LayerSpec(CONV, 12, 7, 2), LayerSpec(CONV, 4, 1), LayerSpec(CONV, 16, 7)]
    bundle = bundle_of(tmp_path / "b", build_encoder(specs, 203, seed=1), sizes=(9, 4))
    frames = bundle.frames()
    assert frames is not None
    expected = ReferenceExecutor(bundle.codec).stages(frames)
    whole = make_plan(bundle.codec, TARGETS[name], [])
    # As long as the third layer takes, and a stripe of a few positions of each.
    few = [step.packed.instructions(4, pauses=False) for step in whole.steps]
    most = max(few + [call.instructions for call in whole.calls if call.layer == 2])
    monkeypatch.setattr("edgecodec.compile.cascade.CALL_INSTRUCTIONS", most)
    monkeypatch.setattr("edgecodec.compile.plan.candidates", lambda packed: ())
    plan = make_plan(bundle.codec, TARGETS[name])
    longer = [call.layer for call in whole.calls if call.instructions > most]
    assert [list(each.layers) for each in plan.cascades] == [[layer] for layer in longer]
    assert len(longer) > 1
    assert [step.stripe is not None for step in plan.steps] == [layer in longer for layer in range(4)]
    assert plan.cascade is None
    assert all(buffer.is_whole for buffer in plan.buffers)
    assert max(call.instructions for call in plan.calls) <= most
    shim = HostShim(bundle, plan)
    assert shim.state_bytes == plan.state_bytes
    found = shim.stages(frames)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.latent, expected.latent)
