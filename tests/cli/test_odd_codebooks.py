"""Odd files and folders of codebooks: one line that names the file, exit code 2, nothing written."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.odd_files import (
    CHANNELS,
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
    refused_alone,
)

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


def test_there_are_sixty() -> None:
    assert len(CODEBOOKS) >= 60
