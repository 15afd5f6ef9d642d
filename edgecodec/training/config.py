"""Training configuration: the YAML file of ``edgecodec train``, checked key by key."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from edgecodec.errors import InputError, short_repr
from edgecodec.files.limits import CONFIGURATION
from edgecodec.files.regular import read_regular
from edgecodec.files.resources import preset_files
from edgecodec.signal.reading import Reading
from edgecodec.signal.split import check_selection

EncoderNorm = Literal["batch", "layer", "none"]
Selection = Annotated[
    Any,
    AfterValidator(check_selection),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"type": ["string", "number"]}},
                {"type": "string", "pattern": "^(first|last) [0-9]+$"},
                {"type": "number", "minimum": 0, "maximum": 1},
            ]
        }
    ),
]
"""Some people: a list of their names, ``"first N"``, ``"last N"``, or a share between 0 and 1 drawn by hash."""
_HEARTPY_TRAIN, _HEARTPY_TEST = ["data3", "data"], ["data2"]


def _check_name(name: str) -> str:
    """``name`` itself, which folders are called by. Raises ValueError for one that leads elsewhere."""
    if name.startswith(".") or "/" in name or "\\" in name:
        raise ValueError("expected a name without / and \\ that does not begin with a dot")
    return name


def _listed(value: Any) -> Any:
    """A number as the list of it alone."""
    return [value] if isinstance(value, int | float) else value


RateBias = Annotated[
    list[Annotated[float, Field(ge=0)]],
    BeforeValidator(_listed),
    WithJsonSchema({"type": ["number", "array"], "minimum": 0, "items": {"type": "number", "minimum": 0}}),
]
RunName = Annotated[str, Field(min_length=1), AfterValidator(_check_name)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelConfig(_Section):
    """``model:``, the arguments of :func:`edgecodec.nn.build_rvq_autoencoder`."""

    embedding_dim: int = Field(default=16, ge=1)
    """Channels of the latent, and entries of a code."""
    latent_width: int = Field(default=256, ge=1, le=65536)
    """Codes of each codebook."""
    num_levels: int = Field(default=2, ge=1)
    """Residual levels of the quantiser, and so indices of a position."""
    num_stages: int = Field(default=4, ge=1)
    """Stages of the encoder; each halves the frame, so that one position stands for ``2**num_stages`` samples."""
    encoder: Literal["stages", "linear"] = "stages"
    """``stages`` of convolutions and norms, or ``linear``, one strided convolution that takes a board the least."""
    encoder_kernel: int = Field(default=31, ge=1, le=1024)
    """Taps of the ``linear`` encoder, at least ``2**num_stages``."""
    base_filters: int = Field(default=32, ge=1)
    """Channels of the first stage; a ``linear`` encoder has none."""
    multiplier: float = Field(default=1.25, gt=0)
    """How many times as many channels a stage has as the one before."""
    beta: float = Field(default=0.25, gt=0)
    """Weight of the commitment loss, which draws latents to their codes."""
    encoder_block_norm: EncoderNorm = "batch"
    """Norm in the encoder's stages; only ``batch`` and ``none`` fold into convolutions that a board runs."""
    encoder_head_norm: EncoderNorm = "none"
    """Norm before the encoder's output; only ``batch`` and ``none`` fold into convolutions that a board runs."""
    decoder_block_norm: EncoderNorm = "none"
    """Norm in the decoder's stages."""
    decoder_head_norm: EncoderNorm = "layer"
    """Norm before the decoder's output."""
    use_ema: bool = False
    """Move codes by moving averages of the latents that choose them, not by gradients."""
    ema_decay: float = Field(default=0.99, ge=0, lt=1)
    """Share of the moving averages that is kept at each step."""
    decoder_context_blocks: int = Field(default=0, ge=0, le=64)
    """Dilated blocks of the decoder that look further along the frame; they cost the device nothing."""
    decoder_base_filters: int | None = Field(default=None, ge=1)
    """Channels of the decoder's last stage; ``base_filters`` by default."""
    rate_bias: RateBias = []
    """Weight of a code's bits beside its squared distance, in shares of the latent's mean squared length a bit: one
    number for all levels, or a list with one for each; none takes the nearest code. For the EMA layer, whose counts say
    the bits."""
    codebook_sizes: list[Annotated[int, Field(ge=1, le=65536)]] | None = None
    """One size per level, in place of ``latent_width``."""
    revive_dead_codes: bool = False
    """Codes of the EMA layer that hardly any latent chooses take the place of latents of the batch."""
    revive_threshold: float = Field(default=0.03, gt=0, lt=1)
    """Share of the average count below which a code is dead."""
    kmeans_init: bool = False
    """Start the codebooks by k-means after the first step, unless ``training.kmeans_start_steps`` says when."""

    def builder_arguments(self) -> dict[str, Any]:
        """Keyword arguments of :func:`edgecodec.nn.build_rvq_autoencoder`."""
        values = self.model_dump(exclude={"kmeans_init", "revive_dead_codes", "revive_threshold", "codebook_sizes"})
        if self.codebook_sizes is not None:
            values["latent_width"] = list(self.codebook_sizes)
        values["rate_bias"] = self.rate_bias if len(self.rate_bias) > 1 else sum(self.rate_bias)
        return values | {"revive_threshold": self.revive_threshold if self.revive_dead_codes else 0.0}


