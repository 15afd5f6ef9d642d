"""Odd files, some sixty and more of each kind: one line that names the file, exit code 2, nothing written.

The command line runs in this process, which is the same code from arguments to exit code; `tests/cli/test_bad_input.py`
starts processes.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import struct
import sys
import zipfile
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecodec.cli.main import main
from edgecodec.cli.output import plain_line
from tests.tflite_builder import FAMILY, MALFORMED, malformed_encoder, ppg_frames, small_encoder
from tests.tools import require

Make = Callable[[Path], None]
"""Makes the file, or whatever lies there in its place."""
SAMPLES, CHANNELS = 64, FAMILY[-1].out_channels
"""Of the good encoder: counts of a frame, channels of its latent."""


def content(data: bytes | str) -> Make:
    """A file of those bytes."""
    return lambda path: path.write_bytes(data.encode() if isinstance(data, str) else data) and None


def archive(members: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A zip file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return buffer.getvalue()


def npy(array: Any, pickled: bool = False) -> bytes:
    """A .npy file of ``array``."""
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(array), allow_pickle=pickled)
    return buffer.getvalue()


def npy_header(shape: str, dtype: str = "<f4", order: str = "False", data: bytes = b"\0" * 64) -> bytes:
    """A .npy file that says of itself what is not so."""
    text = f"{{'descr': '{dtype}', 'fortran_order': {order}, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def npz(**arrays: Any) -> bytes:
    """A .npz file."""
    return archive({f"{name}.npy": npy(array, pickled=True) for name, array in arrays.items()})


def flipped(data: bytes, seed: int, count: int = 40, first: int = 0, last: int | None = None) -> bytes:
    """``data`` with bits turned between ``first`` and ``last``."""
    rng = np.random.default_rng(seed)
    damaged = bytearray(data)
    for place in rng.integers(first, last or len(data), count):
        damaged[place] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


def cut(data: bytes, *shares: float) -> dict[str, Make]:
    """``data`` cut off after those shares of it."""
    return {f"cut after {share:.0%}": content(data[: int(share * len(data))]) for share in shares}


def _link(target: str, path: Path) -> None:
    path.symlink_to(target)


ANYWHERE: dict[str, Make] = {
    "missing": lambda path: None,
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a device that never ends": partial(_link, "/dev/zero"),
    "a device of nothing": partial(_link, "/dev/null"),
    "a link to nowhere": partial(_link, "nowhere"),
    "a link to itself": lambda path: path.symlink_to(path),
    "empty": content(b""),
    "one byte": content(b"x"),
    "a line feed": content(b"\n"),
    "zeros": content(bytes(4096)),
    "ones": content(b"\xff" * 4096),
    "noise": content(np.random.default_rng(0).bytes(4096)),
    "text": content("all work and no play\n" * 50),
    "text that is not UTF-8": content(b"caf\xe9 \xff\xfe\n" * 20),
    "a web page": content("<!DOCTYPE html><html><body>404</body></html>"),
    "text behind gzip": content(gzip.compress(b"all work and no play\n" * 50, mtime=0)),
    "gzip cut off": content(gzip.compress(b"all work and no play\n" * 50, mtime=0)[:20]),
    "a picture": content(b"\x89PNG\r\n\x1a\n" + bytes(200)),
    "a program": content(b"\x7fELF\x02\x01\x01" + bytes(200)),
    "a pickle": content(b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94\x8c\x06system\x94\x93\x94."),
    "a zip of nothing": content(archive({})),
    "a zip that leaves its folder": content(archive({"../../evil.npy": npy(np.ones(3)), "/etc/evil": b"x"})),
    "a zip of text": content(archive({"readme.txt": b"all work"})),
    "a zip of a name twice a megabyte": content(archive({"n" * 60000: b"x"})),
    "half a zip": content(b"PK\x03\x04" + bytes(60)),
    "the end of a zip": content(b"PK\x05\x06" + bytes(18)),
    "the head of an HDF5 file": content(b"\x89HDF\r\n\x1a\n" + bytes(100)),
    "a large-file pointer": content("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123\n"),
}
"""What may lie where any kind of file is expected."""
NAMES = {
    "a name of two lines": "two\nlines{}",
    "a name with an escape": "esc\x1b[2Jape{}",
    "a name in Greek": "παλμός{}",
    "a name of markup": "[red]x[bold]{}",
    "a name of blanks": "   {}",
    "a name too long": "n" * 300 + "{}",
    "no suffix": "file",
    "another suffix": "file.wav",
    "a suffix of two": "file{}.gz",
}
"""Names of files that hold nothing but text."""
if sys.platform != "darwin":  # where the system refuses such names itself
    NAMES["a name that is no text"] = os.fsdecode(b"\xff\xfe{}")


def everywhere(suffix: str, *without: str) -> dict[str, tuple[str, Make]]:
    """:data:`ANYWHERE` and :data:`NAMES` for files that end in ``suffix``, but for those of the kinds ``without``."""
    found = {kind: (f"file{suffix}", make) for kind, make in ANYWHERE.items()}
    for kind, name in NAMES.items():
        found[kind] = (name.format(suffix), content("all work and no play\n"))
    return {kind: each for kind, each in found.items() if kind not in without}


def named(suffix: str, makes: Mapping[str, Make]) -> dict[str, tuple[str, Make]]:
    """Files called ``file`` and ``suffix``."""
    return {kind: (f"file{suffix}", make) for kind, make in makes.items()}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of parts that fit: ``encoder.tflite``, ``codebooks.npz`` and ``frames.npz``."""
    folder = tmp_path_factory.mktemp("good")
    (folder / "encoder.tflite").write_bytes(small_encoder())
    rng = np.random.default_rng(0)
    np.savez(folder / "codebooks.npz", level_0=rng.normal(size=(16, CHANNELS)))
    np.savez(folder / "frames.npz", frames=ppg_frames(12, SAMPLES), rate_hz=64.0)
    return folder


