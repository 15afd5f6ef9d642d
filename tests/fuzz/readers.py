"""Readers of what comes from outside, with any bytes.

Each takes bytes, and returns when they are read or refused by an error of edgecodec; anything else is a finding.
"""

from __future__ import annotations

import functools
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np

from edgecodec.bundle import Bundle, manifest_digest
from edgecodec.codec.numerics import INT16X8
from edgecodec.codec.tflite_reader import read_graph
from edgecodec.errors import EdgecodecError
from edgecodec.files.atomic import npz_bytes
from edgecodec.signal.frames import read_frames
from tests.packets import bundle_with_packets
from tests.tflite_builder import ppg_frames, small_bundle, small_encoder

_SUFFIXES = (".npy", ".npz", ".csv", ".mat", ".edf", ".pkl")
_SAMPLES = 32


@dataclass(frozen=True)
class Reader:
    """A reader."""

    read: Callable[[bytes], None]
    """Raises what it must not."""
    seeds: Callable[[], list[bytes]]
    longest: int
    """Bytes of an input."""
    runs: int
    """Of a test: a second or two."""


@functools.cache
def _temporary() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="edgecodec-fuzz-")


def _folder() -> Path:
    """One for this process, gone when it ends."""
    return Path(_temporary().name)


def _read_tflite(data: bytes) -> None:
    with suppress(EdgecodecError):
        read_graph(data)


def _tflite_seeds() -> list[bytes]:
    return [small_encoder(0, 16), small_encoder(1, 16, INT16X8)]


@functools.cache
def _bundle() -> Path:
    """A bundle of few bytes, with packets."""
    small = small_bundle(_folder() / "small")
    return bundle_with_packets(small, _folder() / "bundle", "tables").path


def _read_bundle(data: bytes) -> None:
    """A bundle with one file of these bytes behind the first, which says which; digests are made right."""
    names = sorted(path.name for path in _bundle().iterdir())
    folder = _folder() / "changed"
    if not folder.exists():
        shutil.copytree(_bundle(), folder)
    name = names[data[0] % len(names)] if data else names[0]
    original = (_bundle() / name).read_bytes()
    manifest = (_bundle() / "manifest.json").read_bytes()
    (folder / name).write_bytes(data[1:])
    with suppress(ValueError, TypeError, AttributeError, RecursionError):
        raw = json.loads(data[1:] if name == "manifest.json" else manifest)
        if name != "manifest.json":
            raw["files"][name] = {"sha256": hashlib.sha256(data[1:]).hexdigest(), "bytes": len(data) - 1}
        raw["digest"] = manifest_digest(raw)
        (folder / "manifest.json").write_text(json.dumps(raw))
    try:
        with suppress(EdgecodecError):
            bundle = Bundle.load(folder)
            bundle.packets()
            bundle.frames()
    finally:
        (folder / name).write_bytes(original)
        (folder / "manifest.json").write_bytes(manifest)


def _bundle_seeds() -> list[bytes]:
    names = sorted(path.name for path in _bundle().iterdir())
    return [bytes([number]) + (_bundle() / name).read_bytes() for number, name in enumerate(names)]


def _read_recording(data: bytes) -> None:
    """A file of these bytes behind the first, which says what its name ends in."""
    path = _folder() / f"recording{_SUFFIXES[data[0] % len(_SUFFIXES)] if data else '.npy'}"
    path.write_bytes(data[1:])
    try:
        with suppress(EdgecodecError):
            read_frames(path, _SAMPLES, None)
    finally:
        path.unlink()


def _recording_seeds() -> list[bytes]:
    rows = ppg_frames(2, _SAMPLES + 8)
    npy = BytesIO()
    np.save(npy, rows)
    text = "time,ppg\n" + "\n".join(f"{i / 64},{value}" for i, value in enumerate(rows[0].tolist()))
    files = (
        npy.getvalue(),
        npz_bytes({"ppg": rows, "rate_hz": np.array(64.0)}),
        text.encode(),
        b"MATLAB 5.0",
        b"0",
        b"",
    )
    return [bytes([number]) + data for number, data in enumerate(files)]


READERS = {
    "tflite": Reader(_read_tflite, _tflite_seeds, 6000, 300),
    "bundle": Reader(_read_bundle, _bundle_seeds, 8192, 60),
    "recording": Reader(_read_recording, _recording_seeds, 2048, 300),
}
"""By name."""
