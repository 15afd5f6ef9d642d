"""Static tables of indices, small enough for flash (SPEC.md 5.5).

An index's context is the index one level up at the same position or, at the first level, the one at the previous
position. Contexts after which indices are distributed alike form a class, and indices that follow contexts alike a
group: a table of classes by groups says how likely a group is, and within its group an index has the same share
whatever the context. Source: information-theoretic co-clustering (Dhillon, Mallela and Modha 2003); classes and groups
are merged pair by pair, the cheapest first, by what merging adds to the code of the training frames (the weighted
Jensen-Shannon divergence of the two; Slonim and Tishby 1999, "Agglomerative information bottleneck").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.entropy.index_model import Indices
from edgecodec.entropy.range_coder import PRECISION, RangeDecoder
from edgecodec.errors import InputError

MOST_CODES = 256
"""Codes of a level, so that an index, a class and a group are a byte each."""
GROUP_BITS = 16
"""Shares of groups are whole multiples of 2^-16."""
MEMBER_BITS = 8
"""Shares within a group are whole multiples of 2^-8."""
_GROUP_TOTAL = 1 << GROUP_BITS
_MEMBER_TOTAL = 1 << MEMBER_BITS
_HELD_OUT_SHARE = 5
"""One in so many training frames, the last ones, says how large each level's tables are."""
_STRENGTHS = (0.5, 2.0, 8.0, 32.0, 128.0)
"""Strengths, in counts, of the prior that a class's counts are added to."""
_GROUPS = (1, 4, 8, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128)
_CLASSES = (1, 2, 4, 6, 8, 12, 16, 20, 24, 32, 40, 48, 64, 80, 96, 128, 192, 256)

Counts = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
"""Class of each context ``[J + 1]``, or group of each index ``[K]``."""


@dataclass(frozen=True)
class LevelTables:
    """Shares of one level's indices: K codes in G groups, after J + 1 contexts in C classes.

    Raises InputError for arrays of other shapes or types, and shares that are not at least 1 and all in all.
    """

    classes: npt.NDArray[np.uint8]
    """Class of each context, ``[J + 1]``: 0 stands for no index before, i + 1 for index i."""
    groups: npt.NDArray[np.uint8]
    """Group of each index, ``[K]``."""
    ranks: npt.NDArray[np.uint8]
    """Place of each index among all, sorted by group, ``[K]``."""
    group_starts: npt.NDArray[np.uint16]
    """Start of each group's interval, of 2^16, ``[C, G]``; a group ends where the next one starts, the last at 2^16."""
    member_starts: npt.NDArray[np.uint8]
    """Start of an index's interval within its group, of 2^8, by rank, ``[K]``."""

    def __post_init__(self) -> None:
        codes = len(self.groups)
        if not 1 <= codes <= MOST_CODES:
            raise InputError(f"a level has {codes} codes; context tables take 1..{MOST_CODES}")
        expected = {"classes": np.uint8, "groups": np.uint8, "ranks": np.uint8, "member_starts": np.uint8}
        for name, dtype in {**expected, "group_starts": np.uint16}.items():
            array = getattr(self, name)
            if array.dtype != dtype or array.ndim != (2 if name == "group_starts" else 1):
                raise InputError(f"{name} of context tables is {array.dtype} {array.shape}; expected {np.dtype(dtype)}")
        count = self.group_starts.shape[1]
        order = np.argsort(self.ranks)
        if (
            len(self.member_starts) != codes
            or not np.array_equal(self.ranks[order], np.arange(codes))
            or not np.array_equal(np.unique(self.groups), np.arange(count))
            or np.any(np.diff(self.groups[order].astype(int)) < 0)
            or self.classes.max() >= len(self.group_starts)
        ):
            raise InputError("classes, groups and ranks of context tables do not fit each other")
        firsts = np.searchsorted(self.groups[order], np.arange(count))
        if np.any(self.group_starts[:, 0]) or np.any(self.group_sizes < 1):
            raise InputError(f"shares of groups are not all at least 1 of {_GROUP_TOTAL}")
        if np.any(self.member_starts[firsts]) or np.any(self.member_sizes < 1):
            raise InputError(f"shares within groups are not all at least 1 of {_MEMBER_TOTAL}")

    @property
    def flash_bytes(self) -> int:
        """Bytes of the tables on a device."""
        return level_bytes(len(self.classes), len(self.groups), self.group_starts.size)

    @property
    def group_sizes(self) -> npt.NDArray[np.int64]:
        """Share of each group, of 2^16, ``[C, G]``."""
        starts = self.group_starts.astype(np.int64)
        return np.diff(starts, axis=1, append=np.full((len(starts), 1), _GROUP_TOTAL))

    @property
    def member_sizes(self) -> npt.NDArray[np.int64]:
        """Share of each index in its group, of 2^8, by rank, ``[K]``."""
        starts = np.append(self.member_starts.astype(np.int64), 0)
        ends = np.where(starts[1:] == 0, _MEMBER_TOTAL, starts[1:])
        return np.asarray(ends - starts[:-1], np.int64)

    @classmethod
    def of(cls, classes: Labels, groups: Labels, shares: npt.NDArray[np.int64], members: Counts) -> LevelTables:
        """Tables with the groups' ``shares`` ``[C, G]`` and indices shared out as they count, ``members`` ``[K]``."""
        order = np.argsort(groups, kind="stable")
        ranks = np.empty(len(groups), np.uint8)
        ranks[order] = np.arange(len(groups))
        starts = np.zeros(len(groups), np.uint8)
        for group in range(int(groups.max()) + 1):
            inside = np.flatnonzero(groups[order] == group)
            counts = members[order[inside]]
            sizes = frequencies((counts / counts.sum())[None], _MEMBER_TOTAL)[0]
            starts[inside] = np.cumsum(sizes) - sizes
        return cls(
            classes.astype(np.uint8),
            groups.astype(np.uint8),
            ranks,
            (np.cumsum(shares, axis=1) - shares).astype(np.uint16),
            starts,
        )


