"""Temporary folders, all below one folder of the user's, each gone at the end of its block or of its owner.

An owner keeps its folder locked. What a killed one left is nobody's, and goes when the next one makes a folder.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgecodec.errors import BuildError, InputError
from edgecodec.files.writing import writing
from edgecodec.interrupts import held

if sys.platform != "win32":
    import fcntl

_PLAIN_PATH = re.compile(r"[\w/\\:.+ -]+")
"""Paths that CMake and Ninja take as they are."""
_ATTEMPTS = 8
"""At locking what was just made before somebody who cleans up takes it for left behind."""
_FULL_BYTES = 1 << 16
"""A file system with less room is full."""
_HINT = "set TMPDIR to another folder"


@contextmanager
def temporary_folder(purpose: str, *, plain: bool = False) -> Iterator[Path]:
    """Yield an empty folder, whose name starts with ``purpose``, and remove it at the end.

    ``plain`` asks for a path that CMake takes, whatever the system's folder for temporary files is called. Raises
    BuildError when there is none, InputError when it cannot be made or its file system is full.
    """
    root = _root(_plain_folder() if plain else tempfile.gettempdir())
    folder, lock = None, None
    try:
        with held(), writing(root, hint=_HINT):
            remove_left_behind(root.iterdir())
            folder, lock = make_locked(root, f"{purpose}-")
        try:
            yield folder
        except OSError:
            if shutil.disk_usage(root).free < _FULL_BYTES:
                with writing(root, unnamed=True, hint=_HINT):
                    raise
            raise
    finally:
        with held():
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
            unlock(lock)


def make_locked(parent: Path, prefix: str) -> tuple[Path, int | None]:
    """Make an empty folder in ``parent`` that is locked until :func:`unlock` or the end of the process.

    Its lock is None where folders cannot be locked. Raises OSError when it cannot be made.
    """
    return _make_locked(lambda: tempfile.mkdtemp(prefix=prefix, dir=parent))


def make_locked_file(parent: Path, prefix: str, suffix: str) -> tuple[Path, int | None]:
    """The same of an empty file."""

    def make() -> str:
        handle, name = tempfile.mkstemp(prefix=prefix, suffix=suffix, dir=parent)
        os.close(handle)
        return name

    return _make_locked(make)


def _make_locked(make: Callable[[], str]) -> tuple[Path, int | None]:
    for _ in range(_ATTEMPTS):
        path = Path(make())
        with suppress(BlockingIOError, FileNotFoundError):
            lock = _locked(path)
            if path.exists():
                return path, lock
            unlock(lock)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))


def unlock(lock: int | None) -> None:
    """End the lock of something that :func:`make_locked` made."""
    if lock is not None:
        os.close(lock)


def remove_left_behind(paths: Iterator[Path]) -> None:
    """Remove those of ``paths`` that their owners, who kept them locked, did not live to remove. Links stay."""
    for path in list(paths):
        lock = None
        with suppress(OSError):
            lock = None if path.is_symlink() else _locked(path)
        if lock is None:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        unlock(lock)


def _locked(path: Path) -> int | None:
    """A descriptor that keeps ``path`` locked; None where nothing can be locked.

    Raises FileNotFoundError when it has gone, BlockingIOError when somebody else has it.
    """
    if sys.platform == "win32":
        return None
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        unlock(handle)
        if isinstance(error, BlockingIOError):
            raise
        return None
    return handle


def _root(parent: str) -> Path:
    """The user's folder in ``parent``, made when it is not there. Raises InputError when it is somebody else's."""
    if sys.platform == "win32":
        root = Path(parent) / "edgecodec"
        root.mkdir(exist_ok=True)
        return root
    root = Path(parent) / f"edgecodec-{os.getuid()}"
    try:
        with suppress(FileExistsError):
            root.mkdir(0o700)
        found = root.lstat()
    except OSError as error:
        raise InputError(f"{root}: cannot be made ({error.strerror})", hint=_HINT) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
        raise InputError(f"{root}: is no folder of yours alone", hint="remove it, or set TMPDIR to another folder")
    return root


def _plain_folder() -> str:
    """The folder for temporary files, or the system's own where CMake takes no path with its characters.

    Raises BuildError when there is none to write to.
    """
    named = tempfile.gettempdir()
    for folder in (named, "/tmp", "/var/tmp"):
        if _PLAIN_PATH.fullmatch(folder) and os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise BuildError(f"{named}: CMake builds in no folder with such characters", hint="set TMPDIR to another one")
