import numpy as np
import pytest

from edgecodec.errors import InputError
from edgecodec.evaluation.heart_rate import beat_times, heart_rate_bpm, heart_rate_error
from tests.tools import require


@pytest.fixture(autouse=True)
def _scipy():
    require("module:scipy")


def ppg(bpm, rate_hz=64.0, samples=320, first_s=0.3, seed=None):
    """Pulses with a dicrotic wave a third as high, drift and, with a seed, noise; systolic peaks and all."""
    time = np.arange(samples) / rate_hz
    period = 60.0 / bpm
    peaks = np.arange(first_s - 2 * period, time[-1] + 2 * period, period)
    width = 0.12 * period
    beats = np.exp(-(((time - peaks[:, None]) / width) ** 2))
    dicrotic = 0.33 * np.exp(-(((time - peaks[:, None] - 0.4 * period) / (1.2 * width)) ** 2))
    wave = (beats + dicrotic).sum(axis=0) + 0.3 * np.sin(2 * np.pi * 0.2 * time)
    if seed is not None:
        wave = wave + np.random.default_rng(seed).normal(0, 0.03, samples)
    return 2000 + 500 * wave, peaks[(peaks > 0.1) & (peaks < time[-1] - 0.1)]


@pytest.mark.parametrize("rate_hz", [25.0, 64.0, 250.0])
@pytest.mark.parametrize("bpm", [45, 60, 75.5, 100, 140, 190])
def test_known_rates(bpm, rate_hz):
    frames = np.stack([ppg(bpm, rate_hz, int(5 * rate_hz), first, seed)[0] for seed, first in enumerate((0.2, 0.35))])
    assert heart_rate_bpm(frames, rate_hz) == pytest.approx(bpm, rel=0.01)


def test_beats_are_where_they_are():
    frame, peaks = ppg(72)
    found = beat_times(frame[None], 64.0)[0]
    assert len(found) == len(peaks)
    assert found == pytest.approx(peaks, abs=0.03)


def test_scale_and_offset_do_not_matter():
    frame, _ = ppg(80)
    assert heart_rate_bpm((frame * 0.001 - 7)[None], 64.0) == pytest.approx(heart_rate_bpm(frame[None], 64.0))


def test_what_cannot_be_measured():
    flat = np.full((1, 320), 1800, np.int16)
    assert np.isnan(heart_rate_bpm(flat, 64.0)[0])
    assert beat_times(flat, 64.0)[0].size == 0
    # Two beats in 2 s.
    assert np.isnan(heart_rate_bpm(ppg(60, samples=128)[0][None], 64.0)[0])
    assert np.isnan(heart_rate_bpm(np.arange(10.0)[None], 64.0)[0])
    assert heart_rate_bpm(np.empty((0, 320)), 64.0).shape == (0,)


def test_error_by_hand():
    original = np.stack([ppg(60)[0], ppg(90)[0], ppg(75)[0]])
    decoded = np.stack([ppg(63)[0], ppg(89)[0], np.zeros(320)])
    error = heart_rate_error(original, decoded, 64.0)
    assert error.mean_absolute_bpm == pytest.approx(2.0, abs=0.2)
    assert (error.measured, error.not_measured) == (2, 1)
    same = heart_rate_error(original, original, 64.0)
    assert (same.mean_absolute_bpm, same.measured) == (0.0, 3)
    none = heart_rate_error(original[:1], np.zeros((1, 320)), 64.0)
    assert (none.mean_absolute_bpm, none.measured, none.not_measured) == (None, 0, 1)


@pytest.mark.parametrize("rate_hz", [0.0, -1.0, 7.9, np.nan, np.inf])
def test_bad_rate(rate_hz):
    with pytest.raises(InputError, match="sampling rate"):
        beat_times(np.zeros((1, 320)), rate_hz)


def test_bad_shapes():
    with pytest.raises(InputError, match=r"expected \[N, T\]"):
        beat_times(np.zeros(320), 64.0)
    with pytest.raises(ValueError, match=r"decoded has \(1, 320\)"):
        heart_rate_error(np.zeros((2, 320)), np.zeros((1, 320)), 64.0)