@dataclass(frozen=True)
class ContextTables:
    """Tables of all levels. Raises InputError when they are not of one codec."""

    levels: tuple[LevelTables, ...]
    """First level first."""

    def __post_init__(self) -> None:
        for level, tables in enumerate(self.levels):
            contexts = len(self.levels[max(0, level - 1)].groups) + 1
            if len(tables.classes) != contexts:
                raise InputError(f"context tables of level {level} have {len(tables.classes)} contexts, not {contexts}")

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Codes of each level, K."""
        return tuple(len(level.groups) for level in self.levels)

    @property
    def flash_bytes(self) -> int:
        """Bytes of the tables on a device."""
        return sum(level.flash_bytes for level in self.levels)

    def intervals(self, indices: Indices) -> Iterator[tuple[int, int]]:
        """Start and size, of 2^24, of each index of ``[P, l]``."""
        contexts = [_contexts(indices[None], level)[0] for level in range(indices.shape[1])]
        sizes = [(tables.group_sizes, tables.member_sizes) for tables in self.levels]
        for position, row in enumerate(indices.tolist()):
            for level, index in enumerate(row):
                tables, (group_sizes, member_sizes) = self.levels[level], sizes[level]
                chosen, group = int(tables.classes[contexts[level][position]]), int(tables.groups[index])
                rank, share = int(tables.ranks[index]), int(group_sizes[chosen, group])
                start = int(tables.group_starts[chosen, group]) * _MEMBER_TOTAL + share * int(
                    tables.member_starts[rank]
                )
                yield start, share * int(member_sizes[rank])

    def decode(self, decoder: RangeDecoder, positions: int, levels: int) -> Indices:
        """Read indices uint16 ``[positions, levels]``. Raises PacketError when the payload is of no indices."""
        found = np.zeros((positions, levels), np.uint16)
        sizes = [(tables.group_sizes, tables.member_sizes) for tables in self.levels]
        orders = [np.argsort(tables.ranks) for tables in self.levels]
        before = 0
        for position in range(positions):
            context = before
            for level in range(levels):
                tables, (group_sizes, member_sizes), order = self.levels[level], sizes[level], orders[level]
                chosen, target = int(tables.classes[context]), decoder.target()
                starts = tables.group_starts[chosen]
                group = int(np.searchsorted(starts, target // _MEMBER_TOTAL, side="right")) - 1
                start, share = int(starts[group]) * _MEMBER_TOTAL, int(group_sizes[chosen, group])
                inside = np.flatnonzero(tables.groups[order] == group)
                member = (target - start) // share
                rank = int(inside[np.searchsorted(tables.member_starts[inside], member, side="right") - 1])
                start += share * int(tables.member_starts[rank])
                decoder.advance(start, share * int(member_sizes[rank]))
                found[position, level] = order[rank]
                context = int(found[position, level]) + 1
            before = int(found[position, 0]) + 1
        return found

    def code_lengths(self, indices: Indices) -> npt.NDArray[np.float64]:
        """Bits of each index of ``[N, P, L]``, float64 ``[N, P, L]``."""
        lengths = []
        for level in range(indices.shape[2]):
            tables, index = self.levels[level], indices[..., level].astype(np.int64)
            group = tables.group_sizes[tables.classes[_contexts(indices, level)], tables.groups[index]]
            lengths.append(PRECISION - np.log2(group * tables.member_sizes[tables.ranks[index]]))
        return np.stack(lengths, axis=-1)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Its arrays by name, a level's with its number behind."""
        return {f"{name}_{number}": getattr(level, name) for number, level in enumerate(self.levels) for name in _NAMES}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> ContextTables:
        """Tables of what :meth:`to_arrays` returned. Raises InputError when something is missing or does not fit."""
        count = sum(name.startswith("classes_") for name in arrays)
        wanted = {f"{name}_{number}" for number in range(count) for name in _NAMES}
        for name in sorted(wanted ^ arrays.keys()):
            raise InputError(f"array {name} is {'missing' if name in wanted else 'unknown'} in context tables")
        return cls(tuple(LevelTables(*(arrays[f"{name}_{n}"] for name in _NAMES)) for n in range(count)))


