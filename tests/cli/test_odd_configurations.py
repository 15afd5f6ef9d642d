"""Odd configurations of a training: one line that names the file, exit code 2, nothing written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.odd_files import (
    Make,
    content,
    everywhere,
    named,
    refused_alone,
)


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


def test_there_are_sixty() -> None:
    assert len(CONFIGURATIONS) >= 60