class SplitConfig(_Section):
    """``data.split:``, who of ``data.files`` or the synthetic people trains, validates and tests."""

    by: Literal["subject", "recording"] = "subject"
    """The array of the files that says whose a row is; a file without it is one person and one recording."""
    train: Selection | None = None
    """Who trains; everybody left over by default."""
    validation: Selection | None = 0.1
    """Who chooses the best weights and, in ``quantize``, the best roundings."""
    test: Selection | None = 0.2
    """Who is kept for the figures at the end."""


class CacheConfig(_Section):
    """``data.cache:``, TFRecord files made once of ``data.files`` and reused."""

    enabled: bool = False
    """Read recordings from the cache."""
    cache_root: str | None = None
    """Folder for the cache; beside the data by default."""
    auto_build: bool = True
    """Make the cache where it is missing or older than its sources; otherwise that is an error."""
    force_rebuild: bool = False
    """Make the cache anew even where it is up to date."""
    min_segment_scale: float | None = None
    """Has no effect here: whole recordings are cached."""
    windows_per_subject_train: int | None = None
    """Has no effect here: whole recordings are cached."""
    windows_per_subject_val: int | None = None
    """Has no effect here: whole recordings are cached."""
    train_ratio: float | None = None
    """Has no effect here: data.split says who trains."""
    val_ratio: float | None = None
    """Has no effect here: data.split says who validates and tests."""


class SyntheticConfig(_Section):
    """``data.synthetic:``, what :func:`edgecodec.signal.synthetic.synthetic_people` makes."""

    people: int = Field(default=20, ge=3, le=10_000)
    """People to make, one recording each."""
    seconds: float = Field(default=120.0, gt=0, le=86_400)
    """Length of each recording in seconds."""
    motion: float = Field(default=0.2, ge=0)
    """Bursts of motion a minute."""
    ectopic: float = Field(default=0.02, ge=0, le=0.5)
    """Share of beats that come early."""


