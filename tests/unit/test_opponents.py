import numpy as np
import pytest

from edgecodec.entropy.range_coder import RangeDecoder, RangeEncoder
from edgecodec.errors import InputError
from edgecodec.evaluation.opponents import OPPONENTS, QUICK, opponents_of
from edgecodec.evaluation.opponents.contexts import NEIGHBOURS, DctRdoq, KltRdoq
from edgecodec.evaluation.opponents.levels import bits_behind, first_magnitudes, symbols_of
from edgecodec.evaluation.opponents.network import DctNetwork
from edgecodec.evaluation.opponents.static_tables import StaticDct, code_lengths
from edgecodec.signal.normalize import normalize
from edgecodec.signal.quality import prdn
from tests.tflite_builder import ppg_frames
from tests.tools import require

TRAIN, TEST = ppg_frames(200, 64, 1), ppg_frames(50, 64, 2)


def fitted(opponent):
    require("module:scipy")
    opponent.fit(TRAIN)
    return opponent


@pytest.fixture(scope="module")
def baseline():
    return fitted(StaticDct())


def fit_and_measure(opponent, train, test):
    opponent.fit(train)
    return opponent.measure(test, 0.1)


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
    train, test = (normalize(frames) @ matrix.T for frames in (TRAIN, TEST))
    assert np.allclose(test[:, 0], 0)
    quantized = np.rint(test / step)
    point = baseline.measure(TEST, step)
    assert point.step == step
    assert point.prdn == pytest.approx(prdn(test @ matrix, (quantized * step) @ matrix).mean(), rel=1e-9)
    bits = [
        code_lengths(np.rint(train[:, k] / step).astype(int), quantized[:, k].astype(int)).sum() for k in range(1, 64)
    ]
    assert point.bits_per_frame == pytest.approx(sum(bits) / 50, rel=1e-9)


def test_fine_steps_make_uniform_errors(baseline):
    # Errors uniform within the step, 63 of 64 coefficients coded: 100 step / sqrt(12) sqrt(63 / 64).
    assert baseline.measure(TEST, 0.01).prdn == pytest.approx(100 * 0.01 / np.sqrt(12) * np.sqrt(63 / 64), rel=0.01)


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
    point = baseline.at_prdn(TEST, 5.0)
    assert point.prdn == pytest.approx(5.0, rel=1e-3)
    same = baseline.at_bits(TEST, point.bits_per_frame)
    assert same.bits_per_frame == pytest.approx(point.bits_per_frame, rel=1e-2)
    assert same.prdn == pytest.approx(5.0, rel=0.03)


def test_curve_trades_bits_for_distortion(baseline):
    curve = baseline.curve(TEST, [0.05, 0.1, 0.2, 0.4, 0.8])
    assert [point.step for point in curve] == [0.05, 0.1, 0.2, 0.4, 0.8]
    assert all(np.diff([point.prdn for point in curve]) > 0)
    assert all(np.diff([point.bits_per_frame for point in curve]) < 0)


def test_out_of_reach(baseline):
    assert baseline.at_prdn(TEST, 0.0) is None
    assert baseline.at_prdn(TEST, 150.0) is None
    assert baseline.at_bits(TEST, 1e6) is None
    assert baseline.at_bits(TEST, 0.0) is None


@pytest.mark.parametrize("step", [0.0, -1.0, np.nan, np.inf])
def test_bad_step(baseline, step):
    with pytest.raises(InputError, match="step is"):
        baseline.measure(TEST, step)


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
    for opponent in opponents_of(QUICK):
        with pytest.raises(InputError, match=message):
            fit_and_measure(opponent, train, test)


def test_symbols_are_told_apart_by_the_bits_behind_them():
    magnitudes = np.arange(5000)
    symbols, first = symbols_of(magnitudes), first_magnitudes(60)
    assert symbols[:9].tolist() == list(range(9))
    assert np.all(np.diff(symbols) >= 0)
    assert np.array_equal(symbols_of(first), np.arange(61))
    assert np.array_equal(1 << bits_behind(magnitudes), np.diff(first)[symbols])
    assert np.all(first[symbols] <= magnitudes)
    assert np.all(magnitudes < first[symbols + 1])


