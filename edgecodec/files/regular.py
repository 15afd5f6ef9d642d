"""Read files that people name, which may be pipes and devices of which reading never ends."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from edgecodec.errors import InputError


def check_regular(path: Path, expected: str, most_bytes: int | None = None) -> None:
    """Raise InputError, which says what was ``expected``, unless ``path`` is a regular file, not too large."""
    try:
        if not path.exists():
            raise InputError(f"{path}: no such file; expected {expected}")
        if not path.is_file():
            kind = "is a folder" if path.is_dir() else "is no regular file"
            raise InputError(f"{path}: {kind}; expected {expected}")
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({_reason(error)}); expected {expected}") from error
    if most_bytes is not None and size > most_bytes:
        raise InputError(f"{path}: {size:,} bytes; at most {most_bytes:,} are read", hint="split it")


def open_regular(path: Path, expected: str, most_bytes: int | None = None) -> BinaryIO:
    """A regular file, open to read. Raises InputError as :func:`check_regular` does, and when it cannot be opened.

    What has been put in its place since it was looked at is refused, too, and does not keep the caller waiting.
    """
    check_regular(path, expected, most_bytes)
    try:
        # A pipe opens at once with O_NONBLOCK, which regular files ignore; Windows has neither.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        file = os.fdopen(os.open(path, flags), "rb")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({_reason(error)}); expected {expected}") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise InputError(f"{path}: is no regular file; expected {expected}")
    return file


def read_regular(path: Path, expected: str, most_bytes: int) -> bytes:
    """The bytes of a regular file. Raises InputError as :func:`open_regular` does, and when it cannot be read.

    No more than ``most_bytes`` and one are read, whatever the system says that it holds.
    """
    with open_regular(path, expected, most_bytes) as file:
        try:
            data = file.read(most_bytes + 1)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({_reason(error)}); expected {expected}") from error
    if len(data) > most_bytes:
        raise InputError(f"{path}: more than {most_bytes:,} bytes, which is the most that is read", hint="split it")
    return data


def _reason(error: Exception) -> str:
    """What is wrong, without the name of the file."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