class DataConfig(_Section):
    """``data:``, what to train and test on, split by person or recording.

    ``files`` is one collection that ``split`` divides by person; ``train`` and ``test`` are collections that
    the user divided. The source is ``files`` when any is named, else HeartPy's recordings.
    """

    source: Literal["heartpy", "files", "synthetic"] = "heartpy"
    """Kind of recordings: HeartPy's, files, or synthetic; ``files`` where any are named, ``heartpy`` otherwise."""
    files: Annotated[list[str], WithJsonSchema({"type": ["string", "array"], "items": {"type": "string"}})] = []
    """Files, folders or patterns (``*.edf``) of recordings; SPEC.md 4 has the formats."""
    datasets_dir: str | None = None
    """Folder that ``dataset_glob`` and relative ``files`` are found in."""
    dataset_glob: str | None = None
    """A pattern, as one more of ``files``."""
    target_label: str | None = None
    """Channel of EDF and WFDB records; by default the only one that names PPG or a plethysmogram."""
    rate_hz: float | None = Field(default=None, gt=0)
    """Sampling rate in Hz of recordings whose files say none."""
    column: str | None = Field(default=None, min_length=1)
    """Column of tables, by name or number from 1, and array of ``.npz`` and ``.mat``; by default the only one, or the
    only one that names PPG."""
    scale: float | None = Field(default=None, gt=0)
    """What values are multiplied by to become ADC counts; by default the rule of SPEC.md 4."""
    split: SplitConfig = SplitConfig()
    """Who of ``files`` or of the synthetic people trains, validates and tests."""
    train: list[str] = []
    """Names of HeartPy's recordings or paths of files to train on, where no ``split`` divides them."""
    test: list[str] = []
    """As ``train``, to test on."""
    sampling_rate: float = Field(default=64.0, gt=0)
    """Sampling rate of the codec in Hz. Recordings of another rate are resampled to it."""
    frame_size: int = Field(default=320, ge=1, le=16384)
    """T, samples of a frame: a multiple of ``2**model.num_stages``."""
    validation_fraction: float = Field(default=0.1, gt=0, lt=0.5)
    """Share of each recording of ``train``, at its end, that chooses the best weights."""
    epsilon: float = Field(default=1e-3, gt=0)
    """Constant in the normaliser ``(x - mean) / sqrt(variance + epsilon)``, in squared ADC counts."""
    batch_size: int = Field(default=64, ge=1)
    """Frames of an optimiser step."""
    steps_per_epoch: int = Field(default=100, ge=1)
    """Optimiser steps between two validations."""
    epochs: int = Field(default=30, ge=1)
    """Validations of a whole run; the run has ``epochs * steps_per_epoch`` steps."""
    shuffle_seed: int = Field(default=42, ge=0)
    """Draws the people of a share of ``split``."""
    gaussian_noise: tuple[float, float] = (0.0, 0.0)
    """Range of the standard deviation of noise added to the normalised input, not to the target."""
    time_warp: float = Field(default=0.0, ge=0, lt=1)
    """Crops are stretched or squeezed by up to this share."""
    mix: float = Field(default=0.0, ge=0, le=1)
    """Share of crops that are a random blend of two."""
    beat_scale: float = Field(default=0.0, ge=0, lt=1)
    """Beats grow or shrink by up to this share, smoothly along the crop."""
    wander: float = Field(default=0.0, ge=0)
    """Largest amplitude of baseline wander added, in standard deviations of the frame."""
    streaming: bool = False
    """Keep a few files at a time in memory instead of all of them."""
    open_files: int = Field(default=4, ge=1)
    """How many files ``streaming`` keeps in memory."""
    cache: CacheConfig = CacheConfig()
    """TFRecord files made once of ``files`` and reused."""
    synthetic: SyntheticConfig = SyntheticConfig()
    """What synthetic people are like."""
    buffer_size: int | None = None
    """Has no effect here: crops are drawn over all recordings."""
    segment_samples: int | None = None
    """Has no effect here: crops are drawn over whole recordings."""
    offset_samples: int | None = None
    """Has no effect here: invalid samples are found and left out."""

    @model_validator(mode="before")
    @classmethod
    def _choose_source(cls, raw: Any) -> Any:
        if not isinstance(raw, Mapping):
            return raw
        values = dict(raw)
        if values.get("source") is None:
            named = any(values.get(key) for key in ("files", "datasets_dir", "dataset_glob"))
            values["source"] = "files" if named else "heartpy"
        if isinstance(values.get("files"), str):
            values["files"] = [values["files"]]
        if values["source"] == "heartpy":
            values = {"train": list(_HEARTPY_TRAIN), "test": list(_HEARTPY_TEST), **values}
        return values

    @property
    def reading(self) -> Reading:
        """How the files are read."""
        return Reading(self.rate_hz, self.column, self.target_label, self.scale, self.split.by)

    @property
    def pool(self) -> list[str]:
        """Every file, folder and pattern that ``split`` divides."""
        folder = Path(self.datasets_dir or "")
        named = [str(folder / Path(name).expanduser()) for name in self.files]
        if self.dataset_glob is not None:
            named.append(str(folder / self.dataset_glob))
        elif self.datasets_dir is not None and not self.files:
            named.append(str(folder))
        return named


