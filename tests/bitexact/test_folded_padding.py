"""Padding ops and dilation, which become a layer's own: every kernel, the oracles that run the ops, and the whole C."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgecodec.codec.graph import Graph
from edgecodec.codec.numerics import INT8
from edgecodec.codec.reference import ReferenceExecutor, run_every_layer
from edgecodec.codec.tflite_reader import read_graph
from edgecodec.compile.kernels import KERNELS, plain_kernel
from edgecodec.compile.plan import make_plan
from edgecodec.compile.target import Optimize, Target
from edgecodec.engines.tflm.codec_files import tflm_codec_files
from edgecodec.host.batch import BatchEncoder
from edgecodec.host.oracles import tflite_reference_encoder, tflm_encoder
from edgecodec.host.shim import HostShim
from tests.bitexact import c_kernels, test_cascade
from tests.tflite_builder import CONV, DEPTHWISE, LayerSpec, build_encoder, bundle_of, ppg_frames
from tests.tools import require

SEEDS = range(40)


def padded_encoder(seed: int) -> bytes:
    """Two to four layers, most behind padding of their own, some dilated; channels that every kernel takes."""
    rng = np.random.default_rng([seed, 70])
    width = left = int(rng.integers(24, 90))
    vertical = bool(rng.random() < 0.3)
    layers: list[LayerSpec] = []
    for number in range(int(rng.integers(2, 5))):
        depthwise = number > 0 and rng.random() < 0.4
        taps, dilation, stride = (int(rng.integers(1, most)) for most in (8, 4, 4))
        reach = (taps - 1) * dilation + 1
        most = min(reach, left)
        pad = (int(rng.integers(0, most)), int(rng.integers(0, most))) if rng.random() < 0.7 else (0, 0)
        if rng.random() < 0.3:
            pad = (most - 1, 0)  # causal
        padded = left + sum(pad)
        padding = "VALID" if padded >= reach else "SAME"
        layers.append(
            LayerSpec(
                DEPTHWISE if depthwise else CONV,
                int(rng.choice([4, 8, 12, 16])),
                taps,
                stride if left > 8 else 1,
                padding,
                activation=str(rng.choice(["NONE", "RELU"])),
                zero_point=-128 if rng.random() < 0.3 else None,
                vertical=vertical,
                dilation=dilation,
                pad=pad,
                pad_op=str(rng.choice(["PAD", "PADV2"])),
            )
        )
        stride = layers[-1].stride
        left = -(-padded // stride) if padding == "SAME" else (padded - reach) // stride + 1
    return build_encoder(layers, width, seed=seed)


def _inputs(graph: Graph, seed: int) -> np.ndarray:
    quantized = np.random.default_rng([seed, 71]).integers(-128, 128, (5, graph.input.width)).astype(np.int8)
    quantized[0], quantized[1] = -128, 127
    return quantized


@pytest.mark.parametrize("seed", SEEDS)
def test_every_kernel_and_oracle(seed: int) -> None:
    require("cc", "Python.h", "module:tflite_micro")
    data = padded_encoder(seed)
    graph = read_graph(data)
    quantized = _inputs(graph, seed)
    outputs = run_every_layer(graph, quantized)
    for layer, source, expected in zip(graph.layers, [quantized[:, :, None], *outputs], outputs, strict=False):
        for kernel in (plain_kernel(layer), *KERNELS):
            if kernel.refusal(layer) is None:
                np.testing.assert_array_equal(c_kernels.run(layer, kernel, source), expected, f"{kernel} {layer.name}")
    for oracle in (tflm_encoder, tflite_reference_encoder):
        np.testing.assert_array_equal(oracle(data, graph).run(quantized), outputs[-1], oracle.__name__)


def test_the_sweep_covers_what_it_claims() -> None:
    layers = [layer for seed in SEEDS for layer in read_graph(padded_encoder(seed)).layers]
    padded = [layer for layer in layers if layer.padding == "PAD"]
    assert sum(layer.pad_left == layer.kernel - 1 > 0 for layer in padded) > 10
    right = [
        (layer.output.width - 1) * layer.stride - layer.pad_left + layer.kernel - layer.input.width for layer in padded
    ]
    assert sum(beyond > 0 for beyond in right) > 10
    assert {layer.stride for layer in padded} == {1, 2, 3}
    assert sum(bool(np.any(np.all(layer.weights == 0, axis=-1))) for layer in layers) > 20
    for kernel in KERNELS:
        if kernel.numerics != INT8:
            continue  # test_int16x8.py has a sweep of its own
        assert any(kernel.refusal(layer) is None for layer in layers), f"no layer for {kernel}"


@pytest.mark.parametrize("name", test_cascade.TARGETS)
@pytest.mark.parametrize("seed", SEEDS[:12])
def test_in_stripes(seed: int, name: str) -> None:
    require("cc", "Python.h")
    graph = read_graph(padded_encoder(seed))
    rng = np.random.default_rng([seed, 72])
    count = len(graph.layers)
    for stripes in ([1] * count, rng.integers(1, 12, count).tolist()):
        test_cascade.check(graph, test_cascade.TARGETS[name], 0, count - 1, stripes, seed)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("optimize", [Optimize.SPEED, Optimize.FLASH])
def test_whole_codec(seed: int, optimize: Optimize, tmp_path: Path) -> None:
    require("cc", "Python.h")
    bundle = bundle_of(tmp_path / "bundle", padded_encoder(seed), seed=seed)
    frames = ppg_frames(20, bundle.codec.samples, seed)
    expected = ReferenceExecutor(bundle.codec).stages(frames)
    shim = HostShim(bundle, make_plan(bundle.codec, Target(optimize)))
    np.testing.assert_array_equal(shim.stages(frames).indices, expected.indices)
    if optimize is Optimize.SPEED:
        np.testing.assert_array_equal(BatchEncoder(bundle.codec).stages(frames).indices, expected.indices)


def test_tflm_is_given_the_ops_that_are_folded_here(tmp_path: Path) -> None:
    """The model file keeps them, so the resolver of the TFLM engine needs them beside the convolutions."""
    specs = [LayerSpec(CONV, 4, 3, padding="VALID", pad=(2, 0)), LayerSpec(CONV, 4, 1)]
    bundle = bundle_of(tmp_path / "bundle", build_encoder(specs, 32))
    source = tflm_codec_files(bundle, make_plan(bundle.codec), 8192)
    (text,) = [text for name, text in source.items() if name.endswith("edc_tflm.cc")]
    assert "MicroMutableOpResolver<2>" in text
    assert "resolver.AddPad()" in text
    assert text.count("Watched<tflite::BuiltinOperator_") == 1


def test_causal_convolution_by_hand() -> None:
    """Two zeros before three taps: output 0 sees sample 0 alone, under the last tap."""
    graph = read_graph(build_encoder([LayerSpec(CONV, 1, 3, padding="VALID", pad=(2, 0))], 8, input_zero_point=5))
    (layer,) = graph.layers
    assert (layer.padding, layer.pad_left, layer.input.width, layer.output.width) == ("PAD", 2, 8, 8)
    assert graph.moves == ("PAD",)
    weights = layer.weights.ravel().astype(int)
    accumulator = layer.bias[0] + (100 - 5) * weights[2]
    real = accumulator * int(layer.multiplier[0]) * 2.0 ** (int(layer.shift[0]) - 31)
    frame = np.zeros((1, 8), np.int8)
    frame[0, 0] = 100
    found = run_every_layer(graph, frame)[0].ravel()
    assert found[0] == np.clip(round(real) + layer.output.zero_point, -128, 127)


def test_dilation_puts_zeros_between_taps() -> None:
    plain = read_graph(build_encoder([LayerSpec(CONV, 2, 3)], 16)).layers[0]
    spread = read_graph(build_encoder([LayerSpec(CONV, 2, 3, dilation=3)], 16)).layers[0]
    assert (spread.kernel, spread.pad_left, spread.output.width) == (7, 3, 16)
    np.testing.assert_array_equal(spread.weights[:, ::3], plain.weights)
    assert not spread.weights[:, [1, 2, 4, 5]].any()
