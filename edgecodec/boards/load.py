"""Find and read board files: those that come with edgecodec, and a user's own by its path."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from edgecodec.boards.schema import Board
from edgecodec.errors import InputError, short_repr
from edgecodec.files.resources import firmware_dir

_MAX_FILE_BYTES = 64 * 1024


def list_boards() -> list[Board]:
    """The boards that come with edgecodec, sorted by name. Raises InputError when a file of theirs is damaged."""
    return sorted((_read(path) for path in _board_files()), key=lambda board: board.name)


def load_board(name_or_path: str | os.PathLike[str]) -> Board:
    """The board of that name, or of that YAML file (``.yaml``, ``.yml`` or any path with a folder).

    Raises InputError for an unknown name, with the nearest ones, and for a file that is missing or wrong,
    with the path of the key.
    """
    text = os.fspath(name_or_path)
    if Path(text).suffix in {".yaml", ".yml"} or len(Path(text).parts) > 1:
        return _read(Path(text))
    files = {path.stem: path for path in _board_files()}
    if text in files:
        return _read(files[text])
    near = difflib.get_close_matches(text, files, n=3, cutoff=0.5)
    known = f"did you mean {' or '.join(near)}?" if near else f"known boards: {', '.join(files)}"
    raise InputError(f"board {text!r} is unknown", hint=f"{known} (a board file of your own is given by its path)")


def _board_files() -> list[Path]:
    return sorted((firmware_dir() / "boards").glob("*.yaml"))


def _read(path: Path) -> Board:
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise InputError(f"board file {path}: is no regular file; expected YAML")
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        raise InputError(f"board file {path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if len(data) > _MAX_FILE_BYTES:
        raise InputError(f"board file {path}: larger than {_MAX_FILE_BYTES} bytes, so it is no board file")
    try:
        raw: Any = yaml.safe_load(data)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InputError(f"board file {path}: not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(raw, dict):
        raise InputError(f"board file {path}: expected keys such as name, cpu and memory; found {type(raw).__name__}")
    try:
        return Board.model_validate(raw)
    except (ValidationError, RecursionError) as error:
        raise InputError(f"board file {path}: {_first_problem(error)}") from error


def _first_problem(error: ValidationError | RecursionError) -> str:
    """The first key that is wrong, why, and how many more there are."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    problems = error.errors()
    first = problems[0]
    key = ".".join(str(part) for part in first["loc"])
    found = "" if isinstance(first["input"], dict) else f" (found {short_repr(first['input'])})"
    more = f"; and {len(problems) - 1} more" if len(problems) > 1 else ""
    return f"{key}: {first['msg']}{found}{more}"