class DerivativeLossConfig(_Section):
    """``training.derivative_loss:``, the mean squared error of differences between samples."""

    enabled: bool = False
    """Add this loss to the mean squared error."""
    weight: float = Field(default=0.1, gt=0)
    """Weight of this loss beside the mean squared error."""


class LrScheduleConfig(_Section):
    """``training.lr_schedule:``, how the learning rate falls after its first 100 rising steps."""

    enabled: bool = True
    """Let the learning rate fall; otherwise it stays after the first steps."""
    type: Literal["cosine", "cosine_restarts"] = "cosine"
    """``cosine`` falls once over the whole run, ``cosine_restarts`` again and again."""
    first_decay_steps: int = Field(default=1000, ge=1)
    """Steps until the first restart; ``cosine`` takes the whole run."""
    t_mul: float = Field(default=2.0, ge=1)
    """How many times as long a period of ``cosine_restarts`` is as the one before."""
    m_mul: float = Field(default=1.0, gt=0, le=1)
    """How many times as high a period of ``cosine_restarts`` starts as the one before."""
    alpha: float = Field(default=0.01, ge=0, le=1)
    """Share of the rate that is left at the end."""


class RateLossConfig(_Section):
    """``training.rate_loss:``, :class:`edgecodec.nn.rate_loss.RateLoss`."""

    weight: float = Field(default=0.0, ge=0)
    """Weight of a bit a frame beside the mean squared error; 0 is no rate loss."""
    ramp: float = Field(default=0.2, ge=0, le=1)
    """Share of the run over which the weight rises, from the start of the quantiser on."""
    channels: int = Field(default=48, ge=1)
    """Channels of the prior that learns beside the codec."""
    softness: float = Field(default=0.5, gt=0)
    """Temperature of the soft assignment of latents to codes, in mean squared distances to the nearest code."""
    learning_rate: float = Field(default=2e-3, gt=0)
    """Peak learning rate of the prior; it falls as the codec's does."""


class TrainingConfig(_Section):
    """``training:``, the optimiser and its schedule."""

    learning_rate: float = Field(default=1e-3, gt=0)
    """Peak learning rate of the optimiser."""
    lr_schedule: LrScheduleConfig = LrScheduleConfig()
    """How the learning rate falls after its first 100 rising steps."""
    kmeans_start_steps: int = Field(default=0, ge=0)
    """Steps without quantiser before k-means on the latents starts the codebooks; 0 is a random start."""
    derivative_loss: DerivativeLossConfig = DerivativeLossConfig()
    """Mean squared error of differences between samples, as a further loss."""
    rate_loss: RateLossConfig = RateLossConfig()
    """Bits of the indices under a prior that learns beside the codec, as a further loss."""
    early_stop_patience: int = Field(default=0, ge=0)
    """Epochs without a better val_mse after which training ends; 0 never ends early."""
    max_seconds: float | None = Field(default=None, gt=0)
    """Finish early, schedule included, within about this time."""
    selection_metric: Literal["val_mse"] = "val_mse"
    """Figure that chooses the best weights; there is one."""
    val_metric: Literal["mse"] = "mse"
    """Figure of the validation frames; there is one."""
    val_mode: Literal["min"] = "min"
    """Whether the smaller or the larger figure is better; the mean squared error is to be small."""
    reduce_lr_on_plateau: Literal[False] = False
    """Only its absence is supported: ``lr_schedule`` says how the rate falls."""
    validation_steps: int | None = None
    """Has no effect here: all validation frames are used."""


