"""Makers of odd files, and what is asked of every command that is given one: one line that names the file, exit code 2,
nothing written.

The command line runs in this process, which is the same code from arguments to exit code; `tests/cli/test_bad_input.py`
starts processes.
"""

from __future__ import annotations

import gzip
import io
import os
import struct
import sys
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecodec.cli.main import main
from edgecodec.cli.output import plain_line
from tests.tflite_builder import FAMILY

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


def link(target: str, path: Path) -> None:
    path.symlink_to(target)


ANYWHERE: dict[str, Make] = {
    "missing": lambda path: None,
    "a folder": lambda path: path.mkdir(),
    "a pipe": os.mkfifo,
    "a device that never ends": partial(link, "/dev/zero"),
    "a device of nothing": partial(link, "/dev/null"),
    "a link to nowhere": partial(link, "nowhere"),
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
