"""Train a codec and keep what deploying it needs: the run folder."""

from __future__ import annotations

import csv
import io
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.files.atomic import npz_bytes, replace_folder
from edgecodec.nn.backend import import_keras, import_tensorflow, save_keras
from edgecodec.training.config import TrainConfig, load_config
from edgecodec.training.data import TrainingData, load_data
from edgecodec.training.trainer import Progress, Trainer

RUN_FORMAT = "edgecodec.run"
RUN_VERSION = 1
RUN_MARKER = "run.json"


@dataclass(frozen=True)
class TrainingSummary:
    """What a training run reached."""

    path: Path
    metrics: dict[str, float]
    steps: int
    """Optimiser steps done; fewer than planned when ``max_seconds`` ran out."""
    seconds: float


def train(
    config: TrainConfig | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
    force: bool = False,
    resume: bool = False,
) -> TrainingSummary:
    """Train a codec as ``config`` (or the YAML file at that path) says and write the run folder ``out``.

    The folder holds ``run.json`` (configuration, seed, versions, split, metrics), ``encoder.keras``,
    ``decoder.keras``, ``codebooks.npz`` (``level_0``, ... float32 ``[K, D]``), ``calibration.npz`` (frames of
    the training split), ``test.npz`` (frames of the test split, not overlapping), ``verify.npz`` (at most
    1,000 frames of the test split, overlapping) and ``history.csv``. A split by person adds ``validation.npz``
    and ``train.npz``, frames of the people that chose the weights and of those trained on.

    After each epoch the file :func:`checkpoint_path` keeps what ``resume`` goes on from, to the same result; it
    is removed at the end. ``progress(done, total, metrics)`` is called after every step. Raises InputError;
    leaves no half-written folder.
    """
    settings = config if isinstance(config, TrainConfig) else load_config(config)
    data = load_data(settings)
    with replace_folder(out, marker=RUN_MARKER, force=force) as folder:
        trainer = Trainer(settings, data)
        checkpoint = checkpoint_path(out)
        trainer.run(progress or (lambda done, total, metrics: None), checkpoint, resume)
        metrics = trainer.evaluate()
        _write_run(folder, settings, data, trainer, metrics)
    checkpoint.unlink(missing_ok=True)
    return TrainingSummary(Path(out), metrics, trainer.steps_done, trainer.seconds)


def checkpoint_path(out: str | os.PathLike[str]) -> Path:
    """Where a run that is to become the folder ``out`` keeps its checkpoint: beside it."""
    target = Path(os.path.abspath(out))
    return target.with_name(f"{target.name}.checkpoint.npz")


def _write_run(
    folder: Path, config: TrainConfig, data: TrainingData, trainer: Trainer, metrics: dict[str, float]
) -> None:
    save_keras(trainer.encoder, folder / "encoder.keras")
    save_keras(trainer.decoder, folder / "decoder.keras")
    books = {f"level_{level}": book for level, book in enumerate(trainer.rvq.codebooks)}
    arrays: dict[str, dict[str, npt.NDArray[Any]]] = {
        "codebooks.npz": books,
        "calibration.npz": {"frames": data.calibration},
        "test.npz": {"frames": data.test},
        "verify.npz": {"frames": data.verify},
    }
    if data.by_person:
        arrays |= {"validation.npz": {"frames": data.validation}, "train.npz": {"frames": data.train}}
    for name, content in arrays.items():
        (folder / name).write_bytes(npz_bytes(content))
    (folder / "history.csv").write_text(_history_csv(trainer.history), encoding="utf-8")
    document = {
        "format": RUN_FORMAT,
        "version": RUN_VERSION,
        "config": config.model_dump(mode="json"),
        "seed": config.seed,
        "versions": versions(),
        "split": data.split,
        "steps": trainer.steps_done,
        "metrics": metrics,
        "training_seconds": round(trainer.seconds, 1),
    }
    (folder / RUN_MARKER).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    return {
        "python": platform.python_version(),
        "tensorflow": str(import_tensorflow().__version__),
        "keras": str(import_keras().__version__),
        "numpy": np.__version__,
    }


def _history_csv(history: Sequence[dict[str, float]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()
