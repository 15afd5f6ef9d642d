"""What a codec is trained on: recordings split by person, held in memory or read file by file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgecodec.errors import InputError
from edgecodec.signal.augment import add_noise, add_wander, mix_frames, scale_beats, warp_positions
from edgecodec.signal.collection import SourceFile, find_files
from edgecodec.signal.normalize import normalize
from edgecodec.signal.sources import HEARTPY_RECORDINGS, Recording, heartpy_recordings
from edgecodec.signal.split import Split, refuse_shared, split_people
from edgecodec.signal.summary import RecordingsSummary, Tally
from edgecodec.signal.synthetic import synthetic_recording
from edgecodec.training.config import DataConfig, TrainConfig
from edgecodec.training.record_cache import FOLDER, RecordCache

VERIFY_FRAMES = 1000
_HELD_OUT_FRAMES = 4096
"""At most about this many frames to validate and to test with are kept of people or files that are streamed."""
_BATCHES_A_FILE = 8
"""Batches drawn while streaming before the next file takes the place of the oldest."""

Frames = npt.NDArray[np.int16]
"""ADC counts ``[N, T]``."""
FloatFrames = npt.NDArray[np.float32]
"""Normalised frames ``[N, T]``."""
Sides = dict[str, list[Recording]]


@dataclass(frozen=True)
class Part:
    """Recordings that are loaded together: a file or a synthetic person."""

    name: str
    """File or person that the recordings are of."""
    load: Callable[[], list[Recording]]
    """Reads or makes the recordings."""
    divide: Callable[[list[Recording]], Sides]
    """Says which recordings, or parts of them, are for ``train``, ``validation`` and ``test``."""

    is_file: bool = False
    """Whether they come from a file of the user's."""

    def sides(self) -> Sides:
        """Load and divide. Raises InputError."""
        return self.divide(self.load())


@dataclass(frozen=True)
class Shard:
    """Training recordings that are loaded together."""

    load: Callable[[], list[Recording]]
    """Reads or makes the recordings."""
    starts: int
    """Number of positions at which a crop can start."""


@dataclass(frozen=True)
class TrainingData:
    """Data split for training, validation and test. Frames are ADC counts, int16 ``[N, T]``."""

    shards: tuple[Shard, ...]
    """Recordings to draw crops from: one shard in memory, or one for each file when streaming."""
    calibration: Frames
    """Frames drawn from the training split that show the ranges of activations."""
    validation: Frames
    """Frames that choose the best weights."""
    test: Frames
    """Frames of the test split that do not overlap."""
    verify: Frames
    """At most 1,000 frames of the test split, which may overlap."""
    train: Frames
    """Frames drawn from the training split, which may overlap, that models of the indices are fitted to."""
    by_person: bool
    """Whether nobody is on two sides; otherwise the ends of the training recordings validate."""
    split: dict[str, list[str]]
    """Names of the people, or recordings, on each side."""
    summary: RecordingsSummary | None = None
    """What was read of the user's files; None where the data is not from files."""

    def train_recordings(self) -> list[Recording]:
        """The training split, all of it."""
        return [recording for shard in self.shards for recording in shard.load()]


def load_data(config: TrainConfig) -> TrainingData:
    """Load and split the data. Raises InputError when some is missing, too short or of one person on two sides."""
    parts, split = _parts(config)
    data = config.data
    if data.streaming:
        return _stream(parts, split, config)
    sides: Sides = {"train": [], "validation": [], "test": []}
    read = Tally()
    for part in parts:
        loaded = part.load()
        read.add(loaded)
        for side, recordings in part.divide(loaded).items():
            sides[side] += recordings
    train = [recording for recording in sides["train"] if len(recording.starts(data.frame_size))]
    validation = _concatenate(recording.frames(data.frame_size, _hop(config)) for recording in sides["validation"])
    test = _concatenate(recording.frames(data.frame_size, data.frame_size) for recording in sides["test"])
    _check_sides(bool(train), validation, test, config)
    starts = sum(len(recording.starts(data.frame_size)) for recording in train)
    return TrainingData(
        (Shard(lambda: train, starts),),
        _windows(train, data.frame_size, _drawn(config.output.calibration_frames, config.seed)),
        validation,
        test,
        _windows(sides["test"], data.frame_size, _spread(VERIFY_FRAMES)),
        _windows(train, data.frame_size, _drawn(config.output.train_frames, config.seed + 1)),
        _by_person(data),
        split,
        _summary(parts, read, data),
    )


