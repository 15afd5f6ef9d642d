"""ADC counts to int8: the reference near the float64 formula, the C equal to the reference."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from edgecodec.codec.normalizer import Normalizer
from edgecodec.codec.reference import normalize
from edgecodec.signal.normalize import NONE, ZSCORE, Fixed, MinMax, Normalization, ZScore
from tests.bitexact import c_kernels
from tests.tflite_builder import ppg_frames
from tests.tools import require

LENGTHS = (1, 2, 3, 7, 64, 101, 320, 1000, 4096, 16384)


def frames_of(samples: int) -> npt.NDArray[np.int16]:
    """Random, PPG, saturated, extreme, near-flat and flat frames, int16 ``[N, samples]``."""
    rng = np.random.default_rng([samples, 40])
    count = max(4, min(200, 20000 // samples))
    ppg = ppg_frames(count, samples, samples)
    frames = [
        rng.integers(-32768, 32768, (count, samples)),
        rng.integers(0, 4096, (count, samples)),
        rng.normal(2000, 3, (count, samples)),
        ppg,
        np.clip(ppg * 3 - 3000, 0, 4095),
        np.where(rng.random((count, samples)) < 0.5, -32768, 32767),
        2048 + (rng.random((count, samples)) < 1.5 / samples),
        np.full((1, samples), -32768),
        np.full((1, samples), 32767),
        np.where(np.arange(samples) == samples // 2, 32767, -32768)[None],
        np.linspace(-32768, 32767, samples)[None],
        np.full((1, samples), 0),
    ]
    return np.concatenate([np.asarray(part).astype(np.int16) for part in frames])


def _formula(normalizer: Normalizer, frames: npt.NDArray[np.int16]) -> npt.NDArray[np.int64]:
    real = normalizer.normalization.normalize(frames)
    return np.clip(np.floor(real / normalizer.scale + 0.5) + normalizer.zero_point, -128, 127).astype(np.int64)


@pytest.mark.parametrize("samples", LENGTHS)
@pytest.mark.parametrize(("scale", "zero_point"), [(0.0314, -3), (2.0**-16, 127), (1.0, -128), (0.011, 60)])
def test_near_the_float_formula(samples: int, scale: float, zero_point: int) -> None:
    normalizer = Normalizer.of(ZSCORE, samples, float(np.float32(scale)), zero_point)
    frames = frames_of(samples)
    quantized, total, variance = normalize(normalizer, frames)
    difference = np.abs(quantized - _formula(normalizer, frames))
    assert difference.max() <= 1
    assert np.mean(difference == 0) >= 0.999
    counts = frames.astype(object)
    np.testing.assert_array_equal(total, counts.sum(axis=1))
    np.testing.assert_array_equal(variance, samples * (counts * counts).sum(axis=1) - counts.sum(axis=1) ** 2)


@pytest.mark.parametrize("samples", LENGTHS)
@pytest.mark.parametrize(("scale", "zero_point"), [(0.0314, -3), (2.0**-16, 127), (1.0, -128), (0.0235, 60)])
def test_c_equals_the_reference(samples: int, scale: float, zero_point: int) -> None:
    require("cc", "Python.h")
    normalizer = Normalizer.of(ZSCORE, samples, float(np.float32(scale)), zero_point)
    frames = frames_of(samples)
    quantized, total, variance = normalize(normalizer, frames)
    found, sums, variances = c_kernels.normalize(normalizer, frames)
    np.testing.assert_array_equal(found, quantized)
    assert sums == total.tolist()
    assert variances == variance.tolist()


@pytest.mark.parametrize("epsilon", [1e-9, 1e-3, 1.0, 1e6])
def test_other_epsilons(epsilon: float) -> None:
    require("cc", "Python.h")
    normalizer = Normalizer.of(ZScore(epsilon), 64, 0.03, 5)
    frames = frames_of(64)
    quantized, _, _ = normalize(normalizer, frames)
    assert np.abs(quantized - _formula(normalizer, frames)).max() <= 1
    np.testing.assert_array_equal(c_kernels.normalize(normalizer, frames)[0], quantized)


@pytest.mark.parametrize("level", [-32768, -1, 0, 2048, 32767])
def test_flat_frame_becomes_the_zero_point(level: int) -> None:
    require("cc", "Python.h")
    normalizer = Normalizer.of(ZSCORE, 320, 0.03, -17)
    frame = np.full((1, 320), level, np.int16)
    quantized, total, variance = normalize(normalizer, frame)
    assert np.all(quantized == -17)
    assert (int(total[0]), int(variance[0])) == (320 * level, 0)
    np.testing.assert_array_equal(c_kernels.normalize(normalizer, frame)[0], quantized)


def test_by_hand() -> None:
    # Counts 0 and 2: mean 1, variance 1; with epsilon 3 the deviations +-1 become +-1/2, at scale 1/8 +-4.
    normalizer = Normalizer.of(ZScore(3.0), 2, 0.125, 10)
    quantized, total, variance = normalize(normalizer, np.array([[0, 2]], np.int16))
    assert quantized.tolist() == [[6, 14]]
    assert (total.tolist(), variance.tolist()) == ([2], [4])


def test_ties_round_up() -> None:
    require("cc", "Python.h")
    # Counts 0 and 6: mean 3, variance 9; with epsilon 247 the root is 16, and +-3/16 at scale 1/8 is +-1.5.
    normalizer = Normalizer.of(ZScore(247.0), 2, 0.125, 10)
    frame = np.array([[0, 6], [6, 0]], np.int16)
    assert normalize(normalizer, frame)[0].tolist() == [[9, 12], [12, 9]]
    assert c_kernels.normalize(normalizer, frame)[0].tolist() == [[9, 12], [12, 9]]


OTHERS: tuple[tuple[Normalization, float, int], ...] = (
    (MinMax(), 1 / 255, -128),
    (MinMax(-1, 1), 2 / 255, 0),
    (MinMax(-3.5, 12.25), 0.0625, -7),
    (MinMax(), 0.5, 100),
    (Fixed(2048, 512), 0.0314, -3),
    (Fixed(-1000.5, 30.25), 1.7, 90),
    (NONE, 256.0, 0),
    (NONE, 16.0, -128),
    (Fixed(0, 1e-3), 0.5, 0),
)
"""Normalisation, scale and zero point of the encoder's input."""


