import numpy as np
import pytest

from edgecodec.signal.quality import prdn


def test_values_by_hand():
    # Frame 1: errors 1, 0, 1 against deviations -2, 0, 2; frame 2 is exact.
    original = np.array([[0, 2, 4], [5, 6, 7]])
    decoded = np.array([[1, 2, 3], [5, 6, 7]])
    assert prdn(original, decoded) == pytest.approx([50.0, 0.0])


def test_scale_and_offset_do_not_matter():
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 3, 20))
    assert prdn(7 * x + 100, 7 * y + 100) == pytest.approx(prdn(x, y))


def test_constant_frames():
    flat = np.full((2, 4), 9)
    assert prdn(flat, np.array([[9, 9, 9, 9], [9, 9, 9, 8]])).tolist() == [0.0, np.inf]


def test_shapes_must_match():
    with pytest.raises(ValueError, match="shape"):
        prdn(np.zeros((1, 3)), np.zeros((1, 4)))
