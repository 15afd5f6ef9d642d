"""Constants of the integer normaliser, against values worked out by hand from SPEC.md 1.1."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from edgecodec.codec.normalizer import MAX_SAMPLES, Normalizer
from edgecodec.errors import PlanError


def test_constants_by_hand() -> None:
    # T = 64: T^2 2^30 2^f = 2^(42 + f) < 2^63 gives f = 20; E = eps 2^12 2^20 = 2^30 for eps = 1/4.
    # 1 / s = 32 = 2^30 2^-25.
    constants = Normalizer(64, 0.25, 2.0**-5, 0)
    assert (constants.variance_shift, constants.epsilon_term) == (20, 1 << 30)
    assert (constants.inverse_scale, constants.inverse_scale_shift) == (1 << 30, 25)


def test_shift_is_capped_for_short_frames() -> None:
    assert Normalizer(1, 1e-3, 0.03, 0).variance_shift == 32
    assert Normalizer(MAX_SAMPLES, 1e-3, 0.03, 0).variance_shift == 4


@pytest.mark.parametrize("scale", [1.0, 2.0**-16, 0.03, float(np.float32(0.0235)), 1 - 2.0**-24, 2.0**-16 * 1.9])
@pytest.mark.parametrize("samples", [1, 2, 3, 64, 320, 1000, MAX_SAMPLES])
def test_constants_hold_their_ranges(scale: float, samples: int) -> None:
    constants = Normalizer(samples, 1e-3, scale, -128)
    assert 1 << 30 <= constants.inverse_scale < 1 << 31
    approximated = Fraction(constants.inverse_scale, 1 << constants.inverse_scale_shift)
    assert abs(approximated * Fraction(scale) - 1) <= Fraction(1, 1 << 31)
    shift = constants.variance_shift
    assert shift % 2 == 0
    assert samples**2 << (30 + shift) < 1 << 63
    assert shift == 32 or samples**2 << (30 + shift + 2) >= 1 << 63
    assert abs(constants.epsilon_term - Fraction(1e-3) * samples**2 * 2**shift) <= Fraction(1, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1e-3, 0.03, 0), "samples"),
        ((MAX_SAMPLES + 1, 1e-3, 0.03, 0), "samples"),
        ((64, 0.0, 0.03, 0), "epsilon"),
        ((64, float("nan"), 0.03, 0), "epsilon"),
        ((64, 1e-30, 0.03, 0), "epsilon"),
        ((64, 1e30, 0.03, 0), "epsilon"),
        ((64, 1e-3, 0.0, 0), "scale"),
        ((64, 1e-3, float("inf"), 0), "scale"),
        ((64, 1e-3, 1.5, 0), "scale"),
        ((64, 1e-3, 2.0**-17, 0), "scale"),
        ((64, 1e-3, 0.03, 128), "zero point"),
    ],
)
def test_refuses_what_is_not_proven(arguments: tuple[int, float, float, int], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Normalizer(*arguments)
