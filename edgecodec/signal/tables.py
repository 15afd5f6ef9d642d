"""Tables of recordings, CSV and Parquet: which column is PPG, and what the time column says."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.errors import InputError, install_extra
from edgecodec.files.limits import TABLE, TABLE_LINE
from edgecodec.files.regular import open_regular
from edgecodec.signal.reading import Reading, Rows, as_rows, check_file, check_samples, choose, one_error

Column = npt.NDArray[np.float64]

_TIME_NAME = re.compile(
    r"\W*(elapsed|timestamps?|datetime|date|time|utc|unix|t|seconds?|secs?|millis|ms)(?![a-z])", re.I
)
_COUNT_NAME = re.compile(r"\W*(|index|idx|samples?|n|no|row|frame|unnamed.*)\W*", re.I)
_UNITS = (
    (1e3, "milliseconds", re.compile(r"(?<![a-z])(ms|msec|millis|milliseconds?)(?![a-z])", re.I)),
    (1e6, "microseconds", re.compile("(?<![a-z])(us|\u00b5s|\u03bcs|usec|micros|microseconds?)(?![a-z])", re.I)),
    (1e9, "nanoseconds", re.compile(r"(?<![a-z])(ns|nsec|nanos|nanoseconds?)(?![a-z])", re.I)),
    (1.0, "seconds", re.compile(r"(?<![a-z])(s|secs?|seconds?)(?![a-z])", re.I)),
)
"""Units of time: how many a second has, name, how headers write it."""
_SLOWEST_HZ, _FASTEST_HZ = 8.0, 4000.0
"""Rates of PPG: slower shows no pulse, faster no sensor samples."""
_MISSING = ("", "nan", "na", "n/a", "null", "none", "-", "inf", "-inf", "+inf", "infinity")
_GIVE_RATE = "give --rate HZ, and --column to leave the time column out"
_MOST_MISSING, _MISSING_SHARE = 1 << 22, 100
"""Samples that may be missing between times, and how many more for each that is there: a digit too many in one time
would take gigabytes."""
_UNIX_S = 1e9
_EMPATICA = "bvp.csv"
_PIECE = 1 << 18
"""Characters of a CSV that are read at a time."""
_HEAD = 20
"""Lines that say what separates a CSV's cells."""


def read_csv(path: Path, reading: Reading) -> Rows:
    """A recording a row; or, with a header, a time column or ``reading.column``, one column.

    The file is read once for each column that is used, a piece at a time. Raises InputError, which names row and
    column.
    """
    with one_error(path):
        text = _Text.of(path)
        if text.is_empty:
            raise InputError(f"{path}: is empty; expected numbers separated by commas, or a header and columns")
        first = text.cells(0)
        if path.name.lower() == _EMPATICA and _is_empatica(text):
            return _empatica(path, text)
        named = not any(_is_number(cell) or _stamp(cell) is not None for cell in first)
        if not named and reading.column is None and _stamp(first[0]) is None:
            return as_rows(_matrix(path, text), None, path)
        names = [cell.strip(" '\"") for cell in first] if named else [str(i) for i in range(1, len(first) + 1)]
        body = text.after(1) if named else text
        if named and not body.is_empty:
            units = body.cells(0)
            if not any(_is_number(cell) for cell in units) and _stamp(units[0]) is None:
                # A second line of units, as WFDB's tools write it.
                names = [f"{name} [{unit}]" for name, unit in zip(names, _texts(units, len(names)), strict=True)]
                body = body.after(1)
        if body.is_empty:
            raise InputError(f"{path}: holds a header and no rows")
        return _table_rows(path, names, _TextColumns(path, names, body), reading, named)


def read_parquet(path: Path, reading: Reading) -> Rows:
    """One column of a Parquet file. Raises InputError, also when pyarrow is missing."""
    check_file(path)
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise InputError(f"{path}: Parquet needs pyarrow ({error})", hint=install_extra("records")) from error
    with one_error(path), path.open("rb") as file:
        opened = parquet.ParquetFile(file)
        check_samples(int(opened.metadata.num_rows), path)
        names = [str(name) for name in opened.schema_arrow.names]
        return _table_rows(path, names, _ParquetColumns(path, opened, names), reading, True)


