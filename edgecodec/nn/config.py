"""Training configuration: the YAML file of ``edgecodec train``, checked key by key."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edgecodec.errors import InputError

EncoderNorm = Literal["batch", "layer", "none"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelConfig(_Section):
    """``model:``, the arguments of :func:`edgecodec.nn.build_rvq_autoencoder`."""

    embedding_dim: int = Field(default=16, ge=1)
    latent_width: int = Field(default=256, ge=1, le=65536)
    num_levels: int = Field(default=2, ge=1)
    num_stages: int = Field(default=4, ge=1)
    base_filters: int = Field(default=32, ge=1)
    multiplier: float = Field(default=1.25, gt=0)
    beta: float = Field(default=0.25, gt=0)
    encoder_block_norm: EncoderNorm = "batch"
    encoder_head_norm: EncoderNorm = "none"
    decoder_block_norm: EncoderNorm = "none"
    decoder_head_norm: EncoderNorm = "layer"
    use_ema: bool = False
    ema_decay: float = Field(default=0.99, ge=0, lt=1)


class DataConfig(_Section):
    """``data:``, what to train and test on, split by recording."""

    source: Literal["heartpy", "files"] = "heartpy"
    train: list[str] = Field(default=["data3", "data"], min_length=1)
    """Names of HeartPy's recordings, or paths of files."""
    test: list[str] = Field(default=["data2"], min_length=1)
    sampling_rate: float = Field(default=64.0, gt=0)
    """Hz. HeartPy's recordings are resampled to it; files are taken to have it."""
    frame_size: int = Field(default=320, ge=1, le=16384)
    validation_fraction: float = Field(default=0.1, gt=0, lt=0.5)
    """Share of each training recording, at its end, that chooses the best weights."""
    epsilon: float = Field(default=1e-3, gt=0)
    batch_size: int = Field(default=64, ge=1)
    steps_per_epoch: int = Field(default=100, ge=1)
    epochs: int = Field(default=30, ge=1)
    gaussian_noise: tuple[float, float] = (0.0, 0.0)
    """Range of the standard deviation of noise added to the normalised input, not to the target."""
    time_warp: float = Field(default=0.0, ge=0, lt=1)
    """Crops are stretched or squeezed by up to this share."""
    mix: float = Field(default=0.0, ge=0, le=1)
    """Share of crops that are a random blend of two."""


class TrainingConfig(_Section):
    """``training:``, the optimiser and its schedule."""

    learning_rate: float = Field(default=1e-3, gt=0)
    kmeans_start_steps: int = Field(default=0, ge=0)
    """Steps without quantiser before k-means on the latents starts the codebooks; 0 is a random start."""
    max_seconds: float | None = Field(default=None, gt=0)
    """Finish early, schedule included, within about this time."""


class OutputConfig(_Section):
    """``output:``, what the run folder keeps."""

    calibration_frames: int = Field(default=512, ge=1)


class TrainConfig(_Section):
    """A whole configuration file."""

    run_name: str = Field(default="edgecodec", min_length=1)
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    output: OutputConfig = OutputConfig()

    @model_validator(mode="after")
    def _check(self) -> TrainConfig:
        factor = 2**self.model.num_stages
        if self.data.frame_size % factor:
            raise ValueError(
                f"data.frame_size is {self.data.frame_size}; expected a multiple of 2**model.num_stages = {factor}"
            )
        low, high = self.data.gaussian_noise
        if not 0 <= low <= high:
            raise ValueError(f"data.gaussian_noise is [{low}, {high}]; expected 0 <= low <= high")
        both = sorted(set(self.data.train) & set(self.data.test))
        if both:
            raise ValueError(f"data.train and data.test share {', '.join(both)}; split by recording")
        return self


def preset_path(name: str) -> Path:
    """Configuration file of a preset that comes with edgecodec. Raises InputError with those there are."""
    folder = Path(__file__).resolve().parent.parent / "presets"
    path = folder / f"{name}.yaml"
    names = sorted(file.stem for file in folder.glob("*.yaml"))
    if name not in names:
        raise InputError(f"no preset {name!r}; expected one of {', '.join(names)}")
    return path


def load_config(path: str | os.PathLike[str]) -> TrainConfig:
    """Read a YAML file. Raises InputError with the path of the key that does not fit and the nearest that does.

    Relative paths in ``data.train`` and ``data.test`` are taken from the file's folder.
    """
    import yaml

    source = Path(path)
    try:
        raw = yaml.safe_load(source.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{source}: no such file; expected a YAML configuration") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{source}: cannot be read ({error})") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{source}: not valid YAML ({' '.join(str(error).split())})") from error
    if raw is None:
        raw = {}
    if not isinstance(raw, dict):
        raise InputError(f"{source}: holds a {type(raw).__name__}; expected sections data, model, training, output")
    config = parse_config(raw, str(source))
    if config.data.source == "heartpy":
        return config
    folder = source.resolve().parent
    paths = {key: [str(folder / name) for name in getattr(config.data, key)] for key in ("train", "test")}
    return config.model_copy(update={"data": config.data.model_copy(update=paths)})


def parse_config(raw: Mapping[str, Any], where: str) -> TrainConfig:
    """Check a configuration given as a mapping; ``where`` names it in messages. Raises InputError."""
    try:
        return TrainConfig.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        location = [str(part) for part in first["loc"]]
        key = ".".join(location)
        if first["type"] == "extra_forbidden":
            raise InputError(f"{where}: unknown key {key}{_nearest_key(location)}") from error
        if first["type"] == "value_error" and not location:
            raise InputError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from error
        raise InputError(f"{where}: {key} is {first['input']!r}: {first['msg']}") from error


def _nearest_key(location: list[str]) -> str:
    """Say which known key, in this section or another, is closest to the unknown one."""
    known = {name: name for name in TrainConfig.model_fields}
    for section, field in TrainConfig.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            known |= {f"{section}.{name}": name for name in field.annotation.model_fields}
    siblings = [key for key in known if key.split(".")[:-1] == location[:-1]]
    for keys in (siblings, list(known)):
        names = {known[key]: key for key in keys}
        close = difflib.get_close_matches(location[-1], names, n=1)
        if close:
            return f"; did you mean {names[close[0]]}?"
    return f"; expected one of {', '.join(siblings)}" if siblings else ""
