"""Recordings as people have them: rates, scales, gaps, tables, data sets; good, odd and hostile."""

from __future__ import annotations

import os
import pickle
import struct
import sys
import tracemalloc
import zipfile
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgecodec.errors import InputError
from edgecodec.signal import reading as reading_module
from edgecodec.signal import tables as tables_module
from edgecodec.signal.arrays import read_npz
from edgecodec.signal.collection import find_files
from edgecodec.signal.frames import frames_npz, load_frames, read_frames
from edgecodec.signal.reader import file_recordings, read_counts
from edgecodec.signal.reading import Reading
from edgecodec.signal.sources import CLIPPED, FLAT, GAP, GOOD, find_flaws, resample
from tests.tools import require

PULSE_HZ = 1.3


def pulse(seconds, rate_hz, offset=20000.0, amplitude=1000.0):
    """A pulse of two harmonics, float64."""
    phase = 2 * np.pi * PULSE_HZ * np.arange(round(seconds * rate_hz)) / rate_hz + 1.0
    return offset + amplitude * np.sin(phase) + 0.2 * amplitude * np.sin(2 * phase)


def counts(*arguments):
    return np.rint(pulse(*arguments)).astype(np.int16)


def refused(path, match, samples=320, codec_hz=64.0, reading=None):
    with pytest.raises(InputError, match=match) as caught:
        read_frames(path, samples, codec_hz, reading or Reading())
    assert Path(str(path)).name in str(caught.value)
    assert "\n" not in str(caught.value)


class TestRates:
    """A rate is never guessed."""

    def test_none_is_refused_where_the_codec_has_one(self, tmp_path):
        np.save(tmp_path / "frames.npy", counts(5, 64)[None])
        np.save(tmp_path / "recording.npy", counts(60, 125))
        (tmp_path / "column.csv").write_text("\n".join(map(str, counts(60, 125))))
        for name in ("frames.npy", "recording.npy", "column.csv"):
            refused(tmp_path / name, "does not say its sampling rate; the codec's is 64 Hz; give it with --rate HZ")
        with pytest.raises(InputError, match="does not say its sampling rate"):
            file_recordings(tmp_path / "recording.npy", 64.0)

    def test_none_is_fine_where_the_codec_has_none(self, tmp_path):
        np.save(tmp_path / "frames.npy", counts(5, 64)[None])
        found = read_frames(tmp_path / "frames.npy", 320, None)
        assert np.array_equal(found.frames, counts(5, 64)[None])
        assert found.summary.describe() == "1 file, 1 recording, rate not known, 1 frame used"

    def test_the_users_and_the_files(self, tmp_path):
        np.savez(tmp_path / "said.npz", frames=counts(5, 64)[None], rate_hz=64)
        np.save(tmp_path / "unsaid.npy", counts(60, 125))
        assert len(load_frames(tmp_path / "said.npz", 320, 64.0)) == 1
        found = read_frames(tmp_path / "unsaid.npy", 320, 64.0, Reading(rate_hz=125))
        assert found.frames.shape == (12, 320)
        assert found.summary.describe() == "1 file, 1 recording, 125 -> 64 Hz, 60 s used"
        refused(tmp_path / "said.npz", "says 64 Hz, but --rate .* says 125 Hz", reading=Reading(rate_hz=125))

    def test_frames_are_kept_to_the_bit(self, tmp_path):
        odd = np.random.default_rng(0).integers(-32768, 32768, (3, 320)).astype(np.int16)
        odd[1] = 7
        (tmp_path / "frames.npz").write_bytes(frames_npz(odd, 64.0))
        assert np.array_equal(load_frames(tmp_path / "frames.npz", 320, 64.0), odd)

    @pytest.mark.parametrize("rate", [0, -64, np.nan, np.array([64, 125]), "64", np.array([])])
    def test_rates_that_are_none(self, tmp_path, rate):
        np.savez(tmp_path / "bad.npz", frames=counts(5, 64)[None], rate_hz=rate)
        refused(tmp_path / "bad.npz", "sampling rate is")

    @pytest.mark.parametrize("rate", [1e-3, 0.9, 25000, 999999.0])
    def test_rates_that_no_sensor_has(self, tmp_path, rate):
        np.savez(tmp_path / "bad.npz", frames=counts(60, 64)[None], rate_hz=rate)
        refused(tmp_path / "bad.npz", "Hz is no sampling rate of PPG; expected 1 to 20,000 Hz")

    @pytest.mark.parametrize("native_hz", [63.77, 64.001, 117.0123, 19999.0])
    def test_odd_rates_keep_time(self, native_hz):
        """An hour and more is as long after resampling, to a sample in 100,000."""
        found = resample("pulse", np.rint(pulse(20, native_hz)), native_hz, 64.0)
        assert abs(len(found.samples) - 1280) <= 1
        assert np.abs(found.samples[600:1200] - pulse(20, 64.0)[600:1200]).max() < 0.01 * 721

    @pytest.mark.parametrize("native_hz", [125.0, 100.0, 25.0, 250.0])
    def test_resampling_rings_at_neither_end(self, native_hz):
        """A step to zero at the ends put errors of seven standard deviations there."""
        found = resample("pulse", np.rint(pulse(20, native_hz)), native_hz, 64.0)
        expected = pulse(20, 64.0)
        assert len(found.samples) == len(expected)
        # The last sample may lie after the last one recorded.
        error = np.abs(found.samples - expected)[: int(64 * (20 - 1 / native_hz)) + 1]
        assert max(error[:32].max(), error[-32:].max()) < 0.02 * expected.std()
        assert error[32:-32].max() < 0.01 * expected.std()


