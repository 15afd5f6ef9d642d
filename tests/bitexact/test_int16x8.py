"""16-bit activations, 8-bit weights (SPEC.md 1.4): the reference, TFLM, TFLite's reference kernels and the C agree."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from ai_edge_litert import schema_py_generated as schema

from edgecodec.boards.load import load_board
from edgecodec.codec.graph import Graph, Op
from edgecodec.codec.normalizer import Normalizer
from edgecodec.codec.numerics import INT16X8
from edgecodec.codec.reference import ReferenceExecutor, normalize, quantize_latent, run_every_layer, run_layers
from edgecodec.codec.rvq import IntegerRvq
from edgecodec.codec.tflite_reader import read_graph
from edgecodec.compile.blob import blob_files, target_kernels
from edgecodec.compile.cascade import make_cascade
from edgecodec.compile.codebook_search import sort_codebook
from edgecodec.compile.kernels import choose_kernel, plain_kernel
from edgecodec.compile.library import write_package
from edgecodec.compile.plan import make_plan
from edgecodec.compile.target import DEFAULT_TARGET
from edgecodec.engines.cmsis_nn.engine import CmsisNnEngine
from edgecodec.engines.tflm.codec_files import tflm_codec_files
from edgecodec.errors import PlanError, QuantizationError, UnsupportedOpError
from edgecodec.firmware.project import make_project
from edgecodec.host.oracles import TfliteReferenceExecutor, TflmExecutor, tflite_reference_encoder, tflm_encoder
from edgecodec.host.shim import HostShim
from edgecodec.quantization.sources import TfliteEncoder
from edgecodec.signal.normalize import NONE, ZSCORE, Fixed, MinMax, Normalization, ZScore
from edgecodec.verify.compare import NamedStages, Verdict, compare
from edgecodec.verify.run import verify_host
from tests.bitexact import c_kernels
from tests.bitexact.test_normalizer_stage import frames_of
from tests.packets import bundle_with_packets, kinds_of_frames
from tests.random_encoders import random_encoder
from tests.tflite_builder import (
    CONV,
    DEPTHWISE,
    FAMILY,
    LayerSpec,
    build_encoder,
    bundle_of,
    encoder_model,
    ppg_frames,
    serialize,
    small_encoder,
)
from tests.tools import require

ENCODERS = 90
FRAMES = 6


def inputs_of(graph: Graph, seed: int) -> npt.NDArray[np.int16]:
    """Noise, all of int16, and the two extremes."""
    rng = np.random.default_rng([seed, 30])
    quantized = rng.integers(-32768, 32768, (FRAMES, graph.input.width)).astype(np.int16)
    quantized[1::2] = np.clip(rng.normal(0, 8000, quantized[1::2].shape), -32768, 32767)
    quantized[0], quantized[1] = -32768, 32767
    return quantized


def _assert_oracles_agree(data: bytes, seed: int = 0) -> Graph:
    graph = read_graph(data)
    assert graph.input.numerics == graph.latent.numerics == INT16X8
    quantized = inputs_of(graph, seed)
    expected = run_layers(graph, quantized)
    np.testing.assert_array_equal(tflm_encoder(data, graph).run(quantized), expected, "TFLM and reference differ")
    if all(layer.bias.any() for layer in graph.layers):  # TFLite runs no layer without bias
        found = tflite_reference_encoder(data, graph).run(quantized)
        np.testing.assert_array_equal(found, expected, "TFLite BUILTIN_REF and reference differ")
    return graph


@pytest.mark.parametrize("seed", range(ENCODERS))
def test_random_encoder(seed: int) -> None:
    require("module:tflite_micro")
    _assert_oracles_agree(random_encoder(seed, INT16X8).data, seed)


@pytest.mark.parametrize("op", [CONV, DEPTHWISE])
def test_without_bias(op: str) -> None:
    require("module:tflite_micro")
    graph = _assert_oracles_agree(build_encoder([LayerSpec(op, 5, 7, 2, bias=False)], 65, numerics=INT16X8))
    assert not graph.layers[0].bias.any()


@pytest.mark.parametrize("pad_op", ["PAD", "PADV2"])
def test_folded_padding(pad_op: str) -> None:
    require("module:tflite_micro")
    layer = LayerSpec(CONV, 5, 7, 2, padding="VALID", pad=(4, 1), pad_op=pad_op)
    assert _assert_oracles_agree(build_encoder([layer], 65, numerics=INT16X8)).layers[0].pad_left == 4


def test_multipliers_at_the_end_of_the_range() -> None:
    """From 0x7FFF0000 on the 16-bit multiplier is no rounding of the other."""
    require("module:tflite_micro")
    multipliers = set()
    for steps in (0, 0x7FFF, 0x8000, 0x10000, 0x18000):
        ratio = (2.0**31 - steps) / 2.0**31 / 1024
        layer = LayerSpec(CONV, 3, 3, scale_ratio=ratio, scale_spread=0.0)
        graph = _assert_oracles_agree(build_encoder([layer], 64, numerics=INT16X8, input_scale=0.5))
        multipliers |= set(graph.layers[0].reduced_multiplier.tolist())
    assert multipliers >= {0x4000, 0x7FFF}


def test_the_sweep_covers_what_it_claims() -> None:
    graphs = [random_encoder(seed, INT16X8).graph for seed in range(ENCODERS)]
    layers = [layer for graph in graphs for layer in graph.layers]
    assert {layer.op for layer in layers} == set(Op)
    assert {layer.kernel for layer in layers} >= set(range(1, 10))
    assert {layer.stride for layer in layers} == {1, 2, 3}
    assert {layer.activation for layer in layers} == {"NONE", "RELU", "RELU6"}
    assert {layer.output.channels % 2 for layer in layers} == {0, 1}
    shapes = {(layer.padding, layer.stride, layer.input.width % 2) for layer in layers}
    assert shapes == {(padding, stride, odd) for padding in ("SAME", "VALID") for stride in (1, 2, 3) for odd in (0, 1)}
    assert sum(layer.accumulator_bound < 1 << 31 for layer in layers) > 50
    assert sum(layer.accumulator_bound >= 1 << 31 for layer in layers) > 20
    shifts = np.concatenate([layer.shift for layer in layers])
    assert shifts.max() >= 4
    assert shifts.min() <= -20
    outputs = [run_layers(graph, inputs_of(graph, seed)) for seed, graph in enumerate(graphs)]
    assert sum(len(np.unique(output)) > 100 for output in outputs) > ENCODERS / 3


def _family(change: Any) -> bytes:
    model = encoder_model(FAMILY, 64, numerics=INT16X8)
    change(model.subgraphs[0], model)
    return serialize(model)


def _mixed(graph: Any, model: Any) -> None:
    graph.tensors[graph.operators[0].outputs[0]].type = schema.TensorType.INT8


def _zero_point(graph: Any, model: Any) -> None:
    graph.tensors[graph.inputs[0]].quantization.zeroPoint = np.array([1], np.int64)


def _narrow_bias(graph: Any, model: Any) -> None:
    bias = graph.tensors[graph.operators[0].inputs[2]]
    bias.type = schema.TensorType.INT32
    model.buffers[bias.buffer].data = np.asarray(model.buffers[bias.buffer].data, np.int32)


def _bias_of(value: int) -> Any:
    def change(graph: Any, model: Any) -> None:
        bias = graph.tensors[graph.operators[0].inputs[2]]
        model.buffers[bias.buffer].data = np.full(bias.shape[0], value, np.int64)

    return change


def _scaled_up(graph: Any, model: Any) -> None:
    graph.tensors[graph.operators[0].outputs[0]].quantization.scale = np.array([1e-9], np.float32)


def _beyond_int32(graph: Any, model: Any) -> None:
    _bias_of(1 << 44)(graph, model)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (_mixed, UnsupportedOpError, "tensor 'encoder/conv_0' is INT8; expected INT16; .*16-bit activations"),
        (_zero_point, UnsupportedOpError, "zero point 1; expected INT16's, without a zero point"),
        (_narrow_bias, UnsupportedOpError, "bias 'encoder/conv_0/bias' is INT32; expected INT64"),
        (_bias_of(1 << 47), PlanError, "channel 0 may reach 140737488355328; int48 holds 140737488355327"),
        (_bias_of(-(1 << 63)), PlanError, "channel 0 may reach 9223372036854775808; int48"),
        (_beyond_int32, PlanError, "channel 0 rescaled may reach [0-9]+; int32 holds 2147483647"),
        (_scaled_up, PlanError, "is scaled up by 2\\^[0-9]+; with 16-bit activations at most by 2\\^7"),
    ],
)
def test_refused_by_name(change: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        read_graph(_family(change))


NORMALIZATIONS: tuple[tuple[Normalization, float], ...] = (
    (ZSCORE, 4 / 32767),
    (ZSCORE, 12 / 32767),
    (ZSCORE, 2.0**-16),
    (ZScore(1.0), 4 / 32767),
    (MinMax(), 1 / 32767),
    (MinMax(-1, 1), 1 / 32767),
    (MinMax(-3.5, 12.25), 12.25 / 32767),
    (Fixed(2048, 512), 4 / 32767),
    (Fixed(-1000.5, 30.25), 40 / 32767),
    (NONE, 1.0),
    (NONE, 4095 / 32767),
)


@pytest.mark.parametrize("samples", [1, 2, 3, 7, 64, 101, 320, 1000, 4096, 16384])
@pytest.mark.parametrize(("normalization", "scale"), NORMALIZATIONS)
def test_normalizer_is_near_the_float_formula(normalization: Normalization, scale: float, samples: int) -> None:
    normalizer = Normalizer.of(normalization, samples, float(np.float32(scale)), 0, INT16X8)
    frames = frames_of(samples)
    quantized, _, _ = normalize(normalizer, frames)
    assert quantized.dtype == np.int16
    real = normalization.normalize(frames)
    expected = np.clip(np.floor(real / normalizer.scale + 0.5), -32768, 32767)
    difference = np.abs(quantized - expected)
    assert difference.max() <= 1
    assert np.mean(difference == 0) >= 0.999


def test_residuals_by_hand() -> None:
    rvq = IntegerRvq((np.array([[1, -1]], np.int16),), -3, 0.5, 0, INT16X8)
    latent = np.array([[32767, -32768], [3, 4], [-4, -5]], np.int16)
    assert rvq.residual(latent).tolist() == [[4096, -4096], [0, 1], [0, -1]]
    assert rvq.residual_bounds[0].tolist() == [4096, 4096]
    # A step of the codes is 0.5 2^3.
    assert rvq.dequantize(np.zeros((1, 1), np.uint16)).tolist() == [[4.0, -4.0]]


@pytest.mark.parametrize(("dimension", "bits"), [(2, -1), (4, -1), (7, -1), (8, -2), (16, -2), (32, -3)])
def test_residuals_stay_short_enough_for_the_pruned_search(dimension: int, bits: int) -> None:
    """Entries of 2^(15 + k): 8 of 2^14 would have a squared length of 2^31."""
    rng = np.random.default_rng(dimension)
    rvq = IntegerRvq.from_float([rng.normal(0, 500, (64, dimension))], 1.0, 0, INT16X8)
    assert rvq.fraction_bits == bits
    assert sort_codebook(rvq, 0) is not None


def test_codebooks_take_the_most_bits_that_are_proven() -> None:
    codes = [np.full((1, 16), 8000.0)]
    rvq = IntegerRvq.from_float(codes, 1.0, 0, INT16X8)
    # 16 (8000^2 + 2 8000 32768) 2^2k < 2^31 first holds for k = -2.
    assert rvq.fraction_bits == -2
    assert rvq.codebooks[0][0, 0] == 2000
    with pytest.raises(PlanError, match="distance of level 0"):
        IntegerRvq((np.full((1, 16), 4000, np.int16),), -1, 1.0, 0, INT16X8)
    with pytest.raises(PlanError, match=r"fraction bits are 1; expected -8\.\.0"):
        IntegerRvq((np.ones((1, 16), np.int16),), 1, 1.0, 0, INT16X8)


def test_bundle(tmp_path: Path) -> None:
    """A bundle says its numerics, and TFLM, TFLite and the reference agree from ADC counts to indices."""
    require("module:tflite_micro")
    bundle = bundle_of(tmp_path / "bundle", small_encoder(numerics=INT16X8))
    assert bundle.manifest.numerics == "edgecodec.int16x8.v1"
    assert bundle.codec.numerics == INT16X8
    frames = ppg_frames(12, 64, 1)
    reference = NamedStages("reference", ReferenceExecutor(bundle.codec).stages(frames))
    assert reference.stages["input"].dtype == reference.stages["latent"].dtype == np.int16
    for executor in (TflmExecutor(bundle), TfliteReferenceExecutor(bundle)):
        comparison = compare(reference, NamedStages(executor.name, executor.stages(frames)), bundle.codec.rvq)
        assert comparison.verdict is Verdict.EQUAL


def test_a_finished_file_stays_as_it_is() -> None:
    data = small_encoder(numerics=INT16X8)
    encoder = TfliteEncoder.of(data)
    for activations in (None, 16):
        assert encoder.to_integers(ppg_frames(4, 64, 0), ZSCORE, activations) == data
    with pytest.raises(QuantizationError, match=r"a finished file of edgecodec\.int16x8\.v1, not of 8-bit activations"):
        encoder.to_integers(ppg_frames(4, 64, 0), ZSCORE, 8)


@pytest.mark.parametrize("seed", range(ENCODERS))
def test_c_kernels(seed: int) -> None:
    """Each layer alone, over its own input as near as the plan puts it, whole and in stripes between guard bytes."""
    require("cc", "Python.h")
    graph = random_encoder(seed, INT16X8).graph
    quantized = inputs_of(graph, seed)
    sources = [quantized[:, :, None], *run_every_layer(graph, quantized)]
    packed = [choose_kernel(layer, DEFAULT_TARGET).packed for layer in graph.layers]
    for each, source, expected in zip(packed, sources, sources[1:], strict=False):
        np.testing.assert_array_equal(c_kernels.run(each.layer, each.kernel, source), expected)
    rng = np.random.default_rng([seed, 40])
    stripes = rng.integers(1, 12, len(packed)).tolist()
    cascade = make_cascade(packed, 0, len(packed) - 1, stripes)
    np.testing.assert_array_equal(c_kernels.run_cascade(packed, cascade, sources[0][2]), sources[-1][2])


def test_c_kernels_about_the_least_shift() -> None:
    """Of 17 on C rounds in another way than below."""
    require("cc", "Python.h")
    layer = read_graph(build_encoder([LayerSpec(CONV, 4, 3)], 33, seed=1, numerics=INT16X8)).layers[0]
    layer = replace(layer, shift=np.array([0, -1, -2, -3], np.int32))
    assert layer.total_shift.tolist() == [15, 16, 17, 18]
    source = np.random.default_rng(2).integers(-60, 61, (8, 33, 1)).astype(np.int16)
    expected = run_every_layer(Graph((layer,)), source.reshape(len(source), -1))[0]
    np.testing.assert_array_equal(c_kernels.run(layer, plain_kernel(layer), source), expected)


@pytest.mark.parametrize("op", [CONV, DEPTHWISE])
def test_memory_offset_is_enough_and_no_more(op: str) -> None:
    require("cc", "Python.h")
    specs = [LayerSpec(CONV, 6, 1), LayerSpec(op, 9, 5, 1, depth_multiplier=2)]
    layer = read_graph(build_encoder(specs, 40, seed=3, numerics=INT16X8)).layers[1]
    kernel = plain_kernel(layer)
    source = np.random.default_rng(4).integers(-32768, 32768, (8, 40, 6)).astype(np.int16)
    expected = run_every_layer(Graph((layer,)), source.reshape(len(source), -1))[0]
    offset = kernel.pack(layer).memory_offset_bytes
    assert 0 < offset < layer.output.size_bytes
    np.testing.assert_array_equal(c_kernels.run(layer, kernel, source, offset), expected)
    assert not np.array_equal(c_kernels.run(layer, kernel, source, offset - 4), expected)


def test_sums_are_as_narrow_as_is_proven() -> None:
    """Rows of int32 where the bound of the layer's own weights allows, else of int64."""
    narrow = read_graph(build_encoder([LayerSpec(CONV, 5, 7)], 64, numerics=INT16X8)).layers[0]
    wide = read_graph(build_encoder([LayerSpec(CONV, 5, 7, bias_spread=1e5)], 64, numerics=INT16X8)).layers[0]
    assert plain_kernel(narrow).pack(narrow).array("bias").dtype == np.int32
    assert plain_kernel(wide).pack(wide).array("wide_bias").dtype == np.int64