def read_levels(model, payload):
    """Levels of a payload by the model alone, in Python's integers, as a device would read them."""
    decoder, levels = RangeDecoder(payload), []
    starts = np.cumsum(model.shares, axis=1) - model.shares
    first = first_magnitudes(model.shares.shape[1])

    def take(share_bits):
        found = decoder.target() >> (24 - share_bits)
        decoder.advance(found << (24 - share_bits), 1 << (24 - share_bits))
        return found

    for k in range(len(model.bias)):
        score = int(model.bias[k])
        for back, before in enumerate(levels[: -NEIGHBOURS - 1 : -1]):
            score += int(model.weights[k, back]) * round(16 * min(abs(before), 255) ** 0.5)
        table = int(np.searchsorted(model.bounds, (score + 32) >> 6))
        symbol = int(np.searchsorted(starts[table], decoder.target() >> 8, side="right")) - 1
        decoder.advance(int(starts[table, symbol]) << 8, int(model.shares[table, symbol]) << 8)
        magnitude = int(first[symbol])
        for bit in range(int(bits_behind(np.array(magnitude)))):
            magnitude += take(1) << bit
        levels.append(-magnitude if magnitude and take(1) else magnitude)
    return levels


@pytest.mark.parametrize("step", [0.02, 0.3])
def test_a_range_coder_takes_the_bits_that_are_counted(step):
    found = fitted(DctRdoq()).quantized(TEST, step)
    model = found.model
    assert np.all(model.shares.sum(axis=1) == 1 << 16)
    assert model.shares.min() >= 1
    starts = np.cumsum(model.shares, axis=1) - model.shares
    for levels, bits in zip(found.test[:8], found.bits, strict=False):
        encoder, table_of = RangeEncoder(10000), read_tables(model, levels)
        for level, table in zip(levels.tolist(), table_of, strict=True):
            magnitude = np.array(abs(level))
            symbol = int(symbols_of(magnitude))
            encoder.encode(int(starts[table, symbol]) << 8, int(model.shares[table, symbol]) << 8)
            behind = abs(level) - int(first_magnitudes(symbol)[symbol])
            for bit in range(int(bits_behind(magnitude))):
                encoder.encode((behind >> bit & 1) << 23, 1 << 23)
            if level:
                encoder.encode((level < 0) << 23, 1 << 23)
        payload = encoder.finish()
        assert bits - 8 < 8 * len(payload) < bits + 16
        assert read_levels(model, payload) == levels.tolist()


def read_tables(model, levels):
    """Class of each coefficient of a frame."""
    features = [round(16 * min(abs(level), 255) ** 0.5) for level in levels.tolist()]
    tables = []
    for k in range(len(levels)):
        near = features[max(0, k - NEIGHBOURS) : k][::-1]
        score = int(model.bias[k]) + sum(int(w) * f for w, f in zip(model.weights[k], near, strict=False))
        tables.append(int(np.searchsorted(model.bounds, (score + 32) >> 6)))
    return tables


def test_contexts_and_rdoq_take_fewer_bits(baseline):
    static = baseline.at_prdn(TEST, 5.0).bits_per_frame
    plain, weighed = (fitted(DctRdoq(weight)).at_prdn(TEST, 5.0).bits_per_frame for weight in (0.0, 0.12))
    assert weighed < plain < static


def test_klt_is_orthonormal_and_of_the_training_frames_alone():
    opponent = fitted(KltRdoq())
    point = opponent.measure(TEST, 0.01)
    assert point.prdn < 1.0, "fine steps leave little"
    directions = opponent.transform_of(TRAIN).directions
    assert np.allclose(directions.T @ directions, np.eye(63), atol=1e-9)
    variance = (opponent.transform_of(TRAIN)(TRAIN, "training") ** 2).mean(axis=0)
    assert np.all(np.diff(variance) < 1e-9)


@pytest.mark.parametrize("name", QUICK)
def test_every_opponent_says_what_it_costs(name):
    opponent = fitted(OPPONENTS[name]())
    fine, coarse = opponent.curve(TEST, [0.05, 0.5])
    assert fine.bits_per_frame > coarse.bits_per_frame
    assert fine.prdn < coarse.prdn
    assert fine.instructions >= coarse.instructions > 64 * 47
    assert fine.flash_bytes > coarse.flash_bytes > 0
    assert opponent.at_prdn(TEST, 5.0).prdn == pytest.approx(5.0, rel=2e-3)
    assert opponent.at_bits(TEST, 100.0).bits_per_frame == pytest.approx(100.0, rel=1e-2)


def test_causal_network():
    require("module:tensorflow")
    opponent = fitted(DctNetwork(steps=60))
    contexts = fitted(DctRdoq())
    found, same = opponent.measure(TEST, 0.3), contexts.measure(TEST, 0.3)
    assert found.prdn == same.prdn, "the levels are the same"
    assert 0.3 * same.bits_per_frame < found.bits_per_frame < 1.3 * same.bits_per_frame
    assert found.instructions > same.instructions


@pytest.mark.parametrize(("names", "message"), [(["lpc"], "'lpc' is unknown"), ([], "none"), (["dct", "dct"], "once")])
def test_unknown_opponents(names, message):
    with pytest.raises(InputError, match=message):
        opponents_of(names)
