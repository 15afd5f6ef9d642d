"""Folders as compressionKIT exports and publishes them; the manifests are written here by its documented keys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecodec.codec.tflite_reader import read_graph
from edgecodec.errors import InputError
from edgecodec.quantization.deploy_manifest import read_deploy_manifest
from edgecodec.quantization.measure import float_codebooks
from edgecodec.quantization.sources import Source
from edgecodec.signal.normalize import NONE, Fixed, MinMax, Normalization, ZScore
from tests.tflite_builder import fitted_rvq, ppg_frames, small_encoder

ENCODER = {"encoder": {"tflite": "encoder.tflite", "input_shape": [None, 1, 64, 1], "output_shape": [None, 1, 8, 6]}}


def _export(folder: Path, encoder: str, called: str, **files: Any) -> Path:
    folder.mkdir()
    (folder / encoder).write_bytes(small_encoder())
    (book,) = float_codebooks(fitted_rvq(read_graph(small_encoder()), (7,)))
    np.savez(folder / "codebook.npz", level_0=book, level_1=book * np.arange(1, 8)[:, None])
    (folder / called).write_text(json.dumps({**ENCODER, **files.pop("manifest", {})}))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("encoder", "manifest"), [("encoder.tflite", "deploy_manifest.json"), ("encoder_int8.tflite", "config.json")]
)
def test_rate_and_codebooks_of_an_export(tmp_path: Path, encoder: str, manifest: str) -> None:
    export = _export(tmp_path / "export", encoder, manifest, codec_spec={"sample_rate": 64})
    source = Source.of_folder(export, ppg_frames(20, 64))
    assert (source.rate_hz, source.encoder.samples, len(source.codebooks)) == (64.0, 64, 1)
    assert source.notes == (
        "level_1: left out, the moving averages of an EMA quantiser beside its codes",
        f"{manifest}: frames at 64 Hz",
    )
    assert Source.of_folder(export, ppg_frames(20, 64), rate_hz=64.0).rate_hz == 64.0
    with pytest.raises(InputError, match=r"a rate of 64 Hz; --rate-hz says 100 Hz"):
        Source.of_folder(export, ppg_frames(20, 64), rate_hz=100.0)


def test_recordings_are_brought_to_the_rate_of_the_export(tmp_path: Path) -> None:
    """What the manifest alone says counts for recordings as --rate-hz does."""
    export = _export(tmp_path / "export", "encoder.tflite", "config.json", manifest={"sample_rate": 64})
    np.savez(tmp_path / "frames.npz", adc=ppg_frames(1, 128 * 60), rate_hz=128.0)
    source = Source.of_folder(export, tmp_path / "frames.npz")
    summary = source.recordings["calibration"]
    assert (summary.recorded_hz, summary.rate_hz) == ((128.0,), 64.0)
    np.save(tmp_path / "frames.npy", ppg_frames(20, 64))
    with pytest.raises(InputError, match=r"frames\.npy: does not say its sampling rate; the codec's is 64 Hz"):
        Source.of_folder(export, tmp_path / "frames.npy")


@pytest.mark.parametrize(
    ("files", "rate", "normalization"),
    [
        ({}, None, None),
        ({"manifest": {"sample_rate": 25.5}, "codec_spec": {"sample_rate": 64}}, 25.5, None),
        ({"model_card": {"sample_rate": 64}, "codec_spec": {"sample_rate": None}}, 64.0, None),
        ({"codec_spec": {"preprocessing_contract": {"normalization": "per-frame z-score"}}}, None, "per-frame z-score"),
        ({"manifest": {"normalization": {"kind": "zscore", "epsilon": 1e-3}}}, None, "zscore"),
    ],
)
def test_facts(tmp_path: Path, files: dict[str, Any], rate: float | None, normalization: str | None) -> None:
    manifest = read_deploy_manifest(_export(tmp_path / "export", "encoder.tflite", "config.json", **files))
    assert manifest is not None
    assert (manifest.samples, manifest.rate_hz, manifest.normalization) == (64, rate, normalization)
    assert manifest.check(64, rate, None) == ()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("minmax", MinMax()),
        ("per-frame Min-Max to [-1, 1]", MinMax(-1, 1)),
        ({"kind": "minmax", "low": -2, "high": 2.5}, MinMax(-2, 2.5)),
        ({"method": "min_max", "feature_range": [0, 2]}, MinMax(0, 2)),
        ({"type": "none"}, NONE),
        ({"type": "fixed", "mean": 2048, "std": 512}, Fixed(2048, 512)),
        ({"kind": "zscore", "epsilon": 0.5}, ZScore(0.5)),
    ],
)
def test_normalisation_of_an_export(tmp_path: Path, said: Any, expected: Normalization) -> None:
    export = _export(tmp_path / "export", "encoder.tflite", "config.json", manifest={"normalization": said})
    source = Source.of_folder(export, ppg_frames(20, 64))
    assert source.normalization == expected
    named = [note for note in source.notes if "normalised by" in note]
    assert len(named) == (expected.kind != "zscore")
    # What the user says goes before what the manifest says.
    assert Source.of_folder(export, ppg_frames(20, 64), normalization=ZScore(2.0)).normalization == ZScore(2.0)


def test_a_word_that_is_not_known_is_said(tmp_path: Path) -> None:
    manifest = {"normalization": "house style"}
    export = _export(tmp_path / "export", "encoder.tflite", "config.json", manifest=manifest)
    assert Source.of_folder(export, ppg_frames(20, 64)).notes[-1] == (
        "config.json: normalised by 'house style', taken for z-scores of each frame"
    )


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ({"encoder": {"input_shape": [None, 1, 320, 1]}}, "frames of 320 samples; the encoder beside it takes 64"),
        ({"encoder": {"input_shape": [None, "T", 1]}}, "input_shape is"),
        ({"encoder": 3}, "encoder is 3; expected a JSON object"),
        ({"sample_rate": "64"}, "a sampling rate of '64'; expected Hz"),
        ({"sample_rate": True}, "a sampling rate of True"),
        ({"sample_rate": 0}, "a sampling rate of 0"),
        ({"normalization": "median"}, "normalised by 'median', {}; expected z-scores"),
        ({"normalization": "global min-max"}, "normalised by 'global min-max'"),
        ({"normalization": "min-max to [1, -1]"}, "normalised by 'min-max to"),
        ({"normalization": {"type": "fixed", "mean": 7}}, "normalised by 'fixed', {'mean': 7}"),
        ({"normalization": {"type": "fixed", "mean": 7, "std": 0}}, "normalised by 'fixed'"),
    ],
)
def test_manifests_of_another_codec(tmp_path: Path, manifest: dict[str, Any], message: str) -> None:
    export = _export(tmp_path / "export", "encoder.tflite", "deploy_manifest.json", manifest=manifest)
    with pytest.raises(InputError, match=message) as caught:
        Source.of_folder(export, ppg_frames(20, 64))
    assert "deploy_manifest.json" in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", chr(0) * 9, "[" * 100000])
def test_manifests_that_are_not_json_objects(tmp_path: Path, content: str) -> None:
    (tmp_path / "deploy_manifest.json").write_text(content)
    with pytest.raises(
        InputError, match=r"deploy_manifest\.json: (not readable JSON|holds a (list|NoneType); expected)"
    ):
        read_deploy_manifest(tmp_path)


def test_config_of_something_else_is_passed_over(tmp_path: Path) -> None:
    assert read_deploy_manifest(tmp_path) is None
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    assert read_deploy_manifest(tmp_path) is None