@pytest.mark.parametrize("samples", LENGTHS)
@pytest.mark.parametrize(("normalization", "scale", "zero_point"), OTHERS, ids=str)
def test_other_normalisations(samples: int, normalization: Normalization, scale: float, zero_point: int) -> None:
    require("cc", "Python.h")
    normalizer = Normalizer.of(normalization, samples, float(np.float32(scale)), zero_point)
    frames = frames_of(samples)
    quantized, offset, spread = normalize(normalizer, frames)
    difference = np.abs(quantized - _formula(normalizer, frames))
    assert difference.max() <= 1
    assert np.mean(difference == 0) >= 0.999
    moves = isinstance(normalization, MinMax)
    least = frames.min(axis=1).astype(np.int64)
    np.testing.assert_array_equal(offset, least if moves else 0)
    np.testing.assert_array_equal(spread, frames.max(axis=1) - least if moves else 0)
    found, offsets, spreads = c_kernels.normalize(normalizer, frames)
    np.testing.assert_array_equal(found, quantized)
    assert (offsets, spreads) == (offset.tolist(), spread.tolist())


@pytest.mark.parametrize(("normalization", "scale", "zero_point"), [*OTHERS, (ZSCORE, 0.0314, -3)], ids=str)
def test_what_is_removed_brings_the_counts_back(normalization: Normalization, scale: float, zero_point: int) -> None:
    normalizer = Normalizer.of(normalization, 64, scale, zero_point)
    frames = frames_of(64)
    _, offset, spread = normalize(normalizer, frames)
    back = normalization.denormalize(normalization.normalize(frames), offset, spread)
    # A flat frame at 0..1 of a range of 0 has no scale, and needs none.
    np.testing.assert_allclose(back, frames, rtol=0, atol=1e-6)


def test_least_and_largest_by_hand() -> None:
    require("cc", "Python.h")
    # Counts 10, 12, 14 over 0..1 at a scale of 1/4: 0, 2 and 4 steps above -1; flat frames are the low end.
    normalizer = Normalizer.of(MinMax(), 3, 0.25, -1)
    frames = np.array([[10, 12, 14], [-5, -5, -5]], np.int16)
    assert normalize(normalizer, frames)[0].tolist() == [[-1, 1, 3], [-1, -1, -1]]
    assert c_kernels.normalize(normalizer, frames)[0].tolist() == [[-1, 1, 3], [-1, -1, -1]]


def test_ties_of_other_normalisations_round_up() -> None:
    require("cc", "Python.h")
    # 1 of 0..2 at a scale of 1/3 steps: a half step; (x - 1) / 2 at a scale of 1.
    for normalizer in (Normalizer.of(MinMax(0, 3), 3, 1.0, 0), Normalizer.of(Fixed(1, 2), 3, 1.0, 0)):
        frame = np.array([[0, 1, 2]], np.int16)
        found = normalize(normalizer, frame)[0]
        assert found.tolist() == ([[0, 2, 3]] if normalizer.kind == "minmax" else [[0, 0, 1]])
        assert c_kernels.normalize(normalizer, frame)[0].tolist() == found.tolist()