class TestRows:
    """Rows longer than a frame are cut; what cannot be used is left out and said."""

    @pytest.mark.parametrize(
        ("length", "frames", "said"),
        [(624, 3, "15 s used, 14 s dropped (rest of frames 14 s)"), (640, 6, "30 s used")],
    )
    def test_longer_rows_are_cut(self, tmp_path, length, frames, said):
        rows = np.stack([counts(10, 64)[:length]] * 3)
        np.savez(tmp_path / "rows.npz", frames=rows, rate_hz=64.0)
        found = read_frames(tmp_path / "rows.npz", 320, 64.0)
        assert len(found.frames) == frames
        assert np.array_equal(found.frames[0], rows[0, :320])
        assert found.summary.describe() == f"1 file, 3 recordings, 64 Hz, {said}"

    def test_frames_of_another_rate_become_frames(self, tmp_path):
        np.savez(tmp_path / "rows.npz", frames=np.stack([counts(5, 125)] * 2), rate_hz=125.0)
        found = read_frames(tmp_path / "rows.npz", 320, 64.0)
        assert found.frames.shape == (2, 320)
        assert np.abs(found.frames[0] - pulse(5, 64)).max() < 20

    def test_what_was_read_used_and_dropped(self, tmp_path):
        samples = np.rint(pulse(40, 64))
        samples[640:704] = np.nan
        samples[1600:1664] = np.nanmax(samples) + 50
        samples[2000:2032] = samples[2000]
        np.savez(tmp_path / "a.npz", adc=samples[None], subject=["ada"], rate_hz=64.0)
        np.savez(tmp_path / "b.npz", adc=samples[None], subject=["ben"], rate_hz=64.0)
        found = read_frames(tmp_path, 320, 64.0)
        assert len(found.frames) == 2 * 5
        assert (found.summary.used_s, found.summary.dropped_s) == (50.0, 30.0)
        margin = 2 * round(0.1 * 64)
        assert found.summary.gap_s == pytest.approx(2 * (64 + margin) / 64)
        assert found.summary.clipped_s == pytest.approx(2 * (64 + margin) / 64)
        assert found.summary.flat_s == pytest.approx(2 * (32 + margin) / 64)
        expected = "2 people, 2 recordings, 64 Hz, 50 s used, 30 s dropped (gaps 2.4 s, clipped 2.4 s, flat 1.4 s, "
        assert found.summary.describe() == f"{expected}rest of frames 24 s)"

    def test_frames_with_gaps_are_dropped(self, tmp_path):
        frames = np.stack([pulse(5, 64)] * 3).round()
        frames[1, 17] = np.nan
        np.savez(tmp_path / "f.npz", frames=frames, rate_hz=64)
        found = read_frames(tmp_path / "f.npz", 320, 64.0)
        assert found.summary.describe() == "1 file, 3 recordings, 64 Hz, 10 s used, 5 s dropped (gaps 5 s)"
        np.savez(tmp_path / "f.npz", frames=frames[1:2], rate_hz=64)
        refused(tmp_path / "f.npz", "NaN or infinity at frame 0, sample 17")

    def test_nothing_usable_says_why(self, tmp_path):
        np.savez(tmp_path / "flat.npz", frames=np.full((1, 6400), 5), rate_hz=64)
        refused(tmp_path / "flat.npz", r"no 320 usable samples in a row of its 100\.0 s \(100\.0 s clipped\)")
        np.savez(tmp_path / "short.npz", frames=counts(4, 125)[None], rate_hz=125)
        refused(tmp_path / "short.npz", "rows of 500 samples; a frame of this codec needs 320 at 64 Hz")

    def test_flaws_by_kind(self):
        samples = np.rint(pulse(20, 100))
        samples[100] = np.nan
        samples[500:530] = samples[~np.isnan(samples)].max()
        samples[900:930] = samples[900]
        flaws = find_flaws(samples, 100.0)
        assert (flaws[100], flaws[515], flaws[915], flaws[700]) == (GAP, CLIPPED, FLAT, GOOD)


