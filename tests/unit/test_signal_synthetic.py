import numpy as np
import pytest

from edgecodec.errors import InputError
from edgecodec.signal.synthetic import synthetic_ppg, synthetic_recording
from tests.tools import require


def test_same_seed_same_samples():
    first, again, other = (synthetic_ppg(60, seed=seed, motion=2, ectopic=0.1) for seed in (1, 1, 2))
    assert first.samples.dtype == np.int16
    assert np.array_equal(first.samples, again.samples)
    assert not np.array_equal(first.samples, other.samples)
    assert first.samples.min() >= 0
    assert first.samples.max() <= 4095


def test_beats_are_where_it_says():
    require("module:scipy")
    from scipy.signal import find_peaks

    made = synthetic_ppg(60, 64.0, seed=3, heart_rate_bpm=60, respiration=0.0, wander=0.0, noise=0.0)
    wave = made.samples.astype(float)
    peaks, _ = find_peaks(wave, height=wave.min() + 0.6 * np.ptp(wave), distance=32)
    assert len(made.beat_times_s) == pytest.approx(60, abs=2)
    inner = made.beat_times_s[(made.beat_times_s > 0.5) & (made.beat_times_s < 59.5)]
    nearest = np.abs(peaks[:, None] / 64.0 - inner).min(axis=0)
    assert nearest.max() < 2 / 64.0
    assert np.diff(made.beat_times_s) == pytest.approx(np.ones(len(made.beat_times_s) - 1), abs=0.1)


def test_ectopic_beats_come_early_and_are_followed_by_a_pause():
    made = synthetic_ppg(600, seed=4, heart_rate_bpm=60, respiration=0.0, ectopic=0.1)
    intervals = np.diff(made.beat_times_s)
    assert 0.06 < made.ectopic.mean() < 0.13
    early = np.flatnonzero(made.ectopic[1:-1]) + 1
    assert intervals[early - 1] == pytest.approx(np.full(len(early), 0.65), abs=0.06)
    assert intervals[early] == pytest.approx(np.full(len(early), 1.35), abs=0.12)


def test_irregular_intervals_spread_as_asked():
    made = synthetic_ppg(600, seed=6, heart_rate_bpm=60, respiration=0.0, irregular=0.2)
    intervals = np.diff(made.beat_times_s)
    assert intervals.std() == pytest.approx(0.2, abs=0.03)
    assert intervals.min() >= 0.4
    assert intervals.mean() == pytest.approx(1.0, abs=0.05)


def test_respiration_moves_the_baseline_and_motion_shakes():
    quiet = synthetic_ppg(120, seed=5, heart_rate_bpm=75, respiration=0.0, wander=0.0, noise=0.0)
    breathing = synthetic_ppg(120, seed=5, heart_rate_bpm=75, respiration=3.0, wander=0.0, noise=0.0)
    moving = synthetic_ppg(120, seed=5, heart_rate_bpm=75, respiration=0.0, wander=0.0, noise=0.0, motion=10.0)

    def power(made, low_hz, high_hz):
        spectrum = np.abs(np.fft.rfft(made.samples - made.samples.mean())) ** 2
        hz = np.fft.rfftfreq(len(made.samples), 1 / made.rate_hz)
        return spectrum[(hz >= low_hz) & (hz < high_hz)].sum() / spectrum.sum()

    assert power(breathing, 0.1, 0.4) > 10 * power(quiet, 0.1, 0.4)
    assert np.abs(moving.samples.astype(int) - quiet.samples).max() > 100


def test_people_differ():
    made = [synthetic_recording(person, 30, 64.0, seed=1, motion=0.0, ectopic=0.0) for person in (0, 1)]
    assert [part.subject for part in made] == ["synthetic0", "synthetic1"]
    assert not np.array_equal(made[0].samples, made[1].samples)


@pytest.mark.parametrize(
    "options",
    [{"seconds": 0}, {"seconds": np.inf}, {"seconds": 1e12}, {"rate_hz": -1}, {"ectopic": 0.6}, {"motion": -1},
     {"noise": np.nan}, {"irregular": 0.4}, {"heart_rate_bpm": 5}],
)  # fmt: skip
def test_refusals(options):
    with pytest.raises(InputError, match="synthetic PPG"):
        synthetic_ppg(**{"seconds": 10, "seed": 0, **options})