@pytest.mark.parametrize("samples", [1, 2, 3, 64, 320, 16384])
@pytest.mark.parametrize(("normalization", "scale"), NORMALIZATIONS)
def test_c_normalizers(normalization: Normalization, scale: float, samples: int) -> None:
    require("cc", "Python.h")
    normalizer = Normalizer.of(normalization, samples, float(np.float32(scale)), 0, INT16X8)
    frames = frames_of(samples)
    quantized, offset, spread = normalize(normalizer, frames)
    found, offsets, spreads = c_kernels.normalize(normalizer, frames)
    np.testing.assert_array_equal(found, quantized)
    assert offsets == offset.tolist()
    assert spreads == spread.tolist()


@pytest.mark.parametrize("bits", range(-8, 0))
def test_c_search(bits: int) -> None:
    """Ties, near ties and the ends of the range, with every shift."""
    require("cc", "Python.h")
    rng = np.random.default_rng(bits + 8)
    reach = 32768 >> -bits
    books = tuple(rng.integers(-reach, reach + 1, (size, 5)).clip(-3000, 3000).astype(np.int16) for size in (40, 17, 1))
    books[0][7] = books[0][3]
    rvq = IntegerRvq(books, bits, 0.01, 0, INT16X8)
    latent = rng.integers(-32768, 32768, (40, 3, 5)).astype(np.int16)
    latent[0], latent[1], latent[2] = 32767, -32768, 0
    latent[3] = (books[0][3].astype(np.int64) << -bits).clip(-32768, 32767)
    expected = quantize_latent(rvq, latent)
    for pruned in (False, True):
        for simd in (False, True):
            np.testing.assert_array_equal(c_kernels.quantize_latent(rvq, latent, pruned, simd), expected)
        np.testing.assert_array_equal(c_kernels.quantize_latent_mve(rvq, latent, pruned), expected)