@dataclass(frozen=True)
class _TextColumns:
    """Columns of a CSV, made numbers when they are asked for."""

    path: Path
    names: Sequence[str]
    body: _Text

    def numbers(self, index: int) -> Column:
        """A column as float64 ``[M]``, NaN where a cell is empty or says so."""
        whole = self.body.parsed(index, len(self.names))
        return np.fromiter(self._numbers(index), np.float64) if whole is None else whole[:, 0]

    def _numbers(self, index: int) -> Iterator[float]:
        for line, cell in self._column(index):
            try:
                yield math.nan if cell.lower() in _MISSING else float(cell)
            except ValueError as error:
                raise InputError(
                    f"{self.path}: line {line}, column {self.names[index]!r}: {cell[:40]!r} is no number"
                ) from error

    def times(self, index: int) -> tuple[Column, bool]:
        """A column of times ``[M]``, and whether they are known to be in seconds."""
        if _stamp(next(iter(self._column(index)))[1]) is None:
            return self.numbers(index), False
        return np.fromiter(self._stamps(index), np.float64), True

    def _stamps(self, index: int) -> Iterator[float]:
        for line, cell in self._column(index):
            stamp = _stamp(cell)
            if stamp is None:
                raise InputError(f"{self.path}: line {line}, column {self.names[index]!r}: {cell[:40]!r} is no time")
            yield stamp

    def _column(self, index: int) -> Iterator[tuple[int, str]]:
        """Line numbers and cells of a column, empty where a line is too short."""
        for line, cells in self.body.rows():
            if len(cells) > len(self.names):
                raise InputError(f"{self.path}: line {line} has {len(cells)} cells; the columns are {len(self.names)}")
            yield line, cells[index].strip() if index < len(cells) else ""


@dataclass(frozen=True)
class _ParquetColumns:
    """Columns of a Parquet file, read when they are asked for."""

    path: Path
    file: Any
    names: Sequence[str]

    def _read(self, index: int) -> npt.NDArray[Any]:
        column = self.file.read(columns=[self.names[index]]).column(0)
        return np.asarray(column.to_numpy(zero_copy_only=False))

    def numbers(self, index: int) -> Column:
        """A column as float64 ``[M]``, NaN where it is null."""
        values = self._read(index)
        if values.dtype.kind not in "iuf":
            raise InputError(f"{self.path}: column {self.names[index]!r} holds {values.dtype}; expected numbers")
        return values.astype(np.float64)

    def times(self, index: int) -> tuple[Column, bool]:
        """A column of times ``[M]``, and whether they are known to be in seconds."""
        values = self._read(index)
        if values.dtype.kind in "mM":
            return (values - values[0]) / np.timedelta64(1, "ns") / 1e9, True
        return self.numbers(index), False


def _table_rows(
    path: Path, names: Sequence[str], columns: _TextColumns | _ParquetColumns, reading: Reading, named: bool
) -> Rows:
    """The PPG of a table, gaps that its time column shows filled with NaN."""
    clocks = [i for i, name in enumerate(names) if _TIME_NAME.match(name)] if named else [0]
    others = [i for i, name in enumerate(names) if i not in clocks and not (named and _COUNT_NAME.fullmatch(name))]
    if reading.column is not None:
        chosen = choose(names, reading.column, path, "column", "--column")
    else:
        chosen = others[choose([names[i] for i in others], None, path, "column", "--column")]
    values = columns.numbers(chosen)
    clocks = [i for i in clocks if i != chosen]
    if not clocks or len(values) < 3:
        return as_rows(values, None, path)
    name = names[clocks[0]]
    times, in_seconds = columns.times(clocks[0])
    if not named and not np.all(np.diff(times) >= 0):
        return as_rows(values, None, path)
    return _on_a_grid(path, name, times, 1.0 if in_seconds else _said_unit(name), values)


