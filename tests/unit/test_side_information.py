"""Location and scale in a few bits: how much they cost, and that what is written is read."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecodec.entropy.side_information import ROOTS, WIDE_BYTES, SideInformation, choose_steps, fit_side_information
from edgecodec.errors import InputError
from tests.tflite_builder import ppg_frames


def stats(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """S and V of SPEC.md 1.1."""
    wide = frames.astype(np.int64)
    sums = wide.sum(axis=1)
    return sums.astype(np.int32), (frames.shape[1] * (wide**2).sum(axis=1) - sums**2).astype(np.uint64)


@pytest.mark.parametrize(
    ("prdn", "samples"), [(0.8, 320), (1.17, 320), (1.4, 320), (3.4, 320), (8.0, 320), (1.4, 16384)]
)
def test_costs_a_hundredth_of_the_distortion(prdn: float, samples: int) -> None:
    """Measured on frames: errors of mean and of standard deviation, over the standard deviation."""
    rng = np.random.default_rng(1)
    frames = rng.normal(0, 1, (200, samples)) * np.exp(rng.uniform(1, 9, (200, 1))) + rng.uniform(-9e3, 9e3, (200, 1))
    sums, variances = stats(np.clip(np.round(frames), -32768, 32767).astype(np.int16))
    side = fit_side_information(prdn, samples, sums, variances)
    added = []
    for offset, spread in zip(sums.tolist(), variances.tolist(), strict=True):
        scale, location = side.quantize(offset, spread)
        assert side.unpack(side.pack(scale, location)) == (scale, location)
        again_offset, again_spread = side.dequantize(scale, location)
        added.append(((again_offset - offset) ** 2 / spread, (math.sqrt(again_spread / spread) - 1) ** 2))
    assert np.mean(np.sum(added, axis=1)) / (prdn / 100) ** 2 < 1.15 * side.cost(prdn)
    assert side.cost(prdn) <= 0.01 or side.location_bits == max(b for _, b in choose_steps(0.01, samples))


def test_steps_by_hand() -> None:
    """(ln 2 / 256)^2 / 12 + 2^-16 / 12 = 1.883e-6, which is 0.96 % of 0.014^2."""
    assert SideInformation(320, 8, 8).cost(1.4) == pytest.approx(0.0096, abs=1e-4)
    assert (8, 8) in choose_steps(1.4, 320)
    assert (8, 8) not in choose_steps(1.37, 320)


def test_roots() -> None:
    assert list(ROOTS) == [round(2**31 * 2 ** (2**-bit)) for bit in range(1, len(ROOTS) + 1)]


@given(st.integers(-(2**29) + 1, 2**29 - 1), st.integers(1, 2**58), st.integers(1, 9), st.integers(0, 8), st.booleans())
@settings(max_examples=300)
def test_any_frame(offset: int, spread: int, scale_bits: int, location_bits: int, squared: bool) -> None:
    side = SideInformation(16384, scale_bits, location_bits, squared=squared)
    scale, location = side.quantize(offset, spread)
    assert 0 <= scale < 1 << 16
    assert -(2**31) < location < 2**31
    packed = side.pack(scale, location)
    assert len(packed) in (3, WIDE_BYTES)
    assert side.unpack(packed) == (scale, location)
    exact = math.log2(spread) / (2 if squared else 1)
    step = 2.0**-scale_bits
    _, again = side.dequantize(scale, location)
    if spread > 1 << 20:
        assert abs(math.log2(again) / (2 if squared else 1) - exact) <= 0.51 * step + 1e-5


def test_scale_never_falls_as_the_spread_rises() -> None:
    side = SideInformation(320, 9, 8)
    spreads = sorted({1 << bit for bit in range(58)} | {(1 << bit) - 1 for bit in range(1, 58)} | set(range(1, 3000)))
    scales = [side.quantize(0, spread)[0] for spread in spreads]
    assert scales == sorted(scales)


def test_frames_like_those_fitted_take_the_common_form() -> None:
    sums, variances = stats(ppg_frames(64, 320, 3))

    def mean_bytes(side: SideInformation) -> float:
        codes = [side.quantize(s, v) for s, v in zip(sums.tolist(), variances.tolist(), strict=True)]
        # The wide form takes a byte of flags, too.
        return float(np.mean([side.common_bytes if side.is_common(*code) else WIDE_BYTES + 1 for code in codes]))

    fitted = fit_side_information(1.4, 320, sums, variances)
    others = [
        SideInformation(320, 8, 8, 8 * 256 + first, field, size)
        for first in range(0, 2048, 256)
        for size, field in ((3, 11), (3, 12), (4, 12))
    ]
    assert mean_bytes(fitted) <= min(map(mean_bytes, others))
    assert fitted.scale_field >= fitted.scale_bits + 3


def test_refuses_what_could_overflow() -> None:
    with pytest.raises(InputError, match="do not fit 32 bits"):
        SideInformation(16384, 8, 9)
    with pytest.raises(InputError, match="scale_bits is 10"):
        SideInformation(320, 10, 8)
    with pytest.raises(InputError, match="of no frame"):
        SideInformation(320, 8, 8).dequantize(65535, 0)