@pytest.mark.parametrize("seed", range(12))
def test_pruned_search(seed: int) -> None:
    """Codes like the residuals, as of a trained codec, with biases and without, until the looks are used up."""
    require("cc", "Python.h")
    rng = np.random.default_rng([seed, 61])
    dimension, size, bits = [4, 8, 16][seed % 3], int(rng.integers(32, 300)), int(rng.integers(-4, -1))
    mixing = rng.normal(0, 1, (dimension, dimension)) * 2.0 ** (-np.arange(dimension) / 2)
    latent = np.round(rng.normal(0, 2500, (4, 30, dimension)) @ mixing).clip(-32768, 32767).astype(np.int16)
    latent[0, :3] = [[32767], [-32768], [0]]
    places = rng.integers(0, 120, size)
    first = latent.reshape(-1, dimension)[places].astype(int) >> -bits
    second = np.round(rng.normal(0, 300 * 2.0**bits, (size, dimension)) @ mixing)
    books = tuple(book.clip(-3000, 3000).astype(np.int16) for book in (first, second))
    biases = None
    if seed % 2:
        biases = tuple(rng.exponential(2e4 * 4.0**bits, size).astype(np.int32) for _ in books)
        biases = tuple(bias - bias.min() for bias in biases)
    rvq = IntegerRvq(books, bits, 0.01, 0, INT16X8, biases)
    assert sort_codebook(rvq, 1) is not None
    expected = quantize_latent(rvq, latent)
    for looks in (c_kernels.MANY_LOOKS, 40):
        for simd in (False, True):
            np.testing.assert_array_equal(c_kernels.quantize_latent(rvq, latent, True, simd, looks), expected)
        np.testing.assert_array_equal(c_kernels.quantize_latent_mve(rvq, latent, True, looks), expected)


