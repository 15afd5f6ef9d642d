import numpy as np
import pytest

from edgecodec.codec.numerics import INT16X8
from edgecodec.codec.reference import run_layers
from edgecodec.codec.tflite_reader import read_graph
from edgecodec.errors import QuantizationError
from edgecodec.host.oracles import tflite_reference_encoder, tflm_encoder
from edgecodec.quantization.measure import saturation
from edgecodec.quantization.ranges import fit_quantization, tensors, with_quantization
from tests.tflite_builder import CONV, LayerSpec, build_encoder, small_encoder
from tests.tools import require


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero_point"),
    [(0.0, 2.55, 0.01, -128), (-1.28, 1.27, 0.01, 0), (-2.55, 0.0, 0.01, 127), (1.0, 5.1, 0.02, -128)],
)
def test_fit_by_hand(low, high, scale, zero_point):
    found = fit_quantization(low, high)
    assert found == (float(np.float32(scale)), zero_point)


@pytest.mark.parametrize("bounds", [(0.0, 0.0), (0.0, np.inf), (np.nan, 1.0)])
def test_fit_of_no_range(bounds):
    with pytest.raises(QuantizationError, match="no int8 scale"):
        fit_quantization(*bounds)


def test_nothing_changed_is_the_same_file():
    assert with_quantization(small_encoder(), {}) == small_encoder()


def test_latent_alone_changes_nothing_else():
    data = small_encoder()
    before, after = read_graph(data), read_graph(with_quantization(data, {5: (0.25, -7)}))
    assert (after.latent.scale, after.latent.zero_point) == (0.25, -7)
    assert tensors(after)[:-1] == tensors(before)[:-1]
    for old, new in zip(before.layers, after.layers, strict=True):
        assert np.array_equal(old.weights, new.weights)
        assert np.array_equal(old.bias, new.bias)


def test_biases_follow_their_input():
    data = small_encoder()
    before = read_graph(data)
    tensor = before.layers[0].output
    after = read_graph(with_quantization(data, {1: (tensor.scale / 2, tensor.zero_point)}))
    # Half the input scale: the same real bias is twice as many steps.
    assert np.array_equal(after.layers[1].bias, 2 * before.layers[1].bias)
    assert np.array_equal(after.layers[0].bias, before.layers[0].bias)


@pytest.mark.parametrize("seed", range(4))
def test_runtimes_agree_after_patching(seed):
    require("module:tflite_micro")
    rng = np.random.default_rng(seed)
    data = small_encoder(seed)
    before = read_graph(data)
    changes = {}
    for number, tensor in enumerate(tensors(before)):
        rectified = number > 0 and before.layers[number - 1].activation == "RELU"
        zero_point = -128 if rectified else int(rng.integers(-60, 60))
        changes[number] = (tensor.scale * float(rng.uniform(0.5, 1.5)), zero_point)
    patched = with_quantization(data, changes)
    graph = read_graph(patched)
    inputs = rng.integers(-128, 128, (40, graph.input.width)).astype(np.int8)
    expected = run_layers(graph, inputs)
    assert len(np.unique(expected)) > 20
    for oracle in (tflm_encoder, tflite_reference_encoder):
        assert np.array_equal(oracle(patched, graph).run(inputs), expected)


def test_patched_function_is_the_same_in_real_numbers():
    data = small_encoder()
    before = read_graph(data)
    wider = {number: (tensor.scale * 1.05, tensor.zero_point) for number, tensor in enumerate(tensors(before))}
    after = read_graph(with_quantization(data, wider))
    real = np.random.default_rng(0).normal(0, 40, (30, before.input.width)) * before.input.scale

    def latent(graph):
        levels = np.clip(np.rint(real / graph.input.scale) + graph.input.zero_point, -128, 127).astype(np.int8)
        return (run_layers(graph, levels).astype(float) - graph.latent.zero_point) * graph.latent.scale

    old, new = latent(before), latent(after)
    assert np.sqrt(np.mean((old - new) ** 2)) < 0.1 * old.std()


def test_saturation_by_hand():
    assert saturation(np.array([[-128, -127, 0, 127], [126, 127, 1, 2]], np.int8)) == 3 / 8
    assert saturation(np.empty((0, 4), np.int8)) == 0.0


def test_16_bit_ranges_have_no_zero_point() -> None:
    assert fit_quantization(-3.0, 2.0, INT16X8) == (float(np.float32(3 / 32767)), 0)
    assert fit_quantization(0.0, 2.0, INT16X8) == (float(np.float32(2 / 32767)), 0)


def test_16_bit_biases_follow_their_input() -> None:
    """Biases of more than int32 are rounded anew at the scale of the input."""
    data = build_encoder([LayerSpec(CONV, 4, 3), LayerSpec(CONV, 5, 3, bias_spread=1e5)], 40, numerics=INT16X8)
    before = read_graph(data)
    assert np.abs(before.layers[1].bias).max() > 1 << 31
    scale = before.layers[0].output.scale / 4
    after = read_graph(with_quantization(data, {1: (scale, 0)}))
    assert after.layers[0].output.scale == scale
    np.testing.assert_array_equal(after.layers[1].bias, 4 * before.layers[1].bias)
    with pytest.raises(QuantizationError, match="a bias leaves int48"):
        with_quantization(data, {1: (scale / 2**16, 0)})
