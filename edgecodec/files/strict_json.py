"""JSON from outside, read without what only files made to do harm hold."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

_DEEPEST = 100


def parse_json(text: str | bytes, *, finite: bool = True, bits: int = 64) -> Any:
    """What ``text`` says: dicts, lists and scalars.

    Raises ValueError, of one line, for what is no JSON and what :func:`check_plain` refuses, and, where numbers must be
    ``finite``, for NaN and infinity, which are no JSON either. Integers have ``bits`` at most.
    """
    try:
        found = json.loads(
            text, parse_int=partial(_integer, bits=bits), parse_constant=_no_constant if finite else None
        )
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    check_plain(found, bits)
    return found


def check_plain(value: Any, bits: int = 64) -> None:
    """Raise ValueError for what a parsed document may not hold.

    That is integers beyond ``bits``, lists and dicts more than a hundred deep, and texts with half a surrogate pair,
    which cannot be printed: they are nobody's settings, and lead to errors far from the file.
    """
    level = [value]
    for _ in range(_DEEPEST):
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                below += [*each.keys(), *each.values()]
            elif isinstance(each, list | tuple | set):
                below += each
            elif isinstance(each, str):
                _check_text(each)
            elif isinstance(each, int) and each.bit_length() > bits:
                raise ValueError(f"an integer of more than {bits} bits")
        if not below:
            return
        level = below
    raise ValueError("nested too deeply")


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError("a text that is not Unicode (half a surrogate pair)") from error


def _integer(digits: str, bits: int) -> int:
    # Before it is converted, which takes time that grows with the square of its length.
    if len(digits) > len(str(-(1 << bits))):
        raise ValueError(f"an integer of {len(digits)} digits")
    return int(digits)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")
