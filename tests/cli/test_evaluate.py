"""``edgecodec evaluate``: a table for people, one document for programs, one line for mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from edgecodec.bundle import Bundle
from tests.cli.run import assert_one_error, edgecodec
from tests.linear_codec import linear_codec, pulse_frames
from tests.tools import require


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``linear``, a bundle with a decoder, and frames to train on and to test with."""
    require("module:scipy", "module:matplotlib", "cc", "Python.h")
    folder = tmp_path_factory.mktemp("evaluate")
    linear_codec(folder)
    np.savez(folder / "train.npz", frames=pulse_frames(80, seed=1), rate_hz=16.0)
    np.savez(folder / "test.npz", frames=pulse_frames(40, seed=2), rate_hz=16.0)
    return folder


def test_table_and_plot(folder: Path, tmp_path: Path) -> None:
    plot = tmp_path / "rate.png"
    result = edgecodec(
        "evaluate", "linear", "--frames", "test.npz", "--train-frames", "train.npz", "--plot", plot, cwd=folder
    )
    assert result.returncode == 0, result.stderr
    for text in (
        "nominal",
        "conditional",
        "DCT, static tables, same PRDN",
        "KLT, contexts, RDOQ, same bits",
        "perplexity",
        "P90",
        "bpm",
        "none in the bundle; refit",
    ):
        assert text in result.stdout
    assert "80 training frames: given beside the frames measured" in result.stdout
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_json_says_where_the_training_frames_are_from(folder: Path) -> None:
    result = edgecodec("evaluate", "linear", "--frames", "test.npz", "--opponents", "dct", "--json", cwd=folder)
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["train_frames_source"].startswith("first half of the frames given")
    assert (document["executor"], document["frames"], document["plot"]) == ("batch", 20, None)
    assert document["prdn"]["mean"] > 0
    assert [opponent["name"] for opponent in document["opponents"]] == ["dct"]


def test_people_and_rhythms_of_the_recordings(folder: Path, tmp_path: Path) -> None:
    labels = {"subject": np.array(["a", "b"] * 20), "rhythm": np.arange(40) // 30}
    np.savez(tmp_path / "people.npz", frames=pulse_frames(40, seed=2), rate_hz=16.0, **labels)
    arguments = ("--frames", tmp_path / "people.npz", "--train-frames", "train.npz", "--opponents", "dct")
    result = edgecodec("evaluate", "linear", *arguments, cwd=folder)
    assert result.returncode == 0, result.stderr
    for text in ("person a", "person b", ", worst", "rhythm 0", "rhythm 1", "onset, ms", "RMSSD"):
        assert text in result.stdout


def test_without_tensorflow_and_optional_packages(folder: Path) -> None:
    from tests.cli.test_start import run_refusing

    arguments = ("evaluate", str(folder / "linear"), "--frames", str(folder / "test.npz"), "--json")
    result = run_refusing({"tensorflow", "keras", "heartpy", "matplotlib"}, *arguments)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["linear"], "--frames"),
        (["--frames", "test.npz"], "BUNDLE"),
        (["linear", "--frames", ""], "empty"),
        (["linear", "--frames", "test.npz", "--plot", "rate.pdf"], "does not end in .png"),
        (["linear", "--frames", "missing.npz"], "missing.npz"),
        (["linear", "--frames", "test.npz", "--train-frames", "missing.npz"], "missing.npz"),
        (["linear", "--frames", "test.npz", "--train-frames", "test.npz"], "among the training frames"),
        (["linear", "--frames", "test.npz", "--opponents", "dct,lpc"], "'lpc' is unknown"),
        (["linear", "--frames", "test.npz", "--opponents", ""], "opponent"),
        (["nowhere", "--frames", "test.npz"], "no such bundle"),
        (["linear", "--frames", "test.npz", "--plot", "test.npz/rate.png"], "rate.png"),
    ],
)
def test_mistakes(folder: Path, arguments: list[str], expected: str) -> None:
    before = {path.name for path in folder.iterdir()}
    assert_one_error(edgecodec("evaluate", *arguments, cwd=folder), expected)
    assert {path.name for path in folder.iterdir()} == before


def test_bundle_without_decoder(bundle: Bundle, folder: Path) -> None:
    result = edgecodec("evaluate", bundle.path, "--frames", "test.npz", "--json", cwd=folder)
    assert_one_error(result, "decoder.tflite", "--decoder")
    assert json.loads(result.stdout)["error_type"] == "BundleError"
