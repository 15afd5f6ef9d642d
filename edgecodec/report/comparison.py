"""Two documents of one kind beside each other: which figures changed, and whether rules allow it."""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from edgecodec.documents import Document
from edgecodec.errors import InputError, short_repr
from edgecodec.files.regular import read_regular
from edgecodec.files.strict_json import parse_json
from edgecodec.report.documents import ReportDocument

_MOST_BYTES = 1 << 22
"""Bytes of a document that is read, at most."""
_RULE = re.compile(
    r"(?P<name>.*[^\s<>=!])\s*(?P<op>[<>]=?|!=)\s*(?P<sign>[+-]?)(?P<number>\d{1,15}(?:\.\d{0,15})?)\s*(?P<percent>%?)",
    re.DOTALL | re.ASCII,
)
_UNITS = ("bytes", "per_frame", "ms", "bpm", "bits")
"""Ends of figures' names that may be left out."""
_KEYS = ("a", "b", "stage", "by", "name", "executor", "part", "engine", "level", "place", "flip")
"""Fields that tell the entries of a list apart."""
_NAMED = 16
"""Names that an error lists, at most."""
_REPORTED = {"margins": "margins", "flips": "flips", "quality": "prdn", "parts": "parts"}
"""Sections of a report that have figures which the command's own document has not, and what these are called here."""
_DETAILS = ("margins.", "flips.", "parts.", "pairs.", "statistics.", "runs.", "groups.", "levels.")
"""What figures of details start with: those of one pair, part or group, whose sums have figures of their own."""


class Outcome(StrEnum):
    """What the rules say."""

    PASSED = "passed"
    FAILED = "failed"


@dataclass(frozen=True)
class Change:
    """A figure that is another in the second document."""

    name: str
    """Its name: keys of the document, dots between them."""
    a: float | None
    """What the first document has; null when it has none."""
    b: float | None
    """What the second document has; null when it has none."""
    change: float | None
    """The second less the first; null when one has none."""
    percent: float | None
    """The change in percent of the first; null when that is 0, or one has none."""

    @property
    def is_detail(self) -> bool:
        """Whether a reader is shown it only on asking: figures that are of a part, or in one document alone."""
        return self.name.startswith(_DETAILS) or self.change is None


@dataclass(frozen=True)
class TextChange:
    """A text that is another in the second document, such as the verdict."""

    name: str
    """Its key."""
    a: str | None
    """What the first document says."""
    b: str | None
    """What the second document says."""


@dataclass(frozen=True)
class RuleOutcome:
    """A rule, and what it found."""

    rule: str
    """The rule as it was given."""
    name: str
    """The figure that it is about."""
    a: float
    """What the first document has."""
    b: float
    """What the second document has."""
    limit: float
    """What the second is held against."""
    failed: bool
    """Whether the rule hit."""


@dataclass(frozen=True)
class ComparisonDocument(Document):
    """What changed from one document to another."""

    SCHEMA = "edgecodec.comparison"

    verdict: Outcome
    """``failed`` when a rule hit, else ``passed``."""
    kind: str
    """Schema of both documents; of reports that of the command's document."""
    a: Path
    """The first document."""
    b: Path
    """The second document."""
    figures: int
    """Figures that both have."""
    texts: tuple[TextChange, ...]
    """Texts that changed."""
    changes: tuple[Change, ...]
    """Figures that changed, in the order of the documents."""
    rules: tuple[RuleOutcome, ...]
    """The rules."""


