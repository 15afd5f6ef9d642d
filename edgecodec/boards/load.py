"""Find and read board files: those that come with edgecodec, and a user's own by its path."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgecodec.boards.schema import Board
from edgecodec.errors import InputError, short_repr
from edgecodec.files.limits import BOARD
from edgecodec.files.regular import read_regular
from edgecodec.files.resources import firmware_dir
from edgecodec.files.strict_yaml import parse_yaml

_HARMLESS_ARGUMENTS = {"-cpu": r"[a-z0-9-]+", "-m": r"[0-9]+[KMG]?", "-smp": r"[1-8]", "-nographic": None}
"""Options of QEMU that read, write and run nothing, and what their values look like; None for none."""
_OWN_SCRIPT = re.compile(r"(board|interface|target)/[A-Za-z0-9_-][A-Za-z0-9_.-]*\.cfg")
"""Scripts as OpenOCD's own are called."""


def list_boards() -> list[Board]:
    """The boards that come with edgecodec, sorted by name. Raises InputError when a file of theirs is damaged."""
    return sorted((_read(path) for path in _board_files()), key=lambda board: board.name)


def load_board(name_or_path: str | os.PathLike[str], *, trust: bool = False) -> Board:
    """The board of that name, or of that YAML file (``.yaml``, ``.yml`` or any path with a folder).

    Raises InputError for an unknown name, with the nearest ones, for a file that is missing or wrong,
    with the path of the key, and, unless there is ``trust`` in it, for a file that may run more than the board: with
    options of QEMU beyond a short list, or scripts that are not OpenOCD's own.
    """
    text = os.fspath(name_or_path)
    if Path(text).suffix in {".yaml", ".yml"} or len(Path(text).parts) > 1:
        board = _read(Path(text))
        if not trust:
            _refuse_commands(board, text)
        return board
    files = {path.stem: path for path in _board_files()}
    if text in files:
        return _read(files[text])
    near = difflib.get_close_matches(text, files, n=3, cutoff=0.5)
    known = f"did you mean {' or '.join(near)}?" if near else f"known boards: {', '.join(files)}"
    raise InputError(f"board {text!r} is unknown", hint=f"{known} (a board file of your own is given by its path)")


def _refuse_commands(board: Board, path: str) -> None:
    """Raise InputError when QEMU or OpenOCD would do what the file's writer likes."""
    left = list(() if board.emulator is None else board.emulator.args)
    while left:
        option = left.pop(0)
        value = _HARMLESS_ARGUMENTS.get(option, "")
        if value == "" or (value is not None and not (left and re.fullmatch(value, left.pop(0)))):
            raise InputError(
                f"board file {path}: emulator.args: {short_repr(option)} may run or write anything",
                hint="read the file, then pass --trust-board",
            )
    for script in () if board.flash is None or board.flash.openocd is None else board.flash.openocd.scripts:
        # OpenOCD looks in the current folder before its own.
        if not _OWN_SCRIPT.fullmatch(script) or Path(script).exists():
            raise InputError(
                f"board file {path}: flash.openocd.scripts: {script} is no script of OpenOCD's and may run anything",
                hint="read it, then pass --trust-board",
            )


def _board_files() -> list[Path]:
    return sorted((firmware_dir() / "boards").glob("*.yaml"))


def _read(path: Path) -> Board:
    try:
        raw: Any = parse_yaml(read_regular(path, "a board's YAML", BOARD))
    except InputError as error:
        reason = error.message.removeprefix(f"{path}: ")
        raise InputError(f"board file {path}: cannot be read ({reason})", hint=error.hint) from error
    except ValueError as error:
        raise InputError(f"board file {path}: not valid YAML ({error})") from error
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