@pytest.mark.parametrize("seed", range(10))
def test_generated_codec(seed: int, tmp_path: Path) -> None:
    """From ADC counts to indices, frame by frame and pushed into the encoder object."""
    require("cc", "Python.h")
    encoder = random_encoder(seed, INT16X8)
    normalization = (ZSCORE, MinMax(), NONE)[seed % 3]
    bundle = bundle_of(tmp_path / "bundle", encoder.data, (29, 13), seed, normalization=normalization)
    rng = np.random.default_rng(seed)
    frames = ppg_frames(12, encoder.width, seed)
    frames[0] = rng.integers(-32768, 32768, encoder.width)
    frames[1] = 2048
    expected = ReferenceExecutor(bundle.codec).stages(frames)
    shim = HostShim(bundle)
    found = shim.stages(frames)
    for name in expected.names:
        np.testing.assert_array_equal(found[name], expected[name], name)
    np.testing.assert_array_equal(shim.encode(frames), expected.indices)


def test_verify_host_with_packets(tmp_path: Path) -> None:
    """All executors, the encoder object and packets among them."""
    require("cc", "Python.h", "module:tflite_micro")
    bundle = bundle_of(tmp_path / "plain", small_encoder(numerics=INT16X8))
    packed = bundle_with_packets(bundle, tmp_path / "packed", "tables")
    result = verify_host(packed, kinds_of_frames(packed.codec.samples, 60))
    assert result.exit_code == 0
    compared = {(pair.a, pair.b, pair.stage) for pair in result.comparison.pairs if pair.compared}
    assert {("tflm", "host", "latent"), ("reference", "host", "input"), ("reference", "host", "packet")} <= compared
    assert ("reference", "host-encoder", "packet") in compared