def refusal(capfd: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The only line that says why a command refuses; what stands on stdout is at most a table of `check`."""
    code = main([os.fspath(argument) for argument in arguments])
    out, err = capfd.readouterr()
    assert code == 2, (out, err)
    assert "Traceback" not in out + err
    assert "internal error" not in out + err
    lines = [line for line in err.splitlines() if line]
    if arguments[0] == "check" and not lines:
        lines = [line.removeprefix("refused: ") for line in out.splitlines() if line.startswith("refused: ")]
    else:
        assert out == ""
        assert all(line.startswith("edgecodec: error: ") for line in lines), err
    assert len(lines) == 1, (out, err)
    return lines[0].removeprefix("edgecodec: error: ")


def refused_alone(
    capfd: pytest.CaptureFixture[str], folder: Path, case: tuple[str, Make], *arguments: str, where: str = "FILE"
) -> str:
    """Make the file of ``case``, give it to a command in place of ``where``, and see that it stays alone."""
    name, make = case
    path = folder / "in" / name
    path.parent.mkdir()
    if len(os.fsencode(name)) < 256:
        make(path)
    before = sorted(folder.rglob("*"))
    line = refusal(capfd, *(str(path) if each == where else each for each in arguments))
    assert sorted(folder.rglob("*")) == before
    assert plain_line(name) in line
    return line


def quantized(good: Path, folder: Path, **other: str) -> list[str]:
    """The arguments of a `quantize` of good parts, but for those of ``other``."""
    parts = {"encoder": "encoder.tflite", "codebooks": "codebooks.npz", "calibration": "frames.npz"}
    given = {f"--{key}": other.get(key, str(good / name)) for key, name in parts.items()}
    return ["quantize", "-q", *(each for pair in given.items() for each in pair), "-o", str(folder / "out")]


# TFLite encoders.


def words(data: bytes, places: range) -> dict[str, Make]:
    """``data`` with one word of its tables after the other replaced by ones."""
    return {f"word {place} of ones": content(data[:place] + b"\xff" * 4 + data[place + 4 :]) for place in places}


def tflite_files() -> dict[str, tuple[str, Make]]:
    """Files that end in .tflite, and are no INT8 encoder."""
    data = small_encoder()
    makes = {f"an encoder with {kind}": partial(_malformed, kind) for kind in MALFORMED}
    makes |= cut(data, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
    makes |= words(data, range(0, 8, 4))
    makes |= {"another identifier": content(data[:4] + b"TFL9" + data[8:]), "twice": content(data[::-1])}
    makes |= {f"bits flipped, {seed}": content(flipped(data, seed, 200, 0, len(data) // 8)) for seed in range(12)}
    return everywhere(".tflite", "no suffix", "another suffix", "a suffix of two") | named(".tflite", makes)


def _malformed(kind: str, path: Path) -> None:
    path.write_bytes(malformed_encoder(kind))


TFLITE = tflite_files()


@pytest.mark.parametrize("kind", TFLITE)
def test_tflite(kind: str, good: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "check").mkdir()
    said = refused_alone(capfd, tmp_path / "check", TFLITE[kind], "check", "FILE")
    (tmp_path / "quantize").mkdir()
    arguments = quantized(good, tmp_path / "quantize", encoder="FILE")
    again = refused_alone(capfd, tmp_path / "quantize", TFLITE[kind], *arguments)
    assert again.replace("/quantize/", "/check/") == said


# Codebooks.

BOOK = np.random.default_rng(1).normal(size=(16, CHANNELS))


def _folder_of(**arrays: bytes) -> Make:
    def make(path: Path) -> None:
        path.mkdir()
        for name, data in arrays.items():
            (path / f"{name}.npy").write_bytes(data)

    return make


def _pipe_within(path: Path) -> None:
    path.mkdir()
    os.mkfifo(path / "level_0.npy")


def codebook_files() -> dict[str, tuple[str, Make]]:
    """Files and folders that hold no codebooks of the good encoder."""
    good = npz(level_0=BOOK)
    arrays: dict[str, dict[str, Any]] = {
        "nothing": {},
        "NaN": {"level_0": np.full_like(BOOK, np.nan)},
        "infinity": {"level_0": np.where(BOOK > 1, np.inf, BOOK)},
        "complex numbers": {"level_0": BOOK.astype(complex)},
        "truth values": {"level_0": BOOK > 0},
        "texts": {"level_0": BOOK.astype(str)},
        "dates": {"level_0": np.arange(96).reshape(16, 6).astype("datetime64[s]")},
        "objects": {"level_0": BOOK.astype(object)},
        "records": {"level_0": np.zeros((16, 6), [("a", "f4"), ("b", "i4")])},
        "bytes": {"level_0": np.full((16, 6), b"x")},
        "one number": {"level_0": np.float32(1)},
        "one axis": {"level_0": BOOK.ravel()},
        "three axes and another array": {"level_0": BOOK[None], "level_1": BOOK},
        "four axes": {"level_0": BOOK[None, None]},
        "no codes": {"level_0": BOOK[:0]},
        "codes of no numbers": {"level_0": BOOK[:, :0]},
        "codes too short": {"level_0": BOOK[:, :-1]},
        "codes too long": {"level_0": np.hstack([BOOK, BOOK])},
        "codes on their side": {"level_0": BOOK.T},
        "levels of two lengths": {"level_0": BOOK, "level_1": BOOK[:, :-1]},
        "a gap in the levels": {"level_0": BOOK, "level_2": BOOK},
        "no first level": {"level_2": BOOK, "level_3": BOOK},
        "two sets of levels": {"a_0": BOOK, "b_0": BOOK},
        "names without numbers": {"a": BOOK, "b": BOOK},
        "codes all alike": {"level_0": np.ones_like(BOOK)},
        "zeros": {"level_0": np.zeros_like(BOOK)},
        "1e300": {"level_0": BOOK * 1e300},
        "1e20": {"level_0": BOOK * 1e20},
        "largest floats": {"level_0": np.full((2, 6), np.finfo(np.float64).max)},
        "1e-300": {"level_0": BOOK * 1e-300},
        "moving sums for codes": {"level_0": BOOK, "level_1": BOOK * np.arange(1, 17)[:, None], "level_2": BOOK + 1},
    }
    makes = {f"npz of {kind}": content(npz(**members)) for kind, members in arrays.items()}
    makes |= cut(good, 0.1, 0.5, 0.9, 0.99) | {
        "zip that says too much": content(good.replace(b"(16, 6)", b"(96, 6)")),
        "zip of a huge array": content(archive({"level_0.npy": npy_header("(1099511627776, 6)")})),
        "zip of an array larger than numbers": content(
            archive({"level_0.npy": npy_header("(99999999999999999999, 6)")})
        ),
        "zip of less than none": content(archive({"level_0.npy": npy_header("(-1, 6)")})),
        "zip of an unknown type": content(archive({"level_0.npy": npy_header("(2, 6)", "<q9")})),
        "zip of a header that runs": content(archive({"level_0.npy": npy_header("__import__('os')")})),
        "zip of a damaged member": content(archive({"level_0.npy": b"\x93NUMPY\x01\x00"})),
        "zip of zeros behind a small door": content(
            archive({"level_0.npy": npy_header("(33554432, 6)", data=bytes(1 << 24))}, zipfile.ZIP_DEFLATED)
        ),
        "zip that leaves its folder": content(archive({"../level_0.npy": npy(BOOK[:, :3])})),
        "zip of a name of two lines": content(archive({"level\n0.npy": npy(BOOK[:, :3])})),
        "bits flipped": content(flipped(good, 2, 300)),
        "a checksum that is not so": content(good[:200] + b"\x01\x02" + good[202:]),
    }
    found = named(".npz", makes)
    found |= named(
        ".npy",
        {
            "npy of objects": content(npy(BOOK.astype(object), pickled=True)),
            "npy of texts": content(npy(BOOK.astype(str))),
            "npy of one axis": content(npy(BOOK.ravel())),
            "npy of five axes": content(npy(BOOK[None, None, None])),
            "npy cut off": content(npy(BOOK)[:-40]),
            "npy of a huge array": content(npy_header("(1099511627776, 6)")),
            "npy of version 9": content(b"\x93NUMPY\x09\x00" + bytes(200)),
            "npy of a deep header": content(npy_header("(" * 3000 + ")" * 3000)),
            "npy of NaN": content(npy(np.full_like(BOOK, np.nan))),
        },
    )
    found |= named(
        "",
        {
            "a folder of text": _folder_of(),
            "a folder with a gap": _folder_of(level_0=npy(BOOK), level_2=npy(BOOK)),
            "a folder of names without numbers": _folder_of(a=npy(BOOK), b=npy(BOOK)),
            "a folder of a damaged file": _folder_of(level_0=npy(BOOK), level_1=b"\x93NUMPY"),
            "a folder of objects": _folder_of(level_0=npy(BOOK.astype(object), pickled=True)),
            "a folder of a pipe": _pipe_within,
        },
    )
    found |= named(
        ".keras",
        {
            "keras of text": content("all work"),
            "keras of an empty zip": content(archive({})),
            "keras without weights": content(archive({"config.json": b"{}"})),
            "keras of no HDF5": content(archive({"config.json": b"{}", "model.weights.h5": b"all work"})),
            "keras of deep JSON": content(archive({"config.json": b"[" * 100000, "model.weights.h5": b""})),
        },
    )
    return everywhere(".npz") | found


CODEBOOKS = codebook_files()


@pytest.mark.parametrize("kind", CODEBOOKS)
def test_codebooks(kind: str, good: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    refused_alone(capfd, tmp_path, CODEBOOKS[kind], *quantized(good, tmp_path, codebooks="FILE"))


# Recordings.

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


# Configurations.


def bomb(levels: int) -> str:
    """YAML that is short until its aliases are written out."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, levels)]
    return "\n".join(lines) + f"\nseed: *a{levels - 1}\n"


def configurations() -> dict[str, tuple[str, Make]]:
    """Files that are no configuration of a training."""
    texts = {
        "a list": "- 1\n- 2\n",
        "a number": "42",
        "a word": "codec",
        "null": "~",
        "two documents": "seed: 1\n---\nseed: 2\n",
        "an open bracket": "model: {num_stages: [1, 2",
        "a tab": "model:\n\tnum_stages: 3\n",
        "no space behind a colon": "model:\n  num_stages:3\n",
        "a key twice in two types": "model: 3\n",
        "a key of a list": "? [1, 2]\n: 3\n",
        "a key of a number": "3: 4\n",
        "a key of null": "~: 4\n",
        "an anchor that is not there": "seed: *nowhere\n",
        "an alias of itself": "&a model: *a\n",
        "a loop": "model: &m\n  num_stages: *m\n",
        "a bomb": bomb(9),
        "deep brackets": "seed: " + "[" * 3000 + "]" * 3000,
        "deeper brackets": "{a: " * 20000,
        "a Python object": "seed: !!python/object/apply:os.getcwd []\n",
        "a Python name": "seed: !!python/name:os.system\n",
        "an unknown tag": "seed: !edgecodec 3\n",
        "control characters": "seed: \x01\x02\n",
        "an escape in a key": '"\\e[31mseed": 3\n',
        "a line feed in a key": '"se\\ned": 3\n',
        "an unknown section": "modle: {}\n",
        "an unknown key": "model: {laten_width: 4}\n",
        "a key of another section": "model: {epochs: 4}\n",
        "a section of a list": "model: []\n",
        "a text for a number": "model: {num_stages: many}\n",
        "a number for a text": "run_name: 3\n",
        "a name with a folder": "run_name: ../../evil\n",
        "a fraction for a count": "model: {num_stages: 2.5}\n",
        "zero stages": "model: {num_stages: 0}\n",
        "stages below zero": "model: {num_stages: -3}\n",
        "NaN": "training: {learning_rate: .nan}\n",
        "infinity": "training: {learning_rate: .inf}\n",
        "infinity below": "training: {learning_rate: -.inf}\n",
        "a rate below zero": "data: {sampling_rate: -64}\n",
        "a rate of NaN": "data: {sampling_rate: .nan}\n",
        "a date": "seed: 2026-01-01\n",
        "a number of 4000 digits": "seed: " + "9" * 4000 + "\n",
        "a number of 5000 digits": "seed: " + "9" * 5000 + "\n",
        "a seed below zero": "seed: -1\n",
        "a text for true": "model: {use_ema: perhaps}\n",
        "zero epochs": "data: {epochs: 0}\n",
        "a batch of none": "data: {batch_size: 0}\n",
        "a frame of none": "data: {frame_size: 0}\n",
        "a frame of a billion": "data: {frame_size: 1000000000000}\n",
        "a share above one": "data: {validation_fraction: 1.5}\n",
        "an unknown norm": "model: {encoder_block_norm: group}\n",
        "an unknown source": "data: {source: ether}\n",
        "a file for a list of lists": "data: {source: files, train: [[[1]]]}\n",
        "files that are missing": "data: {source: files, train: [nowhere.npz], test: [nowhere.npz], rate_hz: 64}\n",
        "no files": "data: {source: files}\n",
        "JSON of another kind": json.dumps({"schema": "edgecodec.check", "verdict": "runs"}),
        "a bundle's manifest": json.dumps({"format": "edgecodec.bundle", "version": 1}),
        "JSON lines": '{"seed": 1}\n{"seed": 2}\n',
        "XML": "<seed>3</seed>",
        "TOML": "[model]\nnum_stages = 3\n",
        "a merge of nothing": "model:\n  <<: 3\n",
        "a byte order mark in between": "seed: 3\n\ufeffmodel: {}\n",
    }
    makes = {kind: content(text) for kind, text in texts.items()}
    makes["UTF-16 without a mark"] = content("seed: 3\n".encode("utf-16-le"))
    without = ("no suffix", "another suffix", "a suffix of two")
    return everywhere(".yaml", *without) | named(".yaml", makes)


CONFIGURATIONS = configurations()


@pytest.mark.parametrize("kind", CONFIGURATIONS)
def test_configurations(kind: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["train", "-q", "FILE", "-o", str(tmp_path / "out")]
    refused_alone(capfd, tmp_path, CONFIGURATIONS[kind], *arguments)


# Keras models and SavedModels.


@cache
def keras_file() -> dict[str, bytes]:
    """The members of a .keras file of a good encoder, and ``whole`` and ``h5``, itself and as HDF5."""
    import tempfile

    from edgecodec.nn.backend import import_keras, keras_bytes, quiet
    from tests.models import head, stack

    model = stack(import_keras(), *head(import_keras()))
    whole = keras_bytes(model)
    with zipfile.ZipFile(io.BytesIO(whole)) as file:
        members = {name: file.read(name) for name in file.namelist()}
    with tempfile.TemporaryDirectory() as folder, quiet():
        model.save(f"{folder}/model.h5")
        h5 = Path(folder, "model.h5").read_bytes()
    return {**members, "whole": whole, "h5": h5}


def _keras(path: Path, **other: bytes | None) -> None:
    """The good file with members replaced, or left out; ``config_json`` stands for ``config.json``."""
    members = {name: keras_file()[name] for name in ("config.json", "metadata.json", "model.weights.h5")}
    members |= {name.replace("_json", ".json").replace("_h5", ".weights.h5"): data for name, data in other.items()}
    path.write_bytes(archive({name: data for name, data in members.items() if data is not None}))


def _whole(change: Callable[[bytes], bytes], member: str, path: Path) -> None:
    path.write_bytes(change(keras_file()[member]))


def _config(change: Callable[[dict[str, Any]], Any], path: Path) -> None:
    """The good file with what ``change`` makes of its parsed configuration, or leaves in it."""
    config = json.loads(keras_file()["config.json"])
    changed = change(config)
    _keras(path, config_json=json.dumps(config if changed is None else changed).encode())


def _layer(number: int, **settings: Any) -> Make:
    """The good file with settings of a layer replaced; the input is layer 0."""
    return partial(_config, lambda config: config["config"]["layers"][number]["config"].update(settings))


def _input(*shape: int | None) -> Make:
    return _layer(0, batch_shape=[None, *shape])


def _weights(change: Callable[[Any], Any], path: Path) -> None:
    """The good file with the HDF5 file of its weights changed."""
    import h5py

    buffer = io.BytesIO(keras_file()["model.weights.h5"])
    with h5py.File(buffer, "a") as file:
        change(file)
    _keras(path, model_h5=buffer.getvalue())


def _kernel(value: Any) -> Make:
    def change(file: Any) -> None:
        del file["layers/conv2d/vars/0"]
        file["layers/conv2d/vars/0"] = value

    return partial(_weights, change)


def _saved_model(path: Path, pb: bytes, **files: bytes) -> None:
    path.mkdir()
    (path / "saved_model.pb").write_bytes(pb)
    for name, data in files.items():
        (path / name).write_bytes(data)


def keras_models() -> dict[str, tuple[str, Make]]:
    """Files and folders that hold no encoder."""
    shares = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)
    makes: dict[str, Make] = {
        f"cut after {share:.0%}": partial(_whole, lambda data, share=share: data[: int(share * len(data))], "whole")
        for share in shares
    }
    makes |= {
        f"bits flipped, {seed}": partial(_whole, lambda data, seed=seed: flipped(data, seed, 400), "whole")
        for seed in range(8)
    }
    texts = {
        "nothing": b"",
        "no JSON": b"{'a': 1}",
        "a list": b"[]",
        "null": b"null",
        "a number": b"1e999",
        "an empty object": b"{}",
        "deep brackets": b"[" * 100_000,
        "deep objects": b'{"config":' * 50_000,
        "no UTF-8": b'{"class_name": "\xff\xfe"}',
        "a class of the system": b'{"module": "os", "class_name": "system", "config": {"command": "false"}}',
        "a class of nobody": b'{"module": "nobody", "class_name": "Nobody", "registered_name": "x>y", "config": {}}',
        "a layer": b'{"module": "keras.layers", "class_name": "ReLU", "config": {"name": "r"}}',
        "an optimiser": b'{"module": "keras.optimizers", "class_name": "SGD", "config": {"name": "SGD"}}',
        "a model of no layers": b'{"module": "keras", "class_name": "Sequential", "config": {"layers": []}}',
    }
    makes |= {f"a configuration of {kind}": partial(_keras, config_json=text) for kind, text in texts.items()}
    makes |= {
        "no configuration": partial(_keras, config_json=None),
        "no weights": partial(_keras, model_h5=None),
        "weights of nothing": partial(_keras, model_h5=b""),
        "weights of text": partial(_keras, model_h5=b"all work"),
        "weights cut off": lambda path: _keras(path, model_h5=keras_file()["model.weights.h5"][:900]),
        "layers of a text": partial(_config, lambda config: config["config"].update(layers="none")),
        "no inputs": partial(_config, lambda config: config["config"].update(input_layers=[])),
        "an output of nowhere": partial(_config, lambda c: c["config"].update(output_layers=[["none", 0, 0]])),
        "a layer that reads itself": partial(_config, _of_itself),
        "a layer of nobody": partial(_config, lambda c: c["config"]["layers"][1].update(module="me", class_name="Me")),
        "filters below zero": _layer(1, filters=-3),
        "no filters": _layer(1, filters=0),
        "filters beyond memory": _layer(1, filters=10**13),
        "filters of a text": _layer(1, filters="six"),
        "a kernel of none": _layer(1, kernel_size=[1, 0]),
        "a stride of none": _layer(1, strides=[0, 0]),
        "padding of a word": _layer(1, padding="around"),
        "an activation of nobody": _layer(1, activation="snake"),
        "channels first": _layer(1, data_format="channels_first"),
        "two channels": _input(1, SAMPLES, 2),
        "frames of any length": _input(1, None, 1),
        "frames longer than memory": _input(1, 2**40, 1),
        "frames of no sample": _input(1, 0, 1),
        "a picture": _input(8, 8, 1),
        "five axes": _input(1, 1, SAMPLES, 1),
        "one axis": _input(SAMPLES),
        "weights of NaN": _kernel(np.full((1, 5, 1, 6), np.nan)),
        "weights of infinity": _kernel(np.full((1, 5, 1, 6), np.inf)),
        "weights of texts": _kernel(np.full((1, 5, 1, 6), b"x")),
        "weights of another shape": _kernel(np.zeros((1, 5, 1, 7))),
        "weights of one number": _kernel(1.0),
        "weights without a layer": partial(_weights, lambda file: file.__delitem__("layers/conv2d")),
    }
    found = everywhere(".keras") | named(".keras", makes)
    found |= named(
        ".h5",
        {f"h5 cut after {share:.0%}": partial(_whole, lambda data, share=share: data[: int(share * len(data))], "h5")
         for share in shares}
        | {
            "h5 of weights alone": partial(_whole, lambda data: keras_file()["model.weights.h5"], "h5"),
            "h5 of a damaged head": partial(_whole, lambda data: flipped(data, 1, 60, 8, 96), "h5"),
            "h5 of text": content("all work"),
        },
    )  # fmt: skip
    found |= named(
        "",
        {
            "a SavedModel of nothing": partial(_saved_model, pb=b""),
            "a SavedModel of text": partial(_saved_model, pb=b"all work and no play"),
            "a SavedModel of zeros": partial(_saved_model, pb=bytes(100)),
            "a SavedModel of noise": partial(_saved_model, pb=np.random.default_rng(1).bytes(500)),
            "a folder of a .keras": lambda path: (path.mkdir(), (path / "model.keras").write_bytes(b"PK"))[0],
        },
    )
    for suffix in (".onnx", ".pt", ".pth", ".safetensors", ".ckpt"):
        found[f"{suffix}"] = (f"file{suffix}", content(b"PK\x03\x04 of another framework"))
    return found


def _of_itself(config: dict[str, Any]) -> None:
    layers = config["config"]["layers"]
    history = layers[1]["inbound_nodes"][0]["args"][0]["config"]["keras_history"]
    history[0] = layers[1]["config"]["name"]


KERAS = keras_models()


@pytest.mark.parametrize("kind", KERAS)
def test_keras(kind: str, good: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    require("module:tensorflow")
    (tmp_path / "checking").mkdir()
    said = refused_alone(capfd, tmp_path / "checking", KERAS[kind], "check", "FILE")
    (tmp_path / "quantize").mkdir()
    again = refused_alone(
        capfd, tmp_path / "quantize", KERAS[kind], *quantized(good, tmp_path / "quantize", encoder="FILE")
    )
    # Keras numbers tensors as it goes, and names them when it is at a loss; what it says is cut at a length.
    numbers = re.compile(r"\d+")
    one, other = numbers.sub("", said), numbers.sub("", again.replace("/quantize/", "/checking/"))
    assert one[:-8] == other[: len(one) - 8]
    assert abs(len(one) - len(other)) <= 8


@pytest.mark.parametrize("kinds", [TFLITE, CODEBOOKS, RECORDINGS, CONFIGURATIONS, KERAS])
def test_there_are_sixty_of_each(kinds: dict[str, tuple[str, Make]]) -> None:
    assert len(kinds) >= 60
