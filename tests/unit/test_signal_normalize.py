import numpy as np
import pytest

from edgecodec.signal.normalize import denormalize, normalize


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
    counts = denormalize(normalize(frames), total.astype(np.int32), variance.astype(np.uint64))
    assert counts == pytest.approx(frames, abs=1e-6)
