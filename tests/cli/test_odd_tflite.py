"""Odd TFLite files: one line that names the file, exit code 2, nothing written."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.cli.odd_files import (
    Make,
    content,
    cut,
    everywhere,
    flipped,
    named,
    quantized,
    refused_alone,
)
from tests.tflite_builder import MALFORMED, malformed_encoder, small_encoder


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


def test_there_are_sixty() -> None:
    assert len(TFLITE) >= 60
