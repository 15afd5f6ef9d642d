"""The run folder: what training leaves, and all that deploying the codec needs.

``run.json`` holds configuration, seed, versions, split and metrics; ``encoder.keras``, ``decoder.keras`` and
``codebooks.npz`` (``level_0``, ... float32 ``[K, D]``, and ``bias_0``, ... float32 ``[K]`` where the rate counts in the
choice of codes) the best weights; ``calibration.npz`` frames of the training
split, ``test.npz`` frames of the test split that do not overlap, ``verify.npz`` at most 1,000 of the test split that
may overlap; ``history.csv`` a row an epoch. A split by person adds ``validation.npz`` and ``train.npz``, frames of
the people that chose the weights and of those trained on.
"""

from __future__ import annotations

import csv
import io
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgecodec.codec.arrays import Frames
from edgecodec.documents import Json, to_json
from edgecodec.errors import InputError
from edgecodec.files.atomic import check_folder, npz_bytes, replace_folder
from edgecodec.files.limits import DOCUMENT
from edgecodec.files.regular import read_regular
from edgecodec.files.strict_json import parse_json
from edgecodec.nn.backend import import_keras, import_tensorflow, save_keras
from edgecodec.signal.frames import frames_npz, load_frames
from edgecodec.signal.reading import Reading
from edgecodec.signal.summary import RecordingsSummary
from edgecodec.training.config import TrainConfig, load_config, parse_config
from edgecodec.training.data import TrainingData, load_data
from edgecodec.training.trainer import Progress, Trainer

FORMAT = "edgecodec.run"
VERSION = 1
MARKER = "run.json"
ENCODER = "encoder.keras"
DECODER = "decoder.keras"
CODEBOOKS = "codebooks.npz"
HISTORY = "history.csv"
CALIBRATION, VALIDATION, TRAIN = "calibration.npz", "validation.npz", "train.npz"
TEST, VERIFY = "test.npz", "verify.npz"
_AGAIN = "train again"
_NEEDED = {
    "": ("config", "seed", "versions", "split", "steps", "metrics", "training_seconds"),
    "config": ("run_name", "data", "model"),
    "config.data": ("frame_size", "epsilon", "sampling_rate"),
}
"""Keys of ``run.json`` that must be there, by the section that holds them."""