def test_generated_blob(tmp_path: Path) -> None:
    """A model as a file asks for the kernels of its numerics alone."""
    require("gcc")
    bundle = bundle_of(tmp_path / "bundle", small_encoder(numerics=INT16X8))
    plan = make_plan(bundle.codec)
    files, blob = blob_files(bundle, plan, all_kernels=True, compiler=("gcc",))
    assert {"edc_conv16_bytes_run", "edc_rvq_quantize16", "edc_zscore16_normalize"} <= {*blob.kernels}
    assert {*blob.kernels} <= {*target_kernels(plan.target, INT16X8), "edc_next_chunk"}
    assert "edc_conv16.c" in files
    assert "edc_conv.c" not in files


def test_library_with_the_link(tmp_path: Path) -> None:
    """Its server knows how wide activations are."""
    bundle = bundle_of(tmp_path / "bundle", small_encoder(numerics=INT16X8))
    write_package(bundle, tmp_path / "package")
    served = (tmp_path / "package" / "codec" / "edc_served_model.h").read_text()
    assert "#define EDC_SERVED_ACTIVATION_BYTES 2 " in served


def test_tflm_runs_its_int16_kernels(tmp_path: Path) -> None:
    """Those for int16 alone, where a library has them; values are counted as bytes."""
    bundle = bundle_of(tmp_path / "bundle", small_encoder(numerics=INT16X8))
    source = tflm_codec_files(bundle, make_plan(bundle.codec), 1024)["tflm/edc_tflm.cc"]
    assert "tflite::Register_CONV_2D_INT16()" in source
    assert "tflite::Register_DEPTHWISE_CONV_2D_INT16()" in source
    assert "_INT8" not in source
    assert "uint32_t bytes = 2;" in source


def test_what_does_not_run_is_refused(tmp_path: Path) -> None:
    """In one line, before anything is written."""
    bundle = bundle_of(tmp_path / "bundle", small_encoder(numerics=INT16X8))
    message = "edgecodec.int8.v1 alone; the bundle's numerics are edgecodec.int16x8.v1"
    with pytest.raises(PlanError, match=f"the engine cmsis-nn runs {message}"):
        make_project(bundle, load_board("mps2-an386"), engine=CmsisNnEngine(vectors=False))
