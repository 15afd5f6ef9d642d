import numpy as np
import pytest

from edgecodec.errors import InputError
from edgecodec.signal.reader import file_recordings
from edgecodec.signal.reading import Reading
from edgecodec.signal.sources import Recording, _window_ranges, heartpy_recordings, invalid_samples, resample
from tests.tools import require


def _wave(seconds, rate_hz, frequency_hz=1.3):
    return 500 + 200 * np.sin(2 * np.pi * frequency_hz * np.arange(round(seconds * rate_hz)) / rate_hz)


def _recording(samples, valid=None):
    counts = np.asarray(samples, np.int16)
    return Recording("test", counts, np.ones(len(counts), bool) if valid is None else valid, 64.0)


def test_frames_leave_out_invalid_samples():
    valid = np.ones(20, bool)
    valid[9] = False
    recording = _recording(np.arange(20), valid)
    assert recording.frames(5, 5)[:, 0].tolist() == [0, 10, 15]
    assert recording.starts(5).tolist() == [0, 1, 2, 3, 4, 10, 11, 12, 13, 14, 15]


def test_frames_leave_out_constant_stretches():
    recording = _recording([1, 2, 2, 2, 2, 3, 1, 2])
    assert recording.starts(4).tolist() == [0, 2, 3, 4]
    assert recording.frames(4, 1).tolist() == [[1, 2, 2, 2], [2, 2, 2, 3], [2, 2, 3, 1], [2, 3, 1, 2]]


def test_short_recording_has_no_frames():
    assert _recording([1, 2, 3]).frames(4, 4).shape == (0, 4)


def test_resampling_keeps_the_wave():
    recording = resample("wave", _wave(20, 100), 100.0, 64.0)
    expected = _wave(20, 64)
    assert len(recording.samples) == len(expected)
    inner = slice(64, -64)
    assert np.abs(recording.samples[inner] - expected[inner]).max() <= 1.0
    assert recording.valid.all()


@pytest.mark.parametrize("rate_hz", [64.0, 200.0])
def test_resampling_makes_no_step_at_the_ends(rate_hz):
    """A padded zero, or a level held, would bend a line that starts high and rises."""
    line = 3000.0 + 5.0 * np.arange(1000)
    found = resample("line", line, 125.0, rate_hz).samples
    at = np.arange(len(found)) * 125.0 / rate_hz
    assert np.abs(found - (3000.0 + 5.0 * at)).max() <= 3


def test_resampling_never_overshoots_the_sensor():
    square = np.where(np.arange(1000) % 100 < 50, 0.0, 1023.0) + (np.arange(1000) % 2)
    recording = resample("square", square, 100.0, 64.0)
    assert recording.samples.min() >= 0
    assert recording.samples.max() <= 1024


def test_stuck_flat_and_missing_samples_are_invalid():
    samples = np.rint(_wave(20, 100))
    samples[300:330] = 0
    samples[800] = np.nan
    samples[1200:1500] = 500 + np.arange(300) % 2
    bad = invalid_samples(samples, 100.0)
    assert bad[300:330].all()
    assert bad[800]
    assert bad[1200:1500].all()
    assert not bad[400:780].any()
    assert not bad[1550:].any()


@pytest.mark.parametrize("length", [2, 3, 4, 7, 8, 20])
def test_ranges_of_windows(length):
    values = np.random.default_rng(length).normal(size=20)
    expected = [np.ptp(values[start : start + length]) for start in range(20 - length + 1)]
    assert np.array_equal(_window_ranges(values, length), expected)
    assert len(_window_ranges(values, 21)) == 0


def test_clipped_peaks_are_valid():
    samples = np.minimum(np.rint(_wave(20, 100)), 690.0)
    assert not invalid_samples(samples, 100.0).any()


@pytest.mark.parametrize("suffix", ["npy", "npz", "csv"])
def test_files(tmp_path, suffix):
    path = tmp_path / f"ppg.{suffix}"
    counts = np.rint(np.stack([_wave(5, 64), _wave(5, 64, 2.0)])).astype(np.int16)
    if suffix == "npy":
        np.save(path, counts)
    elif suffix == "npz":
        np.savez(path, counts)
    else:
        np.savetxt(path, counts, fmt="%d", delimiter=",")
    found = file_recordings(path, 64.0, Reading(64.0))
    assert [recording.name for recording in found] == [f"ppg.{suffix}#0", f"ppg.{suffix}#1"]
    assert np.array_equal([recording.samples for recording in found], counts)


def test_missing_samples_are_bridged_and_marked(tmp_path):
    samples = np.rint(_wave(5, 64))
    samples[100] = np.nan
    np.save(tmp_path / "gap.npy", samples)
    (found,) = file_recordings(tmp_path / "gap.npy", 64.0, Reading(64.0))
    assert abs(found.samples[100] - (samples[99] + samples[101]) / 2) <= 1
    assert not found.valid[100]
    assert found.valid[50]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([1e6, 1e6 + 1.5]), "16 bits leave the signal"),
        (np.array([np.nan, np.nan]), "finite"),
        (np.zeros((2, 2, 2)), "expected numbers"),
        (np.array([]), "expected numbers"),
        (np.array(["x"]), "expected numbers"),
    ],
)
def test_bad_files(tmp_path, array, message):
    np.save(tmp_path / "bad.npy", array)
    with pytest.raises(InputError, match=message):
        file_recordings(tmp_path / "bad.npy", 64.0, Reading(64.0))


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        file_recordings(tmp_path / "none.npy", 64.0)


def test_heartpy():
    require("module:heartpy", "module:scipy")
    found = heartpy_recordings(64.0)
    assert {name: round(len(recording.samples) / 64) for name, recording in found.items()} == {
        "data": 25,
        "data2": 128,
        "data3": 682,
    }
    for recording in found.values():
        assert recording.samples.dtype == np.int16
        assert 0 <= recording.samples.min() <= recording.samples.max() <= 1023
    # data2 starts with the sensor off the skin and later stays at 0 for seven seconds.
    assert not found["data2"].valid[: 2 * 64].any()
    assert not found["data2"].valid[found["data2"].samples == 0].any()
    assert found["data2"].valid[30 * 64 :].all()
    assert found["data3"].valid.mean() > 0.99
    assert found["data"].valid.all()