class EvaluationConfig(_Section):
    """``evaluation:`` of other pipelines; nothing in it has an effect here."""

    input_bit_depth: int | None = None
    """Has no effect here: ADC counts are int16, and rates are measured against 16 bits a sample."""
    num_samples: int | None = None
    """Has no effect here: all test frames are used."""


class WandbConfig(_Section):
    """``output.wandb:`` of other pipelines; only its absence is supported."""

    enabled: Literal[False] = False
    """Only its absence is supported: ``output.tensorboard`` and history.csv log the run."""
    project: str | None = None
    """Has no effect here: output.tensorboard and history.csv log the run."""
    tags: list[str] = []
    """Has no effect here: output.tensorboard and history.csv log the run."""


class OutputConfig(_Section):
    """``output:``, what the run folder keeps."""

    calibration_frames: int = Field(default=512, ge=1)
    """Training frames kept to calibrate the INT8 encoder with."""
    train_frames: int = Field(default=32768, ge=1)
    """Training frames kept for models of the indices, when the split is by person."""
    tensorboard: str | None = None
    """Folder for TensorBoard's events, in a folder of its own by ``run_name``."""
    results_root: str | None = None
    """Has no effect here: --output says where the run goes."""
    wandb: WandbConfig = WandbConfig()
    """Logging of other pipelines."""


_WITHOUT_EFFECT = {
    "data.buffer_size": "crops are drawn over all recordings",
    "data.segment_samples": "crops are drawn over whole recordings",
    "data.offset_samples": "invalid samples are found and left out",
    "data.cache.min_segment_scale": "whole recordings are cached",
    "data.cache.windows_per_subject_train": "whole recordings are cached",
    "data.cache.windows_per_subject_val": "whole recordings are cached",
    "data.cache.train_ratio": "data.split says who trains",
    "data.cache.val_ratio": "data.split says who validates and tests",
    "training.validation_steps": "all validation frames are used",
    "evaluation.input_bit_depth": "ADC counts are int16, and rates are measured against 16 bits a sample",
    "evaluation.num_samples": "all test frames are used",
    "output.results_root": "--output says where the run goes",
    "output.wandb.project": "output.tensorboard and history.csv log the run",
    "output.wandb.tags": "output.tensorboard and history.csv log the run",
}


