import numpy as np
import pytest

from edgecodec.errors import InputError
from edgecodec.signal.normalize import (
    NONE,
    ZSCORE,
    Fixed,
    MinMax,
    ZScore,
    normalization_json,
    normalization_of,
    normalize,
)


def test_values_by_hand():
    # mean 2, variance 8/3
    expected = np.array([-2.0, 0.0, 2.0]) / np.sqrt(8 / 3 + 1e-3)
    assert normalize(np.array([[0, 2, 4]], np.int16))[0] == pytest.approx(expected, abs=1e-15)


def test_constant_frame_is_zero():
    assert normalize(np.full((1, 5), 700, np.int16)).tolist() == [[0.0] * 5]


def test_epsilon_counts():
    assert normalize(np.array([[-1.0, 1.0]]), epsilon=3.0)[0].tolist() == [-0.5, 0.5]


def test_denormalize_inverts():
    frames = np.random.default_rng(0).integers(-32768, 32767, (4, 37)).astype(np.int16)
    wide = frames.astype(np.int64)
    total = wide.sum(axis=1)
    variance = 37 * (wide**2).sum(axis=1) - total**2
    counts = ZSCORE.denormalize(normalize(frames), total.astype(np.int32), variance.astype(np.uint64))
    assert counts == pytest.approx(frames, abs=1e-6)


FRAMES = np.array([[0, 2, 4], [7, 7, 7]], np.int16)


def test_least_and_largest_by_hand():
    assert MinMax().normalize(FRAMES).tolist() == [[0.0, 0.5, 1.0], [0.0, 0.0, 0.0]]
    assert MinMax(-1, 3).normalize(FRAMES).tolist() == [[-1.0, 1.0, 3.0], [-1.0, -1.0, -1.0]]
    back = MinMax(-1, 3).denormalize(
        MinMax(-1, 3).normalize(FRAMES), np.array([0, 7], np.int32), np.array([4, 0], np.uint64)
    )
    assert back.tolist() == FRAMES.tolist()


def test_fixed_by_hand():
    nothing = np.zeros(2, np.int32), np.zeros(2, np.uint64)
    assert Fixed(2, 4).normalize(FRAMES).tolist() == [[-0.5, 0.0, 0.5], [1.25, 1.25, 1.25]]
    assert Fixed(2, 4).denormalize(Fixed(2, 4).normalize(FRAMES), *nothing).tolist() == FRAMES.tolist()
    assert NONE.normalize(FRAMES).tolist() == FRAMES.tolist()
    assert NONE.denormalize(NONE.normalize(FRAMES), *nothing).tolist() == FRAMES.tolist()


@pytest.mark.parametrize("normalization", [ZScore(2.5), MinMax(-1, 1), Fixed(2048, 0.5), NONE], ids=str)
def test_the_manifest_says_which(normalization):
    assert normalization_of(normalization_json(normalization)) == normalization


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "normalisation None; expected one of zscore, minmax, fixed"),
        ({"kind": ["zscore"]}, "normalisation \\['zscore'\\]"),
        ({"kind": "median"}, "normalisation 'median'"),
        ({"kind": "zscore"}, r"zscore has \[\]; expected \['epsilon'\]"),
        ({"kind": "minmax", "low": 0, "high": 1, "epsilon": 1}, r"expected \['high', 'low'\]"),
        ({"kind": "fixed", "offset": "0", "scale": 1}, "expected numbers"),
        ({"kind": "fixed", "offset": True, "scale": 1}, "expected numbers"),
        ({"kind": "fixed", "offset": 0, "scale": 0}, "scale is 0; expected a finite value above 0"),
        ({"kind": "fixed", "offset": float("inf"), "scale": 1}, "offset is inf; expected a finite value"),
        ({"kind": "zscore", "epsilon": -1.0}, "epsilon is -1.0"),
        ({"kind": "minmax", "low": 1, "high": 1}, "to 1..1; expected the lower end first"),
    ],
)
def test_what_is_no_normalisation(given, message):
    with pytest.raises(InputError, match=message):
        normalization_of(given)
