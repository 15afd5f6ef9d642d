"""Read files that people name, which may be pipes and devices of which reading never ends."""

from __future__ import annotations

from pathlib import Path

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


def read_regular(path: Path, expected: str, most_bytes: int | None = None) -> bytes:
    """The bytes of a regular file. Raises InputError as :func:`check_regular` does, and when it cannot be read."""
    check_regular(path, expected, most_bytes)
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({_reason(error)}); expected {expected}") from error


def _reason(error: Exception) -> str:
    """What is wrong, without the name of the file."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
