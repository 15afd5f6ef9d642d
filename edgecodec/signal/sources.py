"""Recordings to train and test on: HeartPy's, and the user's own files."""

from __future__ import annotations

import csv
import importlib.util
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.errors import InputError
from edgecodec.signal.frames import read_array

HEARTPY_RECORDINGS = ("data", "data2", "data3")
RECORD_SUFFIXES = (".edf", ".hea")
"""EDF records, and the headers of WFDB records."""
_ROWS = ("frames", "adc")
_OWNERS = ("subject", "recording")
_DATA_RATE_HZ = 100.0
_STUCK_S = 0.15
_FLAT_S = 1.5
_FLAT_SHARE = 0.05
_MARGIN_S = 0.1


@dataclass(frozen=True)
class Recording:
    """One uninterrupted PPG recording of one person."""

    name: str
    """What it is called in messages: its file, and its row there."""
    samples: npt.NDArray[np.int16]
    """ADC counts, int16 ``[M]``."""
    valid: npt.NDArray[np.bool_]
    """For each sample, ``[M]``, False where the sensor was off, stuck or saturated, or the sample was missing."""
    rate_hz: float
    """Sampling rate in Hz."""
    subject: str = ""
    """Name of the person; empty where the file does not say it."""

    def frames(self, samples: int, hop: int) -> npt.NDArray[np.int16]:
        """Cut into int16 ``[N, samples]``, ``hop`` apart, without frames that hold an invalid sample."""
        starts = self.starts(samples)
        aligned = starts[starts % hop == 0]
        cut: npt.NDArray[np.int16] = self.samples[aligned[:, None] + np.arange(samples)]
        return cut

    def starts(self, samples: int) -> npt.NDArray[np.intp]:
        """Every position at which a frame of ``samples`` valid, not constant, samples starts."""
        if len(self.samples) < samples:
            return np.empty(0, np.intp)
        bad = np.concatenate([[0], np.cumsum(~self.valid)])
        changes = np.concatenate([[0], np.cumsum(np.diff(self.samples, prepend=self.samples[0]) != 0)])
        begin = np.arange(len(self.samples) - samples + 1)
        end = begin + samples
        return np.flatnonzero((bad[end] == bad[begin]) & (changes[end] > changes[begin + 1]))


def heartpy_recordings(rate_hz: float = 64.0) -> dict[str, Recording]:
    """The three recordings that HeartPy ships (pulse sensor, 10-bit counts), resampled to ``rate_hz``.

    ``data`` is 25 s at 100 Hz, ``data2`` 128 s at 117 Hz, ``data3`` 682 s at 100.4 Hz (rates of the last
    two from their time stamps). Samples are rounded to whole counts of the sensor. Raises InputError when
    HeartPy is not installed.
    """
    spec = importlib.util.find_spec("heartpy")
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            "HeartPy's recordings are not installed", hint="install them with: pip install 'edgecodec[signal]'"
        )
    folder = Path(next(iter(spec.submodule_search_locations))) / "data"
    return {name: resample(name, *_read_heartpy(folder / f"{name}.csv"), rate_hz) for name in HEARTPY_RECORDINGS}


def file_recordings(
    path: str | os.PathLike[str], rate_hz: float, *, by: str = "subject", channel: str | None = None
) -> list[Recording]:
    """Recordings of a ``.npz``, ``.npy`` or ``.csv`` of arrays at ``rate_hz``, or of an EDF or WFDB record.

    ``[M]`` is one recording, ``[N, M]`` N separate ones; a CSV has a recording a row, or one a column when
    it has a single column. Values are whole ADC counts within int16; NaN marks a missing sample. A ``.npz``
    holds them as ``frames``, ``adc`` or its only array of two dimensions, and may say whose each row is in an
    array ``subject`` or ``recording`` ``[N]``; ``by`` is the one preferred. Records (``.edf``, ``.hea``) are
    resampled to ``rate_hz``; ``channel`` names the one to read. Raises InputError for a file that is missing, cannot
    be read or holds something else.
    """
    source = Path(path)
    if source.suffix.lower() in RECORD_SUFFIXES:
        from edgecodec.signal.records import read_record

        counts, native_hz = read_record(source, channel)
        return [resample(source.name, _checked_counts(source, source.name, counts), native_hz, rate_hz)]
    values, owners = _read_rows(source, by)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim not in (1, 2) or values.size == 0 or values.dtype.kind not in "iuf":
        raise InputError(f"{source}: array of {values.dtype} {values.shape}; expected numbers [M] or [N, M]")
    rows = values[None] if values.ndim == 1 else values
    if owners is None:
        owners = [""] * len(rows)
    elif len(owners) != len(rows):
        raise InputError(f"{source}: {len(rows)} recordings but {len(owners)} entries that say whose they are")
    return [
        _file_recording(source, f"{source.name}#{i}", row, rate_hz, owner)
        for i, (row, owner) in enumerate(zip(rows, owners, strict=True))
    ]