@dataclass(frozen=True, repr=False)
class TrainingRun:
    """A run folder, read and checked."""

    path: Path
    """The folder."""
    config: TrainConfig
    """Configuration that the codec was trained with."""
    versions: Mapping[str, str]
    """Version of each package that the weights depend on, by its name."""
    split: Mapping[str, Sequence[str]]
    """People or recordings on each of the sides ``train``, ``validation`` and ``test``."""
    steps: int
    """Optimiser steps done; fewer than planned after an early stop or when ``max_seconds`` ran out."""
    metrics: Mapping[str, float]
    """Figures of the float codec, on the test frames unless their name says validation: ``val_mse`` and others of the
    normalised signal, PRDN (``test_prdn_mean``, ``test_prdn_median``, ``test_prdn_p90``) in percent unless every test
    frame is constant."""
    seconds: float
    """Time spent training, in seconds, that before a kill and a resumption included."""
    recordings: RecordingsSummary | None = None
    """What was read of the user's files, used and dropped; None where the data was not from files."""

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TrainingRun:
        """Read the folder ``path`` that :func:`train` wrote.

        Raises InputError, which names the file, when it is no run folder, damaged, or of another version.
        """
        folder = Path(path)
        file = folder / MARKER
        if not file.is_file():
            raise InputError(
                f"{folder}: no {MARKER} in it, so it is no run folder", hint="make one with: edgecodec train"
            )
        try:
            document = parse_json(read_regular(file, "a run", DOCUMENT), finite=False)
        except ValueError as error:
            raise InputError(f"{file}: cannot be read ({error})", hint=_AGAIN) from error
        if not isinstance(document, dict) or (document.get("format"), document.get("version")) != (FORMAT, VERSION):
            raise InputError(f"{file}: is no {FORMAT} of version {VERSION}", hint=_AGAIN)
        _check_keys(document, file)
        try:
            return cls(
                folder,
                parse_config(document["config"], f"{file}: config"),
                {str(name): str(version) for name, version in document["versions"].items()},
                {str(side): [str(name) for name in names] for side, names in document["split"].items()},
                int(document["steps"]),
                {str(name): float(value) for name, value in document["metrics"].items()},
                float(document["training_seconds"]),
                RecordingsSummary.from_json(document.get("recordings")),
            )
        except (AttributeError, TypeError, ValueError) as error:
            raise InputError(f"{file}: cannot be read ({error})", hint=_AGAIN) from error

    @staticmethod
    def write(folder: Path, trainer: Trainer, data: TrainingData) -> None:
        """Write every file of a run into the empty ``folder``, the marker ``run.json`` last."""
        save_keras(trainer.encoder, folder / ENCODER)
        save_keras(trainer.decoder, folder / DECODER)
        books = {f"level_{level}": book for level, book in enumerate(trainer.rvq.codebooks)}
        books |= {f"bias_{level}": bias for level, bias in enumerate(trainer.rvq.biases or [])}
        (folder / CODEBOOKS).write_bytes(npz_bytes(books))
        frames = {CALIBRATION: data.calibration, TEST: data.test, VERIFY: data.verify}
        if data.by_person:
            frames |= {VALIDATION: data.validation, TRAIN: data.train}
        for name, array in frames.items():
            (folder / name).write_bytes(frames_npz(array, trainer.config.data.sampling_rate))
        (folder / HISTORY).write_text(_history_csv(trainer.history), encoding="utf-8")
        document = {
            "format": FORMAT,
            "version": VERSION,
            "config": trainer.config.model_dump(mode="json"),
            "seed": trainer.config.seed,
            "versions": versions(),
            "split": data.split,
            "recordings": None if data.summary is None else to_json(data.summary),
            "steps": trainer.steps_done,
            "metrics": trainer.evaluate(),
            "training_seconds": round(trainer.seconds, 1),
        }
        (folder / MARKER).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")

    @property
    def encoder(self) -> Path:
        """Keras model from normalised frames ``(1, T, 1)`` to latents ``(1, P, D)``."""
        return self.path / ENCODER

    @property
    def decoder(self) -> Path:
        """Keras model from latents ``(1, P, D)`` to normalised frames ``(1, T, 1)``."""
        return self.path / DECODER

    @property
    def codebooks(self) -> Path:
        """``.npz`` with ``level_0``, ``level_1``, ..., float32 ``[K, D]`` each."""
        return self.path / CODEBOOKS

    @property
    def validation_file(self) -> Path | None:
        """File of :meth:`validation`; None unless split by person."""
        file = self.path / VALIDATION
        return file if file.is_file() else None

    @property
    def samples(self) -> int:
        """T, ADC counts of a frame."""
        return self.config.data.frame_size

    def calibration(self) -> Frames:
        """Frames of the training split, ADC counts int16 ``[N, T]``. Raises InputError."""
        return self._frames(CALIBRATION)

    def test(self) -> Frames:
        """Frames of the test split that do not overlap, ADC counts int16 ``[N, T]``. Raises InputError."""
        return self._frames(TEST)

    def verify(self) -> Frames:
        """At most 1,000 frames of the test split, which may overlap, ADC counts int16 ``[N, T]``. Raises InputError."""
        return self._frames(VERIFY)

    def validation(self) -> Frames | None:
        """Frames of the people that chose the weights, ADC counts int16 ``[N, T]``; None unless split by person.

        Raises InputError.
        """
        return None if self.validation_file is None else self._frames(VALIDATION)

    def train(self) -> Frames | None:
        """Frames of the people trained on, ADC counts int16 ``[N, T]``; None unless split by person.

        Raises InputError.
        """
        return self._frames(TRAIN) if (self.path / TRAIN).is_file() else None

    @property
    def provenance(self) -> Json:
        """What bundles keep of training: ``config``, ``seed``, ``versions``, ``split``, ``recordings``, ``steps`` and
        ``metrics``.
        """
        return {
            "config": self.config.model_dump(mode="json"),
            "seed": self.config.seed,
            "versions": dict(self.versions),
            "split": {side: list(names) for side, names in self.split.items()},
            "recordings": None if self.recordings is None else to_json(self.recordings),
            "steps": self.steps,
            "metrics": dict(self.metrics),
        }

    def __repr__(self) -> str:
        prdn = self.metrics.get("test_prdn_mean")
        quality = "" if prdn is None else f", test PRDN {prdn:.2f} %"
        return f"TrainingRun({self.config.run_name!r} in {self.path}, {self.steps:,} steps{quality})"

    def _frames(self, name: str) -> Frames:
        # Runs of earlier versions did not write the rate into their files of frames.
        rate_hz = self.config.data.sampling_rate
        return load_frames(self.path / name, self.samples, rate_hz, Reading(rate_hz))


