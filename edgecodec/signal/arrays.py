"""Recordings in files of arrays: ``.npz``, ``.npy`` and MATLAB's ``.mat``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.errors import InputError, install_extra
from edgecodec.files.limits import MATLAB, RECORDINGS
from edgecodec.files.npz import NpzFile
from edgecodec.files.npz import open_npz as open_archive
from edgecodec.files.npz import read_npy as read_array
from edgecodec.signal.reading import (
    RATE_NAMES,
    Reading,
    Rows,
    as_rows,
    check_file,
    check_rate,
    check_samples,
    choose,
    one_error,
)

OWNERS = ("subject", "recording")
"""Arrays that say whose each row is."""
RHYTHM = "rhythm"
"""Array that says the rhythm of the heart in each row."""
_ROWS = ("frames", "adc")
_EXPECTED = "recordings"
_SAMPLE_BYTES = 8
_HDF5 = b"\x89HDF"
_HDF5_AT = (0, 512)


def read_npy(path: Path, reading: Reading) -> list[Rows]:
    """The array of a ``.npy``. Raises InputError."""
    array = read_array(path, path, _EXPECTED, RECORDINGS)
    check_samples(array.size, path)
    return [as_rows(array, None, path)]


def read_npz(path: Path, reading: Reading) -> list[Rows]:
    """``frames``, ``adc``, the one that ``reading`` names or the only array of a ``.npz``. Raises InputError."""
    with open_npz(path) as archive:
        rates = [name for name in archive if name.lower() in RATE_NAMES]
        names = [name for name in archive if name not in (*OWNERS, RHYTHM, *rates)]
        name = _chosen(path, names, reading, lambda name: len(archive.header(name).shape) == 2)
        rate_hz = check_rate(_loaded(archive, rates[0], path), path) if rates else None
        owners = owners_of(archive, path, reading.by)
        rhythms = _names(archive, path, RHYTHM) if RHYTHM in archive else None
        return [as_rows(_loaded(archive, name, path), rate_hz, path, owners, rhythms)]


def read_mat(path: Path, reading: Reading) -> list[Rows]:
    """A variable of a MATLAB file up to version 7, or the records of a struct array with ``ppg.v`` and ``ppg.fs``.

    Raises InputError, also when SciPy is missing.
    """
    check_file(path, MATLAB)
    try:
        from scipy.io import loadmat, whosmat
    except ImportError as error:
        raise InputError(f"{path}: .mat needs SciPy ({error})", hint=install_extra("signal")) from error
    with path.open("rb") as file:
        head = file.read(max(_HDF5_AT) + len(_HDF5))
    if any(head[at : at + len(_HDF5)] == _HDF5 for at in _HDF5_AT):
        raise InputError(f"{path}: is MATLAB's HDF5 format of version 7.3", hint="save it as -v7")
    with one_error(path):
        # Shapes are in the headers: they are looked at before anything is unpacked.
        for name, shape, _ in whosmat(path):
            check_samples(int(np.prod([int(n) for n in shape], dtype=np.float64)), f"{path}: {name}")
        held = loadmat(path, squeeze_me=True, struct_as_record=False)
        arrays = {name: value for name, value in held.items() if not name.startswith("__")}
        found = _structs(path, arrays)
        if found:
            return found
        numbers = {
            name: value for name, value in arrays.items() if isinstance(value, np.ndarray) and value.dtype.kind in "iuf"
        }
        rates = [value for name, value in arrays.items() if name.lower() in RATE_NAMES]
        name = _chosen(path, list(numbers), reading, lambda name: numbers[name].ndim == 2)
        return [as_rows(numbers[name], check_rate(rates[0], path) if rates else None, path)]


def open_npz(path: Path) -> AbstractContextManager[NpzFile]:
    """A ``.npz``, open to read. Raises InputError, for what goes wrong while it is read, too."""
    return open_archive(path, path, _EXPECTED, RECORDINGS)


def owners_of(archive: NpzFile, path: Path, by: str) -> list[str] | None:
    """Whose the rows are by the array ``by``, or the other one; None when there is none. Raises InputError."""
    name = next((name for name in sorted(OWNERS, key=lambda name: name != by) if name in archive), None)
    return None if name is None else _names(archive, path, name)


def _names(archive: NpzFile, path: Path, name: str) -> list[str]:
    """What an array of names or numbers says of each row. Raises InputError."""
    values = _loaded(archive, name, path)
    if values.ndim != 1 or values.dtype.kind not in "iuUS":
        raise InputError(
            f"{path}: {name} is {values.dtype} {values.shape}; expected names or numbers [N], one per recording"
        )
    return [value.decode(errors="replace") if isinstance(value, bytes) else str(value) for value in values.tolist()]


def _loaded(archive: NpzFile, name: str, path: Path) -> npt.NDArray[Any]:
    """An array of the archive. Raises InputError, before it is unpacked, when it is too large."""
    # Texts, too, by the memory that they take.
    check_samples(archive.header(name).memory_bytes // _SAMPLE_BYTES, f"{path}: {name}")
    return archive[name]


def _chosen(path: Path, names: Sequence[str], reading: Reading, is_table: Any) -> str:
    """The array that holds the recordings."""
    if reading.column is not None:
        return names[choose(names, reading.column, path, "array", "--column")]
    name = next((name for name in _ROWS if name in names), None)
    if name is None and len(names) == 1:
        name = names[0]
    if name is None:
        tables = [name for name in names if is_table(name)]
        name = tables[0] if len(tables) == 1 else None
    if name is None:
        listed = ", ".join(sorted(names)[:20]) or "nothing"
        raise InputError(
            f"{path}: holds {listed}; expected an array 'frames' or 'adc', or one only",
            hint="name it with --column",
        )
    return name


def _structs(path: Path, variables: Mapping[str, Any]) -> list[Rows]:
    """Records of a struct array that hold ``ppg.v`` and ``ppg.fs``, as the BIDMC data set's ``data`` does."""
    made: list[Rows] = []
    for value in variables.values():
        records = list(np.atleast_1d(np.asarray(value, dtype=object)).ravel()) if not _is_numbers(value) else []
        for record in records:
            ppg = getattr(record, "ppg", None)
            samples, rate = getattr(ppg, "v", None), getattr(ppg, "fs", None)
            if isinstance(samples, np.ndarray) and rate is not None:
                where = f"{path}: record {len(made) + 1}"
                made.append(as_rows(samples, check_rate(rate, where), where, [f"{len(made) + 1:02d}"]))
    return made


def _is_numbers(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "biufc"