@dataclass(frozen=True)
class Rule:
    """``NAME OP [+-]NUMBER[%]``: fails when the figure of the second document stands so to a limit.

    The limit is NUMBER, or, with a sign, the first document's figure changed by NUMBER or by so many percent of it.
    """

    text: str
    """As it was given."""
    name: str
    """Name of the figure."""
    op: str
    """``<``, ``<=``, ``>``, ``>=`` or ``!=``."""
    number: float
    """NUMBER with its sign."""
    relative: bool
    """Whether it is of a change."""
    percent: bool
    """Whether it is in percent."""

    @classmethod
    def parse(cls, text: str) -> Rule:
        """Read a rule. Raises InputError for what is none."""
        found = _RULE.fullmatch(text.strip())
        if found is None:
            raise InputError(
                f"{short_repr(text)} is no rule; expected NAME OP [+-]NUMBER[%] with OP one of < <= > >= !=",
                hint="such as 'flash>+2%', 'prdn.mean>1.5' or 'mismatches>0'",
            )
        sign, percent = found["sign"], bool(found["percent"])
        if percent and not sign:
            raise InputError(f"{short_repr(text)}: percents are of a change", hint=f"write +{found['number']}%")
        number = float(sign + found["number"])
        return cls(text, found["name"].strip(), found["op"], number, bool(sign), percent)

    def limit(self, a: float) -> float:
        """What the second document is held against where the first has ``a``."""
        if not self.relative:
            return self.number
        return a + (abs(a) * self.number / 100.0 if self.percent else self.number)

    def hits(self, a: float, b: float) -> bool:
        """Whether figures ``a`` and ``b`` break the rule."""
        limit = self.limit(a)
        return {"<": b < limit, "<=": b <= limit, ">": b > limit, ">=": b >= limit, "!=": b != limit}[self.op]


@dataclass(frozen=True)
class _Content:
    """A document read from a file."""

    kind: tuple[str, int]
    figures: Mapping[str, float]
    texts: Mapping[str, str]


def compare_documents(a: Path, b: Path, rules: Sequence[Rule] = ()) -> ComparisonDocument:
    """Compare two files: reports, or what one command printed with ``--json`` twice.

    Raises InputError for a file that is no such document, kinds or versions that are not the same, and a rule about a
    figure that is unknown, has several meanings or is in one document alone.
    """
    contents = [_read(path) for path in (a, b)]
    one, other = contents
    if one.kind != other.kind:
        kinds = " and ".join(f"{name} version {version}" for name, version in (one.kind, other.kind))
        raise InputError(f"{a} and {b} are of two kinds, {kinds}", hint="compare documents of one command and version")
    outcomes = tuple(_judge(rule, one.figures, other.figures) for rule in rules)
    names = dict.fromkeys((*one.figures, *other.figures))
    return ComparisonDocument(
        verdict=Outcome.FAILED if any(outcome.failed for outcome in outcomes) else Outcome.PASSED,
        kind=one.kind[0],
        a=a,
        b=b,
        figures=len(one.figures.keys() & other.figures.keys()),
        texts=tuple(
            TextChange(name, one.texts.get(name), other.texts.get(name))
            for name in dict.fromkeys((*one.texts, *other.texts))
            if one.texts.get(name) != other.texts.get(name)
        ),
        changes=tuple(
            _change(name, one.figures.get(name), other.figures.get(name))
            for name in names
            if one.figures.get(name) != other.figures.get(name)
        ),
        rules=outcomes,
    )


def _change(name: str, a: float | None, b: float | None) -> Change:
    if a is None or b is None:
        return Change(name, a, b, None, None)
    return Change(name, a, b, b - a, 100.0 * (b - a) / abs(a) if a else None)


def _judge(rule: Rule, a: Mapping[str, float], b: Mapping[str, float]) -> RuleOutcome:
    name = _find(rule.name, dict.fromkeys((*a, *b)))
    for place, figures in (("first", a), ("second", b)):
        if name not in figures:
            raise InputError(f"{rule.text}: the {place} document has no {name}, so the rule cannot be judged")
    return RuleOutcome(rule.text, name, a[name], b[name], rule.limit(a[name]), rule.hits(a[name], b[name]))


