"""JSON from outside, read without what only files made to do harm hold."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterable
from functools import partial
from typing import Any

from edgecodec.errors import short_repr

_DEEPEST = 100


def parse_json(text: str | bytes, *, finite: bool = True, bits: int = 64) -> Any:
    """What ``text`` says: dicts, lists and scalars.

    Raises ValueError, of one line, for what is no JSON, for a key that an object has twice, of which other readers
    take the one or the other, for what :func:`check_plain` refuses, and, where numbers must be ``finite``, for NaN and
    infinity, which are no JSON either. Integers have ``bits`` at most.
    """
    try:
        found = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=partial(_integer, bits=bits),
            parse_constant=_no_constant if finite else None,
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


def check_keys(keys: Iterable[Hashable]) -> None:
    """Raise ValueError when one of ``keys`` is there twice."""
    seen: set[Hashable] = set()
    for key in keys:
        if key in seen:
            raise ValueError(f"the key {short_repr(key)} is there twice")
        seen.add(key)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    check_keys(key for key, _ in pairs)
    return dict(pairs)


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
