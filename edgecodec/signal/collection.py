"""Collections of recordings: files, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgecodec.errors import InputError
from edgecodec.signal.layouts import known_files
from edgecodec.signal.reader import SUFFIXES, file_owners, file_recordings
from edgecodec.signal.reading import Reading
from edgecodec.signal.sources import Recording


@dataclass(frozen=True)
class SourceFile:
    """One file of a collection."""

    path: Path
    """Where it is."""
    name: str
    """Its path below the folder that all files share."""
    person: str = ""
    """Whose recordings it holds by the layout of a known data set; empty outside one."""

    @property
    def owner(self) -> str:
        """The person's name when the file gives none: by the data set's layout, else the file's own name."""
        return self.person or self.name

    def people(self, by: str) -> list[str]:
        """Whose recordings it holds, by the array ``by`` (``subject`` or ``recording``) where it has both.

        Raises InputError for a file that is missing or cannot be read.
        """
        return file_owners(self.path, by=by) or [self.owner]

    def recordings(self, rate_hz: float, reading: Reading) -> list[Recording]:
        """Its recordings at ``rate_hz``, each with a person.

        Raises InputError for a file that is missing, cannot be read, does not say its rate or holds something else.
        """
        found = file_recordings(self.path, rate_hz, reading)
        return [replace(recording, subject=recording.subject or self.owner) for recording in found]


def find_files(names: Sequence[str]) -> list[SourceFile]:
    """The files that ``names`` (files, folders, patterns) stand for, sorted. Raises InputError when one has none.

    Folders are searched through, hidden files and folders left out. Of a folder that holds a known data set only its
    files of PPG are taken (:mod:`edgecodec.signal.layouts`).
    """
    people = {os.path.abspath(path): person for name in names for path, person in _expand(name).items()}
    paths = sorted(people)
    root = os.path.commonpath([os.path.dirname(path) for path in paths])
    return [SourceFile(Path(path), Path(os.path.relpath(path, root)).as_posix(), people[path]) for path in paths]


def _expand(name: str) -> dict[str, str]:
    """Files that ``name`` stands for, and whose each is by a data set's layout."""
    folder = Path(name)
    if "\0" in name:
        raise InputError(f"{name!r}: is no path")
    if folder.is_dir():
        found = [str(path) for path in folder.rglob("*") if _is_recording(path, folder)]
        known = known_files(Path(os.path.relpath(path, folder)).as_posix() for path in found)
        if known is not None:
            return {str(folder / path): person for path, person in known.items()}
        # Pickles are read of known data sets only.
        found = [path for path in found if not path.lower().endswith(".pkl")]
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
    return dict.fromkeys(found, "")


def _is_recording(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return not hidden and path.suffix.lower() in SUFFIXES and path.is_file()
