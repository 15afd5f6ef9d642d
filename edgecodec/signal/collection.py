"""Collections of recordings: files, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgecodec.errors import InputError
from edgecodec.signal.sources import RECORD_SUFFIXES, Recording, file_owners, file_recordings

SUFFIXES = (".npz", ".npy", ".csv", *RECORD_SUFFIXES)


@dataclass(frozen=True)
class SourceFile:
    """One file of a collection."""

    path: Path
    """Where it is."""
    name: str
    """Its path below the folder that all files share; the person's name when the file gives none."""

    def people(self, by: str) -> list[str]:
        """Whose recordings it holds, by the array ``by`` (``subject`` or ``recording``) where it has both.

        Raises InputError for a file that is missing or cannot be read.
        """
        return file_owners(self.path, by=by) or [self.name]

    def recordings(self, rate_hz: float, by: str, channel: str | None) -> list[Recording]:
        """Its recordings at ``rate_hz``, each with a person; of a record, the channel called ``channel``.

        Raises InputError for a file that is missing, cannot be read or holds something else.
        """
        found = file_recordings(self.path, rate_hz, by=by, channel=channel)
        return [replace(recording, subject=recording.subject or self.name) for recording in found]


def find_files(names: Sequence[str]) -> list[SourceFile]:
    """The files that ``names`` (files, folders, patterns) stand for, sorted. Raises InputError when one has none.

    Folders are searched through, hidden files and folders left out.
    """
    paths = sorted({os.path.abspath(path) for name in names for path in _expand(name)})
    root = os.path.commonpath([os.path.dirname(path) for path in paths])
    return [SourceFile(Path(path), Path(os.path.relpath(path, root)).as_posix()) for path in paths]


def _expand(name: str) -> list[str]:
    folder = Path(name)
    if folder.is_dir():
        found = [str(path) for path in folder.rglob("*") if _is_recording(path, folder)]
    elif folder.exists() or not glob.has_magic(name):
        if not folder.exists():
            raise InputError(f"{name}: no such file or folder; expected recordings")
        if folder.suffix.lower() not in SUFFIXES:
            raise InputError(f"{name}: is no file of {', '.join(SUFFIXES)}")
        found = [name]
    else:
        found = [path for path in glob.glob(name, recursive=True) if path.lower().endswith(SUFFIXES)]
    if not found:
        raise InputError(f"{name}: no recordings there; expected files of {', '.join(SUFFIXES)}")
    return found


def _is_recording(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return not hidden and path.suffix.lower() in SUFFIXES
