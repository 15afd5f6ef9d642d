"""How files of recordings are read, and what one holds before its values are counts at the codec's rate (SPEC.md 4)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgecodec.errors import InputError
from edgecodec.files import npz
from edgecodec.files.limits import RECORDINGS
from edgecodec.files.regular import check_regular

MOST_SAMPLES = 1 << 28
"""Samples that one file may hold, seven weeks at 64 Hz."""
PPG_NAMES = re.compile(r"pleth|ppg|bvp", re.IGNORECASE)
"""What columns, channels and variables that hold PPG are called."""
OTHER_NAMES = re.compile(
    r"(?i)(^|[^a-z])(acc|accel\w*|gyro?\w*|mag|magnet\w*|eda|gsr|e[ck]g|eeg|emg|eog|temp\w*|resp\w*|spo2|hr|"
    r"heart[ _]?rate|bpm|batt\w*)([^a-z]|$)"
)
"""What columns, channels and variables that hold something else beside PPG are called."""
RATE_NAMES = ("rate_hz", "fs", "fs_hz", "sampling_rate", "sample_rate")
"""What arrays and variables that hold the sampling rate are called, in lower case."""
_RATE_HINT = "give it with --rate HZ (data.rate_hz in a configuration)"
_SAME_RATE = 0.02
_SLOWEST_HZ, _FASTEST_HZ = 1.0, 20_000.0


@dataclass(frozen=True)
class Reading:
    """What the user says of recordings whose files do not say it."""

    rate_hz: float | None = None
    """Sampling rate in Hz of files that say none; one that says another is refused."""
    column: str | None = None
    """Column of a table, array of a ``.npz`` or variable of a ``.mat``: a name, or a column's number from 1."""
    channel: str | None = None
    """Channel of EDF and WFDB records."""
    scale: float | None = None
    """What values are multiplied by to become ADC counts; None for the rule of SPEC.md 4."""
    by: Literal["subject", "recording"] = "subject"
    """Which of these arrays says whose a row is, where a file has both."""

    def rate_of(self, said_hz: float | None, codec_hz: float | None, where: object) -> float | None:
        """Sampling rate in Hz of recordings of which the file ``where`` says ``said_hz``.

        None only when there is none and the codec has none. Raises InputError when the codec has a rate and the
        recordings none, when the user's is more than 2 % off the file's, and when it is not within 1 Hz to 20 kHz.
        """
        if said_hz is not None and self.rate_hz is not None and abs(said_hz / self.rate_hz - 1) > _SAME_RATE:
            raise InputError(f"{where}: says {said_hz:g} Hz, but --rate (data.rate_hz) says {self.rate_hz:g} Hz")
        rate_hz = self.rate_hz or said_hz
        if rate_hz is not None:
            check_ppg_rate(rate_hz, where)
        if rate_hz is None and codec_hz is not None:
            raise InputError(
                f"{where}: does not say its sampling rate; the codec's is {codec_hz:g} Hz", hint=_RATE_HINT
            )
        return rate_hz


AS_SAID = Reading()
"""Everything as the files say it."""


@dataclass(frozen=True)
class Rows:
    """Recordings of equal length from one file, as it holds them."""

    values: npt.NDArray[Any]
    """Whole or floating numbers ``[N, M]``; NaN and infinity stand for missing samples."""
    rate_hz: float | None
    """Sampling rate in Hz that the file says; None when it says none."""
    owners: Sequence[str] | None = None
    """Whose each row is, ``[N]``; None when the file does not say."""
    notes: tuple[str, ...] = ()
    """What the user should know of how the file was understood."""
    rhythms: Sequence[str] | None = None
    """Rhythm of the heart in each row, ``[N]``; None when the file does not say."""


