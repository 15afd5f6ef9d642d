"""Frames of ADC counts from the user's files (SPEC.md 4)."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.errors import InputError

_ADC_MIN, _ADC_MAX = -32768, 32767


def load_frames(path: str | os.PathLike[str], samples: int) -> npt.NDArray[np.int16]:
    """Load frames of integer ADC counts, int16 ``[N, samples]``, from ``.npz``, ``.npy`` or ``.csv``.

    A single recording ``[M]`` is cut into frames without overlap and the rest dropped. Raises InputError
    for anything else: missing, unreadable, empty, wrong length, not whole numbers, outside int16.
    """
    file = Path(path)
    array = read_array(file)
    if array.ndim == 2 and samples != 1 and 1 in array.shape and array.size >= samples and array.shape[1] != samples:
        array = array.reshape(-1)
    if array.ndim == 1:
        return cut_frames(_to_counts(array, file), samples, file)
    if array.ndim != 2:
        raise InputError(f"{file}: array of shape {array.shape}; expected [N, {samples}] or one recording [M]")
    if array.shape[0] == 0:
        raise InputError(f"{file}: holds no frames; expected [N, {samples}]")
    if array.shape[1] != samples:
        raise InputError(
            f"{file}: frames of {array.shape[1]} samples; this codec takes {samples}",
            hint="pass a recording as one row to have it cut",
        )
    return _to_counts(array, file)


def cut_frames(
    recording: npt.NDArray[np.int16], samples: int, source: object = "recording", hop: int | None = None
) -> npt.NDArray[np.int16]:
    """Cut a recording, int16 ``[M]``, into frames, int16 ``[N, samples]``, ``hop`` samples apart.

    By default frames do not overlap. Raises InputError, which names ``source``, when not one frame fits.
    """
    if len(recording) < samples:
        raise InputError(f"{source}: {len(recording)} samples; a frame needs {samples}")
    windows = np.lib.stride_tricks.sliding_window_view(recording, samples)[:: hop or samples]
    return np.ascontiguousarray(windows)


def read_array(file: Path) -> npt.NDArray[Any]:
    """Read the one array of a ``.npz`` (named ``frames``, if several), ``.npy`` or ``.csv``. Raises InputError."""
    readers = {".npz": _read_npz, ".npy": _read_npy, ".csv": _read_csv}
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise InputError(f"{file}: type {file.suffix or 'without suffix'!r}; expected .npz, .npy or .csv")
    if not file.is_file():
        raise InputError(f"{file}: {'is a folder' if file.is_dir() else 'no such file'}; expected a file of frames")
    try:
        return reader(file)
    except (OSError, EOFError, ValueError, KeyError, AttributeError, MemoryError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{file}: cannot be read as {file.suffix} ({reason})") from error


def _read_npz(file: Path) -> npt.NDArray[Any]:
    with np.load(file, allow_pickle=False) as archive:
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise InputError(f"{file}: is no .npz archive")
        names = archive.files
        if "frames" in names:
            return np.asarray(archive["frames"])
        if len(names) == 1:
            return np.asarray(archive[names[0]])
        raise InputError(f"{file}: holds {sorted(names)}; expected an array 'frames' (or a single array)")


def _read_npy(file: Path) -> npt.NDArray[Any]:
    array = np.load(file, allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise InputError(f"{file}: is no .npy array")
    return array


def _read_csv(file: Path) -> npt.NDArray[Any]:
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    rows = [line for line in lines if line.strip()]
    if not rows:
        raise InputError(f"{file}: is empty; expected one frame of numbers a row")
    try:
        values = [[float(cell) for cell in row.strip().rstrip(",").split(",")] for row in rows]
    except ValueError as error:
        raise InputError(f"{file}: {error}; expected numbers separated by commas, no header") from error
    if len({len(row) for row in values}) != 1:
        raise InputError(f"{file}: rows of different lengths; expected one frame of numbers a row")
    return np.array(values, np.float64)


def _to_counts(array: npt.NDArray[Any], file: Path) -> npt.NDArray[np.int16]:
    if array.dtype == np.bool_ or not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
        raise InputError(f"{file}: values of type {array.dtype}; expected integer ADC counts")
    if array.size == 0:
        raise InputError(f"{file}: is empty; expected integer ADC counts")
    if np.issubdtype(array.dtype, np.floating):
        bad = np.argwhere(~np.isfinite(array))
        if bad.size:
            raise InputError(f"{file}: NaN or infinity at {_place(bad[0])}; expected integer ADC counts")
        bad = np.argwhere(array != np.floor(array))
        if bad.size:
            raise InputError(
                f"{file}: {array[tuple(bad[0])]} at {_place(bad[0])} is no whole number; expected integer ADC counts",
                hint="scale and round first",
            )
    bad = np.argwhere((array < _ADC_MIN) | (array > _ADC_MAX))
    if bad.size:
        raise InputError(
            f"{file}: {array[tuple(bad[0])]} at {_place(bad[0])} is outside int16 ({_ADC_MIN}..{_ADC_MAX})"
        )
    return np.ascontiguousarray(array.astype(np.int16))


def _place(index: npt.NDArray[np.intp]) -> str:
    if len(index) == 1:
        return f"sample {index[0]}"
    return f"frame {index[0]}, sample {index[1]}"
