import numpy as np
import pytest

from edgecodec.errors import InputError
from edgecodec.evaluation.baselines import DctBaseline, code_lengths
from edgecodec.signal.normalize import normalize
from edgecodec.signal.quality import prdn
from tests.tflite_builder import ppg_frames
from tests.tools import require


@pytest.fixture(scope="module")
def baseline():
    require("module:scipy")
    return DctBaseline(ppg_frames(200, 64, 1), ppg_frames(50, 64, 2))


def dct_matrix(samples):
    """Orthonormal DCT-II from its definition."""
    k, n = np.mgrid[:samples, :samples]
    matrix = np.sqrt(2 / samples) * np.cos(np.pi * (n + 0.5) * k / samples)
    matrix[0] /= np.sqrt(2)
    return matrix


@pytest.mark.parametrize("step", [0.05, 0.4, 2.0])
def test_as_the_definition_and_parseval(baseline, step):
    # By matrix, decoded to samples, and measured there.
    matrix = dct_matrix(64)
    train, test = (normalize(ppg_frames(*args)) @ matrix.T for args in ((200, 64, 1), (50, 64, 2)))
    assert np.allclose(test[:, 0], 0)
    quantized = np.rint(test / step)
    point = baseline.measure(step)
    assert point.step == step
    assert point.prdn == pytest.approx(prdn(test @ matrix, (quantized * step) @ matrix).mean(), rel=1e-9)
    bits = [
        code_lengths(np.rint(train[:, k] / step).astype(int), quantized[:, k].astype(int)).sum() for k in range(1, 64)
    ]
    assert point.bits_per_frame == pytest.approx(sum(bits) / 50, rel=1e-9)


def test_fine_steps_make_uniform_errors(baseline):
    # Errors uniform within the step, 63 of 64 coefficients coded: 100 step / sqrt(12) sqrt(63 / 64).
    assert baseline.measure(0.01).prdn == pytest.approx(100 * 0.01 / np.sqrt(12) * np.sqrt(63 / 64), rel=0.01)


def test_code_lengths_by_hand():
    # Values 0, 0, 0, 1: mean absolute value (1 + 1) / (4 + 1) = 0.4, t = (sqrt(1.16) - 1) / 0.4 = 0.192582.
    t = (1.16**0.5 - 1) / 0.4
    assert 2 * t / (1 - t * t) == pytest.approx(0.4)
    zero, one = (1 - t) / (1 + t), (1 - t) / (1 + t) * t
    # Elias gamma of |q| + 1 and a sign: 0 in 1 bit, +-1 in 3 + 1, +-6 (gamma of 7) in 5 + 1.
    expected = [
        (3 + 16 * (15 / 16 * zero + 1 / 16 / 2)) / 20,
        (1 + 16 * (15 / 16 * one + 1 / 16 / 16)) / 20,
        (0 + 16 * (15 / 16 * one + 1 / 16 / 16)) / 20,
        16 * (15 / 16 * zero * t**6 + 1 / 16 / 64) / 20,
    ]
    bits = code_lengths(np.array([0, 0, 0, 1]), np.array([0, 1, -1, 6]))
    assert 2.0**-bits == pytest.approx(np.array(expected))


@pytest.mark.parametrize("train", [[0, 0, 0], [3, 3, -1, 12], [-40, -41]])
def test_probabilities_add_up_to_one(train):
    # Elias gamma leaves 2^-17 of its sixteenth beyond |q| + 1 = 2^17.
    every = np.arange(-(2**17) + 2, 2**17 - 1)
    assert np.sum(2.0 ** -code_lengths(np.array(train), every)) == pytest.approx(1.0, abs=1e-4)


def test_outliers_cost_the_logarithm_of_their_size():
    bits = code_lengths(np.zeros(1000, int), np.array([0, 10**3, 10**6]))
    assert bits[0] < 0.01
    assert np.all(bits[1:] < 60)


def test_entropy_is_reached_with_enough_frames():
    rng = np.random.default_rng(0)
    train, test = np.rint(rng.normal(0, 2, (2, 20000))).astype(int)
    shares = np.unique(test, return_counts=True)[1] / len(test)
    entropy = -np.sum(shares * np.log2(shares))
    assert entropy <= code_lengths(train, test).mean() < entropy + 0.01


def test_equal_prdn_and_equal_bits(baseline):
    point = baseline.at_prdn(5.0)
    assert point.prdn == pytest.approx(5.0, rel=1e-3)
    same = baseline.at_bits(point.bits_per_frame)
    assert same.bits_per_frame == pytest.approx(point.bits_per_frame, rel=1e-2)
    assert same.prdn == pytest.approx(5.0, rel=0.03)


def test_curve_trades_bits_for_distortion(baseline):
    curve = baseline.curve([0.05, 0.1, 0.2, 0.4, 0.8])
    assert [point.step for point in curve] == [0.05, 0.1, 0.2, 0.4, 0.8]
    assert all(np.diff([point.prdn for point in curve]) > 0)
    assert all(np.diff([point.bits_per_frame for point in curve]) < 0)


def test_out_of_reach(baseline):
    assert baseline.at_prdn(0.0) is None
    assert baseline.at_prdn(150.0) is None
    assert baseline.at_bits(1e6) is None
    assert baseline.at_bits(0.0) is None


@pytest.mark.parametrize("step", [0.0, -1.0, np.nan, np.inf])
def test_bad_step(baseline, step):
    with pytest.raises(InputError, match="step is"):
        baseline.measure(step)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (np.zeros(64), ppg_frames(2, 64), r"training frames have shape \(64,\)"),
        (ppg_frames(2, 64), np.zeros((0, 64)), r"test frames have shape \(0, 64\)"),
        (ppg_frames(2, 64), ppg_frames(2, 32), "64 samples; test frames have 32"),
        (ppg_frames(2, 64), np.ones((2, 64)), "test frames hold a constant frame"),
    ],
)
def test_bad_frames(train, test, message):
    require("module:scipy")
    with pytest.raises(InputError, match=message):
        DctBaseline(train, test)
