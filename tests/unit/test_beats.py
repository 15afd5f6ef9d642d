import numpy as np
import pytest

from edgecodec.evaluation.beats import BeatComparison, groups_of
from edgecodec.evaluation.heart_rate import heart_rate_error, onset_times
from edgecodec.signal.synthetic import synthetic_ppg
from tests.tools import require


@pytest.fixture(autouse=True)
def _scipy():
    require("module:scipy")


def pulses(onsets, rate_hz=64.0, samples=320):
    """Pulses that rise in a straight line for 0.15 s from their onset and fall for 0.35 s."""
    time = np.arange(samples) / rate_hz
    after = time[:, None] - np.asarray(onsets)
    rising = np.clip(after / 0.15, 0, 1)
    falling = np.clip(1 - (after - 0.15) / 0.35, 0, 1)
    return (1000 * np.minimum(rising, falling).sum(axis=1)).astype(np.int16)


ONSETS = np.array([0.4, 1.2, 2.1, 2.8, 3.7, 4.4])


def test_onsets_of_straight_pulses():
    found = onset_times(pulses(ONSETS)[None], 64.0)[0]
    assert len(found) == len(ONSETS)
    # The band-pass rounds the corner, alike for all pulses.
    shift = found - ONSETS
    assert np.abs(shift - np.median(shift)).max() < 0.02
    assert abs(np.median(shift)) < 0.05


def test_figures_by_hand():
    early = ONSETS + np.array([0, 0, -0.05, 0, 0, 0])
    original = np.stack([pulses(ONSETS), pulses(ONSETS)])
    decoded = np.stack([pulses(early), pulses(ONSETS)])
    comparison = BeatComparison(original, decoded, 64.0)
    changed, same = (comparison.figures(np.array([number])) for number in (0, 1))
    true = 1000 * np.sqrt(np.mean(np.diff(ONSETS, 2) ** 2))
    moved = 1000 * np.sqrt(np.mean(np.diff(early, 2) ** 2))
    assert same.rmssd_ms == pytest.approx(true, rel=0.1)
    assert (same.rmssd_error_ms, same.onset_error_ms, same.missed_share, same.rmssd_usable) == (0, 0, 0, True)
    assert changed.rmssd_error_ms == pytest.approx(abs(moved - true), abs=12)
    assert changed.onset_error_ms < 5, "five of six onsets are where they were"
    both = comparison.figures(np.arange(2))
    assert both.heart_rate == heart_rate_error(original, decoded, 64.0)
    assert (both.rmssd_frames, both.heart_rate.measured) == (2, 2)


def test_a_regular_heart_makes_a_little_jitter_unusable():
    regular = np.arange(0.4, 4.6, 0.8)
    jitter = regular + np.array([0, 0.04, -0.04, 0.04, -0.04, 0.04])
    found = BeatComparison(pulses(regular)[None], pulses(jitter)[None], 64.0).figures(np.array([0]))
    assert found.rmssd_ms < 20 < found.rmssd_error_ms
    assert found.rmssd_usable is False


def test_missed_pulses():
    found = BeatComparison(pulses(ONSETS)[None], pulses(ONSETS[[0, 1, 3, 4]])[None], 64.0).figures(np.array([0]))
    assert found.missed_share == pytest.approx(1 / 3, abs=0.18)


def test_nothing_to_measure():
    flat = np.zeros((2, 320), np.int16)
    found = BeatComparison(flat, flat, 64.0).figures(np.arange(2))
    assert (found.heart_rate.measured, found.rmssd_frames) == (0, 0)
    assert (found.onset_error_ms, found.missed_share, found.rmssd_ms, found.rmssd_usable) == (None, None, None, None)


def test_known_beats_of_synthetic_ppg():
    made = synthetic_ppg(60, seed=3, noise=0.0, heart_rate_bpm=70)
    frames = made.samples[: 12 * 320].reshape(12, 320)
    intervals = np.diff(np.concatenate(onset_times(frames, 64.0)))
    true = np.median(np.diff(made.beat_times_s))
    assert np.median(intervals[intervals > 0]) == pytest.approx(true, rel=0.05)


def test_groups_are_in_order_and_leave_out_what_is_not_known():
    found = groups_of(["10", "9", "", "10", "b"])
    assert list(found) == ["b", "9", "10"]
    assert found["10"].tolist() == [0, 3]
