"""Train a codec and keep what deploying it needs: the run folder."""

from __future__ import annotations

import csv
import io
import json
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.errors import InputError
from edgecodec.nn.backend import import_keras, import_tensorflow, save_keras
from edgecodec.nn.config import DataConfig, TrainConfig, load_config
from edgecodec.nn.kmeans import residual_kmeans
from edgecodec.outputs import npz_bytes, replace_folder
from edgecodec.signal.normalize import normalize
from edgecodec.signal.quality import prdn
from edgecodec.signal.sources import HEARTPY_RECORDINGS, Recording, file_recordings, heartpy_recordings

RUN_FORMAT = "edgecodec.run"
RUN_VERSION = 1
RUN_MARKER = "run.json"
_GRACE = 0.1
"""Share of ``max_seconds`` after which a slow machine shortens the schedule. On others the clock changes nothing,
so that the same seed gives the same codec."""
FloatFrames = npt.NDArray[np.float32]
Progress = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True)
class TrainingSummary:
    """What a training run reached."""

    path: Path
    metrics: dict[str, float]
    steps: int
    """Optimiser steps done; fewer than planned when ``max_seconds`` ran out."""
    seconds: float


@dataclass(frozen=True)
class TrainingData:
    """Recordings split for training, validation and test."""

    train: list[Recording]
    validation: npt.NDArray[np.int16]
    """``[N, T]``, from the end of each training recording."""
    test: list[Recording]


def train(
    config: TrainConfig | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
    force: bool = False,
) -> TrainingSummary:
    """Train a codec as ``config`` (or the YAML file at that path) says and write the run folder ``out``.

    The folder holds ``run.json`` (configuration, seed, versions, split, metrics), ``encoder.keras``,
    ``decoder.keras``, ``codebooks.npz`` (``level_0``, ... float32 ``[K, D]``), ``calibration.npz`` (frames of
    the training split), ``test.npz`` (frames of the test recordings, not overlapping), ``verify.npz`` (at most
    1,000 frames of the test recordings, overlapping) and ``history.csv``. ``progress(done, total, metrics)``
    is called after every step. Raises InputError; leaves no half-written folder.
    """
    settings = config if isinstance(config, TrainConfig) else load_config(config)
    data = load_data(settings.data)
    with replace_folder(out, marker=RUN_MARKER, force=force) as folder:
        trainer = _Trainer(settings, data)
        trainer.run(progress or (lambda done, total, metrics: None))
        metrics = trainer.evaluate()
        _write_run(folder, settings, data, trainer, metrics)
    return TrainingSummary(Path(out), metrics, trainer.steps_done, trainer.seconds)


