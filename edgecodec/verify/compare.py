"""Compare what two executors made of the same frames, stage by stage, to the bit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.codec.rvq import IntegerRvq
from edgecodec.codec.stages import STAGES, Stages
from edgecodec.errors import InputError

COMPARED = {stage.name: stage for stage in STAGES if not stage.is_statistic}
"""Stages that are compared one by one, in the order in which a codec computes them and a divergence is attributed."""
STATISTICS = "statistics"
"""All stages that are one number a frame, compared together."""
_STATISTICS = tuple(stage.name for stage in STAGES if stage.is_statistic)
_ATTRIBUTION = (STATISTICS, *COMPARED)
_BEHIND = -1
"""Stands for a byte behind a packet's end."""


class Verdict(StrEnum):
    """The outcome of a comparison."""

    EQUAL = "equal"
    DIFFERENT = "different"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class NamedStages:
    """What one executor made of the frames."""

    name: str
    stages: Stages


@dataclass(frozen=True)
class Pair:
    """One stage of two executors."""

    a: str
    """Name of the executor that counts as expected."""
    b: str
    """Name of the executor held against it."""
    stage: str
    """Name of the stage, such as ``indices``; ``statistics`` for a frame's offset and spread together."""
    compared: int
    """Values compared, over all frames; of packets their bytes."""
    mismatches: int
    """Values that differ."""


@dataclass(frozen=True)
class Divergence:
    """The first value in which two executors differ."""

    a: str
    """Name of the executor that counts as expected."""
    b: str
    """Name of the executor held against it."""
    frame: int
    """Number of the frame, from 0."""
    stage: str
    """Name of the stage, such as ``indices``."""
    position: int | None
    """Sample of the frame (``input``), position of the latent (``latent``, ``indices``) or byte of the packet
    (``packet``); null of a statistic."""
    channel: int | None
    """Entry of the latent vector; null unless the stage is ``latent``."""
    level: int | None
    """Codebook of the index; null unless the stage is ``indices``."""
    expected: int
    """The value that ``a`` gives; -1 for a byte behind its packet's end."""
    received: int
    """The value that ``b`` gives; -1 for a byte behind its packet's end."""
    margin: int | None = None
    """Decision margin of an index, else null: squared distance of b's code to a's residual less that of a's code, in
    squared codebook steps. Above 0, a chose the nearer code; 0 is a tie, which the lowest index wins; below 0, a chose
    wrongly."""

    def describe(self) -> str:
        """One line of English."""
        places = {"position": self.position, "channel": self.channel, "level": self.level}
        where = "".join(f", {name} {value}" for name, value in places.items() if value is not None)
        margin = "" if self.margin is None else f" (decision margin {self.margin})"
        return (
            f"frame {self.frame}, {self.stage}{where}: {self.a} gives {self.expected}, {self.b} {self.received}{margin}"
        )


@dataclass(frozen=True)
class Comparison:
    """The outcome for one or several pairs of executors."""

    pairs: tuple[Pair, ...]
    """One for each pair of executors and each of :data:`COMPARED` that both compute."""
    statistics: tuple[Pair, ...] = ()
    """One for each pair of executors that both return offset and spread."""
    first_divergence: Divergence | None = None

    @property
    def verdict(self) -> Verdict:
        """``different`` when any value differs, ``equal`` when every pair compared something, else ``undecided``."""
        return verdict_of((*self.pairs, *self.statistics))

    @property
    def indices_compared(self) -> int:
        """Indices compared over all pairs."""
        return sum(pair.compared for pair in self.pairs if pair.stage == "indices")


def compare(a: NamedStages, b: NamedStages, rvq: IntegerRvq | None = None) -> Comparison:
    """Compare two executors' stages of the same frames; ``a`` counts as expected.

    A stage that one of them does not compute is left out. With ``rvq``, a flipped index is reported with its
    decision margin, provided that ``a`` has a latent.

    Raises:
        InputError: a stage has different shapes, such as another number of frames.
    """
    pairs: list[Pair] = []
    statistics: list[Pair] = []
    divergences: list[Divergence] = []
    for stage in _ATTRIBUTION:
        arrays = _arrays(a, b, stage)
        if arrays is None:
            continue
        expected, received = arrays
        different = expected != received
        mismatches = int(np.count_nonzero(different))
        compared = int(np.count_nonzero((expected != _BEHIND) | different)) if _varies(stage) else different.size
        pair = Pair(a.name, b.name, stage, compared, mismatches)
        (statistics if stage == STATISTICS else pairs).append(pair)
        if mismatches:
            place = tuple(int(axis) for axis in np.unravel_index(int(different.argmax()), different.shape))
            divergences.append(_divergence(a, b, stage, place, (int(expected[place]), int(received[place])), rvq))
    return Comparison(tuple(pairs), tuple(statistics), _earliest(divergences))


