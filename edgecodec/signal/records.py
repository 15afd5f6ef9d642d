"""EDF and WFDB records, read through their own libraries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.errors import InputError, install_extra
from edgecodec.signal.reading import check_file, check_samples, choose, one_error

_INSTALL = install_extra("records")
_OPTION = "--channel (data.target_label)"


def read_record(path: Path, channel: str | None = None) -> tuple[npt.NDArray[np.float64], float]:
    """ADC counts ``[M]`` (NaN where missing) and sampling rate in Hz of one channel of a record.

    ``path`` is an ``.edf`` file or the ``.hea`` of a WFDB record. Without ``channel`` it is the only one whose
    label names PPG or a plethysmogram, or the only one. Raises InputError, also when the library is missing.
    """
    check_file(path)
    with one_error(path):
        return _read_edf(path, channel) if path.suffix.lower() == ".edf" else _read_wfdb(path, channel)


def _read_edf(path: Path, channel: str | None) -> tuple[npt.NDArray[np.float64], float]:
    try:
        import pyedflib
    except ImportError as error:
        raise InputError(f"{path}: EDF needs pyedflib ({error})", hint=_INSTALL) from error
    reader: Any = pyedflib.EdfReader(str(path))
    try:
        index = choose(reader.getSignalLabels(), channel, path, "channel", _OPTION)
        rate_hz = float(reader.getSampleFrequency(index))
        check_samples(int(reader.getNSamples()[index]), path)
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
    header: Any = wfdb.rdheader(stem)
    for name in set(getattr(header, "file_name", None) or []):
        if (path.parent / name).exists():
            check_file(path.parent / name)
    check_samples(int(header.sig_len or 0) * max(header.samps_per_frame or [1]), path)
    index = choose(header.sig_name or [], channel, path, "channel", _OPTION)
    # Physical values tell missing samples apart (NaN); gain and baseline give the counts back.
    record: Any = wfdb.rdrecord(stem, channels=[index], smooth_frames=False)
    physical = np.asarray(record.e_p_signal[0], np.float64)
    counts = np.rint(physical * record.adc_gain[0] + record.baseline[0])
    return _checked(path, counts, float(record.fs) * float(record.samps_per_frame[0]))


def _checked(path: Path, counts: npt.NDArray[np.float64], rate_hz: float) -> tuple[npt.NDArray[np.float64], float]:
    if counts.size == 0 or not rate_hz > 0:
        raise InputError(f"{path}: {counts.size} samples at {rate_hz:g} Hz; expected a recording")
    return counts, rate_hz
