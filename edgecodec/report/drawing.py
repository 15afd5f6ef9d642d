"""Coordinates of the page's pictures: SVG paths that stretch with the page, and labels that do not.

Texts stand beside the drawings and not in them, so that they are as large on a phone as on a desk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

_MOST_POINTS = 1500
"""Points of a curve, at most: as many as a wide screen has columns."""
_MOST_RUNS = 5000
"""Cells of a map that are drawn, those side by side as one."""
_TICKS = 4


@dataclass(frozen=True)
class Curves:
    """A frame and what it is decoded to, in a box of 1000 by 100."""

    original: str
    """Path of the frame."""
    decoded: str
    """Path of what it is decoded to."""
    low: float
    """Value at the lower edge."""
    high: float
    """Value at the upper edge."""


@dataclass(frozen=True)
class Map:
    """Which values of a table differ, in a box of its ``columns`` by its ``rows``."""

    title: str
    """What the table is."""
    columns: int
    """Columns of the table."""
    rows: tuple[str, ...]
    """What its rows are called, from above."""
    cells: str
    """Path around the cells that differ."""
    column: str
    """What a column is."""


@dataclass(frozen=True)
class Tick:
    """A label on an axis."""

    at: float
    """Where, in percent of the axis."""
    label: str
    """The number."""


@dataclass(frozen=True)
class Series:
    """Points of a chart, in a box of 1000 by 100."""

    name: str
    """What they are of."""
    own: bool
    """Whether they are of the codec that the page is about."""
    line: str
    """Path through the points; empty where they are no curve."""
    dots: str
    """Path of lines of no length, whose round ends are dots."""


@dataclass(frozen=True)
class Chart:
    """Points in a plane."""

    series: tuple[Series, ...]
    """The points."""
    across: tuple[Tick, ...]
    """Labels of the horizontal axis."""
    up: tuple[Tick, ...]
    """Labels of the vertical axis, in percent from below."""


def curves(original: npt.NDArray[Any], decoded: npt.NDArray[Any]) -> Curves:
    """Two curves ``[T]`` over the same box."""
    both = np.concatenate([original, decoded]).astype(np.float64)
    low, high = float(both.min()), float(both.max())
    return Curves(_curve(original, low, high), _curve(decoded, low, high), low, high)


def _curve(values: npt.NDArray[Any], low: float, high: float) -> str:
    """The path of a curve; of a long one the least and most of each stretch."""
    found = np.asarray(values, np.float64)
    places = np.arange(len(found), dtype=np.float64)
    if len(found) > _MOST_POINTS:
        edges = np.linspace(0, len(found), _MOST_POINTS // 2 + 1).astype(int)
        taken = [
            start + np.sort([found[start:end].argmin(), found[start:end].argmax()]) for start, end in pairwise(edges)
        ]
        places = np.concatenate(taken).astype(np.float64)
        found = found[np.concatenate(taken)]
    across = 1000.0 * places / max(1, len(values) - 1)
    down = 95.0 - 90.0 * (found - low) / ((high - low) or 1.0)
    return _path(zip(across, down, strict=True))


def _path(points: Any) -> str:
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)


def difference_map(title: str, different: npt.NDArray[np.bool_], rows: Sequence[str], column: str) -> Map:
    """The table ``different`` ``[columns, rows]``, of which no more than some thousand cells are drawn."""
    pieces: list[str] = []
    for row, cells in enumerate(different.T):
        ends = np.flatnonzero(np.diff(np.concatenate([[False], cells, [False]]).astype(np.int8)))
        for start, end in zip(ends[::2].tolist(), ends[1::2].tolist(), strict=True):
            pieces.append(f"M{start} {row}h{end - start}v1h{start - end}z")
    return Map(title, len(different), tuple(rows), "".join(pieces[:_MOST_RUNS]), column)


def chart(series: Sequence[tuple[str, bool, bool, Sequence[tuple[float, float]]]]) -> Chart:
    """A chart of ``(name, own, is_line, points)``, whose vertical axis starts at 0."""
    points = [point for *_, listed in series for point in listed]
    left, right = _ends([x for x, _ in points])
    top = max((y for _, y in points), default=1.0) * 1.08 or 1.0

    def place(point: tuple[float, float]) -> tuple[float, float]:
        return 1000.0 * (point[0] - left) / (right - left), 100.0 - 100.0 * point[1] / top

    drawn = []
    for name, own, is_line, listed in series:
        placed = [place(point) for point in listed]
        line = _path(placed) if is_line and len(placed) > 1 else ""
        drawn.append(Series(name, own, line, "".join(f"M{x:.1f} {y:.1f}h0" for x, y in placed)))
    across = tuple(Tick(100.0 * (value - left) / (right - left), f"{value:,g}") for value in _round(left, right))
    up = tuple(Tick(100.0 * value / top, f"{value:,g}") for value in _round(0.0, top))
    return Chart(tuple(drawn), across, up)


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """An axis that holds ``values``, with some room on both sides."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.06 * (high - low) or 1.0
    return low - room, high + room


def _round(low: float, high: float) -> list[float]:
    """Round numbers from ``low`` to ``high``."""
    rough = (high - low) / _TICKS
    power = 10.0 ** np.floor(np.log10(rough))
    step = float(next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough))
    first = int(np.ceil(low / step))
    return [round(step * number, 10) for number in range(first, int(np.floor(high / step)) + 1)]