def train(
    config: TrainConfig | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
    force: bool = False,
    resume: bool = False,
    say: Callable[[str], None] | None = None,
) -> TrainingRun:
    """Train a codec and write its run folder: encoder, decoder, codebooks, and frames to quantise and verify with.

    Args:
        config: A configuration, or the path of its YAML file.
        out: Folder to write; an earlier run there is replaced, other files only with ``force``.
        progress: Called as ``progress(done, total, figures)`` after every step.
        force: Replace a folder that holds other files.
        resume: Go on where a run into the same ``out`` was ended, to the result that it would have had. What is needed
            for that lies in the file :func:`checkpoint_path` after each epoch, until the end.
        say: Called with one line on the user's recordings, once they are read: how many, their rate, what is used and
            what was dropped.

    Returns:
        The run: paths of its parts, frames of each side of the split (ADC counts int16 ``[N, T]``), figures.

    Raises:
        InputError: The configuration, the recordings or the checkpoint do not fit, TensorFlow is missing, training
            diverged, or ``out`` cannot be written. No half-written folder is left.
    """
    settings = config if isinstance(config, TrainConfig) else load_config(config)
    check_folder(out, marker=MARKER, force=force)
    data = load_data(settings)
    if data.summary is not None and say is not None:
        say(data.summary.describe())
    trainer = Trainer(settings, data)
    checkpoint = checkpoint_path(out)
    trainer.run(progress or (lambda done, total, metrics: None), checkpoint, resume)
    # Made at the end: a run that is killed leaves its checkpoint and nothing else.
    with replace_folder(out, marker=MARKER, force=force) as folder:
        TrainingRun.write(folder, trainer, data)
    checkpoint.unlink(missing_ok=True)
    return TrainingRun.load(out)


def checkpoint_path(out: str | os.PathLike[str]) -> Path:
    """Where a run that is to become the folder ``out`` keeps its checkpoint: beside it."""
    target = Path(os.path.abspath(out))
    return target.with_name(f"{target.name}.checkpoint.npz")


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on, by the names of the packages. Imports TensorFlow."""
    return {
        "python": platform.python_version(),
        "tensorflow": str(import_tensorflow().__version__),
        "keras": str(import_keras().__version__),
        "numpy": np.__version__,
    }


def _check_keys(document: Mapping[str, Any], file: Path) -> None:
    """Raise InputError unless ``document`` holds all of :data:`_NEEDED`."""
    for section, keys in _NEEDED.items():
        holder: Any = document
        for part in filter(None, section.split(".")):
            holder = holder.get(part)
        for key in keys:
            if not isinstance(holder, dict) or key not in holder:
                raise InputError(f"{file}: lacks {'.'.join(filter(None, (section, key)))}", hint=_AGAIN)


def _history_csv(history: Sequence[Mapping[str, float]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(history[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()
