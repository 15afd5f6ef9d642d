"""Split people into training, validation and test, so that nobody is on two sides."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from edgecodec.errors import InputError

_PLACE = re.compile(r"(first|last) (\d{1,6})")
_EXPECTED = 'a list of people, "first N", "last N", or a share between 0 and 1'


@dataclass(frozen=True)
class Split:
    """Who trains, validates and tests. Nobody is on two sides."""

    train: tuple[str, ...]
    """Names of the people whose recordings train."""
    validation: tuple[str, ...]
    """Names of the people whose recordings choose among epochs."""
    test: tuple[str, ...]
    """Names of the people whose recordings are kept for the figures that are reported."""


def check_selection(value: Any) -> Any:
    """Return ``value`` if it selects people: names, ``"first N"``, ``"last N"`` or a share. Raises ValueError."""
    if value is None:
        return value
    if isinstance(value, str) and (match := _PLACE.fullmatch(value)) and int(match[2]) > 0:
        return value
    if isinstance(value, float) and 0 < value < 1:
        return value
    if isinstance(value, list) and value and all(_is_name(item) for item in value):
        return value
    raise ValueError(f"expected {_EXPECTED}")


def split_people(
    people: Iterable[str], *, train: Any = None, validation: Any = 0.1, test: Any = 0.2, seed: int = 42
) -> Split:
    """Split ``people`` by name.

    ``test`` is chosen first, then ``validation`` among the others, and ``train`` is the rest or those it names.
    ``"first N"`` and ``"last N"`` go by name, numbers by value. A share takes the people whose name hashes
    lowest with ``seed``, at least one. Raises InputError when somebody is named on two sides or is unknown, or
    a side is empty.
    """
    known = sorted(set(people), key=_natural)
    if len(known) < 3:
        names = f" ({', '.join(known)})" if known else ""
        raise InputError(
            f"data.split: the data is of {len(known)} people{names}; training, validation and test need one each "
            "(a file is one person unless an array 'subject' or 'recording' says whose each row is)"
        )
    named = {"train": train, "validation": validation, "test": test}
    lists = {side: _names(side, value, known) for side, value in named.items() if isinstance(value, list)}
    _refuse_shared(lists)
    sides: dict[str, list[str]] = {}
    free = [person for person in known if all(person not in people for people in lists.values())]
    for side in ("test", "validation", "train"):
        if side in lists:
            sides[side] = lists[side]
            continue
        value = named[side]
        chosen = free if side == "train" and value is None else _choose(free, value, len(known), seed)
        free = [person for person in free if person not in set(chosen)]
        sides[side] = chosen
    for side, members in sides.items():
        if not members:
            raise InputError(f"data.split.{side}: nobody is left for it among {len(known)} people")
    return Split(*(tuple(sides[side]) for side in ("train", "validation", "test")))


def refuse_shared(**sides: Iterable[str]) -> None:
    """Raise InputError, naming the person, when somebody is on two of the sides."""
    _refuse_shared({side: list(people) for side, people in sides.items()})


def _refuse_shared(sides: dict[str, list[str]]) -> None:
    seen: dict[str, str] = {}
    for side, people in sides.items():
        for person in sorted(set(people), key=_natural):
            if person in seen:
                raise InputError(
                    f"data.split: {person} is in both {seen[person]} and {side}; a codec tested on people it was "
                    "trained on looks better than it is"
                )
            seen[person] = side


def _names(side: str, value: Sequence[Any], known: Sequence[str]) -> list[str]:
    names = list(dict.fromkeys(str(item) for item in value))
    unknown = [name for name in names if name not in set(known)]
    if unknown:
        shown = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
        raise InputError(f"data.split.{side}: nobody is called {unknown[0]!r}; expected some of {shown}")
    return sorted(names, key=_natural)


def _choose(free: Sequence[str], value: Any, total: int, seed: int) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):
        place, count = value.split()
        return list(free[: int(count)] if place == "first" else free[max(0, len(free) - int(count)) :])
    by_hash = sorted(free, key=lambda person: hashlib.sha256(f"{seed}:{person}".encode()).digest())
    return sorted(by_hash[: max(1, round(value * total))], key=_natural)


def _natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key in which 9 comes before 10."""
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part)


def _is_name(item: Any) -> bool:
    return isinstance(item, (str, int)) and not isinstance(item, bool) and str(item) != ""
