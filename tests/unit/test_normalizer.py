"""Constants of the integer normaliser, against values worked out by hand from SPEC.md 1.1."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from edgecodec.codec.normalizer import (
    MAX_SAMPLES,
    FixedNormalizer,
    MinMaxNormalizer,
    Normalizer,
    ZScoreNormalizer,
)
from edgecodec.errors import InputError, PlanError
from edgecodec.signal.normalize import NONE, Fixed, MinMax, ZScore


def _zscore(samples: int, epsilon: float, scale: float, zero_point: int) -> ZScoreNormalizer:
    made = Normalizer.of(ZScore(epsilon), samples, scale, zero_point)
    assert isinstance(made, ZScoreNormalizer)
    return made


def test_constants_by_hand() -> None:
    # T = 64: T^2 2^30 2^f = 2^(42 + f) < 2^63 gives f = 20; E = eps 2^12 2^20 = 2^30 for eps = 1/4.
    # 1 / s = 32 = 2^30 2^-25.
    constants = _zscore(64, 0.25, 2.0**-5, 0)
    assert (constants.variance_shift, constants.epsilon_term) == (20, 1 << 30)
    assert (constants.inverse_scale, constants.inverse_scale_shift) == (1 << 30, 25)


def test_shift_is_capped_for_short_frames() -> None:
    assert _zscore(1, 1e-3, 0.03, 0).variance_shift == 32
    assert _zscore(MAX_SAMPLES, 1e-3, 0.03, 0).variance_shift == 4


@pytest.mark.parametrize("scale", [1.0, 2.0**-16, 0.03, float(np.float32(0.0235)), 1 - 2.0**-24, 2.0**-16 * 1.9])
@pytest.mark.parametrize("samples", [1, 2, 3, 64, 320, 1000, MAX_SAMPLES])
def test_constants_hold_their_ranges(scale: float, samples: int) -> None:
    constants = _zscore(samples, 1e-3, scale, -128)
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
    with pytest.raises((PlanError, InputError), match=message):
        _zscore(*arguments)


def test_least_and_largest_by_hand() -> None:
    # From 0 to 1 at a scale of 1/128 are 128 steps = 2^30 2^-23; 0 becomes the zero point, -10 2^16.
    made = Normalizer.of(MinMax(), 64, 2.0**-7, -10)
    assert isinstance(made, MinMaxNormalizer)
    assert (made.steps, made.steps_shift, made.bias) == (1 << 30, 23, -10 << 32)
    # From -1 to 1 are 256 steps, and -1 is 128 below the zero point.
    made = Normalizer.of(MinMax(-1, 1), 64, 2.0**-7, 0)
    assert isinstance(made, MinMaxNormalizer)
    assert (made.steps, made.steps_shift, made.bias) == (1 << 30, 22, -128 << 32)


def test_fixed_by_hand() -> None:
    # (x - 2048) / 512 at a scale of 1/32: 16 counts a step, 2^30 2^-34 steps a count; a count of 0 is 128 below.
    made = Normalizer.of(Fixed(2048, 512), 64, 2.0**-5, 3)
    assert isinstance(made, FixedNormalizer)
    assert (made.gain, made.gain_shift, made.bias) == (1 << 30, 34, (3 - 128 << 34) + (1 << 33))
    made = Normalizer.of(NONE, 64, 256.0, 0)
    assert isinstance(made, FixedNormalizer)
    assert (made.gain, made.gain_shift, made.bias) == (1 << 30, 38, 1 << 37)


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero_point"),
    [(0, 1, 1 / 255, -128), (-1, 1, 2 / 255, 0), (0, 1, 1.0, 0), (0, 1, 2.0**-14 * 1.0001, 0), (-3, 5, 0.031, 12)],
)
def test_constants_of_least_and_largest_hold_their_ranges(low: int, high: int, scale: float, zero_point: int) -> None:
    made = Normalizer.of(MinMax(low, high), 64, scale, zero_point)
    assert isinstance(made, MinMaxNormalizer)
    assert 1 << 30 <= made.steps < 1 << 31
    assert 16 <= made.steps_shift <= 30
    assert abs(Fraction(made.steps, 1 << made.steps_shift) * Fraction(scale) / (high - low) - 1) <= Fraction(1, 1 << 31)
    assert abs(made.bias - (low / Fraction(scale) + zero_point) * 2**32) <= Fraction(1, 2)


@pytest.mark.parametrize(
    ("offset", "scale"), [(0.0, 1.0), (2048.0, 512.0), (-1e6, 3.0), (31000.5, 1e-3), (7.25, 60000.0)]
)
def test_constants_of_a_fixed_scale_hold_their_ranges(offset: float, scale: float) -> None:
    made = Normalizer.of(Fixed(offset, scale), 64, 0.03, -5)
    assert isinstance(made, FixedNormalizer)
    step = Fraction(scale) * Fraction(0.03)
    assert 1 << 30 <= made.gain < 1 << 31
    assert 14 <= made.gain_shift <= 46
    assert abs(Fraction(made.gain, 1 << made.gain_shift) * step - 1) <= Fraction(1, 1 << 31)
    assert abs(made.bias - (-5 - Fraction(offset) / step + Fraction(1, 2)) * 2**made.gain_shift) <= Fraction(1, 2)


@pytest.mark.parametrize(
    ("normalization", "scale", "message"),
    [
        (MinMax(), 1.5, "0.666667 steps of the input scale 1.5; expected 1..16384"),
        (MinMax(), 2.0**-14, "16384 steps"),
        (MinMax(-1e6, -1e6 + 1), 0.004, "outside the input's range"),
        (Fixed(0, 1e9), 0.03, "is 3e\\+07 ADC counts; expected"),
        (Fixed(0, 1e-9), 0.03, "is 3e-11 ADC counts"),
        (Fixed(1e15, 1.0), 0.03, "an offset of 1e\\+15 ADC counts is beyond"),
        (NONE, 2.0**17, "is 131072 ADC counts"),
        (NONE, float("nan"), "input scale is nan"),
    ],
)
def test_refuses_scales_that_are_not_proven(normalization: MinMax | Fixed, scale: float, message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Normalizer.of(normalization, 64, scale, 0)
