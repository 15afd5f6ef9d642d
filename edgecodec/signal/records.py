"""EDF and WFDB records, read through their own libraries."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.errors import InputError

_INSTALL = "install it with: pip install 'edgecodec[records]'"
_PPG_WORDS = ("pleth", "ppg")


def read_record(path: Path, channel: str | None = None) -> tuple[npt.NDArray[np.float64], float]:
    """ADC counts ``[M]`` (NaN where missing) and sampling rate in Hz of one channel of a record.

    ``path`` is an ``.edf`` file or the ``.hea`` of a WFDB record. Without ``channel`` it is the only one whose
    label names PPG or a plethysmogram. Raises InputError, also when the library is missing.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected an EDF file or the .hea of a WFDB record")
    try:
        return _read_edf(path, channel) if path.suffix.lower() == ".edf" else _read_wfdb(path, channel)
    except (OSError, ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: cannot be read as {path.suffix} ({reason})") from error


def _read_edf(path: Path, channel: str | None) -> tuple[npt.NDArray[np.float64], float]:
    try:
        import pyedflib
    except ImportError as error:
        raise InputError(f"{path}: EDF needs pyedflib ({error})", hint=_INSTALL) from error
    reader: Any = pyedflib.EdfReader(str(path))
    try:
        index = _choose(path, reader.getSignalLabels(), channel)
        rate_hz = float(reader.getSampleFrequency(index))
        counts = np.asarray(reader.readSignal(index, digital=True), np.float64)
    finally:
        reader.close()
    return _checked(path, counts, rate_hz)


def _read_wfdb(path: Path, channel: str | None) -> tuple[npt.NDArray[np.float64], float]:
    try:
        import wfdb
    except ImportError as error:
        raise InputError(f"{path}: WFDB needs wfdb ({error})", hint=_INSTALL) from error
    stem = str(path.with_suffix(""))
    index = _choose(path, wfdb.rdheader(stem).sig_name or [], channel)
    # Physical values tell missing samples apart (NaN); gain and baseline give the counts back.
    record: Any = wfdb.rdrecord(stem, channels=[index], smooth_frames=False)
    physical = np.asarray(record.e_p_signal[0], np.float64)
    counts = np.rint(physical * record.adc_gain[0] + record.baseline[0])
    return _checked(path, counts, float(record.fs) * float(record.samps_per_frame[0]))


def _choose(path: Path, labels: Sequence[str], channel: str | None) -> int:
    names = [label.strip() for label in labels]
    if channel is not None:
        found = [i for i, name in enumerate(names) if name.casefold() == channel.strip().casefold()]
    else:
        found = [i for i, name in enumerate(names) if any(word in name.casefold() for word in _PPG_WORDS)]
    if len(found) != 1:
        wanted = f"channel {channel!r}" if channel is not None else "a single channel of PPG"
        listed = ", ".join(names) or "none"
        raise InputError(f"{path}: {wanted} not found; its channels are {listed}", hint="name one as data.target_label")
    return found[0]


def _checked(path: Path, counts: npt.NDArray[np.float64], rate_hz: float) -> tuple[npt.NDArray[np.float64], float]:
    if counts.size == 0 or not rate_hz > 0:
        raise InputError(f"{path}: {counts.size} samples at {rate_hz:g} Hz; expected a recording")
    return counts, rate_hz