def load_data(config: DataConfig) -> TrainingData:
    """Load and split the recordings. Raises InputError when one is missing or too short."""
    recordings = _recordings(config)
    train_part, validation = [], []
    for recording in (part for name in config.train for part in recordings[name]):
        head, tail = _split(recording, config)
        train_part.append(head)
        validation.append(tail.frames(config.frame_size, max(1, config.frame_size // 4)))
    train_part = [part for part in train_part if len(part.starts(config.frame_size))]
    frames = np.concatenate(validation)
    test = [part for name in config.test for part in recordings[name]]
    if not train_part:
        raise InputError(f"data.train: no {config.frame_size} usable samples in a row in {', '.join(config.train)}")
    if len(frames) == 0:
        raise InputError(
            f"data.validation_fraction {config.validation_fraction}: leaves no usable frame of {config.frame_size} "
            "samples for validation; raise it or give longer recordings"
        )
    if not any(len(part.starts(config.frame_size)) for part in test):
        raise InputError(f"data.test: no {config.frame_size} usable samples in a row in {', '.join(config.test)}")
    return TrainingData(train_part, frames, test)


def _recordings(config: DataConfig) -> dict[str, list[Recording]]:
    names = [*config.train, *config.test]
    if config.source == "files":
        return {name: file_recordings(name, config.sampling_rate) for name in names}
    for name in names:
        if name not in HEARTPY_RECORDINGS:
            raise InputError(f"HeartPy has no recording {name!r}; expected {', '.join(HEARTPY_RECORDINGS)}")
    return {name: [recording] for name, recording in heartpy_recordings(config.sampling_rate).items()}


def _split(recording: Recording, config: DataConfig) -> tuple[Recording, Recording]:
    """Cut the validation part off the end; frames never cross the cut."""
    cut = round(len(recording.samples) * (1 - config.validation_fraction))
    head = Recording(recording.name, recording.samples[:cut], recording.valid[:cut], recording.rate_hz)
    tail = Recording(recording.name, recording.samples[cut:], recording.valid[cut:], recording.rate_hz)
    return head, tail


class CropSampler:
    """Random crops of the training recordings, normalised and augmented.

    Every usable start is equally likely. Crops are float32 ``[B, T]``.
    """

    def __init__(self, recordings: Sequence[Recording], config: DataConfig, rng: np.random.Generator) -> None:
        self._config = config
        self._rng = rng
        # Squeezing reads more samples than it returns.
        self._reach = int(np.ceil(config.frame_size * (1 + config.time_warp))) + 1
        long = [part for part in recordings if len(part.starts(self._reach))]
        if not long:
            raise InputError(f"data.train: no {self._reach} usable samples in a row (frame_size and time_warp)")
        self._samples = np.concatenate([part.samples for part in long]).astype(np.float32)
        offsets = np.cumsum([0, *(len(part.samples) for part in long[:-1])])
        self._starts = np.concatenate(
            [part.starts(self._reach) + offset for part, offset in zip(long, offsets, strict=True)]
        )

    def batch(self) -> tuple[FloatFrames, FloatFrames]:
        """Return inputs and targets, both ``[B, T]``; only inputs carry noise."""
        config, rng = self._config, self._rng
        crops = self._crops()
        if config.mix > 0:
            mixed = rng.random((len(crops), 1)) < config.mix
            share = np.where(mixed, rng.uniform(0.0, 0.5, (len(crops), 1)), 0.0)
            crops = normalize((1 - share) * crops + share * self._crops(), 0.0)
        target = crops.astype(np.float32)
        low, high = config.gaussian_noise
        if high == 0:
            return target, target
        level = rng.uniform(low, high, (len(target), 1))
        return (target + level * rng.standard_normal(target.shape)).astype(np.float32), target

    def _crops(self) -> npt.NDArray[np.float64]:
        config, rng = self._config, self._rng
        starts = rng.choice(self._starts, config.batch_size)
        at = np.arange(config.frame_size, dtype=np.float64)
        warp = rng.uniform(1 - config.time_warp, 1 + config.time_warp, (config.batch_size, 1))
        position = at * warp
        whole = position.astype(np.intp)
        left = self._samples[starts[:, None] + whole]
        right = self._samples[starts[:, None] + whole + 1]
        return normalize(left + (position - whole) * (right - left), config.epsilon)


class _Trainer:
    """The model, its optimiser and its best weights so far."""

    def __init__(self, config: TrainConfig, data: TrainingData) -> None:
        self._keras, self._tf = import_keras(), import_tensorflow()
        from edgecodec.nn.autoencoder import build_rvq_autoencoder

        self._keras.utils.set_random_seed(config.seed)
        self.config, self.data = config, data
        self.encoder, self.rvq, self.decoder, self.model = build_rvq_autoencoder(
            config.data.frame_size, **config.model.model_dump()
        )
        self._sampler = CropSampler(data.train, config.data, np.random.default_rng(config.seed))
        self._validation = _to_input(data.validation, config.data.epsilon)
        self._optimizer = self._keras.optimizers.Adam(config.training.learning_rate, global_clipnorm=1.0)
        self._optimizer.build(self.model.trainable_variables)
        self.history: list[dict[str, float]] = []
        self.steps_done = 0
        self.seconds = 0.0

    def run(self, progress: Progress) -> None:
        """Train to the end of the schedule or of ``max_seconds`` and keep the weights of the best val_mse."""
        started = time.monotonic()
        total = self.config.data.epochs * self.config.data.steps_per_epoch
        warmup = min(self.config.training.kmeans_start_steps, total - 1)
        steps = {flag: self._tf.function(self._make_step(flag), reduce_retracing=True) for flag in (False, True)}
        best: float = np.inf
        best_weights: list[Any] = []
        shown: dict[str, float] = {}
        losses: list[Any] = []
        for step in range(total):
            elapsed = self._elapsed_share(started)
            late = (elapsed - _GRACE) / (1 - _GRACE)
            self._optimizer.learning_rate.assign(self._learning_rate(max(step / total, late), step))
            if warmup and step == warmup:
                self._start_codebooks()
            inputs, targets = self._sampler.batch()
            losses.append(steps[step >= warmup](inputs[:, None, :, None], targets[:, None, :, None]))
            self.steps_done = step + 1
            last = step + 1 == total or elapsed >= 1
            if last or (step + 1) % self.config.data.steps_per_epoch == 0:
                mse = float(np.mean([float(loss) for loss in losses]))
                shown = {"mse": mse, "val_mse": self._val_mse(step >= warmup)}
                losses = []
                self.history.append({"step": step + 1, **shown})
                if step >= warmup and shown["val_mse"] < best:
                    best, best_weights = shown["val_mse"], self.model.get_weights()
            progress(step + 1, total, shown)
            if last:
                break
        if best_weights:
            self.model.set_weights(best_weights)
        elif warmup:
            # The time ran out before the quantiser's turn.
            self._start_codebooks()
        self.seconds = time.monotonic() - started

    def evaluate(self) -> dict[str, float]:
        """Figures of the best weights, on the test recordings unless the name says validation."""
        config = self.config.data
        test = test_frames(self.data, config.frame_size)
        figures = prdn(normalize(test, config.epsilon), self._reconstruct(_to_input(test, config.epsilon)))
        metrics = {
            "val_mse": float(np.mean((self._reconstruct(self._validation) - self._validation[:, 0, :, 0]) ** 2)),
            "test_prdn_mean": float(figures.mean()),
            "test_prdn_median": float(np.median(figures)),
            "test_prdn_p90": float(np.percentile(figures, 90)),
        }
        for metric in self.rvq.metrics:
            metric.reset_state()
        self.model(self._validation, training=False)
        metrics |= {f"val_{metric.name}": float(metric.result()) for metric in self.rvq.metrics}
        return metrics

    def _make_step(self, quantized: bool) -> Callable[[Any, Any], Any]:
        tf, ops = self._tf, self._keras.ops

        def step(inputs: Any, targets: Any) -> Any:
            with tf.GradientTape() as tape:
                latent = self.encoder(inputs, training=True)
                if quantized:
                    latent = self.rvq(latent, training=True)
                output = self.decoder(latent, training=True)
                mse = ops.mean(ops.square(output - targets))
                loss = mse + sum(self.rvq.losses) if quantized else mse
            variables = self.model.trainable_variables
            gradients = tape.gradient(loss, variables)
            pairs = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
            self._optimizer.apply([g for g, _ in pairs], [v for _, v in pairs])
            return mse

        return step

    def _learning_rate(self, share: float, step: int) -> float:
        """Cosine from the configured rate to a hundredth of it, after 100 rising steps."""
        peak = self.config.training.learning_rate
        cosine = 0.5 * (1 + np.cos(np.pi * min(share, 1.0)))
        return float(peak * (0.01 + 0.99 * cosine) * min(1.0, (step + 1) / 100))

    def _elapsed_share(self, started: float) -> float:
        limit = self.config.training.max_seconds
        return 0.0 if limit is None else (time.monotonic() - started) / limit

    def _start_codebooks(self) -> None:
        wanted = 40 * max(self.rvq.codebook_sizes)
        latents: list[npt.NDArray[np.float32]] = []
        while sum(len(part) for part in latents) < wanted:
            inputs, _ = self._sampler.batch()
            latent = self._keras.ops.convert_to_numpy(self.encoder(inputs[:, None, :, None], training=False))
            latents.append(latent.reshape(-1, latent.shape[-1]))
        books = residual_kmeans(np.concatenate(latents), self.rvq.codebook_sizes, self.config.seed)
        self.rvq.set_codebooks(books)

    def _reconstruct(self, inputs: FloatFrames, quantized: bool = True) -> FloatFrames:
        parts = [inputs[i : i + 256] for i in range(0, len(inputs), 256)]
        run = self.model if quantized else (lambda x, training: self.decoder(self.encoder(x)))
        outputs = [self._keras.ops.convert_to_numpy(run(part, training=False)) for part in parts]
        return np.concatenate(outputs)[:, 0, :, 0]

    def _val_mse(self, quantized: bool) -> float:
        error = self._reconstruct(self._validation, quantized) - self._validation[:, 0, :, 0]
        return float(np.mean(error**2))


def test_frames(data: TrainingData, samples: int) -> npt.NDArray[np.int16]:
    """Frames of the test recordings, int16 ``[N, T]``, not overlapping."""
    return np.concatenate([part.frames(samples, samples) for part in data.test])


def verify_frames(data: TrainingData, samples: int, count: int = 1000) -> npt.NDArray[np.int16]:
    """At most ``count`` frames spread evenly over the test recordings, int16 ``[N, T]``, overlapping."""
    windows = [(part, start) for part in data.test for start in part.starts(samples)]
    chosen = np.linspace(0, len(windows) - 1, min(count, len(windows))).round().astype(int)
    return np.stack([windows[i][0].samples[windows[i][1] :][:samples] for i in chosen])


def calibration_frames(data: TrainingData, config: TrainConfig) -> npt.NDArray[np.int16]:
    """Frames spread over the training split, int16 ``[N, T]``."""
    samples, count = config.data.frame_size, config.output.calibration_frames
    windows = [(part, start) for part in data.train for start in part.starts(samples)]
    chosen = np.random.default_rng(config.seed).permutation(len(windows))[:count]
    return np.stack([windows[i][0].samples[windows[i][1] :][:samples] for i in np.sort(chosen)])


def _to_input(frames: npt.NDArray[np.int16], epsilon: float) -> FloatFrames:
    """Normalised frames as the encoder takes them, float32 ``[N, 1, T, 1]``."""
    return normalize(frames, epsilon).astype(np.float32)[:, None, :, None]


def _write_run(
    folder: Path, config: TrainConfig, data: TrainingData, trainer: _Trainer, metrics: dict[str, float]
) -> None:
    samples = config.data.frame_size
    save_keras(trainer.encoder, folder / "encoder.keras")
    save_keras(trainer.decoder, folder / "decoder.keras")
    books = {f"level_{level}": book for level, book in enumerate(trainer.rvq.codebooks)}
    arrays: dict[str, dict[str, npt.NDArray[Any]]] = {
        "codebooks.npz": books,
        "calibration.npz": {"frames": calibration_frames(data, config)},
        "test.npz": {"frames": test_frames(data, samples)},
        "verify.npz": {"frames": verify_frames(data, samples)},
    }
    for name, content in arrays.items():
        (folder / name).write_bytes(npz_bytes(content))
    (folder / "history.csv").write_text(_history_csv(trainer.history), encoding="utf-8")
    document = {
        "format": RUN_FORMAT,
        "version": RUN_VERSION,
        "config": config.model_dump(mode="json"),
        "seed": config.seed,
        "versions": versions(),
        "split": {"train": config.data.train, "test": config.data.test},
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
    writer = csv.DictWriter(text, ["step", "mse", "val_mse"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()
