"""Frames from the user's files, good and bad."""

from __future__ import annotations

import importlib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from edgecodec.errors import InputError
from edgecodec.signal.frames import cut_frames, load_frames, read_frames
from edgecodec.signal.reading import Reading

FRAMES = np.arange(24, dtype=np.int16).reshape(3, 8)


@pytest.mark.parametrize("dtype", ["int16", "uint8", "int64", "float32", ">i4"])
def test_npy_of_any_whole_type(tmp_path: Path, dtype: str) -> None:
    np.save(tmp_path / "f.npy", FRAMES.astype(dtype))
    loaded = load_frames(tmp_path / "f.npy", 8)
    assert loaded.dtype == np.int16
    assert loaded.flags.c_contiguous
    np.testing.assert_array_equal(loaded, FRAMES)


def test_npz_by_name_or_only_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "named.npz", frames=FRAMES, other=np.zeros(3))
    np.savez(tmp_path / "only.npz", anything=FRAMES)
    np.testing.assert_array_equal(load_frames(tmp_path / "named.npz", 8), FRAMES)
    np.testing.assert_array_equal(load_frames(tmp_path / "only.npz", 8), FRAMES)


def test_csv_rows_are_frames(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "f.csv", FRAMES, fmt="%d", delimiter=",")
    np.testing.assert_array_equal(load_frames(tmp_path / "f.csv", 8), FRAMES)


@pytest.mark.parametrize("shape", [(26,), (26, 1), (1, 26)])
def test_recording_is_cut_and_the_rest_dropped(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "r.npy", np.arange(26, dtype=np.int16).reshape(shape))
    np.testing.assert_array_equal(load_frames(tmp_path / "r.npy", 8), FRAMES)


def test_csv_column_is_a_recording(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("\n".join(str(v) for v in range(26)))
    np.testing.assert_array_equal(load_frames(tmp_path / "r.csv", 8), FRAMES)


def test_cut_with_overlap() -> None:
    np.testing.assert_array_equal(
        cut_frames(np.arange(5, dtype=np.int16), 3, hop=1), np.array([[0, 1, 2], [1, 2, 3], [2, 3, 4]])
    )


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 7), np.int16), "rows of 7 samples; a frame of this codec needs 8"),
        (np.zeros((0, 8), np.int16), r"empty \(shape \(0, 8\)\)"),
        (np.zeros(0, np.int16), "empty"),
        (np.zeros(5, np.int16), "rows of 5 samples; a frame of this codec needs 8"),
        (np.zeros((2, 2, 8), np.int16), r"shape \(2, 2, 8\)"),
        (np.full((2, 8), np.nan), "no finite sample"),
        (np.full((2, 8), np.inf), "no finite sample"),
        (
            np.where(np.arange(16).reshape(2, 8) % 8 == 3, np.nan, 5.0),
            "NaN or infinity at frame 0, sample 3",
        ),
        (np.zeros(80, np.int16), r"no 8 usable samples in a row of its 1.2 s \(1.2 s clipped\)"),
        (np.zeros((2, 8), bool), "type bool"),
        (np.zeros((2, 8), complex), "type complex128"),
        (np.full((2, 8), "a"), "type <U1"),
        (np.array(3, np.int16), r"shape \(\)"),
    ],
)
def test_bad_arrays(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "f.npy", array)
    with pytest.raises(InputError, match=message) as caught:
        load_frames(tmp_path / "f.npy", 8)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("f.npy", b"", "not a readable .npy"),
        ("f.npy", b"\x93NUMPY\x01\x00", "not a readable .npy"),
        ("f.npz", b"PK\x03\x04 not a zip", "not a readable .npz"),
        ("f.npz", b"", "not a readable .npz"),
        ("f.csv", b"", "empty"),
        ("f.csv", b"1,2,x\n", "expected numbers"),
        ("f.csv", b"1,2\n1,2,3\n", "different lengths"),
        ("f.csv", b"\xff\xfe\x00", "cannot be read"),
        ("f.wav", b"RIFF", "is no file of .npz, .npy, .csv"),
        ("frames", b"", "is no file of .npz"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load_frames(tmp_path / name, 8)
    assert "\n" not in str(caught.value)


def test_missing_file_folder_and_ambiguous_archive(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_frames(tmp_path / "absent.npz", 8)
    (tmp_path / "dir.npz").mkdir()
    with pytest.raises(InputError, match="no recordings there"):
        load_frames(tmp_path / "dir.npz", 8)
    np.savez(tmp_path / "two.npz", a=FRAMES, b=FRAMES)
    with pytest.raises(InputError, match="expected an array 'frames'"):
        load_frames(tmp_path / "two.npz", 8)


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="an array of object"):
        load_frames(tmp_path / "evil.npy", 8)


def test_people_and_rhythms_of_frames(tmp_path: Path) -> None:
    counts = np.random.default_rng(0).integers(0, 4000, (3, 20)).astype(np.int16)
    arrays = {"adc": counts, "subject": np.array([4, 5, 4], np.uint8), "rhythm": np.array(["AF", "N", "N"])}
    np.savez(tmp_path / "rows.npz", **arrays)
    cut = read_frames(tmp_path / "rows.npz", 8, 64.0, Reading(rate_hz=64.0))
    assert (cut.people, cut.rhythms) == (("4", "4", "5", "5", "4", "4"), ("AF", "AF", "N", "N", "N", "N"))
    whole = read_frames(tmp_path / "rows.npz", 20, 64.0, Reading(rate_hz=64.0))
    assert (whole.people, whole.rhythms) == (("4", "5", "4"), ("AF", "N", "N"))
    np.save(tmp_path / "plain.npy", counts)
    plain = read_frames(tmp_path / "plain.npy", 20, 64.0, Reading(rate_hz=64.0))
    assert (plain.people, plain.rhythms) == (("", "", ""), ("", "", ""))
    np.savez(tmp_path / "short.npz", **(arrays | {"rhythm": np.array(["AF"])}))
    with pytest.raises(InputError, match="3 recordings but 1 rhythms"):
        read_frames(tmp_path / "short.npz", 20, 64.0, Reading(rate_hz=64.0))


@pytest.mark.parametrize(("rate_hz", "bytes_a_sample"), [(64.0, 36), (100.0, 48)])
def test_memory_of_a_long_recording(tmp_path: Path, rate_hz: float, bytes_a_sample: int) -> None:
    """A few arrays of its length and no dozen: a week at 64 Hz has 39 million samples."""
    count = 1_000_000
    beats = 1000 * np.sin(np.arange(count) / 8)
    beats[5000:5100] = 7
    np.savez(tmp_path / "week.npz", adc=beats.astype(np.int16)[None], rate_hz=rate_hz)
    importlib.import_module("scipy.signal")  # takes memory, too
    tracemalloc.start()
    try:
        frames = load_frames(tmp_path / "week.npz", 320, 64.0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(frames) > 1900
    assert peak < bytes_a_sample * count