class TrainConfig(_Section):
    """A whole configuration file."""

    run_name: RunName = "edgecodec"
    """Name of the run, and of the bundle made of it."""
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    """Draws first weights, crops and augmentation; the same seed gives the same bytes on the same machine."""
    data: DataConfig = DataConfig.model_validate({})
    """What to train and test on."""
    model: ModelConfig = ModelConfig()
    """Encoder, quantiser and decoder."""
    training: TrainingConfig = TrainingConfig()
    """The optimiser and its schedule."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """A section of other pipelines."""
    output: OutputConfig = OutputConfig()
    """What the run folder keeps."""

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
        self._check_model()
        self._check_data()
        return self

    def _check_model(self) -> None:
        sizes = self.model.codebook_sizes
        if sizes is not None and len(sizes) != self.model.num_levels:
            raise ValueError(
                f"model.codebook_sizes has {len(sizes)} entries; expected model.num_levels = {self.model.num_levels}"
            )
        if self.model.revive_dead_codes and not self.model.use_ema:
            raise ValueError("model.revive_dead_codes is for the EMA layer; set model.use_ema too")
        bias = self.model.rate_bias
        if len(bias) not in (0, 1, self.model.num_levels):
            raise ValueError(
                f"model.rate_bias has {len(bias)} entries; expected one or model.num_levels = {self.model.num_levels}"
            )
        if bias and not self.model.use_ema:
            raise ValueError("model.rate_bias is for the EMA layer; set model.use_ema too")
        stride = 2**self.model.num_stages
        if self.model.encoder == "linear" and self.model.encoder_kernel < stride:
            raise ValueError(
                f"model.encoder_kernel is {self.model.encoder_kernel}; expected at least the stride, "
                f"2**model.num_stages = {stride}, or samples are skipped"
            )

    def _check_data(self) -> None:
        data = self.data
        if data.source != "files":
            if data.pool:
                raise ValueError(f"data.files is for data.source files; data.source is {data.source}")
            if data.source == "synthetic" and (data.train or data.test):
                raise ValueError("data.train and data.test are for files; data.split divides synthetic people")
        elif data.pool and (data.train or data.test):
            raise ValueError("data.files is divided by data.split; give it or data.train and data.test, not both")
        elif not data.pool and not (data.train and data.test):
            raise ValueError(
                "data.files is missing: which recordings to train on; give --data FILE_OR_FOLDER "
                "(or both data.train and data.test)"
            )
        if data.cache.enabled and data.source != "files":
            raise ValueError(f"data.cache is for data.source files; data.source is {data.source}")
        both = sorted(set(data.train) & set(data.test))
        if both:
            raise ValueError(f"data.train and data.test share {', '.join(both)}; split by recording")

    def warmup_steps(self) -> int:
        """Steps without quantiser before k-means starts the codebooks; 0 is a random start."""
        return self.training.kmeans_start_steps or int(self.model.kmeans_init)

    def without_effect(self) -> list[str]:
        """The keys given that other pipelines use and this one does not, each with the reason."""
        return [f"{key} has no effect: {reason}" for key, reason in _WITHOUT_EFFECT.items() if self._was_given(key)]

    def _was_given(self, key: str) -> bool:
        section: Any = self
        *path, name = key.split(".")
        for part in path:
            section = getattr(section, part)
        return name in section.model_fields_set


def preset_names() -> list[str]:
    """Names of the configurations that come with edgecodec."""
    return [file.stem for file in preset_files()]


def preset_path(name: str) -> Path:
    """Configuration file of a preset that comes with edgecodec. Raises InputError with those there are."""
    for file in preset_files():
        if file.stem == name:
            return file
    raise InputError(f"no preset {name!r}", hint=_suggest(name, preset_names()))


def load_config(
    path: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    settings: Sequence[str] = (),
    reading: Reading | None = None,
) -> TrainConfig:
    """Read a YAML file. Raises InputError with the path of the key that does not fit and the nearest that does.

    Relative paths in the file are taken from its folder. ``data`` replaces what the file trains on by another
    file or folder, and ``settings`` replace single keys, each as ``"data.epochs=3"`` with a YAML value;
    what ``reading`` says of the recordings replaces what the file says of them.
    """
    source = Path(path)
    raw = _read_yaml(source)
    _make_absolute(raw, source.resolve().parent)
    if data is not None:
        _replace_data(raw, Path(data), source)
    if reading is not None:
        _replace_reading(raw, reading, source)
    for setting in settings:
        _set_key(raw, setting)
    return parse_config(raw, str(source))


def parse_config(raw: Mapping[str, Any], where: str) -> TrainConfig:
    """Check a configuration given as a mapping; ``where`` names it in messages. Raises InputError."""
    try:
        return TrainConfig.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        location = [str(part) for part in first["loc"]]
        key = ".".join(location)
        reason = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            raise InputError(f"{where}: unknown key {key}", hint=_nearest_key(location)) from error
        if first["type"] == "value_error" and not location:
            raise InputError(f"{where}: {reason}") from error
        raise InputError(f"{where}: {key} is {short_repr(first['input'])}: {reason}") from error


def _read_yaml(source: Path) -> dict[str, Any]:
    from edgecodec.files.strict_yaml import parse_yaml

    try:
        raw = parse_yaml(read_regular(source, "a YAML configuration", CONFIGURATION).decode("utf-8"))
    except UnicodeDecodeError as error:
        raise InputError(f"{source}: cannot be read ({error})") from error
    except ValueError as error:
        raise InputError(f"{source}: not valid YAML ({error})") from error
    sections = ", ".join(_sections(TrainConfig))
    if raw is None:
        raise InputError(f"{source}: is empty; expected some of the sections {sections}")
    if not isinstance(raw, dict):
        raise InputError(f"{source}: holds a {type(raw).__name__}; expected the sections {sections}")
    return raw


def _make_absolute(raw: dict[str, Any], folder: Path) -> None:
    """Take relative paths of the ``data`` section from ``folder``."""
    data = raw.get("data")
    if not isinstance(data, dict):
        return
    heartpy = data.get("source") == "heartpy" or not any(
        data.get(key) for key in ("source", "files", "datasets_dir", "dataset_glob")
    )
    rooted = isinstance(data.get("datasets_dir"), str)
    for key in ("datasets_dir",) if rooted else ("files", "dataset_glob"):
        data[key] = _from_folder(data.get(key), folder)
        if data[key] is None:
            del data[key]
    for key in () if heartpy else ("train", "test"):
        if key in data:
            data[key] = _from_folder(data[key], folder)
    cache = data.get("cache")
    if isinstance(cache, dict) and isinstance(cache.get("cache_root"), str):
        cache["cache_root"] = _from_folder(cache["cache_root"], folder)


def _from_folder(value: Any, folder: Path) -> Any:
    if isinstance(value, str):
        return str(folder / Path(value).expanduser())
    if isinstance(value, list):
        return [_from_folder(item, folder) for item in value]
    return value


def _replace_data(raw: dict[str, Any], path: Path, where: Path) -> None:
    data = raw.setdefault("data", {})
    if not isinstance(data, dict):
        raise InputError(f"{where}: data is {data!r}; expected a section")
    for key in ("train", "test", "datasets_dir", "dataset_glob"):
        data.pop(key, None)
    data |= {"source": "files", "files": [str(path.expanduser().absolute())]}


def _replace_reading(raw: dict[str, Any], reading: Reading, where: Path) -> None:
    data = raw.setdefault("data", {})
    if not isinstance(data, dict):
        raise InputError(f"{where}: data is {data!r}; expected a section")
    given = {
        "rate_hz": reading.rate_hz,
        "column": reading.column,
        "target_label": reading.channel,
        "scale": reading.scale,
    }
    data |= {key: value for key, value in given.items() if value is not None}


def _set_key(raw: dict[str, Any], setting: str) -> None:
    from edgecodec.files.strict_yaml import parse_yaml

    key, equals, text = setting.partition("=")
    if not equals or not all(key.split(".")):
        raise InputError(f"--set {setting}: expected KEY=VALUE, such as data.epochs=3")
    try:
        value = parse_yaml(text)
    except ValueError as error:
        raise InputError(f"--set {setting}: the value is not valid YAML ({error})") from error
    section = raw
    *path, name = key.split(".")
    for part in path:
        inner = section.setdefault(part, {})
        if not isinstance(inner, dict):
            raise InputError(f"--set {setting}: {part} is no section")
        section = inner
    section[name] = value


def _nearest_key(location: list[str]) -> str | None:
    """Say which known key, in this section or another, is closest to the unknown one."""
    known = {key: key.split(".")[-1] for key in _keys(TrainConfig)}
    siblings = [key for key in known if key.split(".")[:-1] == location[:-1]]
    # Of keys of one name, a sibling counts.
    names = {known[key]: key for key in (*reversed(known), *siblings)}
    close = difflib.get_close_matches(location[-1], names, n=1)
    if close:
        return f"did you mean {names[close[0]]}?"
    return f"expected one of {', '.join(siblings)}" if siblings else None


def _keys(section: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key of a section, as a path; those of the sections in it after its own."""
    for name in section.model_fields:
        yield prefix + name
    for name, inner in _sections(section).items():
        yield from _keys(inner, f"{prefix}{name}.")


def _sections(section: type[BaseModel]) -> dict[str, type[BaseModel]]:
    annotations = {name: field.annotation for name, field in section.model_fields.items()}
    return {name: kind for name, kind in annotations.items() if isinstance(kind, type) and issubclass(kind, BaseModel)}


def _suggest(name: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    listed = f"xpected one of {', '.join(names)}"
    return f"did you mean {close[0]}? E{listed}" if close else f"e{listed}"
