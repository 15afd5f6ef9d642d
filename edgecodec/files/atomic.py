"""Output files and folders that appear whole or not at all, the same bytes each time."""

from __future__ import annotations

import errno
import glob
import io
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.errors import InputError
from edgecodec.files.temporary import make_locked, make_locked_file, remove_left_behind, unlock
from edgecodec.files.writing import writing
from edgecodec.interrupts import held

_READ = {"manifest.json": "a bundle", "run.json": "a training run"}
"""Folders that commands read, by the file that they are known by."""


@contextmanager
def replace_folder(path: str | os.PathLike[str], *, marker: str, force: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside ``path``; on success it takes the place of ``path``, or of what that links to.

    An existing ``path`` is replaced only when it is empty, holds the file ``marker`` (so that an earlier
    run made it) or ``force`` is set, and never when it is the current folder or holds a bundle or a training run in the
    place of ``marker``, which may be what is read. On any exception the folder is removed and ``path`` is as it was;
    what a killed process left is removed the next time.
    Raises InputError when ``path`` holds something else or cannot be written.
    """
    check_folder(path, marker=marker, force=force)
    target = Path(os.path.realpath(path))
    beside, lock = None, None
    try:
        with writing(target), held():
            target.parent.mkdir(parents=True, exist_ok=True)
            remove_left_behind(_left_behind(target))
            beside, lock = make_locked(target.parent, _prefix(target))
            beside.chmod(0o755)
        with writing(target, unnamed=True):
            yield beside
        with held():
            _exchange(beside, target)
            beside = None
    finally:
        with held():
            if beside is not None:
                shutil.rmtree(beside, ignore_errors=True)
            unlock(lock)


def _exchange(beside: Path, target: Path) -> None:
    """Put a folder in the place of another, or of nothing. Raises InputError, and nothing is changed, when it fails."""
    try:
        if not target.is_dir():
            os.replace(beside, target)
            return
        old = Path(tempfile.mkdtemp(prefix=_prefix(target), dir=target.parent))
        try:
            os.replace(target, old)
            try:
                os.replace(beside, target)
            except BaseException:
                os.replace(old, target)
                raise
        finally:
            shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise InputError(f"{target}: cannot be replaced ({error.strerror})") from error


def _prefix(target: Path) -> str:
    """How names of what is to become ``target`` begin."""
    return f".{target.name}.edgecodec-"


def _left_behind(target: Path) -> Iterator[Path]:
    """What processes have made of what is to become ``target``, killed or not."""
    for path in target.parent.glob(f"{glob.escape(_prefix(target))}*"):
        # What a writer has of its own beside a file has another suffix, and no lock.
        if path.is_dir() or (path.is_file() and path.suffix == target.suffix):
            yield path


def check_folder(path: str | os.PathLike[str], *, marker: str, force: bool = False) -> None:
    """Raise InputError where :func:`replace_folder` would refuse ``path``, before long work; nothing is made."""
    # What is replaced, which exists where a folder before `..` is missing, too.
    target = Path(os.path.realpath(path))
    if os.path.lexists(target) and not target.is_dir():
        raise InputError(f"{path}: exists and is no folder", hint="choose another output")
    if target.is_dir():
        here = Path.cwd()
        if any(os.path.samefile(target, folder) for folder in (here, *here.parents)):
            raise InputError(f"{path}: the current folder cannot be replaced", hint="choose another output")
        for name, kind in _READ.items():
            if (target / name).exists() and not (target / marker).exists():
                raise InputError(f"{path}: holds {kind} ({name}), which is not replaced", hint="choose another output")
    if target.is_dir() and not force and any(target.iterdir()) and not (target / marker).exists():
        raise InputError(f"{path}: holds other files (no {marker})", hint="choose an empty folder or pass --force")
    _check_parent(target, Path(path))


@contextmanager
def replace_files(*paths: Path) -> Iterator[list[Path]]:
    """Yield a name beside each of ``paths`` to write a file to; on success the files take their places, the last last.

    What a link names is written, and the link stays. On any exception they are removed; what a killed process left is
    removed the next time. Raises InputError when one cannot be written, or is something else than a file.
    """
    made: list[tuple[Path, int | None]] = []
    try:
        with writing(paths[-1]):
            targets = [Path(os.path.realpath(path)) for path in paths]
            for target in targets:
                check_output(target)
                with held():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    remove_left_behind(_left_behind(target))
                    made.append(make_locked_file(target.parent, _prefix(target), target.suffix))
            yield [written for written, _ in made]
            with held():
                for (written, _), target in zip(made, targets, strict=True):
                    os.chmod(written, 0o644)
                    os.replace(written, target)
    finally:
        with held():
            for written, lock in made:
                written.unlink(missing_ok=True)
                unlock(lock)


def check_output(path: Path) -> None:
    """Raise InputError where :func:`replace_files` would refuse ``path``, before long work; nothing is made.

    That is unless it is a regular file or nothing yet (a device or a pipe is not to be replaced), in a folder that can
    be written or made.
    """
    if path.exists() and not path.is_file():
        kind = "is a folder" if path.is_dir() else "is no regular file"
        raise InputError(f"{path}: cannot be written ({kind})")
    _check_parent(Path(os.path.realpath(path)), path)


def _check_parent(target: Path, path: Path) -> None:
    """Raise InputError, which names ``path``, unless something can be made beside ``target``."""
    parent = next((folder for folder in target.absolute().parents if os.path.lexists(folder)), None)
    if parent is None or not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        reason = os.strerror(errno.EACCES if parent is None or parent.is_dir() else errno.ENOTDIR)
        raise InputError(f"{path}: cannot be written ({reason})")


def write_file(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` beside ``path`` and rename it into place. Raises InputError when it cannot be written."""
    with replace_files(Path(path)) as (beside,):
        beside.write_bytes(data)


def npz_bytes(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """A ``.npz`` of ``arrays``, the same bytes on every machine.

    ``numpy.savez`` writes the time of day, and deflate differs from one zlib to the next: nothing is packed.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for key, array in arrays.items():
            entry = io.BytesIO()
            np.lib.format.write_array(entry, np.asarray(array, order="C"), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{key}.npy"), entry.getvalue())
    return buffer.getvalue()
