"""Odd recordings, sampling rates and decoders: one line that names the file, exit code 2, nothing written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.odd_files import (
    ANYWHERE,
    SAMPLES,
    Make,
    archive,
    content,
    cut,
    everywhere,
    flipped,
    named,
    npy,
    npy_header,
    npz,
    quantized,
    refusal,
    refused_alone,
)
from tests.tflite_builder import ppg_frames, small_encoder

FRAMES = ppg_frames(12, SAMPLES)


def table(rows: list[str], header: str = "time,ppg") -> Make:
    """A .csv of those rows."""
    return content("\n".join([header, *rows]) + "\n")


def recording_files() -> dict[str, tuple[str, Make]]:
    """Files that give no frame of 64 samples at 64 Hz."""
    good = npz(frames=FRAMES, rate_hz=64.0)
    second = [f"{n / 64:.6f}" for n in range(640)]
    counts = FRAMES.ravel()[:640]
    lines = [f"{time},{count}" for time, count in zip(second, counts, strict=True)]
    arrays: dict[str, dict[str, Any]] = {
        "nothing": {},
        "no rate": {"frames": FRAMES},
        "a rate of zero": {"frames": FRAMES, "rate_hz": 0.0},
        "a rate below zero": {"frames": FRAMES, "rate_hz": -64.0},
        "a rate of NaN": {"frames": FRAMES, "rate_hz": np.nan},
        "a rate of infinity": {"frames": FRAMES, "rate_hz": np.inf},
        "a rate of a text": {"frames": FRAMES, "rate_hz": "64 Hz"},
        "two rates": {"frames": FRAMES, "rate_hz": [64.0, 125.0]},
        "a rate of a satellite": {"frames": FRAMES, "rate_hz": 1e8},
        "no rows": {"frames": FRAMES[:0], "rate_hz": 64.0},
        "no samples": {"frames": FRAMES[:, :0], "rate_hz": 64.0},
        "frames too short": {"frames": FRAMES[:, :60], "rate_hz": 64.0},
        "three axes": {"frames": FRAMES[None], "rate_hz": 64.0},
        "one number": {"frames": 7, "rate_hz": 64.0},
        "complex numbers": {"frames": FRAMES.astype(complex), "rate_hz": 64.0},
        "truth values": {"frames": FRAMES > 0, "rate_hz": 64.0},
        "texts": {"frames": FRAMES.astype(str), "rate_hz": 64.0},
        "objects": {"frames": FRAMES.astype(object), "rate_hz": 64.0},
        "dates": {"frames": FRAMES.astype("datetime64[s]"), "rate_hz": 64.0},
        "NaN": {"frames": np.full((4, SAMPLES), np.nan), "rate_hz": 64.0},
        "infinity": {"frames": np.full((4, SAMPLES), np.inf), "rate_hz": 64.0},
        "a NaN in each frame": {"frames": np.where(np.arange(SAMPLES) == 9, np.nan, FRAMES), "rate_hz": 64.0},
        "the same number": {"frames": np.full((4, SAMPLES), 7), "rate_hz": 64.0},
        "subjects of another count": {"frames": FRAMES, "subject": ["a"] * 3, "rate_hz": 64.0},
        "subjects of two axes": {"frames": FRAMES, "subject": [["a"] * 12], "rate_hz": 64.0},
        "two arrays of neither name": {"a": FRAMES, "b": FRAMES, "rate_hz": 64.0},
        "whose they are alone": {"subject": ["a"] * 3, "rate_hz": 64.0},
    }
    found = named(".npz", {f"npz of {kind}": content(npz(**members)) for kind, members in arrays.items()})
    makes = cut(good, 0.1, 0.5, 0.9, 0.99) | {
        "npz of a huge array": content(
            archive({"frames.npy": npy_header("(1099511627776, 64)"), "rate_hz.npy": npy(64.0)})
        ),
        "npz of less than none": content(archive({"frames.npy": npy_header("(-4, 64)"), "rate_hz.npy": npy(64.0)})),
        "npz of an unknown type": content(archive({"frames.npy": npy_header("(4, 64)", "<z9")})),
        "npz of an array that says too much": content(good.replace(b"(12, 64)", b"(99, 64)")),
        "npz of bits flipped": content(flipped(good, 3, 300)),
    }
    found |= named(".npz", makes)
    found |= named(
        ".npy",
        {
            "npy without a rate": content(npy(FRAMES)),
            "npy of objects": content(npy(FRAMES.astype(object), pickled=True)),
            "npy cut off": content(npy(FRAMES)[:-100]),
            "npy of a huge array": content(npy_header("(1099511627776, 64)")),
            "npy of text": content("all work and no play"),
        },
    )
    found |= named(
        ".csv",
        {
            "csv of one line": content("time,ppg\n"),
            "csv without a rate": content("\n".join(map(str, counts))),
            "csv that is not UTF-8": content(b"time,ppg\n" + b"\xff\xfe,\xe9\n" * 100),
            "csv in UTF-16": content("time,ppg\n1,2\n".encode("utf-16") * 100),
            "csv with zeros between": content(b"time,ppg\n" + b"1\x00,2\n" * 100),
            "csv of rows of other lengths": table(["1,2,3" if n % 7 == 0 else "1" for n in range(200)]),
            "csv of words": table(["one,two"] * 200),
            "csv of times that go back": table(lines[::-1]),
            "csv of times that stand": table([f"1.0,{count}" for count in counts]),
            "csv of times of NaN": table([f"nan,{count}" for count in counts]),
            "csv of numbers too large": table([f"{time},1e400" for time in second]),
            "csv of an open quotation": table(['0,"1', *lines]),
            "csv of one value": table([f"{time},5" for time in second]),
            "csv of two columns of PPG": table([f"{time},{n},{n}" for n, time in enumerate(second)], "time,ppg1,ppg2"),
            "csv of a second": table(lines[:30]),
            "csv of empty lines": content("\n" * 1000),
            "csv of commas": content(",,,,,,\n" * 100),
            "csv of one endless line": content("1," * 100_000),
            "csv of a page": content("<html>,<body>\n404,not found\n" * 10),
        },
    )
    for suffix in (".mat", ".parquet", ".edf", ".hea", ".pkl"):
        for kind in ("empty", "zeros", "noise", "text", "a pickle", "a pipe", "a zip of nothing"):
            found[f"{suffix} of {kind}"] = (f"file{suffix}", ANYWHERE[kind])
    return everywhere(".npz") | found


RECORDINGS = recording_files()


@pytest.mark.parametrize("kind", RECORDINGS)
def test_recordings(kind: str, good: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = quantized(good, tmp_path, calibration="FILE")
    refused_alone(capfd, tmp_path, RECORDINGS[kind], *arguments, "--rate-hz", "64")


@pytest.mark.parametrize("rate", ["inf", "nan", "1e300", "1e-9", "0.5", "20001"])
@pytest.mark.parametrize("option", ["--rate-hz", "--rate"])
def test_rates(option: str, rate: str, good: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "bare.npy", ppg_frames(12, SAMPLES))
    arguments = quantized(good, tmp_path, calibration=str(tmp_path / "bare.npy"))
    assert "Hz is no sampling rate of PPG; expected 1 to 20,000 Hz" in refusal(capfd, *arguments, option, rate)
    assert [path.name for path in tmp_path.iterdir()] == ["bare.npy"]


@pytest.mark.parametrize("kind", ["empty", "text", "noise", "zeros", "a pipe", "a folder", "missing", "an encoder"])
def test_decoders(kind: str, good: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    make = ANYWHERE.get(kind, content(small_encoder()))
    arguments = [*quantized(good, tmp_path), "--decoder", "FILE"]
    refused_alone(capfd, tmp_path, ("file.tflite", make), *arguments)


def test_there_are_sixty() -> None:
    assert len(RECORDINGS) >= 60