class TestCounts:
    """Numbers that are no int16 counts, by the rule of SPEC.md 4."""

    def read(self, tmp_path, values, **options):
        np.savez(tmp_path / "f.npz", frames=np.atleast_2d(values), rate_hz=64)
        found = read_frames(tmp_path / "f.npz", 320, 64.0, Reading(**options))
        return found.frames[0].astype(int), found.summary.notes

    def test_fractions(self, tmp_path):
        values = pulse(5, 64, 0.0, 1.0)
        found, notes = self.read(tmp_path, values)
        # The largest magnitude lies between 1 and 2, so it is multiplied by 2^13.
        assert np.array_equal(found, np.rint(values * 8192))
        assert notes[0].startswith("values times 2^13, rounded with noise of 0.0")
        assert np.array_equal(self.read(tmp_path, values * 2.0**40)[0], found)

    def test_unsigned_16_bits(self, tmp_path):
        values = counts(5, 64, 0.0, 9000.0).astype(np.uint16) + np.uint16(40000)
        found, notes = self.read(tmp_path, values.astype(np.uint16))
        assert np.array_equal(found, values.astype(int) - 32768)
        assert notes == ("unsigned 16-bit counts less 32,768, which the device must subtract, too",)

    def test_24_bits(self, tmp_path):
        values = np.rint(pulse(5, 64, 4e6, 20000.0)).astype(np.int32)
        found, notes = self.read(tmp_path, values)
        # 4,024,000 needs 22 bits and a sign: 7 are shifted out.
        assert np.array_equal(found, values >> 7)
        noise = 100 * 128 / np.sqrt(12) / values.std()
        assert notes == (f"counts shifted right by 7 bits, with noise of {noise:.2g} % of the signal",)

    def test_a_small_signal_on_a_large_offset_is_refused(self, tmp_path):
        np.savez(tmp_path / "f.npz", frames=np.rint(pulse(5, 64, 8e6, 300.0))[None], rate_hz=64)
        refused(tmp_path / "f.npz", "16 bits leave the signal 0.8. counts of standard deviation .* subtract the sensor")

    def test_a_scale_of_the_users(self, tmp_path):
        found, notes = self.read(tmp_path, pulse(5, 64, 0.0, 1.0), scale=1000)
        assert np.array_equal(found, np.rint(1000 * pulse(5, 64, 0.0, 1.0)))
        assert notes == ("values multiplied by 1000 and rounded",)
        refused(tmp_path / "f.npz", "outside int16; at most", reading=Reading(scale=1e6))


def csv(path, rows, header=None, delimiter=","):
    lines = [] if header is None else [header]
    path.write_text("\n".join([*lines, *(delimiter.join(map(str, row)) for row in rows)]) + "\n")
    return path


