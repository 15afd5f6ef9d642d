"""``edgecodec quantize``: one document, and an output that is refused before the work, not after it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgecodec.bundle import Bundle
from edgecodec.codec.tflite_reader import read_graph
from edgecodec.quantization.measure import float_codebooks
from tests.cli.run import assert_one_error, edgecodec
from tests.tflite_builder import fitted_rvq, ppg_frames, small_encoder
from tests.tools import require


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """A folder of artefacts with an INT8 encoder, and frames to calibrate on."""
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "encoder.tflite").write_bytes(small_encoder())
    (book,) = float_codebooks(fitted_rvq(read_graph(small_encoder()), (7,)))
    np.savez(tmp_path / "export" / "codebook.npz", level_0=book)
    np.save(tmp_path / "frames.npy", ppg_frames(20, 64))
    return tmp_path


ARGUMENTS = ("quantize", "--from-folder", "export", "--calibration", "frames.npy", "-o", "out")


def test_document_and_table(export: Path) -> None:
    require("module:tensorflow")
    result = edgecodec(*ARGUMENTS, "--json", cwd=export)
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert (document["schema"], document["schema_version"]) == ("edgecodec.quantize", 1)
    assert document["inspection"]["bundle_digest"] == Bundle.load(export / "out").digest
    assert document["figures"]["frames"] == 4
    assert document["quantization"]["candidates"][0]["kept"]
    assert document["quantization"]["index_model"] is None
    again = edgecodec(*ARGUMENTS, "--quiet", cwd=export)
    assert (again.returncode, again.stderr) == (0, "")
    lines = dict(line.split(maxsplit=1) for line in again.stdout.splitlines())
    assert len(lines) <= 12
    # An INT8 encoder without decoder: there is no float codec to be near to.
    assert lines["rounding"] == "min-max ranges, nothing to choose by"
    # 64 samples, 8 positions, 7 codes: 8 x 3 bits for 64 x 16.
    assert lines["rate"] == "24 bits a frame of 64 samples, 42.7 times fewer than at 16 bits"
    assert lines["saturated"].endswith("% (on 4 frames)")
    full = edgecodec(*ARGUMENTS, "-v", cwd=export)
    assert full.returncode == 0, full.stderr
    assert "candidates on 4 validation frames (every fifth calibration frame" in full.stdout
    assert "positions at a time" in full.stdout
    assert full.stdout.endswith(again.stdout)
    assert "quantizing: encoder" in full.stderr


def test_output_is_refused_before_the_search(export: Path) -> None:
    (export / "out").mkdir()
    (export / "out" / "thesis.txt").write_text("mine")
    result = edgecodec(*ARGUMENTS, cwd=export)
    assert_one_error(result, "holds other files (no manifest.json); choose an empty folder or pass --force")
    assert "quantizing" not in result.stderr
    result = edgecodec(*ARGUMENTS[:-1], "frames.npy/out", cwd=export)
    assert_one_error(result, "frames.npy/out: cannot be written")
    assert "quantizing" not in result.stderr


def test_codebooks_of_another_encoder_are_refused_unless_accepted(export: Path) -> None:
    require("module:tensorflow")
    np.savez(export / "export" / "codebook.npz", level_0=np.random.default_rng(0).normal(0, 1, (7, 6)))
    result = edgecodec(*ARGUMENTS, cwd=export)
    assert_one_error(result, "code_error 2")
    assert "(limit 100: the codes are no nearer to the latents than the latents' mean is)" in result.stderr
    assert "--accept-quality" in result.stderr
    assert not (export / "out").exists()
    accepted = edgecodec(*ARGUMENTS, "--accept-quality", "--json", cwd=export)
    assert accepted.returncode == 0, accepted.stderr
    assert [found["figure"] for found in json.loads(accepted.stdout)["quantization"]["shortfalls"]] == ["code_error"]
    assert Bundle.load(export / "out").manifest.provenance["quantization"]["shortfalls"]
