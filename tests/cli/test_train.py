"""From a preset and a file of people to a bundle with a model of its indices, as a person does it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.run import assert_one_error, edgecodec
from tests.tflite_builder import ppg_frames
from tests.tools import require

SMALL = [
    *("--set", "data.frame_size=64", "--set", "data.epochs=2", "--set", "data.steps_per_epoch=5"),
    *("--set", "data.batch_size=8", "--set", "model.base_filters=8", "--set", "model.latent_width=16"),
    *("--set", "training.kmeans_start_steps=3", "--set", "output.train_frames=200"),
    *("--set", "data.split.validation=last 1", "--set", "data.split.test=last 2"),
]

MODEL = ["--index-model", "--index-flash", "4000", "--index-instructions", "20000"]


@pytest.fixture
def people(tmp_path: Path) -> Path:
    """Six people, three recordings each."""
    rows = np.concatenate([ppg_frames(3, 640, person) for person in range(6)])
    np.savez(tmp_path / "people.npz", adc=rows, subject=np.repeat(np.arange(6), 3))
    return tmp_path / "people.npz"


def test_preset_to_bundle(people: Path, tmp_path: Path) -> None:
    require("module:tensorflow", "module:scipy")
    training = ("train", "--preset", "08x_light", "--data", people, *SMALL, "-o", tmp_path / "run", "--json")
    unsaid = edgecodec(*training)
    assert_one_error(unsaid, "people.npz: does not say its sampling rate; the codec's is 64 Hz; give it with --rate HZ")
    made = edgecodec(*training, "--rate", "64")
    assert made.returncode == 0, made.stderr
    assert "6 people, 18 recordings, 64 Hz, 180 s used" in made.stderr.splitlines()
    document = json.loads(made.stdout)
    assert (document["recordings"]["people"], document["recordings"]["used_s"]) == (6, 180.0)
    assert document["steps"] == 10
    assert "val_mse" in made.stderr
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["split"]["test"] == ["4", "5"]
    assert run["config"]["model"]["num_stages"] == 3
    quantized = edgecodec("quantize", tmp_path / "run", "-o", tmp_path / "bundle", *MODEL, "--json")
    assert quantized.returncode == 0, quantized.stderr
    report = json.loads(quantized.stdout)["quantization"]
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert manifest["provenance"]["training"]["recordings"] == run["recordings"] == document["recordings"]
    assert report["validation"]["source"] == "validation.npz"
    assert report["index_model"]["frames"] == 200
    assert report["index_model"]["budget"] == {"flash_bytes": 4000, "instructions": 20_000}
    again = edgecodec(*training[:-3], "--rate", "64", "-o", people)
    assert_one_error(again, "exists and is no folder")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--preset", "08x"], "no preset '08x'"),
        (["--preset", "08x_ds8_l2"], "give --data"),
        (["--preset", "08x_ds8_l2", "--data", "nowhere"], "no such file or folder"),
        (["--preset", "08x_ds8_l2", "--data", "people.npz", "--set", "data.epoch=2"], "did you mean data.epochs?"),
        (["--preset", "08x_ds8_l2", "--data", "people.npz", "--set", "data.split.test=[9]"], "nobody is called '9'"),
        (["--preset", "08x_ds8_l2", "codec.yaml"], "give CONFIG or --preset"),
    ],
)
def test_bad_arguments(arguments: list[str], expected: str, people: Path, tmp_path: Path) -> None:
    assert_one_error(edgecodec("train", *arguments, "-o", "run", cwd=tmp_path), expected)
    assert not (tmp_path / "run").exists()
