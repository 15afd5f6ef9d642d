"""``.npz`` and ``.npy`` files from outside, read strictly: what a file claims is checked before it takes memory.

numpy's own reader takes what the parsers beneath it raise, from zlib's errors to the tokenizer's, unpacks what a member
claims, and reads a header of 4 GiB before it finds that too long. Here there are numbers and texts, stored or deflated,
whose sizes agree with the archive's, within a budget of memory.
"""

from __future__ import annotations

import io
import math
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from edgecodec.errors import EdgecodecError, InputError
from edgecodec.files.limits import UNPACKED
from edgecodec.files.regular import open_regular

_MOST_HEADER_BYTES = 1024
_MOST_READ_BYTES = 1 << 20
"""Of one read: data, and the list of an archive's members, which zipfile reads in one."""
_FREE_BYTES = 1 << 26
_MOST_RATIO = 100
"""What is larger than :data:`_FREE_BYTES` may unpack to so many times the file's size: noise, so any signal, does not
come near it."""
_KINDS = "biufcSU"
_NUMBER_BYTES = 8
"""What a number takes at least, as sooner or later each is a float64."""
_TEXT_BYTES = 64
"""What a text takes beside its characters, once it is Python's."""
_SUFFIX = ".npy"


@dataclass(frozen=True)
class ArrayHeader:
    """What a ``.npy`` file says of its array."""

    shape: tuple[int, ...]
    """Sizes of its axes."""
    dtype: np.dtype[Any]
    """Numbers or texts."""
    is_fortran: bool
    """Whether the first axis runs fastest."""
    offset_bytes: int
    """Where its data start."""

    @property
    def data_bytes(self) -> int:
        """Bytes of its data."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def memory_bytes(self) -> int:
        """Bytes that it takes of memory, with what its use will take."""
        size = self.dtype.itemsize
        each = size + _TEXT_BYTES if self.dtype.kind in "SU" else max(size, _NUMBER_BYTES)
        return math.prod(self.shape) * each


class NpzFile(Mapping[str, npt.NDArray[Any]]):
    """Arrays of an open ``.npz`` by their names, each read when it is asked for."""

    def __init__(self, archive: zipfile.ZipFile, budget_bytes: int) -> None:
        self._archive, self._left = archive, budget_bytes
        self._members: dict[str, zipfile.ZipInfo] = {}
        self.others: tuple[str, ...] = tuple(
            info.filename for info in archive.infolist() if not info.filename.endswith(_SUFFIX)
        )
        """Names of what is no array."""
        for info in archive.infolist():
            name = info.filename.removesuffix(_SUFFIX)
            if info.filename in self.others:
                continue
            if name in self._members:
                raise ValueError(f"{name} is in it twice")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
                raise ValueError(f"{name} is neither stored nor deflated")
            self._members[name] = info

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __contains__(self, name: object) -> bool:
        return name in self._members

    def header(self, name: str) -> ArrayHeader:
        """What an array's header says, without the array. Raises ValueError when it is not so."""
        info = self._members[name]
        with self._archive.open(info) as member:
            header = _read_header(member)
        if header.offset_bytes + header.data_bytes != info.file_size:
            raise ValueError(
                f"{name} says that it is {header.shape} of {header.dtype}, and has {info.file_size:,} bytes"
            )
        return header

    def __getitem__(self, name: str) -> npt.NDArray[Any]:
        header = self.header(name)
        if header.memory_bytes > self._left:
            raise ValueError(f"{name} takes {header.memory_bytes:,} bytes of memory; {self._left:,} are left for it")
        self._left -= header.memory_bytes
        with self._archive.open(self._members[name]) as member:
            member.read(header.offset_bytes)
            return _read_data(member, header)


@contextmanager
def open_npz(source: Path | bytes, where: object, expected: str, most_bytes: int) -> Iterator[NpzFile]:
    """A ``.npz``, from a file of at most ``most_bytes`` or from its bytes.

    Whatever is wrong with it, also while its arrays are read, is an InputError of one line, that starts with ``where``.
    """
    with (
        one_error(where, f"not a readable .npz of {expected}"),
        _opened(source, expected, most_bytes) as file,
        zipfile.ZipFile(file) as archive,
    ):
        yield NpzFile(archive, budget_bytes(file.seek(0, io.SEEK_END)))


