"""The C kernels, the numpy reference, TFLM and TFLite's reference kernels agree on every byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from edgecodec.codec.graph import Graph, Op
from edgecodec.codec.reference import ReferenceExecutor, run_every_layer
from edgecodec.compile.kernels.packed_taps import CONV_WINOGRAD
from edgecodec.host.oracles import TfliteReferenceExecutor, TflmExecutor, tflite_reference_encoder, tflm_encoder
from edgecodec.host.shim import HostShim
from edgecodec.verify.compare import NamedStages, Verdict, compare
from tests.bitexact import c_kernels
from tests.random_encoders import random_encoder
from tests.tflite_builder import bundle_of, per_tensor_encoder, ppg_frames, small_encoder
from tests.tools import require

ENCODERS = 240
GENERATED = 24
"""Encoders that also go through planning, templates and the whole generated codec."""
FRAMES = 6


def _inputs(graph: Graph, seed: int) -> npt.NDArray[np.int8]:
    """Noise around the zero point, all of int8, and the two extremes."""
    rng = np.random.default_rng([seed, 30])
    quantized = rng.integers(-128, 128, (FRAMES, graph.input.width)).astype(np.int8)
    quantized[1::2] = np.clip(rng.normal(graph.input.zero_point, 30, quantized[1::2].shape), -128, 127)
    quantized[0], quantized[1] = -128, 127
    return quantized


def _assert_every_executor_agrees(data: bytes, graph: Graph, seed: int) -> npt.NDArray[np.int8]:
    quantized = _inputs(graph, seed)
    reference = run_every_layer(graph, quantized)
    sources = [quantized[:, :, None], *reference]
    for layer, source, expected in zip(graph.layers, sources, reference, strict=False):
        where = f"differs from the reference in {layer.op} {layer.name}"
        np.testing.assert_array_equal(c_kernels.run_plain(layer, source), expected, f"plain kernel {where}")
        if c_kernels.packed_taps(layer).refusal(layer) is None:
            np.testing.assert_array_equal(
                c_kernels.run_packed_taps(layer, source), expected, f"kernel of packed taps {where}"
            )
        if CONV_WINOGRAD.refusal(layer) is None:
            found = c_kernels.run_packed_taps(layer, source, winograd=True)
            np.testing.assert_array_equal(found, expected, f"Winograd's kernel {where}")
    np.testing.assert_array_equal(tflm_encoder(data, graph).run(quantized), reference[-1], "TFLM and reference differ")
    np.testing.assert_array_equal(
        tflite_reference_encoder(data, graph).run(quantized), reference[-1], "TFLite BUILTIN_REF and reference differ"
    )
    return reference[-1]


@pytest.mark.parametrize("seed", range(ENCODERS))
def test_random_encoder(seed: int) -> None:
    require("cc", "Python.h", "module:tflite_micro")
    encoder = random_encoder(seed)
    _assert_every_executor_agrees(encoder.data, encoder.graph, seed)


@pytest.mark.parametrize("data", [small_encoder(), per_tensor_encoder()], ids=["family", "per-tensor weights"])
def test_family_encoder(data: bytes) -> None:
    from edgecodec.codec.tflite_reader import read_graph

    require("cc", "Python.h", "module:tflite_micro")
    _assert_every_executor_agrees(data, read_graph(data), 0)


def test_the_sweep_covers_what_it_claims() -> None:
    """Agreement on constant outputs or on easy shapes would prove little."""
    graphs = [random_encoder(seed).graph for seed in range(ENCODERS)]
    layers = [layer for graph in graphs for layer in graph.layers]
    assert {layer.kernel for layer in layers} >= set(range(1, 10))
    assert {layer.stride for layer in layers} == {1, 2, 3}
    assert {layer.output.channels for layer in layers} >= {*range(1, 18), 32, 40, 48}
    assert {layer.depth_multiplier for layer in layers} >= {0, 1, 2, 3, 4}
    assert {layer.activation for layer in layers} == {"NONE", "RELU", "RELU6"}
    shapes = {(layer.padding, layer.stride, layer.input.width % 2) for layer in layers}
    assert shapes == {(padding, stride, odd) for padding in ("SAME", "VALID") for stride in (1, 2, 3) for odd in (0, 1)}
    assert {layer.input.zero_point for layer in layers} >= {-128, 127}
    assert sum(bool(np.all(layer.multiplier == 1 << 30)) for layer in layers) > 20
    shifts = np.concatenate([layer.shift for layer in layers])
    assert shifts.max() >= 4
    assert shifts.min() <= -20
    assert any(layer.kernel > layer.input.width for layer in layers)
    packable = [layer for layer in layers if c_kernels.packed_taps(layer).refusal(layer) is None]
    assert {layer.op for layer in packable} == set(Op)
    assert {layer.kernel for layer in packable} >= set(range(1, 10))
    assert {layer.stride for layer in packable} == {1, 2, 3}
    outputs = [run_every_layer(graph, _inputs(graph, seed))[-1] for seed, graph in enumerate(graphs)]
    varied = sum(len(np.unique(output)) > 16 for output in outputs)
    assert varied > ENCODERS / 2
    values = np.concatenate([output.reshape(-1) for output in outputs])
    assert np.mean(np.abs(values.astype(int)) < 127) > 0.4


@pytest.mark.parametrize("seed", range(GENERATED))
def test_generated_codec(seed: int, tmp_path: Path) -> None:
    """From ADC counts to indices through the generated C, as firmware runs it."""
    require("cc", "Python.h", "module:tflite_micro")
    encoder = random_encoder(seed)
    rng = np.random.default_rng(seed)
    sizes = [int(size) for size in rng.integers(1, 60, rng.integers(1, 5))]
    bundle = bundle_of(tmp_path / "bundle", encoder.data, sizes, seed)
    frames = ppg_frames(12, encoder.width, seed)
    frames[0] = rng.integers(-32768, 32768, encoder.width)
    frames[1] = 2048
    reference = NamedStages("reference", ReferenceExecutor(bundle.codec).stages(frames))
    for executor in (HostShim(bundle), TflmExecutor(bundle), TfliteReferenceExecutor(bundle)):
        comparison = compare(reference, NamedStages(executor.name, executor.stages(frames)), bundle.codec.rvq)
        assert comparison.first_divergence is None, comparison.first_divergence.describe()
        assert comparison.verdict is Verdict.EQUAL
        assert comparison.indices_compared == 12 * bundle.codec.positions * bundle.codec.levels
    np.testing.assert_array_equal(HostShim(bundle).encode(frames), reference.stages.indices)