def peak_bytes(read):
    """The most memory that Python and numpy have at a time in ``read``, which they had not before."""
    tracemalloc.start()
    try:
        read()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class TestMemoryOfText:
    """A CSV is read a piece at a time, by columns: what is in memory is arrays."""

    def test_at_most_five_times_the_file(self, tmp_path, monkeypatch):
        monkeypatch.setattr(tables_module, "_PIECE", 1 << 12)
        samples = np.tile(counts(100, 64), 4)
        times = [f"{i / 64:.6f}" for i in range(len(samples))]
        lines = {
            "column": ["ppg", *map(str, samples)],
            "rows": [",".join(map(str, row)) for row in samples.reshape(-1, 100)],
            "timed": ["time,ppg", *(f"{time},{sample}" for time, sample in zip(times, samples, strict=True))],
            "missing": [
                *("time;ppg", "0;"),
                *(f"{time};{sample}" for time, sample in zip(times[1:], samples[1:], strict=True)),
            ],
        }
        for kind, text in lines.items():
            path = tmp_path / f"{kind}.csv"
            path.write_text("\n".join(text))
            read = partial(read_counts, path, None)
            read()  # what is imported
            assert peak_bytes(read) < 5 * path.stat().st_size, kind
            assert read()[0].counts.size == samples.size

    def test_lines_that_are_too_long(self, tmp_path, monkeypatch):
        monkeypatch.setattr(tables_module, "TABLE_LINE", 2000)
        monkeypatch.setattr(tables_module, "_PIECE", 500)
        row = ",".join(map(str, counts(5, 64)))
        path = tmp_path / "long.csv"
        path.write_text(f"{row}\n{row}")
        assert read_counts(path, None)[0].counts.shape == (2, 320)
        for text in (f"{row},{row}", f"{row}\n{row},{row}\n{row}", "#" + "x" * 3000, f"{row}\n{row},1" + 2000 * ","):
            path.write_text(text)
            refused(path, "a line of more than 2,000 characters, .*; write a sample a line", codec_hz=None)

    @pytest.mark.parametrize("piece", [1, 2, 7, 1 << 18])
    def test_pieces_end_anywhere(self, tmp_path, monkeypatch, piece):
        monkeypatch.setattr(tables_module, "_PIECE", piece)
        text = '\ufeff# made by hand\r\n\r\ntime;"ppg, left"\n0;1,5\n\n# more\n0,015625;"2,25"\r\n0,03125;-3\n'
        (tmp_path / "a.csv").write_bytes(text.encode())
        rows = tables_module.read_csv(tmp_path / "a.csv", Reading())
        assert (rows.values.tolist(), rows.rate_hz) == ([[1.5, 2.25, -3.0]], 64.0)
        (tmp_path / "b.csv").write_bytes(text.replace("-3", "\u2013").encode())
        refused(tmp_path / "b.csv", r"line 8, column 'ppg. left': '\u2013' is no number")


