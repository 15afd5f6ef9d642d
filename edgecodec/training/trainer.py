"""The training loop: model, optimiser, schedule, best weights, and where to go on after a kill."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.errors import InputError
from edgecodec.files.atomic import npz_bytes, write_file
from edgecodec.files.limits import CHECKPOINT
from edgecodec.files.npz import read_npz
from edgecodec.files.strict_json import parse_json
from edgecodec.nn.backend import import_keras, import_tensorflow
from edgecodec.nn.kmeans import residual_kmeans
from edgecodec.nn.rate_loss import RateLoss
from edgecodec.signal.normalize import normalize
from edgecodec.signal.quality import prdn
from edgecodec.training.config import TrainConfig
from edgecodec.training.data import Sampler, TrainingData, make_sampler

WARMUP_STEPS = 100
"""Steps in which the learning rate rises."""
_GRACE = 0.1
"""Share of ``max_seconds`` after which a slow machine shortens the schedule. On others the clock changes nothing,
so that the same seed gives the same codec."""
_CHECKPOINT_VERSION = 1
_STATE_BITS = 128
"""Of the integers in a checkpoint: the state of numpy's generator is two of these."""
_REMOVE = "remove it and train again"

FloatFrames = npt.NDArray[np.float32]
Progress = Callable[[int, int, dict[str, float]], None]
"""``progress(done, total, figures)``, called after every step."""


@dataclass
class _State:
    """What changes from epoch to epoch, beside weights."""

    step: int
    """Optimiser steps done."""
    seconds: float
    """Time spent training, in seconds."""
    best: float
    """Lowest mean squared error on the validation frames so far, with the quantiser in place."""
    waited: int
    """Epochs since ``best`` fell."""
    history: list[dict[str, float]]
    """Row of figures of each epoch."""


