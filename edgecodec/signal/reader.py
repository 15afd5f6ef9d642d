"""The one reader of recordings: every format, to ADC counts at one rate (SPEC.md 4)."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.errors import InputError
from edgecodec.signal.arrays import open_npz, owners_of, read_mat, read_npy, read_npz
from edgecodec.signal.counts import to_counts
from edgecodec.signal.pickles import read_pickle
from edgecodec.signal.reading import AS_SAID, Reading, Rows, as_rows, check_samples
from edgecodec.signal.records import read_record
from edgecodec.signal.sources import Recording, resample
from edgecodec.signal.tables import read_csv, read_parquet


def _record(path: Path, reading: Reading) -> list[Rows]:
    counts, rate_hz = read_record(path, reading.channel)
    return [as_rows(counts, rate_hz, path)]


_READERS: dict[str, Callable[[Path, Reading], list[Rows]]] = {
    ".npz": read_npz,
    ".npy": read_npy,
    ".csv": lambda path, reading: [read_csv(path, reading)],
    ".parquet": lambda path, reading: [read_parquet(path, reading)],
    ".mat": read_mat,
    ".edf": _record,
    ".hea": _record,
    ".pkl": lambda path, reading: [read_pickle(path)],
}
SUFFIXES = tuple(_READERS)
"""Suffixes of the files that are read, in lower case; ``.hea`` is the header of a WFDB record."""


@dataclass(frozen=True)
class CountRows:
    """Recordings of equal length from one file, as ADC counts at the rate that they were recorded at."""

    counts: npt.NDArray[np.int16] | npt.NDArray[np.float64]
    """Whole numbers within int16 ``[N, M]``; float64 with NaN where some are missing."""
    rate_hz: float | None
    """Sampling rate in Hz; None when neither file, user nor codec says one."""
    owners: tuple[str, ...]
    """Whose each row is, ``[N]``; empty texts when the file does not say."""
    notes: tuple[str, ...]
    """What the user should know of how the file was understood."""
    rhythms: tuple[str, ...]
    """Rhythm of the heart in each row, ``[N]``; empty texts when the file does not say."""


def read_counts(path: str | os.PathLike[str], codec_hz: float | None, reading: Reading = AS_SAID) -> list[CountRows]:
    """What a file holds, for a codec of ``codec_hz`` (None: not known).

    Raises InputError, which names the file, when it is missing, damaged, holds something else, or does not say its rate
    where the codec has one and ``reading`` does not.
    """
    source = Path(path)
    reader = _READERS.get(source.suffix.lower())
    if reader is None:
        suffix = repr(source.suffix) if source.suffix else "without suffix"
        raise InputError(f"{source}: type {suffix}; expected {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    made = []
    for rows in reader(source, reading):
        rate_hz = reading.rate_of(rows.rate_hz, codec_hz, source)
        if rate_hz is not None and codec_hz is not None:
            check_samples(int(rows.values.size * codec_hz / rate_hz), f"{source} at {codec_hz:g} Hz")
        counts, note = to_counts(rows.values, reading.scale, source)
        owners = tuple(rows.owners) if rows.owners is not None else ("",) * len(counts)
        rhythms = tuple(rows.rhythms) if rows.rhythms is not None else ("",) * len(counts)
        notes = rows.notes if note is None else (*rows.notes, note)
        made.append(CountRows(counts, rate_hz, owners, notes, rhythms))
    return made


def file_recordings(path: str | os.PathLike[str], rate_hz: float, reading: Reading = AS_SAID) -> list[Recording]:
    """Recordings of a file at ``rate_hz``, those of another rate resampled, each row of an array a recording.

    Raises InputError as :func:`read_counts` does.
    """
    source = Path(path)
    return [
        recording
        for rows in read_counts(source, rate_hz, reading)
        for recording in to_recordings(rows, source.name, rate_hz)
    ]


def to_recordings(rows: CountRows, name: str, rate_hz: float) -> list[Recording]:
    """Each of ``rows`` at ``rate_hz``, called ``name`` and its number; a rate not known is taken to be that."""
    made = []
    for number, (row, owner) in enumerate(zip(rows.counts, rows.owners, strict=True)):
        values: npt.NDArray[Any] = np.asarray(row, np.float64)
        recording = resample(f"{name}#{number}", values, rows.rate_hz or rate_hz, rate_hz)
        made.append(replace(recording, subject=owner, origin=replace(recording.origin, notes=rows.notes)))
    return made


def file_owners(path: str | os.PathLike[str], *, by: str = "subject") -> list[str]:
    """Who the rows of a file are of, without reading them; empty when the file does not say.

    ``by`` is the array preferred, ``subject`` or ``recording``. Raises InputError for an archive that is missing or
    cannot be read, and for names that are neither texts nor whole numbers.
    """
    source = Path(path)
    if source.suffix.lower() == ".npz":
        with open_npz(source) as archive:
            return sorted(set(owners_of(archive, source, by) or []))
    if source.suffix.lower() == ".mat":
        return sorted({owner for rows in read_mat(source, AS_SAID) for owner in rows.owners or ()})
    return []