class TestTables:
    @pytest.mark.parametrize(
        ("header", "unit"),
        [
            ("Time [s],PLETH", 1.0),
            ("time_ms,PLETH", 1e3),
            ("time,PLETH", 1e3),
            ("timestamp (us),PLETH", 1e6),
            ("t,PLETH", 1e9),
        ],
    )
    def test_a_time_column_says_the_rate(self, tmp_path, header, unit):
        samples = counts(20, 125)
        path = csv(tmp_path / "a.csv", [(f"{i * unit / 125:.6f}", s) for i, s in enumerate(samples)], header)
        found = read_frames(path, 320, 64.0)
        assert found.summary.recorded_hz == (125.0,)
        assert np.abs(found.frames[0] - pulse(5, 64)).max() < 20
        unsaid = header in ("time,PLETH", "t,PLETH")
        assert bool(found.summary.notes) == unsaid, "a unit that the header does not say is said"

    def test_times_of_day_gaps_and_delimiters(self, tmp_path):
        samples = counts(30, 64)
        stamps = [f"2024-05-01T10:00:{i / 64:09.6f}" for i in range(len(samples))]
        rows = [row for i, row in enumerate(zip(stamps, samples, strict=True)) if not 700 <= i < 764]
        found = read_frames(csv(tmp_path / "a.csv", rows, "time;green_ppg", ";"), 320, 64.0)
        assert found.summary.recorded_hz == (64.0,)
        assert found.summary.gap_s == pytest.approx(1.2, abs=0.05)
        assert len(found.frames) == 5
        assert np.array_equal(found.frames[0], samples[:320])

    def test_decimal_commas(self, tmp_path):
        rows = [(f"{i / 64:.6f}".replace(".", ","), s) for i, s in enumerate(counts(5, 64))]
        assert len(load_frames(csv(tmp_path / "a.csv", rows, "Time;PPG", ";"), 320, 64.0)) == 1

    def test_units_on_a_second_line(self, tmp_path):
        rows = [(f"{i / 125:.3f}", s) for i, s in enumerate(counts(10, 125))]
        path = csv(tmp_path / "a.csv", [("'seconds'", "'NU'"), *rows], "'Elapsed time','PLETH'")
        assert read_frames(path, 320, 64.0).summary.recorded_hz == (125.0,)

    def test_columns(self, tmp_path):
        rows = [(i / 64, 1, s, s + 1) for i, s in enumerate(counts(5, 64))]
        path = csv(tmp_path / "a.csv", rows, "time,hr,ppg_red,ppg_ir")
        refused(path, "a single column of PPG not found; its columns are hr, ppg_red, ppg_ir; name one with --column")
        for column in ("ppg_ir", "PPG_IR", "4"):
            assert np.array_equal(load_frames(path, 320, 64.0, Reading(column=column))[0], counts(5, 64) + 1)
        refused(path, "column 'green' not found", reading=Reading(column="green"))
        refused(csv(tmp_path / "b.csv", [row[:1] for row in rows], "time"), "its columns are none")

    def test_a_wrong_column(self, tmp_path):
        rows = [(i / 64, "walking" if i == 3 else "x", s) for i, s in enumerate(counts(5, 64))]
        path = csv(tmp_path / "a.csv", rows, "time,label,ppg")
        refused(path, "line 2, column 'label': 'x' is no number", reading=Reading(column="label"))

    @pytest.mark.parametrize(
        ("times", "message"),
        [
            ([0, 1, 0.5], "goes back at sample 2"),
            ([0, "", 2], "no time at sample 1"),
            ([3, 3, 3], "stands still"),
            ([0, 0.2, 0.4], "no rate of PPG in any unit"),
        ],
    )
    def test_times_that_are_none(self, tmp_path, times, message):
        refused(csv(tmp_path / "a.csv", [(t, 1) for t in times], "time,ppg"), message)

    def test_a_gap_that_would_fill_the_memory(self, tmp_path):
        """A decimal point that is missing, found by fuzzing: 525 bytes took 1.5 GB."""
        path = csv(tmp_path / "a.csv", [(t, 1) for t in [*(i / 64 for i in range(40)), 609375]], "time,ppg")
        tracemalloc.start()
        try:
            refused(path, "38,999,960 samples are missing between 41, in gaps of up to 609,374 s")
            assert tracemalloc.get_traced_memory()[1] < 1 << 22
        finally:
            tracemalloc.stop()

    def test_a_long_gap_between_long_recordings(self, tmp_path, monkeypatch):
        """What may be missing grows with what is there."""
        monkeypatch.setattr(tables_module, "_MOST_MISSING", 1000)
        for missing, ok in ((5000, True), (5001, False)):
            times = [(i if i < 20 else i + missing) / 64 for i in range(40)]
            path = csv(tmp_path / "a.csv", [(t, 1) for t in times], "time [s],ppg")
            if ok:
                assert tables_module.read_csv(path, Reading()).values.shape == (1, 5040)
            else:
                refused(path, "5,001 samples are missing between 40, in gaps of up to 78 s")

    def test_a_said_unit_that_cannot_be(self, tmp_path):
        rows = [(8 * i, s) for i, s in enumerate(counts(10, 125))]
        refused(csv(tmp_path / "a.csv", rows, "time [s],ppg"), r"0\.125 Hz is no rate of PPG; is its unit another\?")

    def test_a_count_of_samples_is_no_time(self, tmp_path):
        path = csv(tmp_path / "a.csv", list(enumerate(counts(5, 64))), "t,ppg")
        refused(path, "does not say its sampling rate")
        assert len(load_frames(path, 320, 64.0, Reading(rate_hz=64))) == 1

    def test_empatica(self, tmp_path):
        path = csv(tmp_path / "BVP.csv", [("1544027337.0",), ("64.0",), *((f"{s:.2f}",) for s in pulse(10, 64, 0, 50))])
        found = read_frames(path, 320, 64.0)
        assert (len(found.frames), found.summary.recorded_hz) == (2, (64.0,))

    def test_parquet(self, tmp_path, monkeypatch):
        """By a stand-in for pyarrow, which the tests do without."""
        stamps = np.arange(1280) * np.timedelta64(15625, "us") + np.datetime64("2024-05-01")
        held = {"timestamp": stamps, "ppg": counts(20, 64)}

        class ParquetFile:
            metadata = SimpleNamespace(num_rows=1280)
            schema_arrow = SimpleNamespace(names=list(held))

            def __init__(self, file):
                assert file.read(4) == b"PAR1"

            def read(self, columns):
                chunk = SimpleNamespace(to_numpy=lambda zero_copy_only: held[columns[0]])
                return SimpleNamespace(column=lambda index: chunk)

        (tmp_path / "a.parquet").write_bytes(b"PAR1")
        parquet = SimpleNamespace(ParquetFile=ParquetFile)
        monkeypatch.setitem(sys.modules, "pyarrow", SimpleNamespace(parquet=parquet))
        monkeypatch.setitem(sys.modules, "pyarrow.parquet", parquet)
        found = read_frames(tmp_path / "a.parquet", 320, 64.0)
        assert (len(found.frames), found.summary.recorded_hz) == (4, (64.0,))
        monkeypatch.setattr(ParquetFile, "metadata", SimpleNamespace(num_rows=1 << 40))
        refused(tmp_path / "a.parquet", "samples; at most")
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        refused(tmp_path / "a.parquet", r"needs pyarrow .*; pip install \"edgecodec\[records\]\"")