def as_rows(
    values: npt.NDArray[Any],
    rate_hz: float | None,
    where: object,
    owners: Sequence[str] | None = None,
    rhythms: Sequence[str] | None = None,
) -> Rows:
    """``[M]`` and ``[M, 1]`` as one row, ``[N, M]`` as N. Raises InputError for other shapes, types and sizes."""
    if values.dtype.kind not in "iuf" or values.ndim not in (1, 2):
        raise InputError(
            f"{where}: array of shape {values.shape} and type {values.dtype}; expected numbers [M] or [N, M]"
        )
    if values.size == 0:
        raise InputError(f"{where}: is empty (shape {values.shape}); expected numbers [M] or [N, M]")
    table = values[None] if values.ndim == 1 else values.T if values.shape[1] == 1 else values
    if owners is not None and len(owners) != len(table):
        raise InputError(f"{where}: {len(table)} recordings but {len(owners)} entries that say whose they are")
    if rhythms is not None and len(rhythms) != len(table):
        raise InputError(f"{where}: {len(table)} recordings but {len(rhythms)} rhythms")
    return Rows(table, rate_hz, owners, rhythms=rhythms)


def check_rate(value: Any, where: object) -> float:
    """A sampling rate in Hz from one number, or an array of equal ones. Raises InputError."""
    numbers = np.unique(np.asarray(value).ravel())
    if numbers.size != 1 or numbers.dtype.kind not in "iuf" or not 0 < float(numbers[0]) < 1e6:
        raise InputError(f"{where}: the sampling rate is {np.asarray(value).ravel()[:3].tolist()}; expected one in Hz")
    return float(numbers[0])


def check_ppg_rate(rate_hz: float, where: object = "codec") -> None:
    """Raise InputError unless PPG is sampled at ``rate_hz``, 1 Hz to 20 kHz; ``where`` names whose rate it is."""
    if not _SLOWEST_HZ <= rate_hz <= _FASTEST_HZ:
        message = f"{where}: {rate_hz:g} Hz is no sampling rate of PPG"
        raise InputError(f"{message}; expected {_SLOWEST_HZ:g} to {_FASTEST_HZ:,.0f} Hz")


def check_samples(count: int, where: object) -> None:
    """Raise InputError when a file says that it holds more samples than :data:`MOST_SAMPLES`."""
    if count > MOST_SAMPLES:
        raise InputError(
            f"{where}: {count:,} samples; at most {MOST_SAMPLES:,} are read from one file", hint="split it"
        )


def check_file(path: Path, most_bytes: int = RECORDINGS) -> None:
    """Raise InputError unless ``path`` is a regular file, of at most ``most_bytes``, so that reading it ends."""
    check_regular(path, "a file of recordings", most_bytes)


def one_error(path: Path) -> AbstractContextManager[None]:
    """Turn whatever a parser raises on a damaged file into one InputError of one line, which names the file."""
    return npz.one_error(path, f"cannot be read as {path.suffix.lower()}")


def choose(names: Sequence[str], wanted: str | None, where: object, kind: str, option: str) -> int:
    """Index of the one of ``names`` that the user wants, or else of the only one called like PPG, or the only one.

    Raises InputError, which lists them.
    """
    plain = [name.strip() for name in names]
    if wanted is not None:
        found = [i for i, name in enumerate(plain) if name.casefold() == wanted.strip().casefold()]
        if not found and wanted.strip().isdecimal() and 1 <= int(wanted) <= len(plain) and kind == "column":
            found = [int(wanted) - 1]
    else:
        found = [i for i, name in enumerate(plain) if PPG_NAMES.search(name)]
        if not found and len(plain) == 1:
            if OTHER_NAMES.search(plain[0]):
                raise InputError(
                    f"{where}: its only {kind}, {plain[0]!r}, is called like another sensor's",
                    hint=f"name it with {option} if it holds PPG",
                )
            found = [0]
    if len(found) != 1:
        asked = f"{kind} {wanted!r}" if wanted is not None else f"a single {kind} of PPG"
        listed = ", ".join(plain[:20]) + (", ..." if len(plain) > 20 else "") if plain else "none"
        raise InputError(f"{where}: {asked} not found; its {kind}s are {listed}", hint=f"name one with {option}")
    return found[0]