def file_owners(path: str | os.PathLike[str], *, by: str = "subject") -> list[str]:
    """Who the rows of a ``.npz`` are of, without reading them; empty when the file does not say.

    ``by`` is the array preferred, ``subject`` or ``recording``. Raises InputError for an archive that is missing or
    cannot be read, and for names that are neither texts nor whole numbers.
    """
    source = Path(path)
    if source.suffix.lower() != ".npz":
        return []
    with _open_npz(source) as archive:
        return sorted(set(_owners(archive, source, by) or []))


def invalid_samples(samples: npt.NDArray[np.floating], rate_hz: float) -> npt.NDArray[np.bool_]:
    """Mark missing (NaN), stuck and flat samples ``[M]``, and 0.1 s around each.

    Stuck is 0.15 s without any change. Flat is 1.5 s, longer than any heartbeat, whose range is below 5 %
    of the median such range: a sensor off the skin. A single clipped peak is neither.
    """
    missing = ~np.isfinite(samples)
    filled = _fill(samples)
    ranges = _window_ranges(filled, round(_FLAT_S * rate_hz))
    flat_range = _FLAT_SHARE * float(np.median(ranges)) if len(ranges) else 0.0
    bad = missing | _runs_within(filled, 0.0, round(_STUCK_S * rate_hz))
    bad |= _runs_within(filled, flat_range, round(_FLAT_S * rate_hz))
    margin = round(_MARGIN_S * rate_hz)
    return np.convolve(bad, np.ones(2 * margin + 1), mode="same") > 0.5


def resample(name: str, samples: npt.NDArray[np.floating], native_hz: float, rate_hz: float) -> Recording:
    """Recording of ``samples [M]`` (NaN where missing) brought from ``native_hz`` to ``rate_hz``.

    Rounds to whole counts and never leaves the range that the sensor gave.
    """
    from scipy.signal import resample_poly

    bad = invalid_samples(samples, native_hz)
    filled = _fill(samples)
    ratio = Fraction(rate_hz / native_hz).limit_denominator(1000)
    middle = float(np.median(filled))
    if ratio == 1:
        counts, marks = filled, bad
    else:
        counts = resample_poly(filled - middle, ratio.numerator, ratio.denominator) + middle
        at = np.minimum((np.arange(len(counts)) / float(ratio)).round().astype(int), len(bad) - 1)
        marks = bad[at]
    rounded = np.rint(np.clip(counts, filled.min(), filled.max())).astype(np.int16)
    return Recording(name, rounded, ~marks, rate_hz)


def _window_ranges(values: npt.NDArray[np.floating], length: int) -> npt.NDArray[np.float64]:
    """Largest less smallest value of every window of ``length`` samples; empty when there is none."""
    if length < 2 or len(values) < length:
        return np.empty(0)
    windows = np.lib.stride_tricks.sliding_window_view(np.asarray(values, np.float64), length)
    ranges: npt.NDArray[np.float64] = windows.max(axis=1) - windows.min(axis=1)
    return ranges


def _runs_within(values: npt.NDArray[np.floating], spread: float, length: int) -> npt.NDArray[np.bool_]:
    """Mark every window of ``length`` samples whose range is at most ``spread``."""
    starts = np.flatnonzero(_window_ranges(values, length) <= spread)
    edges = np.zeros(len(values) + 1, int)
    edges[starts] += 1
    edges[starts + min(length, len(values))] -= 1
    marked: npt.NDArray[np.bool_] = np.cumsum(edges[:-1]) > 0
    return marked