def _find(wanted: str, names: Iterable[str]) -> str:
    """The figure called ``wanted``: by its whole name, or by the end of it with or without the unit.

    Of several that end so, the one of the fewest keys is meant. Raises InputError when there is none or no such one.
    """
    listed = list(names)
    if wanted in listed:
        return wanted
    ends = (wanted, *(f"{wanted}_{unit}" for unit in _UNITS))
    found = [name for name in listed if any(name == end or name.endswith(f".{end}") for end in ends)]
    least = min(map(_depth, found), default=0)
    found = [name for name in found if _depth(name) == least]
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(f"{short_repr(wanted)} may be {_list(found)}", hint="write the whole name")
    ends_of = {name.rsplit(".", 1)[-1]: name for name in listed} | {name: name for name in listed}
    near = [ends_of[end] for end in difflib.get_close_matches(wanted, ends_of, n=3)]
    headline = sorted((name for name in listed if not name.startswith(_DETAILS)), key=_depth)
    raise InputError(
        f"no figure is called {short_repr(wanted)}; there are {_list(list(dict.fromkeys((*near, *headline))))}",
        hint="compare -v shows all that changed",
    )


def _depth(name: str) -> int:
    """Keys that lead to a figure, but one."""
    return name.count(".")


def _list(names: Sequence[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _read(path: Path) -> _Content:
    """A document. Raises InputError."""
    data = read_regular(path, "report.json, or what a command prints with --json", _MOST_BYTES)
    try:
        document = parse_json(data)
        schema, version = _kind(document)
        if schema == ReportDocument.SCHEMA:
            # A report is compared as its command's document is, with what it has besides.
            report, document = document, document["result"]
            schema, version = _kind(document)
            besides = {name: report.get(key) for key, name in _REPORTED.items() if name not in document}
            document = {**document, **besides}
        figures = dict(_figures(document, "")) | _mismatches(document)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: no JSON document of edgecodec ({' '.join(str(error).split())})") from error
    if schema == "edgecodec.error":
        raise InputError(f"{path}: is the document of an error, which has no figures")
    texts = {key: value for key, value in document.items() if isinstance(value, str) and key not in ("schema", "plot")}
    return _Content((schema, version), figures, texts)


def _mismatches(document: Mapping[str, Any]) -> dict[str, float]:
    """The mismatches of all exact pairs together, if it has pairs. Raises ValueError where one does not say them."""
    if document.get("pairs") is None:
        return {}
    exact = [pair for pair in document["pairs"] if pair["exact"] is True]
    counts = [_number(pair["mismatches"]) for pair in exact]
    if None in counts:
        raise ValueError("mismatches that are no number")
    return {"mismatches": float(sum(count for count in counts if count is not None))}


def _kind(document: Any) -> tuple[str, int]:
    """Schema and version. Raises ValueError when it has none."""
    if not isinstance(document, dict):
        raise ValueError("expected an object")
    schema, version = document.get("schema"), document.get("schema_version")
    if not isinstance(schema, str) or not schema.startswith("edgecodec.") or type(version) is not int:
        raise ValueError("expected keys schema and schema_version")
    return schema, version


def _figures(value: Any, name: str) -> Iterator[tuple[str, float]]:
    """The numbers of a document by the keys that lead to them; of entries of lists by what tells them apart."""
    number = _number(value)
    if number is not None:
        yield name, number
        return
    if isinstance(value, dict):
        items = [(str(key), item) for key, item in value.items() if (key, name) != ("schema_version", "")]
    elif isinstance(value, list):
        keys = [_key(item, place) for place, item in enumerate(value)]
        alone = {key for key, count in Counter(keys).items() if count == 1}
        items = [
            (key if key in alone else f"{key}/{at}", item)
            for at, (key, item) in enumerate(zip(keys, value, strict=True))
        ]
    else:
        return
    for key, item in items:
        yield from _figures(item, f"{name}.{key}" if name else key)


def _key(item: Any, place: int) -> str:
    """What tells an entry of a list from the others."""
    if not isinstance(item, dict):
        return str(place)
    told = [str(item[key]) for key in _KEYS if isinstance(item.get(key), str | int)]
    return "/".join(told) or str(place)


def _number(value: Any) -> float | None:
    """A finite number; None for all else. Raises ValueError for one that is too large."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return float(value)
