"""The plan: memory without overlap, accumulators proven."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgecodec.bundle import Bundle
from edgecodec.codec.graph import Layer, Op
from edgecodec.codec.tflite_reader import read_graph
from edgecodec.compile.cascade import LAYER_BYTES, extra_share, make_cascade
from edgecodec.compile.kernels import KERNELS, Kernel, PackedLayer, plain_kernel
from edgecodec.compile.kernels.plain import CONV as PLAIN_CONV
from edgecodec.compile.kernels.plain import DEPTHWISE as PLAIN_DEPTHWISE
from edgecodec.compile.plan import make_plan
from edgecodec.compile.render import render_codec
from edgecodec.compile.target import Optimize, Target
from edgecodec.errors import PlanError
from edgecodec.files.resources import firmware_dir
from tests.tflite_builder import CONV, LayerSpec, build_encoder, bundle_of, overflowing_encoder


@pytest.mark.parametrize("optimize", Optimize)
def test_tensors_overlap_only_where_the_kernel_has_read(bundle: Bundle, optimize: Optimize) -> None:
    plan = make_plan(bundle.codec, Target(optimize))
    for step in plan.steps:
        a, b = step.source, step.target
        apart = a.offset_bytes + a.size_bytes <= b.offset_bytes or b.offset_bytes + b.size_bytes <= a.offset_bytes
        assert apart or a.offset_bytes >= b.offset_bytes + step.packed.memory_offset_bytes
    for buffer in plan.buffers:
        assert 0 <= buffer.offset_bytes <= plan.arena_bytes - buffer.size_bytes
        assert buffer.offset_bytes % 4 == 0


def test_arena_is_hardly_more_than_the_largest_tensor(bundle: Bundle) -> None:
    # 64, 32x8, 16x12, 8x12, 8x10, 8x6 bytes. All share with the second.
    plan = make_plan(bundle.codec)
    assert plan.arena_bytes == 256
    # The second layer has a pair of taps, 2 phases and 8 channels in, 12 out: 3 x 16 columns, 2 x 12 carries, 12 bytes.
    assert plan.scratch_bytes == 4 * 3 * 16 + 4 * 2 * 12 + 12
    assert plan.state_bytes == 256 + 300 + 2 * 6


def deep(path: Path, channels: int = 32) -> Bundle:
    """A bundle whose first tensor, half as wide as 256 samples, is by far the largest."""
    specs = [LayerSpec(CONV, channels, 7, 2), LayerSpec(CONV, channels, 7, 2), LayerSpec(CONV, 4, 1)]
    return bundle_of(path, build_encoder(specs, 256, seed=2), sizes=(5, 3))


def test_layers_run_as_a_cascade_where_that_saves_enough(tmp_path: Path) -> None:
    made = deep(tmp_path / "b")
    for target in (Target(Optimize.FLASH), Target(long_multiply=False), Target()):
        whole, plan = make_plan(made.codec, target, []), make_plan(made.codec, target)
        assert whole.arena_bytes >= 128 * 32
        assert plan.cascade is not None
        assert plan.cascade.layers[0] == 0
        assert plan.state_bytes <= whole.state_bytes - LAYER_BYTES * len(plan.cascade.layers)
        assert plan.state_bytes <= whole.state_bytes - (whole.arena_bytes + whole.scratch_bytes) / 8
        assert extra_share([step.packed for step in plan.steps], plan.cascade) <= 0.03
        assert [step.stripe is not None for step in plan.steps] == [index in plan.cascade.layers for index in range(3)]
        # A kernel is called for every position of its layer, once.
        for index in plan.cascade.layers:
            positions = [call.positions for call in plan.cascade.calls if call.layer == index]
            assert sum(positions) == made.codec.graph.layers[index].output.width


def test_cascade_by_hand(tmp_path: Path) -> None:
    made = deep(tmp_path / "b", 16)
    packed = [PLAIN_CONV.pack(layer) for layer in made.codec.graph.layers]
    cascade = make_cascade(packed, 0, 2, [4, 2, 2])
    # Two positions of the second layer look at 9 rows of the first's output; the third layer at its own.
    assert cascade.rows == (9, 2)
    plan = make_plan(made.codec, Target(Optimize.FLASH), [cascade])
    assert [buffer.size_bytes for buffer in plan.buffers] == [256, 9 * 16, 2 * 16, 64 * 4]
    assert [buffer.is_whole for buffer in plan.buffers] == [True, False, False, True]
    assert [step.stripe for step in plan.steps] == [4, 2, 2]
    # The buffers are at the end, behind input and output: 4 bytes a position of the output are as fast as the 4
    # samples that it takes, so both lie in one place but for what is read again and what is read late.
    assert plan.arena_bytes == 256 + cascade.memory_offset_bytes + 9 * 16 + 2 * 16
    places = sorted((buffer.offset_bytes, buffer.size_bytes) for buffer in plan.buffers if not buffer.is_whole)
    assert places[0][0] + places[0][1] == places[1][0]
    assert places[1][0] + places[1][1] == plan.arena_bytes
    assert [call.layer for call in plan.calls[:3]] == [0, 0, 1]


def test_what_is_begun_is_kept_apart(tmp_path: Path) -> None:
    """Kernels of a cascade that keep something share no scratch memory; others may use the window of one of them."""
    made = deep(tmp_path / "b")
    plan = make_plan(made.codec, Target(simd=True))
    assert plan.cascade is not None
    spans = {
        step.scratch_offset_bytes: (step, step.scratch_offset_bytes + step.packed.scratch_bytes)
        for step in plan.steps
        if step.packed.keeps_scratch
    }
    assert len(spans) == sum(step.packed.keeps_scratch for step in plan.steps) > 1
    ends = [0]
    for offset in sorted(spans):
        assert offset >= ends[-1]
        ends.append(spans[offset][1])
    assert ends[-1] <= plan.scratch_bytes
    for step in plan.steps:
        if not step.packed.keeps_scratch:
            first = spans[min(spans)][0]
            kept = first.scratch_offset_bytes + first.packed.window_bytes
            assert step.scratch_offset_bytes + step.packed.scratch_bytes <= kept


def test_no_cascade_for_what_is_small_already(bundle: Bundle) -> None:
    for optimize in Optimize:
        assert make_plan(bundle.codec, Target(optimize)).cascade is None


@pytest.mark.parametrize("core", [None, "cortex-m0", "cortex-m4", "cortex-m55"])
@pytest.mark.parametrize("optimize", Optimize)
def test_no_kernel_packs_a_layer_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, core: str | None, optimize: Optimize
) -> None:
    """Choosing, table sizes, scratch memory, cascade, arena and rendering share what was packed."""
    made = deep(tmp_path / "b")
    packed: list[tuple[str, str]] = []
    original = Kernel.pack

    def pack(kernel: Kernel, layer: Layer) -> PackedLayer:
        packed.append((str(kernel), layer.name))
        return original(kernel, layer)

    monkeypatch.setattr(Kernel, "pack", pack)
    plan = make_plan(made.codec, Target.of_core(core, optimize))
    assert (plan.cascade is not None) == (core != "cortex-m55")
    assert {(str(step.kernel), step.layer.name) for step in plan.steps} <= set(packed)
    assert len(packed) == len(set(packed))
    count = len(packed)
    render_codec(made, plan)
    assert sum(step.table_bytes for step in plan.steps) > 0
    assert len(packed) == count


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_kernel_is_what_its_header_declares(kernel: Kernel) -> None:
    """Function, structure, members and working memory, as a layer that all kernels of its op take is packed."""
    specs = [LayerSpec(CONV, 8, 7, 2), LayerSpec("DEPTHWISE_CONV_2D", 0, 7, 2), LayerSpec(CONV, 4, 1)]
    layers = read_graph(build_encoder(specs, 40, seed=1, numerics=kernel.numerics)).layers
    packed = next(kernel.pack(layer) for layer in layers if kernel.refusal(layer) is None)
    header = (firmware_dir() / "codec" / kernel.header).read_text(encoding="utf-8")
    code = re.sub(r"/\*.*?\*/", "", header, flags=re.DOTALL)
    [arguments] = re.findall(rf"^void {kernel}\(([^)]*)\);", code, re.MULTILINE)
    assert f"const {kernel.struct} *layer" in arguments
    assert ("int32_t *scratch" in arguments) or not packed.scratch_bytes
    assert f"edc_layer_function {kernel}_run;" in code
    declaration = code.partition(f"}} {kernel.struct};")[0].rpartition("typedef struct {")[2]
    members = {name: ctype for ctype, name in re.findall(r"(\w+)\s+\*?(\w+);", declaration)}
    # Those of stripes alone are 0 in the constants, a depthwise layer has one part, and one of two biases is there.
    assert set(packed.fields) <= set(members) <= {*packed.fields, "resumes", "pauses", "parts", "wide_bias"}
    source = (firmware_dir() / "codec" / kernel.header.replace(".h", ".c")).read_text(encoding="utf-8")
    # Kernels of one structure share the function that sets them.
    start = " stripe_of(const void" if " stripe_of(const void" in source else f"void {kernel}_stripe("
    run = source.partition(start)[2].partition("\n}\n")[0]
    striped = set(re.findall(r"layer\.(\w+) = chunk->\1;", run))
    assert striped == set(members) & {"in_width", "out_width", "pad_left", "resumes", "pauses"}
    for table in packed.tables:
        assert members[table.name] == table.ctype


def test_plain_kernels_are_the_last_of_their_op(bundle: Bundle) -> None:
    for layer in bundle.codec.graph.layers:
        assert plain_kernel(layer) in (PLAIN_CONV, PLAIN_DEPTHWISE)
        assert plain_kernel(layer).refusal(layer) is None
    assert KERNELS[-2:] == (PLAIN_CONV, PLAIN_DEPTHWISE)


def test_a_stripe_ends_with_a_power_of_two_positions(bundle: Bundle) -> None:
    """``edc_chain_layer`` has a mask of the granularity, and no more latency than that."""
    for kernel in KERNELS:
        for layer in bundle.codec.graph.layers:
            if layer.op in kernel.ops and kernel.refusal(layer) is None:
                cadence = kernel.pack(layer).cadence
                assert cadence.granularity in (1, 2, 4)
                assert 0 <= cadence.latency < cadence.granularity


def test_a_refused_layer_is_not_packed(bundle: Bundle) -> None:
    depthwise = next(layer for layer in bundle.codec.graph.layers if layer.op is Op.DEPTHWISE)
    with pytest.raises(PlanError, match="edc_conv cannot run it: it runs CONV_2D alone"):
        PLAIN_CONV.pack(depthwise)


def test_least_flash_takes_no_scratch(bundle: Bundle) -> None:
    plan = make_plan(bundle.codec, Target(Optimize.FLASH))
    assert {step.kernel for step in plan.steps} == {PLAIN_CONV, PLAIN_DEPTHWISE}
    assert plan.scratch_bytes == 0
    assert plan.codebooks == (None, None)
    # The second layer alone runs in stripes: 53,760 multiply-accumulates are too many for one call.
    assert [list(each.layers) for each in plan.cascades] == [[1]]
    assert plan.state_bytes == 288 + 2 * 6 + 4


@pytest.mark.parametrize("width", [1, 7, 63])
def test_odd_sizes_stay_aligned(tmp_path: Path, width: int) -> None:
    made = bundle_of(tmp_path / "b", build_encoder([LayerSpec(CONV, 3, 3), LayerSpec(CONV, 5, 1)], width), sizes=(3,))
    plan = make_plan(made.codec)
    assert plan.state_bytes % 4 == 0
    assert all(buffer.offset_bytes % 4 == 0 for buffer in plan.buffers)


def layer_of(shift: int, bias: int, zero_point: int = -128) -> Layer:
    """One tap of weight 2 into one channel."""
    layer = read_graph(build_encoder([LayerSpec(CONV, 1, 1)], 4)).layers[0]
    return replace(
        layer,
        input=replace(layer.input, zero_point=zero_point),
        weights=np.full((1, 1, 1), 2, np.int8),
        bias=np.array([bias], np.int32),
        shift=np.array([shift], np.int32),
    )


def test_fold_bias_by_hand() -> None:
    layer = layer_of(shift=0, bias=1000, zero_point=-5)
    assert layer.folded_bias.tolist() == [1000 + 5 * 2]
    assert layer.accumulator_bound == 1010 + 128 * 2


def test_fold_bias_of_a_depthwise_layer_sums_taps() -> None:
    layer = read_graph(build_encoder([LayerSpec(CONV, 3, 1), LayerSpec("DEPTHWISE_CONV_2D", 0, 5)], 9)).layers[1]
    assert layer.op is Op.DEPTHWISE
    expected = layer.bias - layer.input.zero_point * layer.weights.astype(np.int32).sum(axis=0)
    np.testing.assert_array_equal(layer.folded_bias, expected)


def test_overflow_is_refused_exactly_at_the_limit() -> None:
    # bias' = bias + 256 and the products add up to 256: the sum reaches 2^31 - 1 and no further.
    largest = 2**31 - 1 - 512
    assert layer_of(shift=0, bias=largest).accumulator_bound == 2**31 - 1
    with pytest.raises(PlanError, match="may reach 2147483648"):
        layer_of(shift=0, bias=largest + 1)
    with pytest.raises(PlanError, match="channel 0"):
        layer_of(shift=1, bias=2**30)
    assert layer_of(shift=1, bias=2**30 - 1 - 512).accumulator_bound == 2**30 - 1


def test_narrow_rounding_is_for_sums_below_2_to_30() -> None:
    for least in (0, 1):
        layer = layer_of(shift=-1, bias=2**30 - 1 - 512 + least)
        whole = replace(layer, activation_min=-128, activation_max=127)
        assert whole.accumulator_bound == 2**30 - 1 + least
        assert whole.is_narrow == (least == 0)


def test_huge_left_shift_is_refused_even_for_zeros() -> None:
    with pytest.raises(PlanError):
        replace(layer_of(shift=31, bias=0), weights=np.zeros((1, 1, 1), np.int8))


def test_overflowing_model_is_refused() -> None:
    with pytest.raises(PlanError, match="CONV_2D 'encoder/conv_0'"):
        read_graph(overflowing_encoder())


@pytest.mark.parametrize(
    ("core", "mcpu", "long_multiply", "simd", "vectors"),
    [
        ("cortex-m0", "", False, False, False),
        ("cortex-m23", "", False, False, False),
        ("cortex-m3", "", True, False, False),
        ("cortex-m4", "", True, True, False),
        ("cortex-m33", "cortex-m33", True, True, False),
        ("cortex-m33", "cortex-m33+nodsp", True, False, False),
        ("cortex-m55", "cortex-m55", True, True, True),
        ("cortex-m55", "cortex-m55+nomve", True, True, False),
    ],
)
def test_what_the_cores_can_do(core: str, mcpu: str, long_multiply: bool, simd: bool, vectors: bool) -> None:
    target = Target.of_core(core, "flash", mcpu)
    assert target == Target(Optimize.FLASH, long_multiply=long_multiply, simd=simd, vectors=vectors)