def _fill(samples: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Bridge missing samples by straight lines."""
    values = np.asarray(samples, np.float64)
    known = np.isfinite(values)
    if known.all():
        return values
    if not known.any():
        return np.zeros_like(values)
    at = np.arange(len(values))
    return np.interp(at, at[known], values[known])


def _read_heartpy(path: Path) -> tuple[npt.NDArray[np.float64], float]:
    """Counts and sampling rate of one of HeartPy's files."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})", hint="reinstall heartpy") from error
    header, body = (rows[0], rows[1:]) if len(rows[0]) > 1 else ([], rows)
    try:
        counts = np.array([float(row[-1]) for row in body])
        rate_hz = _heartpy_rate_hz(header, body)
    except (ValueError, IndexError) as error:
        raise InputError(f"{path}: not as HeartPy ships it ({error})", hint="reinstall heartpy") from error
    return counts, rate_hz


def _heartpy_rate_hz(header: Sequence[str], rows: Sequence[Sequence[str]]) -> float:
    if header[:1] == ["timer"]:
        return (len(rows) - 1) * 1000.0 / (float(rows[-1][0]) - float(rows[0][0]))
    if header[:1] == ["datetime"]:
        # The stamps come in steps of 15.6 ms, so only the mean rate is meaningful.
        span = datetime.fromisoformat(rows[-1][0]) - datetime.fromisoformat(rows[0][0])
        return (len(rows) - 1) / span.total_seconds()
    return _DATA_RATE_HZ


def _file_recording(path: Path, name: str, row: npt.NDArray[Any], rate_hz: float, owner: str) -> Recording:
    values = _checked_counts(path, name, np.asarray(row, np.float64))
    valid = ~invalid_samples(values, rate_hz)
    return Recording(name, np.rint(_fill(values)).astype(np.int16), valid, rate_hz, owner)


def _checked_counts(path: Path, name: str, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    known = values[np.isfinite(values)]
    if known.size == 0:
        raise InputError(f"{path}: recording {name} holds no finite sample")
    if np.any(known != np.rint(known)):
        raise InputError(
            f"{path}: recording {name} holds fractions; expected whole ADC counts", hint="scale and round them"
        )
    if known.min() < -32768 or known.max() > 32767:
        raise InputError(f"{path}: recording {name} leaves int16 ({known.min():g}..{known.max():g})")
    return values


def _read_rows(source: Path, by: str) -> tuple[npt.NDArray[Any], list[str] | None]:
    """The recordings of a file of arrays, and whose each is."""
    if source.suffix.lower() != ".npz":
        return read_array(source), None
    with _open_npz(source) as archive:
        names = [name for name in archive.files if name not in _OWNERS]
        tables = [name for name in names if archive[name].ndim == 2]
        name = next((name for name in _ROWS if name in names), None)
        if name is None and len(names) == 1:
            name = names[0]
        elif name is None and len(tables) == 1:
            name = tables[0]
        if name is None:
            raise InputError(f"{source}: holds {sorted(archive.files)}; expected recordings [N, M] as 'frames'")
        return np.asarray(archive[name]), _owners(archive, source, by)


@contextmanager
def _open_npz(source: Path) -> Iterator[np.lib.npyio.NpzFile]:
    if not source.is_file():
        raise InputError(f"{source}: {'is a folder' if source.is_dir() else 'no such file'}; expected recordings")
    try:
        with np.load(source, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise InputError(f"{source}: is no .npz archive")
            yield archive
    except (OSError, EOFError, ValueError, KeyError, AttributeError, MemoryError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{source}: cannot be read as .npz ({reason})") from error


def _owners(archive: np.lib.npyio.NpzFile, source: Path, by: str) -> list[str] | None:
    name = next((name for name in sorted(_OWNERS, key=lambda name: name != by) if name in archive.files), None)
    if name is None:
        return None
    values = np.asarray(archive[name])
    if values.ndim != 1 or values.dtype.kind not in "iuUS":
        raise InputError(
            f"{source}: {name} is {values.dtype} {values.shape}; expected names or numbers [N], one per recording"
        )
    return [value.decode(errors="replace") if isinstance(value, bytes) else str(value) for value in values.tolist()]