def _stream(parts: Sequence[Part], split: dict[str, list[str]], config: TrainConfig) -> TrainingData:
    """Read every part once, keeping only frames to calibrate, validate and test with."""
    data = config.data
    quota = -(-_HELD_OUT_FRAMES // len(parts))
    kept: dict[str, list[Frames]] = {"calibration": [], "validation": [], "test": [], "verify": [], "train": []}
    shards = []
    read = Tally()
    for part in parts:
        loaded = part.load()
        read.add(loaded)
        sides = part.divide(loaded)
        starts = sum(len(recording.starts(data.frame_size)) for recording in sides["train"])
        if starts:
            shards.append(Shard(_train_side(part), starts))
            counts = {"calibration": config.output.calibration_frames, "train": config.output.train_frames}
            for offset, (side, count) in enumerate(counts.items()):
                choose = _drawn(-(-count // len(parts)), config.seed + offset)
                kept[side].append(_windows(sides["train"], data.frame_size, choose))
        for side, hop in (("validation", _hop(config)), ("test", data.frame_size)):
            frames = _concatenate(recording.frames(data.frame_size, hop) for recording in sides[side])
            kept[side].append(frames[_spread(quota)(len(frames))])
        kept["verify"].append(_windows(sides["test"], data.frame_size, _spread(-(-VERIFY_FRAMES // len(parts)))))
    joined = {side: _concatenate(arrays) for side, arrays in kept.items()}
    _check_sides(bool(shards), joined["validation"], joined["test"], config)
    summary = _summary(parts, read, data)
    return TrainingData(tuple(shards), by_person=_by_person(data), split=split, summary=summary, **joined)


def _summary(parts: Sequence[Part], read: Tally, data: DataConfig) -> RecordingsSummary | None:
    files = {part.name for part in parts if part.is_file}
    return read.summary(files, data.sampling_rate) if files else None


def _train_side(part: Part) -> Callable[[], list[Recording]]:
    return lambda: part.sides()["train"]


def _check_sides(trainable: bool, validation: Frames, test: Frames, config: TrainConfig) -> None:
    data = config.data
    pooled = _by_person(data)
    usable = f"no {data.frame_size} usable samples in a row"
    if not trainable:
        raise InputError(f"{'data.split.train' if pooled else 'data.train'}: {usable} in its recordings")
    if len(validation) == 0 and pooled:
        raise InputError(f"data.split.validation: {usable} in its recordings")
    if len(validation) == 0:
        raise InputError(
            f"data.validation_fraction {data.validation_fraction}: leaves no usable frame of {data.frame_size} "
            "samples for validation",
            hint="raise it or give longer recordings",
        )
    if len(test) == 0:
        raise InputError(f"{'data.split.test' if pooled else 'data.test'}: {usable} in its recordings")


def _hop(config: TrainConfig) -> int:
    """Tails of recordings are short: their frames overlap. People who only validate have enough."""
    return config.data.frame_size if _by_person(config.data) else max(1, config.data.frame_size // 4)


def _by_person(data: DataConfig) -> bool:
    return bool(data.pool) or data.source == "synthetic"


def _parts(config: TrainConfig) -> tuple[list[Part], dict[str, list[str]]]:
    data = config.data
    if data.source == "synthetic":
        return _synthetic_parts(config)
    if data.source == "heartpy":
        return _heartpy_parts(data)
    if data.pool:
        return _pool_parts(find_files(data.pool), config)
    return _divided_parts(find_files(data.train), find_files(data.test), config)


def _synthetic_parts(config: TrainConfig) -> tuple[list[Part], dict[str, list[str]]]:
    data, made = config.data, config.data.synthetic
    people = {f"synthetic{person}": person for person in range(made.people)}
    divide, split = _divider(people, data)

    def loader(person: int) -> Callable[[], list[Recording]]:
        return lambda: [
            synthetic_recording(
                person,
                made.seconds,
                data.sampling_rate,
                seed=config.seed,
                motion=made.motion,
                ectopic=made.ectopic,
            )
        ]

    return [Part(name, loader(person), divide) for name, person in people.items()], split


def _heartpy_parts(data: DataConfig) -> tuple[list[Part], dict[str, list[str]]]:
    for name in [*data.train, *data.test]:
        if name not in HEARTPY_RECORDINGS:
            raise InputError(f"HeartPy has no recording {name!r}; expected {', '.join(HEARTPY_RECORDINGS)}")
    recordings = heartpy_recordings(data.sampling_rate)

    def loader(name: str) -> Callable[[], list[Recording]]:
        return lambda: [recordings[name]]

    parts = [Part(name, loader(name), _tail_divider(data)) for name in data.train]
    parts += [Part(name, loader(name), _only_test) for name in data.test]
    return parts, {"train": list(data.train), "test": list(data.test)}


def _pool_parts(files: Sequence[SourceFile], config: TrainConfig) -> tuple[list[Part], dict[str, list[str]]]:
    """One collection, divided by person."""
    loaders, people = _loaders(files, config)
    divide, split = _divider((person for names in people for person in names), config.data)
    return [Part(file.name, load, divide, True) for file, load in zip(files, loaders, strict=True)], split


def _divided_parts(
    train: Sequence[SourceFile], test: Sequence[SourceFile], config: TrainConfig
) -> tuple[list[Part], dict[str, list[str]]]:
    """Two collections that the user divided; the ends of the training recordings validate."""
    shared = {file.path for file in train} & {file.path for file in test}
    if shared:
        raise InputError(f"{min(shared)}: is in both data.train and data.test", hint="split by recording")
    files = [*train, *test]
    loaders, people = _loaders(files, config)
    own = [{person for person in names if person != file.name} for file, names in zip(files, people, strict=True)]
    refuse_shared(train=set().union(*own[: len(train)]), test=set().union(*own[len(train) :]))
    divide = _tail_divider(config.data)
    dividers = [divide] * len(train) + [_only_test] * len(test)
    parts = [Part(file.name, load, by, True) for file, load, by in zip(files, loaders, dividers, strict=True)]
    return parts, {"train": list(config.data.train), "test": list(config.data.test)}


def _loaders(
    files: Sequence[SourceFile], config: TrainConfig
) -> tuple[list[Callable[[], list[Recording]]], list[list[str]]]:
    """How to load each file, and whose recordings it holds."""
    data = config.data
    where = data.sampling_rate, data.reading
    cache = _cache(files, data)

    def loader(file: SourceFile) -> Callable[[], list[Recording]]:
        return (lambda: file.recordings(*where)) if cache is None else (lambda: cache.recordings(file, *where))

    return [loader(file) for file in files], [file.people(data.split.by) for file in files]


def _cache(files: Sequence[SourceFile], data: DataConfig) -> RecordCache | None:
    if not data.cache.enabled:
        return None
    beside = os.path.commonpath([file.path.parent for file in files])
    folder = Path(data.cache.cache_root) if data.cache.cache_root else Path(beside) / FOLDER
    return RecordCache(folder, data.cache.auto_build, data.cache.force_rebuild)


def _divider(people: Iterable[str], data: DataConfig) -> tuple[Callable[[list[Recording]], Sides], dict[str, Any]]:
    rules = data.split
    split: Split = split_people(
        people, train=rules.train, validation=rules.validation, test=rules.test, seed=data.shuffle_seed
    )
    sides = {"train": list(split.train), "validation": list(split.validation), "test": list(split.test)}
    members = {side: set(names) for side, names in sides.items()}

    def divide(recordings: list[Recording]) -> Sides:
        return {side: [part for part in recordings if part.subject in names] for side, names in members.items()}

    return divide, sides


def _tail_divider(data: DataConfig) -> Callable[[list[Recording]], Sides]:
    """Cut the validation part off the end of each recording; frames never cross the cut."""

    def divide(recordings: list[Recording]) -> Sides:
        cuts = [round(len(part.samples) * (1 - data.validation_fraction)) for part in recordings]
        pairs = list(zip(recordings, cuts, strict=True))
        heads = [replace(part, samples=part.samples[:cut], valid=part.valid[:cut]) for part, cut in pairs]
        tails = [replace(part, samples=part.samples[cut:], valid=part.valid[cut:]) for part, cut in pairs]
        return {"train": heads, "validation": tails, "test": []}

    return divide


def _only_test(recordings: list[Recording]) -> Sides:
    return {"train": [], "validation": [], "test": recordings}


def _concatenate(arrays: Iterable[Frames]) -> Frames:
    """One array of those ``[N, T]`` that hold any frame."""
    listed = [array for array in arrays if len(array)]
    return np.concatenate(listed) if listed else np.empty((0, 0), np.int16)


def _windows(recordings: Sequence[Recording], samples: int, choose: Callable[[int], npt.NDArray[np.intp]]) -> Frames:
    """Frames ``[N, samples]`` at the chosen ones of all positions where one can start."""
    starts = [recording.starts(samples) for recording in recordings]
    ends = np.cumsum([len(part) for part in starts])
    total = int(ends[-1]) if len(ends) else 0
    frames = np.empty((0 if total == 0 else len(chosen := choose(total)), samples), np.int16)
    if total == 0:
        return frames
    owners = np.searchsorted(ends, chosen, side="right")
    for target, place, owner in zip(frames, chosen, owners, strict=True):
        start = starts[owner][place - (ends[owner] - len(starts[owner]))]
        target[:] = recordings[owner].samples[start : start + samples]
    return frames


def _spread(count: int) -> Callable[[int], npt.NDArray[np.intp]]:
    """Choose at most ``count`` places evenly."""
    return lambda total: np.linspace(0, total - 1, min(count, total)).round().astype(np.intp)


def _drawn(count: int, seed: int) -> Callable[[int], npt.NDArray[np.intp]]:
    """Choose at most ``count`` places by lot."""
    return lambda total: np.sort(np.random.default_rng(seed).permutation(total)[:count])


class _CropPool:
    """Recordings to draw crops from; every usable start is equally likely."""

    def __init__(self, recordings: Sequence[Recording], config: DataConfig) -> None:
        self._config = config
        # Squeezing reads more samples than it returns.
        reach = int(np.ceil(config.frame_size * (1 + config.time_warp))) + 1
        starts = [(part, found) for part in recordings if len(found := part.starts(reach))]
        self.usable = bool(starts)
        if not starts:
            return
        self._samples = np.concatenate([part.samples for part, _ in starts])
        offsets = np.cumsum([0, *(len(part.samples) for part, _ in starts[:-1])])
        self._starts = np.concatenate([found + offset for (_, found), offset in zip(starts, offsets, strict=True)])

    def draw(self, count: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
        """Normalised crops ``[count, T]``."""
        config = self._config
        starts = rng.choice(self._starts, count)
        position = warp_positions(count, config.frame_size, config.time_warp, rng)
        whole = position.astype(np.intp)
        left = self._samples[starts[:, None] + whole].astype(np.float32)
        right = self._samples[starts[:, None] + whole + 1].astype(np.float32)
        return normalize(left + (position - whole) * (right - left), config.epsilon)


class Sampler(Protocol):
    """Endless batches to train on, the same ones for the same seed."""

    def start_epoch(self, epoch: int) -> None:
        """Prepare for the batches of an epoch, counted from 0."""

    def batch(self) -> tuple[FloatFrames, FloatFrames]:
        """Return inputs and targets, both ``[B, T]``; only inputs carry noise."""

    def state(self) -> dict[str, Any]:
        """What :meth:`restore` needs between two epochs, as JSON knows it."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state` was taken."""


def make_sampler(data: TrainingData, config: TrainConfig) -> Sampler:
    """The sampler of the training split. Raises InputError when no recording is long enough."""
    if config.data.streaming:
        return StreamSampler(data.shards, config.data, config.seed)
    return CropSampler(data.train_recordings(), config.data, np.random.default_rng(config.seed))


class CropSampler:
    """Random crops of recordings in memory, normalised and augmented; float32 ``[B, T]``."""

    def __init__(self, recordings: Sequence[Recording], config: DataConfig, rng: np.random.Generator) -> None:
        self._config, self._rng = config, rng
        self._pool = _CropPool(recordings, config)
        if not self._pool.usable:
            raise _too_short(config)

    def start_epoch(self, epoch: int) -> None:
        """All epochs draw from one stream of numbers."""

    def batch(self) -> tuple[FloatFrames, FloatFrames]:
        """Return inputs and targets, both ``[B, T]``; only inputs carry noise."""
        return _augmented(lambda: self._pool.draw(self._config.batch_size, self._rng), self._config, self._rng)

    def state(self) -> dict[str, Any]:
        """The state of the stream of numbers."""
        return dict(self._rng.bit_generator.state)

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state` was taken."""
        self._rng.bit_generator.state = state


class StreamSampler:
    """Random crops of a few files at a time, which other files replace in turn.

    Files are drawn by how many crops they hold. An epoch starts with files of its own, so that it can be
    repeated without the ones before.
    """

    def __init__(self, shards: Sequence[Shard], config: DataConfig, seed: int) -> None:
        self._shards, self._config, self._seed = shards, config, seed
        self._share = np.array([shard.starts for shard in shards], np.float64)
        self._share /= self._share.sum()
        self._open: list[tuple[int, _CropPool]] = []
        self._batches = 0
        self._rng = np.random.default_rng(seed)

    def start_epoch(self, epoch: int) -> None:
        """Draw the first files of an epoch."""
        self._rng = np.random.default_rng([self._seed, epoch])
        self._batches = 0
        count = min(self._config.open_files, len(self._shards))
        chosen = self._rng.choice(len(self._shards), count, replace=False, p=self._share).tolist()
        self._open = [item for item in self._open if item[0] in chosen]
        for index in chosen:
            self._load(index)
        self._open.sort(key=lambda item: chosen.index(item[0]))

    def batch(self) -> tuple[FloatFrames, FloatFrames]:
        """Return inputs and targets, both ``[B, T]``; only inputs carry noise."""
        if self._batches and self._batches % _BATCHES_A_FILE == 0 and len(self._shards) > len(self._open):
            opened = {index for index, _ in self._open}
            share = np.where([index in opened for index in range(len(self._shards))], 0.0, self._share)
            index = int(self._rng.choice(len(self._shards), p=share / share.sum()))
            del self._open[0]
            self._load(index)
        self._batches += 1
        return _augmented(self._draw, self._config, self._rng)

    def state(self) -> dict[str, Any]:
        """Nothing: an epoch depends on its number only."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing is to restore."""

    def _load(self, index: int) -> None:
        if index not in (opened for opened, _ in self._open):
            self._open.append((index, _CropPool(self._shards[index].load(), self._config)))

    def _draw(self) -> npt.NDArray[np.float64]:
        pools = [pool for _, pool in self._open if pool.usable]
        if not pools:
            raise _too_short(self._config)
        owners = self._rng.integers(0, len(pools), self._config.batch_size)
        crops = np.empty((self._config.batch_size, self._config.frame_size))
        for index, pool in enumerate(pools):
            crops[owners == index] = pool.draw(int(np.sum(owners == index)), self._rng)
        return crops


def _too_short(config: DataConfig) -> InputError:
    reach = int(np.ceil(config.frame_size * (1 + config.time_warp))) + 1
    return InputError(f"data.train: no {reach} usable samples in a row (frame_size and time_warp)")


def _augmented(
    draw: Callable[[], npt.NDArray[np.float64]], config: DataConfig, rng: np.random.Generator
) -> tuple[FloatFrames, FloatFrames]:
    crops = draw()
    if config.mix > 0:
        mixed = rng.random((len(crops), 1)) < config.mix
        share = rng.uniform(0.0, 0.5, (len(crops), 1))
        crops = mix_frames(crops, draw(), mixed, share)
    if config.beat_scale > 0:
        crops = scale_beats(crops, config.beat_scale, config.sampling_rate, rng)
    if config.wander > 0:
        crops = add_wander(crops, config.wander, config.sampling_rate, rng)
    target = crops.astype(np.float32)
    low, high = config.gaussian_noise
    if high == 0:
        return target, target
    return add_noise(target, low, high, rng).astype(np.float32), target
