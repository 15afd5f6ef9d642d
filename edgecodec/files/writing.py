"""What is said when the system cannot write a file or folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edgecodec.errors import EdgecodecError, InputError


@contextmanager
def writing(
    where: object, *, unnamed: bool = False, error: type[EdgecodecError] = InputError, hint: str | None = None
) -> Iterator[None]:
    """Turn a failure of the system's into ``error``, which says that ``where`` cannot be written, and why.

    ``unnamed``: only one that names no file itself, as when a disk is full.
    """
    try:
        yield
    except OSError as failure:
        if unnamed and (failure.filename is not None or failure.strerror is None):
            raise
        raise error(f"{where}: cannot be written ({failure.strerror or failure})", hint=hint) from failure