def difference(a: NamedStages, b: NamedStages, stage: str) -> npt.NDArray[np.bool_]:
    """Which values of one of :data:`COMPARED` that both compute differ, ``[N, ...]``; of packets their bytes.

    Raises InputError as :func:`compare` does, KeyError for a stage that one of them does not compute.
    """
    arrays = _arrays(a, b, stage)
    if arrays is None:
        raise KeyError(stage)
    return np.asarray(arrays[0] != arrays[1])


def merge(comparisons: Iterable[Comparison]) -> Comparison:
    """The comparisons as one: all pairs in order, and the earliest divergence of any (the first pair's in a tie)."""
    parts = list(comparisons)
    return Comparison(
        tuple(pair for part in parts for pair in part.pairs),
        tuple(pair for part in parts for pair in part.statistics),
        _earliest([part.first_divergence for part in parts if part.first_divergence is not None]),
    )


def verdict_of(pairs: Iterable[Pair]) -> Verdict:
    """The verdict over ``pairs``; no pairs, or a pair without a value, prove nothing."""
    listed = list(pairs)
    if any(pair.mismatches for pair in listed):
        return Verdict.DIFFERENT
    if listed and all(pair.compared for pair in listed):
        return Verdict.EQUAL
    return Verdict.UNDECIDED


def _arrays(a: NamedStages, b: NamedStages, stage: str) -> tuple[npt.NDArray[Any], npt.NDArray[Any]] | None:
    if stage == STATISTICS:
        expected, received = _statistics(a.stages), _statistics(b.stages)
    else:
        expected, received = a.stages.get(stage), b.stages.get(stage)
    if expected is None or received is None:
        return None
    if expected.shape != received.shape:
        raise InputError(
            f"{stage}: {a.name} gives shape {expected.shape} and {b.name} {received.shape}; "
            "expected the same frames through the same bundle"
        )
    if _varies(stage):
        return _in_rows(expected, received)
    return expected, received


def _varies(stage: str) -> bool:
    return stage != STATISTICS and COMPARED[stage].varies


def _in_rows(
    a: npt.NDArray[np.object_], b: npt.NDArray[np.object_]
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """Bytes ``[N]`` of both as ``[N, bytes of the longest]``, -1 behind an end."""
    longest = max(map(len, (*a, *b)), default=0)
    rows = np.full((2, len(a), longest), _BEHIND, np.int16)
    for row, data in zip(rows.reshape(-1, longest), (*a, *b), strict=True):
        row[: len(data)] = np.frombuffer(data, np.uint8)
    return rows[0], rows[1]


def _statistics(stages: Stages) -> npt.NDArray[np.object_] | None:
    """``[N, statistics]`` as Python integers: no numpy type holds both int32 and uint64."""
    columns = [stages.get(name) for name in _STATISTICS]
    found = [column.astype(np.object_) for column in columns if column is not None]
    return np.stack(found, axis=1) if len(found) == len(columns) else None


def _divergence(
    a: NamedStages,
    b: NamedStages,
    stage: str,
    place: tuple[int, ...],
    values: tuple[int, int],
    rvq: IntegerRvq | None,
) -> Divergence:
    axes = () if stage == STATISTICS else COMPARED[stage].axes
    found = dict(zip(axes, place[1:], strict=False))
    margin = _margin(a.stages, place, values, rvq) if stage == "indices" and rvq is not None else None
    position, channel, level = (found.get(axis) for axis in ("position", "channel", "level"))
    return Divergence(a.name, b.name, place[0], stage, position, channel, level, *values, margin)


def _margin(stages: Stages, place: tuple[int, ...], values: tuple[int, int], rvq: IntegerRvq) -> int | None:
    """What the second code costs at ``place`` more than the first, in distance and bias (SPEC.md 1.3)."""
    if stages.latent is None:
        return None
    frame, position, level = place
    chosen = stages.indices[frame, position]
    residual = rvq.residual(stages.latent[frame, position])
    for before in range(level):
        residual = residual - rvq.codebooks[before][chosen[before]]
    book = rvq.codebooks[level].astype(np.int64)
    if max(values) >= len(book):
        return None
    bias = rvq.bias(level)
    near, far = (int(((residual - book[value]) ** 2).sum() + bias[value]) for value in values)
    return far - near


def _earliest(divergences: Iterable[Divergence]) -> Divergence | None:
    """Earliest frame, then earliest stage: a wrong input explains the wrong latent behind it."""
    return min(divergences, key=lambda found: (found.frame, _ATTRIBUTION.index(found.stage)), default=None)