def _on_a_grid(path: Path, name: str, times: Column, unit: float | None, values: Column) -> Rows:
    """Rate from ``times`` in ``unit`` a second (None: not said), and a NaN for each sample missing between them."""
    where = f"{path}: column {name!r}"
    wrong = np.flatnonzero(~np.isfinite(times))
    if wrong.size:
        raise InputError(f"{where}: no time at sample {wrong[0]}", hint=_GIVE_RATE)
    steps = np.diff(times)
    back = np.flatnonzero(steps < 0)
    if back.size:
        raise InputError(f"{where}: goes back at sample {back[0] + 1}", hint="give one recording a file")
    typical = float(np.median(steps)) or float(np.mean(steps))
    if typical == 0:
        raise InputError(f"{where}: stands still", hint=_GIVE_RATE)
    notes: tuple[str, ...] = ()
    if unit is None:
        if typical == 1 and np.all(steps == np.rint(steps)):
            return as_rows(values, None, path)  # a count of samples, which says nothing of the rate
        unit = next((per for per, _, _ in sorted(_UNITS, key=lambda u: u[0]) if _is_ppg_rate(per / typical)), None)
        if unit is None:
            raise InputError(f"{where}: steps of {typical:g} are no rate of PPG in any unit of time", hint=_GIVE_RATE)
        if unit != 1.0:
            notes = (f"column {name!r} taken as {next(word for per, word, _ in _UNITS if per == unit)}",)
    regular = np.mean(np.abs(steps / typical - 1) < 0.5) > 0.9
    longest = 1.5 * typical if regular else max(unit, 4 * float(np.mean(steps)))
    usual = steps <= longest
    rate_hz = float(np.sum(usual) * unit / np.sum(steps[usual]))
    if not _is_ppg_rate(rate_hz):
        raise InputError(f"{where}: {rate_hz:g} Hz is no rate of PPG; is its unit another?", hint=_GIVE_RATE)
    if abs(round(rate_hz) / rate_hz - 1) < 1e-3:
        rate_hz = float(round(rate_hz))
    gaps = np.flatnonzero(~usual)
    missing = np.maximum(np.rint(steps[gaps] / unit * rate_hz) - 1, 0)
    lacking = int(min(missing.sum(), 2.0**62))
    check_samples(len(values) + lacking, where)
    if lacking > _MOST_MISSING + _MISSING_SHARE * len(values):
        longest_s = float(steps.max()) / unit
        raise InputError(
            f"{where}: {lacking:,} samples are missing between {len(values):,}, in gaps of up to {longest_s:,.0f} s",
            hint="give one recording a file",
        )
    grid = np.insert(values, np.repeat(gaps + 1, missing.astype(np.int64)), np.nan) if gaps.size else values
    rows = as_rows(grid, rate_hz, path)
    return Rows(rows.values, rate_hz, None, notes)


def _is_ppg_rate(rate_hz: float) -> bool:
    return _SLOWEST_HZ <= rate_hz <= _FASTEST_HZ


def _said_unit(name: str) -> float | None:
    """How many of its unit a second has, from a column's name; None when it says none."""
    return next((per for per, _, written in _UNITS if written.search(name)), None)