_NAMES = ("classes", "groups", "ranks", "group_starts", "member_starts")


@dataclass(frozen=True)
class TablePoint:
    """A size of tables and what they are worth."""

    flash_bytes: int
    """Bytes of the tables on a device."""
    bits: float
    """Mean bits of the frames held out."""
    shapes: tuple[tuple[int, int], ...]
    """Groups and classes of each level."""


class TableFitting:
    """Fits tables to indices ``train`` ``[N, P, L]``; how large each level's are is judged on the last fifth of them.

    Raises InputError for a codebook of too many codes, or fewer than 2 frames.
    """

    def __init__(self, train: Indices, codebook_sizes: Sequence[int]) -> None:
        sizes = tuple(int(size) for size in codebook_sizes)
        for level, codes in enumerate(sizes):
            if codes > MOST_CODES:
                raise InputError(f"level {level} has {codes} codes; context tables take at most {MOST_CODES}")
        if len(train) < 2:
            raise InputError(f"context tables are fitted to {len(train)} frames; expected at least 2")
        held_out = max(1, len(train) // _HELD_OUT_SHARE)
        levels = range(len(sizes))
        known = [_counts(train[:-held_out], level, sizes) for level in levels]
        judge = [_counts(train[-held_out:], level, sizes) for level in levels]
        self._counts = [known[level] + judge[level] for level in levels]
        self._strength: list[dict[tuple[int, int], float]] = []
        self._front = [TablePoint(0, 0.0, ())]
        for level in levels:
            points, strengths = _level_points(known[level], judge[level], held_out)
            self._strength.append(strengths)
            joined = [
                TablePoint(a.flash_bytes + b.flash_bytes, a.bits + b.bits, a.shapes + b.shapes)
                for a in self._front
                for b in points
            ]
            self._front = _pareto(joined)

    @property
    def curve(self) -> tuple[TablePoint, ...]:
        """Sizes that are worth their bytes, smallest first."""
        return tuple(self._front)

    def fit(self, flash_bytes: int) -> ContextTables:
        """The best tables of at most ``flash_bytes``. Raises InputError when the smallest are larger."""
        fitting = [point for point in self._front if point.flash_bytes <= flash_bytes]
        if not fitting:
            raise InputError(f"context tables of {flash_bytes} bytes; the smallest take {self._front[0].flash_bytes}")
        levels = []
        for counts, strengths, shape in zip(self._counts, self._strength, fitting[-1].shapes, strict=True):
            groups = _merged(counts.T, shape[0])[shape[0]]
            grouped = _summed(counts.T, groups).T
            classes = _refined(grouped, _merged(grouped, shape[1])[shape[1]])
            shares = frequencies(_smoothed(_summed(grouped, classes), strengths[shape]))
            levels.append(LevelTables.of(classes, groups, shares, counts.sum(axis=0) + 0.5))
        return ContextTables(tuple(levels))


def level_bytes(contexts: int, codes: int, cells: int) -> int:
    """Flash of a level's tables: a class a context, three bytes a code, and two a cell with one behind the last."""
    return contexts + 3 * codes + 2 * (cells + 1)


def frequencies(probabilities: npt.NDArray[np.float64], total: int = _GROUP_TOTAL) -> npt.NDArray[np.int64]:
    """Shares of each row ``[C, K]``, whole numbers of at least 1 that sum to ``total``, near to ``probabilities``.

    What rounding down leaves goes to those whose code becomes shorter by most; what raising to 1 takes is taken from
    those whose code becomes longer by least.
    """
    shares = np.maximum(1, np.floor(probabilities * total)).astype(np.int64)
    for row, wanted in zip(shares, probabilities, strict=True):
        while (missing := total - int(row.sum())) != 0:
            step = 1 if missing > 0 else -1
            gain = np.full(len(row), -np.inf)
            can = row + step >= 1
            gain[can] = wanted[can] * np.log2((row[can] + step) / row[can])
            best = np.argsort(-gain, kind="stable")[: min(abs(missing), max(1, int(can.sum()) // 4))]
            row[best] += step
    return shares


def _contexts(indices: Indices, level: int) -> Labels:
    """Context of each index of a level, ``[N, P]``."""
    if level:
        return indices[..., level - 1].astype(np.int64) + 1
    before = np.zeros(indices.shape[:2], np.int64)
    before[:, 1:] = indices[:, :-1, 0].astype(np.int64) + 1
    return before


def _counts(indices: Indices, level: int, sizes: Sequence[int]) -> Counts:
    """How often each index follows each context, ``[J + 1, K]``."""
    contexts, codes = sizes[max(0, level - 1)] + 1, sizes[level]
    pairs = _contexts(indices, level) * codes + indices[..., level]
    return np.bincount(pairs.reshape(-1), minlength=contexts * codes).reshape(contexts, codes).astype(np.float64)


def _level_points(known: Counts, judge: Counts, frames: int) -> tuple[list[TablePoint], dict[tuple[int, int], float]]:
    """What tables of every shape, estimated from ``known``, need for ``judge``, and the best strength of each."""
    contexts, codes = known.shape
    groupings = _merged(known.T, max(_GROUPS))
    points, strengths = [], {}
    for count in (count for count in _GROUPS if count < len(groupings)):
        groups = groupings[count]
        members = known.sum(axis=0) + 0.5
        members /= _summed(members[:, None], groups)[groups, 0]
        inside = -float(judge.sum(axis=0) @ np.log2(members))
        grouped, wanted = _summed(known.T, groups).T, _summed(judge.T, groups).T
        classings = _merged(grouped, max(_CLASSES))
        for number in (number for number in _CLASSES if number < len(classings)):
            rows, hits = _summed(grouped, classings[number]), _summed(wanted, classings[number])
            bits, strength = min((-float(np.sum(hits * np.log2(_smoothed(rows, s)))), s) for s in _STRENGTHS)
            size = level_bytes(contexts, codes, count * number)
            points.append(TablePoint(size, (bits + inside) / frames, ((count, number),)))
            strengths[count, number] = strength
    return _pareto(points), strengths


def _pareto(points: Sequence[TablePoint]) -> list[TablePoint]:
    """The points that no smaller one is as good as, smallest first."""
    kept: list[TablePoint] = []
    for point in sorted(points, key=lambda point: (point.flash_bytes, point.bits)):
        if not kept or point.bits < kept[-1].bits:
            kept.append(point)
    return kept


def _merged(rows: Counts, most: int) -> list[Labels]:
    """Labels of ``rows`` ``[R, K]`` in 0 (empty), 1, 2, ... clusters, at most ``most``."""
    prior = _prior(rows)
    clusters = rows + prior
    lengths = _length(clusters)
    labels = np.arange(len(rows))
    alive = np.ones(len(rows), bool)
    cost = np.full((len(rows), len(rows)), np.inf)
    for row in range(1, len(rows)):
        cost[row, :row] = _length(clusters[:row] + clusters[row]) - lengths[row] - lengths[:row]
    found = [np.zeros(0, np.int64)] * (min(most, len(rows)) + 1)
    for left in range(len(rows), 0, -1):
        if left < len(found):
            found[left] = np.unique(labels, return_inverse=True)[1].reshape(-1).astype(np.int64)
        if left == 1:
            break
        gone, keep = np.unravel_index(int(np.argmin(cost)), cost.shape)
        clusters[keep] += clusters[gone]
        lengths[keep] = _length(clusters[keep][None])[0]
        labels[labels == gone] = keep
        alive[gone] = False
        cost[gone, :] = cost[:, gone] = np.inf
        others = np.flatnonzero(alive & (np.arange(len(rows)) != keep))
        values = _length(clusters[others] + clusters[keep]) - lengths[keep] - lengths[others]
        below = others < keep
        cost[keep, others[below]] = values[below]
        cost[others[~below], keep] = values[~below]
    return found


def _refined(counts: Counts, classes: Labels) -> Labels:
    """Each context moved to the class that codes it shortest, classes estimated anew, until none moves (k-means)."""
    for _ in range(20):
        lengths = -counts @ np.log2(_smoothed(_summed(counts, classes), 8.0)).T
        moved = np.argmin(lengths, axis=1)
        if len(np.unique(moved)) < classes.max() + 1 or np.array_equal(moved, classes):
            break
        classes = moved
    return classes


def _summed(rows: Counts, labels: Labels) -> Counts:
    """Sums of the ``rows`` ``[R, K]`` with each label."""
    sums = np.zeros((int(labels.max()) + 1, rows.shape[1]))
    np.add.at(sums, labels, rows)
    return sums


def _prior(counts: Counts) -> Counts:
    """One count, spread over indices as they occur at all, and evenly by a hundredth."""
    total = counts.sum(axis=0)
    even = np.full(len(total), 1 / len(total))
    return np.asarray(0.99 * total / total.sum() + 0.01 * even if total.sum() else even, np.float64)


def _smoothed(clusters: Counts, strength: float) -> Counts:
    """Probabilities ``[C, K]`` of clusters' counts."""
    added = clusters + strength * _prior(clusters)
    return np.asarray(added / added.sum(axis=1, keepdims=True), np.float64)


def _length(clusters: Counts) -> Counts:
    """Bits of what each row ``[C, K]`` counts, under its own distribution; entries are above 0."""
    totals = clusters.sum(axis=1)
    return np.asarray(totals * np.log2(totals) - np.sum(clusters * np.log2(clusters), axis=1), np.float64)
