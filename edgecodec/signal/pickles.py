"""Pickles of PPG-DaLiA and WESAD, read without running any code of theirs.

Unpickling calls whatever a file names. Here the only names known are those by which numpy pickles an array, and in
their place stand classes of this module, which check what they are given.
"""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.errors import InputError
from edgecodec.files.limits import RECORDINGS
from edgecodec.signal.reading import Rows, as_rows, check_file, check_samples, one_error

WRIST_HZ = 64.0
"""Sampling rate of the wristband's PPG in PPG-DaLiA and WESAD, which their files do not say."""
_PATH = ("signal", "wrist", "BVP")
_KINDS = "fiub"


class _Dtype:
    """Stands for ``numpy.dtype``: a kind, a size and a byte order, and nothing else."""

    def __init__(self, code: object, align: object = False, copy: object = False) -> None:
        text = code.decode("ascii") if isinstance(code, bytes) else str(code)
        if text[:1] not in _KINDS or text[1:] not in ("1", "2", "4", "8"):
            self.dtype = None  # such as texts and objects: held, and refused where an array of it is wanted
            return
        self.dtype = np.dtype(text)

    def __setstate__(self, state: Any) -> None:
        order = state[1]
        order = order.decode("ascii") if isinstance(order, bytes) else order
        if self.dtype is not None and order == ">":
            self.dtype = self.dtype.newbyteorder(">")


class _Array:
    """Stands for ``numpy.ndarray``; :meth:`value` is the array."""

    def __init__(self, *arguments: object) -> None:
        self._state: tuple[Any, ...] | None = None

    def __setstate__(self, state: Any) -> None:
        self._state = tuple(state)

    def value(self) -> npt.NDArray[Any]:
        """The array. Raises ValueError when it is of other than numbers or its bytes are not as many as it says."""
        if self._state is None:
            raise ValueError("an array without content")
        _, shape, kind, fortran, raw = self._state
        dtype = kind.dtype if isinstance(kind, _Dtype) else None
        raw = raw.encode("latin1") if isinstance(raw, str) else raw
        if dtype is None or not isinstance(raw, bytes) or not all(isinstance(n, int) and n >= 0 for n in shape):
            raise ValueError("an array of other than numbers")
        if math.prod(shape) * dtype.itemsize != len(raw):
            raise ValueError(f"an array {tuple(shape)} of {len(raw)} bytes")
        return np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C")


class _ArrayClass:
    """Stands for the class ``numpy.ndarray`` where a pickle only names it."""


def _reconstruct(*arguments: object) -> _Array:
    return _Array()


def _encode(text: object, encoding: object = "latin1", *rest: object) -> bytes:
    """What protocol 2 makes bytes of: Latin-1 text."""
    if not isinstance(text, str) or encoding not in ("latin1", "latin-1", "iso-8859-1"):
        raise pickle.UnpicklingError("an encoding other than latin1")
    return text.encode("latin1")


_KNOWN = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _ArrayClass,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """One of the names that arrays need; every other is refused."""
        found = _KNOWN.get((module, name))
        if found is None:
            raise pickle.UnpicklingError(f"it names {module}.{name}; only numpy arrays are unpickled")
        return found

    def persistent_load(self, pid: Any) -> Any:
        """Refuse objects kept outside the file."""
        raise pickle.UnpicklingError("it names an object outside the file")


def read_pickle(path: Path) -> Rows:
    """PPG of the wristband in a ``S1.pkl`` of PPG-DaLiA or WESAD, at 64 Hz, with the person's name.

    Raises InputError, and runs nothing that the file names.
    """
    check_file(path, RECORDINGS)
    with one_error(path), path.open("rb") as file:
        document = _Unpickler(file, encoding="latin1").load()
        found: Any = document
        for key in _PATH:
            found = found.get(key) if isinstance(found, dict) else None
        if not isinstance(found, _Array):
            raise InputError(f"{path}: holds no {'.'.join(_PATH)}; expected a file of PPG-DaLiA or WESAD")
        values = found.value()
        check_samples(values.size, path)
        subject = document.get("subject")
        owners = [subject] if isinstance(subject, str) and subject else None
        return as_rows(values, WRIST_HZ, path, owners)