@dataclass(frozen=True)
class _Text:
    """A CSV, whose lines are read anew each time, so that they are never all in memory."""

    path: Path
    delimiter: str | None
    """Between cells; None for spaces."""
    skipped: int = 0
    """Lines at its start that are left out, of those that hold something."""

    @classmethod
    def of(cls, path: Path) -> _Text:
        """The CSV ``path``, whose first lines say what separates its cells."""
        between, spaced = [*";\t,"], True
        for _, line in islice(cls(path, None).lines(), _HEAD):
            between = [each for each in between if each in line]
            spaced = spaced and len(line.split(None, 1)) > 1
        return cls(path, between[0] if between else None if spaced else ",")

    def after(self, count: int) -> _Text:
        """The text without its first lines."""
        return replace(self, skipped=self.skipped + count)

    @property
    def is_empty(self) -> bool:
        """Whether no line holds anything."""
        return next(self.lines(), None) is None

    def lines(self) -> Iterator[tuple[int, str]]:
        """Lines that hold something, but for comments (#), and their numbers in the file, from 1."""
        numbered = enumerate(chain.from_iterable(self._pieces()), 1)
        return islice(((at, line) for at, line in numbered if line.strip() and line[0] != "#"), self.skipped, None)

    def _pieces(self) -> Iterator[list[str]]:
        """All lines, some at a time."""
        with (
            open_regular(self.path, "a file of recordings", TABLE) as data,
            io.TextIOWrapper(data, encoding="utf-8-sig") as file,
        ):
            rest = ""
            while text := file.read(_PIECE):
                *whole, rest = (rest + (text.replace(",", ".") if self.delimiter == ";" else text)).split("\n")
                if max(map(len, (rest, *whole[:1]))) > TABLE_LINE:
                    raise InputError(
                        f"{self.path}: a line of more than {TABLE_LINE:,} characters, which is the most that is read",
                        hint="write a sample a line",
                    )
                yield whole
            yield [rest]

    def cells(self, place: int) -> list[str]:
        """Cells of a line."""
        return next(self.after(place).rows())[1]

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Line numbers and cells; an empty last cell is none."""
        number = 0

        def lines() -> Iterator[str]:
            nonlocal number
            for at, line in self.lines():
                number = at
                yield line

        split = csv.reader(lines(), delimiter=self.delimiter) if self.delimiter else map(str.split, lines())
        for cells in split:
            yield number, cells[:-1] if len(cells) > 1 and not cells[-1].strip() else cells

    def parsed(self, column: int | None, most: int | None = None) -> Column | None:
        """A column or all, float64 ``[N, M]``, by numpy's own parser; None for what it does not take.

        Nor are lines taken that hold the delimiter more than ``most`` times.
        """
        try:
            return np.loadtxt(
                self._narrow(most),
                np.float64,
                comments=None,
                delimiter=self.delimiter,
                usecols=column,
                ndmin=2,
                quotechar='"',
            )
        except ValueError:
            return None

    def _narrow(self, most: int | None) -> Iterator[str]:
        between = self.delimiter
        for number, line in self.lines():
            if most is not None and between is not None and line.count(between) > most:
                raise ValueError(f"line {number} has too many cells")
            yield line


def _matrix(path: Path, text: _Text) -> Column:
    """Numbers only, ``[N, M]``."""
    whole = text.parsed(None)
    if whole is not None:
        return whole
    width = len(text.cells(0))
    return np.fromiter(_matrix_numbers(path, text, width), np.float64).reshape(-1, width)


def _matrix_numbers(path: Path, text: _Text, width: int) -> Iterator[float]:
    for line, cells in text.rows():
        if len(cells) != width:
            raise InputError(f"{path}: rows of different lengths ({width} numbers, on line {line} {len(cells)})")
        for column, cell in enumerate(cells):
            try:
                yield math.nan if cell.strip().lower() in _MISSING else float(cell)
            except ValueError as error:
                raise InputError(
                    f"{path}: line {line}, column {column + 1}: {cell.strip()[:40]!r}; expected numbers",
                    hint="a header is a first line without numbers",
                ) from error


def _is_empatica(text: _Text) -> bool:
    heads = [cells for _, cells in islice(text.rows(), 3)]
    numeric = len(heads) > 2 and all(len(cells) == 1 and _is_number(cells[0]) for cells in heads[:2])
    return numeric and float(heads[0][0]) > _UNIX_S and _is_ppg_rate(float(heads[1][0]))


def _empatica(path: Path, text: _Text) -> Rows:
    """``BVP.csv`` of an Empatica E4: start in Unix seconds, rate in Hz, samples."""
    return as_rows(_matrix(path, text.after(2)), float(text.cells(1)[0]), path)


def _texts(cells: Sequence[str], count: int) -> list[str]:
    return [cell.strip(" '\"") for cell in [*cells, *[""] * count][:count]]


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _stamp(cell: str) -> float | None:
    """Seconds of a date with time of day in ISO 8601, or None."""
    text = cell.strip(" '\"[]")
    if len(text) < 10 or not text[0].isdecimal() or _is_number(text):
        return None
    try:
        made = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (made if made.tzinfo else made.replace(tzinfo=UTC)).timestamp()