class TestMatlab:
    @pytest.fixture(autouse=True)
    def _scipy(self):
        require("module:scipy")

    def test_variables(self, tmp_path):
        from scipy.io import savemat

        path = tmp_path / "a.mat"
        savemat(path, {"ppg": counts(20, 125)[:, None], "Fs": 125.0, "age": 30.0, "ecg": np.zeros(9)})
        refused(path, "expected an array 'frames'")
        found = read_frames(path, 320, 64.0, Reading(column="ppg"))
        assert (len(found.frames), found.summary.recorded_hz) == (4, (125.0,))

    def test_version_7_3(self, tmp_path):
        (tmp_path / "a.mat").write_bytes(b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n")
        refused(tmp_path / "a.mat", "HDF5 format of version 7.3; save it as -v7")


class TestDataSets:
    """Small files in the layouts of public data sets."""

    @staticmethod
    def wrist(path, subject, protocol=2):
        path.parent.mkdir(parents=True, exist_ok=True)
        bvp = pulse(20, 64, 0.0, 60.0)[:, None]
        wrist = {"BVP": bvp, "ACC": np.zeros((9, 3)), "EDA": np.zeros((4, 1)), "TEMP": np.zeros((4, 1))}
        document = {
            "signal": {"wrist": wrist, "chest": {"ECG": np.zeros((9, 1))}},
            "subject": subject,
            "label": np.zeros(3),
            "activity": np.zeros((3, 1)),
            "questionnaire": {"AGE": 34, "Gender": " m"},
        }
        path.write_bytes(pickle.dumps(document, protocol=protocol))
        return bvp[:, 0]

    @pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
    def test_dalia_and_wesad(self, tmp_path, protocol):
        bvp = self.wrist(tmp_path / "S1" / "S1.pkl", "S1", protocol)
        self.wrist(tmp_path / "S2" / "S2.pkl", "S2", protocol)
        (tmp_path / "S1" / "S1_activity.csv").write_text("# SUBJECT_ID,S1\nSTART,0\n")
        (tmp_path / "S1" / "S1_quest.csv").write_text("# AGE,34\n")
        found = read_frames(tmp_path, 320, 64.0)
        assert (found.summary.people, found.summary.recorded_hz, len(found.frames)) == (2, (64.0,), 8)
        # Up to 71.4 in magnitude: times 2^7.
        assert np.array_equal(found.frames[0], np.rint(bvp[:320] * 128))
        files = find_files([str(tmp_path)])
        assert [person for file in files for person in file.people("subject")] == ["S1", "S2"]

    def test_pickles_run_nothing(self, tmp_path):
        class Evil:
            def __reduce__(self):
                return (os.system, ("touch ran",))

        for number, document in enumerate(({"signal": Evil()}, Evil(), np.array([Evil()], dtype=object))):
            path = tmp_path / f"S{number}.pkl"
            path.write_bytes(pickle.dumps(document))
            refused(path, r"it names (posix|nt)\.system; only numpy arrays are unpickled|only numpy arrays")
        assert not Path("ran").exists()

    @pytest.mark.parametrize(
        "document",
        [{}, [], {"signal": {"wrist": {"BVP": 3}}}, {"signal": {"wrist": {"BVP": np.array(["x"])}}},
         {"signal": {"wrist": {"BVP": np.zeros(0)}}}, {"signal": []}],
    )  # fmt: skip
    def test_pickles_of_something_else(self, tmp_path, document):
        (tmp_path / "S1.pkl").write_bytes(pickle.dumps(document))
        refused(tmp_path / "S1.pkl", "S1.pkl")

    def test_damaged_pickles(self, tmp_path):
        self.wrist(tmp_path / "S1.pkl", "S1")
        whole = (tmp_path / "S1.pkl").read_bytes()
        others = (b"\x80\x02}q\x00.", b"garbage", b"\x80\x04\x95" + b"\xff" * 8)
        for content in (b"", whole[:20], whole[: len(whole) // 2], *others):
            (tmp_path / "S1.pkl").write_bytes(content)
            refused(tmp_path / "S1.pkl", "S1.pkl")

    def test_bidmc(self, tmp_path):
        folder = tmp_path / "bidmc_csv"
        folder.mkdir()
        for person in ("01", "02"):
            pleth = pulse(60, 125, 0.5, 0.2)
            rows = [(f"{i / 125:g}", 0.1, f"{value:.5f}", 0.4, 0.5, 0.6) for i, value in enumerate(pleth)]
            csv(folder / f"bidmc_{person}_Signals.csv", rows, "Time [s], RESP, PLETH, V, AVR, II")
            csv(folder / f"bidmc_{person}_Numerics.csv", [(0, 80, 80, 16, 98)], "Time [s], HR, PULSE, RESP, SpO2")
            csv(folder / f"bidmc_{person}_Breaths.csv", [(7, 9)], "breaths ann1 [signal sample no], breaths ann2")
            (tmp_path / f"bidmc{person}.hea").write_text("damaged")
            (tmp_path / f"bidmc{person}n.hea").write_text("damaged")
        summary = read_frames(tmp_path, 320, 64.0).summary
        assert (summary.people, summary.recordings, summary.recorded_hz, summary.used_s) == (2, 2, (125.0,), 120.0)

    def test_bidmc_in_matlab(self, tmp_path):
        require("module:scipy")
        from scipy.io import savemat

        record = np.dtype([("ppg", object), ("ekg", object)])
        data = np.empty((1, 2), record)
        for i in range(2):
            data[0, i] = ({"v": pulse(20 + i, 125, 0.5, 0.2)[:, None], "fs": 125}, {"v": np.zeros((9, 1)), "fs": 125})
        savemat(tmp_path / "bidmc_data.mat", {"data": data})
        summary = read_frames(tmp_path, 320, 64.0).summary
        assert (summary.people, summary.recordings, summary.recorded_hz) == (2, 2, (125.0,))

    def test_but_ppg(self, tmp_path):
        require("module:wfdb")
        import wfdb

        for name in ("100001", "100002", "112001"):
            (tmp_path / name).mkdir()
            ppg = np.rint(pulse(10, 30, 200.0, 20.0))[:, None]
            for kind, hz, signal in (("PPG", 30, ppg), ("ECG", 1000, np.ones((90, 1)))):
                wfdb.wrsamp(f"{name}_{kind}", fs=hz, units=["NU"], sig_name=[kind], p_signal=signal, fmt=["16"],
                            adc_gain=[1.0], baseline=[0], write_dir=str(tmp_path / name))  # fmt: skip
        (tmp_path / "quality-hr-ann.csv").write_text("ID,Quality,HR\n100001,1,70\n")
        found = read_frames(tmp_path, 320, 64.0)
        assert (found.summary.people, found.summary.recordings, found.summary.recorded_hz) == (2, 3, (30.0,))
        assert len(found.frames) == 6


class TestHostileFiles:
    def test_pipes_and_devices(self, tmp_path):
        for suffix in (".npz", ".npy", ".csv", ".parquet", ".mat", ".edf", ".hea", ".pkl"):
            os.mkfifo(tmp_path / f"pipe{suffix}")
            refused(tmp_path / f"pipe{suffix}", "is no regular file")
        (tmp_path / "zero.npy").symlink_to("/dev/zero")
        refused(tmp_path / "zero.npy", "is no regular file")
        with pytest.raises(InputError, match="no recordings there"):
            read_frames(tmp_path, 320, 64.0)

    def test_a_record_whose_samples_are_a_pipe(self, tmp_path):
        require("module:wfdb")
        (tmp_path / "a.hea").write_text("a 1 64 640\na.dat 16 200 12 0 0 0 0 PLETH\n")
        os.mkfifo(tmp_path / "a.dat")
        with pytest.raises(InputError, match=r"a\.dat: is no regular file"):
            read_frames(tmp_path / "a.hea", 320, 64.0)
        (tmp_path / "a.hea").write_text("a 1 64 999999999999\na.dat 16 200 12 0 0 0 0 PLETH\n")
        (tmp_path / "a.dat").unlink()
        (tmp_path / "a.dat").write_bytes(bytes(64))
        refused(tmp_path / "a.hea", "samples; at most")

    def test_sizes_are_refused_before_they_are_read(self, tmp_path, monkeypatch):
        header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,), }"
        header = header.ljust(117) + b"\n"
        huge = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
        (tmp_path / "huge.npy").write_bytes(huge)
        refused(tmp_path / "huge.npy", "huge.npy")
        with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("frames.npy", huge + bytes(1 << 16))
        refused(tmp_path / "bomb.npz", "bomb.npz")
        monkeypatch.setattr(reading_module, "MOST_SAMPLES", 1000)
        np.save(tmp_path / "long.npy", np.zeros(1001, np.int16))
        refused(tmp_path / "long.npy", "1,001 samples; at most 1,000 are read")
        with (tmp_path / "long.csv").open("wb") as file:
            file.truncate(1 << 30)
        refused(tmp_path / "long.csv", "1,073,741,824 bytes; at most")

    def test_random_bytes(self, tmp_path):
        rng = np.random.default_rng(1)
        heads = {
            ".npz": b"PK\x03\x04",
            ".npy": b"\x93NUMPY\x01\x00",
            ".csv": b"time,ppg\n1,",
            ".edf": b"0       ",
            ".hea": b"a 1 30 9\n",
            ".mat": b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM",
            ".pkl": b"\x80\x02}",
        }
        for suffix, head in heads.items():
            for _ in range(8):
                (tmp_path / f"f{suffix}").write_bytes(head + rng.bytes(int(rng.integers(0, 300))))
                refused(tmp_path / f"f{suffix}", f"f{suffix}")


@pytest.mark.parametrize("name", ["acc_x", "ACC", "Heart Rate", "hr", "ECG II", "temperature", "eda", "spo2"])
def test_the_only_column_is_not_taken_when_it_is_called_like_another_sensors(tmp_path, name):
    rows = [[n / 64, 2000 + 300 * np.sin(n / 8)] for n in range(640)]
    path = csv(tmp_path / "r.csv", rows, f"time,{name}")
    with pytest.raises(InputError, match=rf"r\.csv: its only column, '{name}', is called like another.*--column"):
        read_counts(path, 64.0)
    assert read_counts(path, 64.0, Reading(column=name))[0].rate_hz == pytest.approx(64.0)


@pytest.mark.parametrize("name", ["value", "green", "adc", "signal", "accumulated", "three"])
def test_the_only_column_is_taken_else(tmp_path, name):
    rows = [[n / 64, 2000 + 300 * np.sin(n / 8)] for n in range(640)]
    assert len(read_counts(csv(tmp_path / "r.csv", rows, f"time,{name}"), 64.0)) == 1


@pytest.mark.parametrize("name", ["adc", "subject", "rhythm"])
def test_no_array_of_an_archive_is_unpacked_that_is_too_large(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names of people and rhythms can be bombs as well as samples can."""
    arrays = {"adc": np.ones((4, 64), np.int16), "subject": np.array(list("abcd")), "rhythm": np.arange(4)}
    arrays[name] = np.ones((4, 64 * 64), np.int16) if name == "adc" else np.array(["x" * 500] * 4)
    np.savez_compressed(tmp_path / "bomb.npz", **arrays, rate_hz=64.0)
    monkeypatch.setattr("edgecodec.signal.reading.MOST_SAMPLES", 900)
    with pytest.raises(InputError, match=rf"bomb\.npz: {name}: .* samples; at most 900 are read"):
        read_npz(tmp_path / "bomb.npz", Reading())