class Trainer:
    """The model, its optimiser and its best weights so far."""

    def __init__(self, config: TrainConfig, data: TrainingData) -> None:
        """Build the model for ``config``. Raises InputError when no recording is long enough to crop."""
        self._keras, self._tf = import_keras(), import_tensorflow()
        from edgecodec.nn.autoencoder import build_rvq_autoencoder

        self._keras.utils.set_random_seed(config.seed)
        self.config, self.data = config, data
        self.encoder, self.rvq, self.decoder, self.model = build_rvq_autoencoder(
            config.data.frame_size, **config.model.builder_arguments()
        )
        self._sampler: Sampler = make_sampler(data, config)
        self._validation = _to_input(data.validation, config.data.epsilon)
        self._optimizer = self._keras.optimizers.Adam(config.training.learning_rate, global_clipnorm=1.0)
        self._optimizer.build(self.model.trainable_variables)
        self._rate: RateLoss | None = None
        self._rate_weight = self._tf.Variable(0.0)
        settings = config.training.rate_loss
        if settings.weight > 0:
            self._rate = RateLoss(
                self.encoder.output_shape[2],
                self.rvq.codebook_sizes,
                channels=settings.channels,
                softness=settings.softness,
                seed=config.seed,
            )
            self._rate_optimizer = self._keras.optimizers.Adam(settings.learning_rate, global_clipnorm=1.0)
            self._rate_optimizer.build(self._rate.variables)
        self._state = _State(0, 0.0, float("inf"), 0, [])
        self._best_weights: list[Any] = []

    @property
    def history(self) -> list[dict[str, float]]:
        """One row an epoch: ``step``, ``learning_rate``, ``mse``, ``val_mse`` and, with a rate loss, ``rate_bits``."""
        return self._state.history

    @property
    def steps_done(self) -> int:
        """Optimiser steps; fewer than planned after an early stop or when ``max_seconds`` ran out."""
        return self._state.step

    @property
    def seconds(self) -> float:
        """Time spent, that of a run before a kill included."""
        return self._state.seconds

    def run(self, progress: Progress, checkpoint: Path | None = None, resume: bool = False) -> None:
        """Train to the end of the schedule, an early stop or ``max_seconds``; keep the weights of the best val_mse.

        With ``checkpoint`` everything needed to go on is written there after each epoch, and with ``resume``
        training goes on from it; the result is the same as without the break. Raises InputError when the loss is
        no longer finite or the checkpoint is damaged or of another configuration.
        """
        data = self.config.data
        total = data.epochs * data.steps_per_epoch
        warmup = min(self.config.warmup_steps(), total - 1)
        if resume and checkpoint is not None and checkpoint.exists():
            self._restore(checkpoint)
        state, before = self._state, self._state.seconds
        started = time.monotonic()
        steps = {flag: self._tf.function(self._make_step(flag), reduce_retracing=True) for flag in (False, True)}
        shown = _figures(state.history[-1]) if state.history else {}
        pending: list[Any] = []
        with _EventWriter(self._tf, training_log(self.config)) as events:
            while state.step < total and not self._finished():
                if state.step % data.steps_per_epoch == 0:
                    self._sampler.start_epoch(state.step // data.steps_per_epoch)
                elapsed = self._elapsed_share(before + time.monotonic() - started)
                rate = self._set_rates(max(state.step / total, (elapsed - _GRACE) / (1 - _GRACE)), total)
                if warmup and state.step == warmup:
                    self._start_codebooks()
                inputs, targets = self._sampler.batch()
                quantized = state.step >= warmup
                pending.append(steps[quantized](inputs[:, None, :, None], targets[:, None, :, None]))
                state.step += 1
                last = state.step == total or elapsed >= 1
                if last or state.step % data.steps_per_epoch == 0:
                    row = self._end_epoch(pending, rate, quantized)
                    shown, pending = _figures(row), []
                    state.seconds = before + time.monotonic() - started
                    events.write(row)
                    if checkpoint is not None:
                        write_file(checkpoint, self._checkpoint())
                progress(state.step, total, shown)
                if last:
                    break
        if self._best_weights:
            self.model.set_weights(self._best_weights)
        elif warmup:
            # The time ran out before the quantiser's turn.
            self._start_codebooks()
        state.seconds = before + time.monotonic() - started

    def evaluate(self) -> dict[str, float]:
        """Figures of the best weights, on the test recordings unless the name says validation.

        ``test_prdn_mean``, ``test_prdn_median`` and ``test_prdn_p90``, in percent, are missing when every test frame is
        constant, for PRDN is undefined then.
        """
        epsilon = self.config.data.epsilon
        test = self.data.test
        moving = test[np.any(test != test[:, :1], axis=1)]
        metrics = {"val_mse": float(np.mean((self._reconstruct(self._validation) - self._validation[:, 0, :, 0]) ** 2))}
        if len(moving):
            figures = prdn(normalize(moving, epsilon), self._reconstruct(_to_input(moving, epsilon)))
            metrics |= {
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
        tf, ops, config = self._tf, self._keras.ops, self.config
        derivative = config.training.derivative_loss
        rate = self._rate if quantized else None

        def step(inputs: Any, targets: Any) -> Any:
            with tf.GradientTape(persistent=rate is not None) as tape:
                latent = code = self.encoder(inputs, training=True)
                if quantized:
                    code, indices = self.rvq(latent, training=True, return_indices=True)
                output = self.decoder(code, training=True)
                mse = ops.mean(ops.square(output - targets))
                loss = mse + sum(self.rvq.losses) if quantized else mse
                if derivative.enabled:
                    slope = (output - targets)[:, :, 1:] - (output - targets)[:, :, :-1]
                    loss += derivative.weight * ops.mean(ops.square(slope))
                if rate is not None:
                    terms = rate(latent, indices, self.rvq.codebook_variables)
                    loss += self._rate_weight * terms.codec
            variables = self.model.trainable_variables
            gradients = tape.gradient(loss, variables)
            pairs = [(g, v) for g, v in zip(gradients, variables, strict=True) if g is not None]
            self._optimizer.apply([g for g, _ in pairs], [v for _, v in pairs])
            if rate is None:
                return (mse,)
            self._rate_optimizer.apply(tape.gradient(terms.prior, rate.variables), rate.variables)
            return mse, terms.prior

        return step

    def _end_epoch(self, pending: list[Any], rate: float, quantized: bool) -> dict[str, float]:
        """Validate, remember the best weights, and return the epoch's row of :attr:`history`."""
        state = self._state
        mse = float(np.mean([float(values[0]) for values in pending]))
        if not np.isfinite(mse):
            raise InputError(
                f"training diverged: the loss is {mse} after step {state.step:,}",
                hint=f"lower training.learning_rate ({self.config.training.learning_rate:g})",
            )
        row = {"step": state.step, "learning_rate": rate, "mse": mse, "val_mse": self._val_mse(quantized)}
        if self._rate is not None:
            bits = [float(values[1]) for values in pending if len(values) > 1]
            row["rate_bits"] = float(np.mean(bits)) if bits else float("nan")
        state.history.append(row)
        if quantized:
            state.waited += 1
            if row["val_mse"] < state.best:
                state.best, state.waited = row["val_mse"], 0
                self._best_weights = self.model.get_weights()
        return row

    def _finished(self) -> bool:
        """Whether an early stop ends training, in the run before a kill too."""
        patience = self.config.training.early_stop_patience
        return bool(patience) and self._state.waited >= patience

    def _set_rates(self, share: float, total: int) -> float:
        """Set the learning rate and the weight of the rate loss for the next step."""
        settings, step = self.config.training.rate_loss, self._state.step
        rate = learning_rate(self.config, min(share, 1.0), step)
        self._optimizer.learning_rate.assign(rate)
        if self._rate is not None:
            ramp = max(1.0, settings.ramp * total)
            weight = settings.weight * min(1.0, max(0, step - self.config.warmup_steps()) / ramp)
            self._rate_weight.assign(weight)
            self._rate_optimizer.learning_rate.assign(
                settings.learning_rate * max(0.01, rate / self.config.training.learning_rate)
            )
        return rate

    def _elapsed_share(self, seconds: float) -> float:
        limit = self.config.training.max_seconds
        return 0.0 if limit is None else seconds / limit

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

    def _variables(self) -> dict[str, Any]:
        """Everything that training changes, by a name of its own."""
        groups = {"model": self.model.weights, "optimizer": self._optimizer.variables}
        if self._rate is not None:
            groups |= {"rate": self._rate.variables, "rate_optimizer": self._rate_optimizer.variables}
        return {f"{group}_{i}": variable for group, members in groups.items() for i, variable in enumerate(members)}

    def _checkpoint(self) -> bytes:
        """The state as an ``.npz``; between epochs it is all that the rest of the run depends on."""
        state = self._state
        document = {
            "version": _CHECKPOINT_VERSION,
            "config": config_digest(self.config),
            "step": state.step,
            "seconds": state.seconds,
            "best": state.best,
            "waited": state.waited,
            "history": state.history,
            "sampler": self._sampler.state(),
        }
        arrays = {name: np.asarray(variable) for name, variable in self._variables().items()}
        arrays |= {f"best_{i}": np.asarray(weight) for i, weight in enumerate(self._best_weights)}
        arrays["state"] = np.frombuffer(json.dumps(document).encode(), np.uint8)
        return npz_bytes(arrays)

    def _restore(self, path: Path) -> None:
        arrays, document = read_checkpoint(path)
        if document["config"] != config_digest(self.config):
            raise InputError(
                f"{path}: is of another configuration, data or seed", hint="remove it, or train without --resume"
            )
        try:
            for name, variable in self._variables().items():
                variable.assign(arrays[name])
            count = sum(name.startswith("best_") for name in arrays)
            self._best_weights = [arrays[f"best_{i}"] for i in range(count)]
            self._state = _State(*(document[key] for key in ("step", "seconds", "best", "waited", "history")))
            self._sampler.restore(document["sampler"])
        except (KeyError, ValueError, TypeError) as error:
            raise InputError(f"{path}: lacks {error}", hint=_REMOVE) from error


def learning_rate(config: TrainConfig, share: float, step: int) -> float:
    """The schedule at ``share`` (0 to 1) of the run: after rising for 100 steps, cosine to ``alpha`` of the peak.

    ``cosine_restarts`` begins anew after ``first_decay_steps``, each period ``t_mul`` times as long and
    ``m_mul`` times as high as the one before. Source: Loshchilov and Hutter 2017, "SGDR".
    """
    schedule, peak = config.training.lr_schedule, config.training.learning_rate
    rising = min(1.0, (step + 1) / WARMUP_STEPS)
    if not schedule.enabled:
        return peak * rising
    height = 1.0
    if schedule.type == "cosine_restarts":
        at, period = float(step), float(schedule.first_decay_steps)
        while at >= period:
            at, period, height = at - period, period * schedule.t_mul, height * schedule.m_mul
        share = at / period
    cosine = 0.5 * (1 + np.cos(np.pi * share)) * height
    return float(peak * (schedule.alpha + (1 - schedule.alpha) * cosine) * rising)


def _figures(row: Mapping[str, float]) -> dict[str, float]:
    """What of a row of the history is worth showing while training."""
    return {name: value for name, value in row.items() if name not in ("step", "learning_rate")}


def training_log(config: TrainConfig) -> Path | None:
    """Folder of the run's TensorBoard events, if asked for. Raises InputError without TensorBoard."""
    folder = config.output.tensorboard
    if folder is None:
        return None
    if importlib.util.find_spec("tensorboard") is None:
        raise InputError(
            "output.tensorboard: TensorBoard is not installed", hint="install it with: pip install tensorboard"
        )
    return Path(folder) / config.run_name


def config_digest(config: TrainConfig) -> str:
    """SHA-256 (hex) of what decides a run's result; where its logs go does not."""
    content = config.model_dump(mode="json", exclude={"output": {"tensorboard"}})
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_checkpoint(path: str | os.PathLike[str]) -> tuple[Mapping[str, npt.NDArray[Any]], dict[str, Any]]:
    """Arrays and state of a checkpoint. Raises InputError when it is damaged or of another version."""
    try:
        arrays = read_npz(Path(path), path, "a checkpoint", CHECKPOINT)
        document = parse_json(arrays.pop("state").tobytes(), finite=False, bits=_STATE_BITS)
        version = document["version"]
    except (InputError, ValueError, KeyError, TypeError) as error:
        reason = error.message if isinstance(error, InputError) else f"{path}: no readable checkpoint ({error})"
        raise InputError(reason, hint=_REMOVE) from error
    if version != _CHECKPOINT_VERSION:
        raise InputError(f"{path}: checkpoint version {version!r}", hint=_REMOVE)
    return arrays, document


def _to_input(frames: npt.NDArray[np.int16], epsilon: float) -> FloatFrames:
    """Normalised frames as the encoder takes them, float32 ``[N, 1, T, 1]``."""
    return normalize(frames, epsilon).astype(np.float32)[:, None, :, None]


class _EventWriter:
    """TensorBoard's scalars, one an epoch; nothing without a folder."""

    def __init__(self, tf: Any, folder: Path | None) -> None:
        self._tf = tf
        self._writer = None if folder is None else tf.summary.create_file_writer(str(folder))

    def __enter__(self) -> _EventWriter:
        return self

    def __exit__(self, *error: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, row: Mapping[str, float]) -> None:
        """Log a row of the history."""
        if self._writer is None:
            return
        with self._writer.as_default():
            for name in row.keys() - {"step"}:
                self._tf.summary.scalar(name, row[name], step=int(row["step"]))
        self._writer.flush()