def read_npz(source: Path | bytes, where: object, expected: str, most_bytes: int) -> dict[str, npt.NDArray[Any]]:
    """All arrays of a ``.npz``. Raises InputError as :func:`open_npz` does."""
    with open_npz(source, where, expected, most_bytes) as archive:
        return dict(archive)


def read_npy(source: Path | bytes, where: object, expected: str, most_bytes: int) -> npt.NDArray[Any]:
    """The array of a ``.npy``. Raises InputError of one line, that starts with ``where``."""
    with one_error(where, f"not a readable .npy of {expected}"), _opened(source, expected, most_bytes) as file:
        header = _read_header(file)
        size = file.seek(0, io.SEEK_END)
        if header.offset_bytes + header.data_bytes != size:
            raise ValueError(f"says that it is {header.shape} of {header.dtype}, and has {size:,} bytes")
        if header.memory_bytes > budget_bytes(size):
            raise ValueError(f"takes {header.memory_bytes:,} bytes of memory; at most {budget_bytes(size):,} are taken")
        file.seek(header.offset_bytes)
        return _read_data(file, header)


def budget_bytes(file_bytes: int) -> int:
    """What the arrays of a file of that size may take of memory."""
    return min(UNPACKED, max(_FREE_BYTES, _MOST_RATIO * file_bytes))


@contextmanager
def one_error(where: object, complaint: str) -> Iterator[None]:
    """Turn what a parser raises on a damaged file into one InputError of one line: where, what is wrong, and why."""
    try:
        yield
    except EdgecodecError:
        raise
    except Exception as error:  # parsers of hostile files raise what they like, zlib.error and struct.error among it
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{where}: {complaint} ({reason})") from error


class Bounded:
    """A file of which no more is read at a time than data ever are: not all of an archive's members' list."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.seek, self.tell, self.close = file.seek, file.tell, file.close

    def __enter__(self) -> Bounded:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, size: int = -1) -> bytes:
        """Bytes from where it stands. Raises ValueError when that are too many."""
        data = self._file.read(_MOST_READ_BYTES + 1 if size < 0 else min(size, _MOST_READ_BYTES + 1))
        if len(data) > _MOST_READ_BYTES:
            raise ValueError("its list of members is too long")
        return data

    def seekable(self) -> bool:
        """That it is."""
        return True


def _opened(source: Path | bytes, expected: str, most_bytes: int) -> Any:
    """What zipfile reads; typed loosely, as it asks for less than a file is."""
    return Bounded(io.BytesIO(source) if isinstance(source, bytes) else open_regular(source, expected, most_bytes))


def _read_header(file: Any) -> ArrayHeader:
    """The header of the ``.npy`` that ``file`` starts with. Raises what the parsers do, ValueError for what is odd."""
    start = io.BytesIO(file.read(_MOST_HEADER_BYTES))
    version = np.lib.format.read_magic(start)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"a .npy of version {version[0]}.{version[1]}; expected 1.0 or 2.0")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        # A header that Python 2 wrote is read all the same.
        warnings.simplefilter("ignore")
        shape, is_fortran, dtype = read(start, max_header_size=_MOST_HEADER_BYTES)
    if dtype.kind not in _KINDS or dtype.itemsize == 0:
        raise ValueError(f"an array of {dtype}; expected numbers or texts")
    if not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"an array of shape {shape}")
    return ArrayHeader(shape, dtype, bool(is_fortran), start.tell())


def _read_data(file: Any, header: ArrayHeader) -> npt.NDArray[Any]:
    """The array behind its header, to the end of ``file``."""
    raw = np.empty(header.data_bytes, np.uint8)
    at = 0
    while at < raw.size:
        data = file.read(min(_MOST_READ_BYTES, raw.size - at))
        if not data:
            raise ValueError(f"ends after {at:,} of {raw.size:,} bytes")
        raw[at : at + len(data)] = np.frombuffer(data, np.uint8)
        at += len(data)
    # The last read of a member checks its sum.
    if file.read(1):
        raise ValueError("goes on behind its array")
    flat: npt.NDArray[Any] = raw.view(header.dtype)
    return flat.reshape(header.shape, order="F" if header.is_fortran else "C")
