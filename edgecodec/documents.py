"""What commands print with ``--json``: dataclasses with a schema and a version.

A document's fields are its keys, in order. ``docs/schemas/`` holds the JSON Schema of each, written from the classes
(``make golden``), so a field that is added, renamed or removed shows as a change of that file.
"""

from __future__ import annotations

import ast
import inspect
import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from itertools import pairwise
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, cast, get_args, get_type_hints

Json = dict[str, Any]
"""A JSON object."""


@dataclass(frozen=True)
class Document:
    """Base of the documents.

    ``schema`` names the kind; ``schema_version`` rises when a key changes its meaning or goes. Subclasses are frozen
    dataclasses that set :attr:`SCHEMA` and, once it has changed, :attr:`SCHEMA_VERSION`; each field has a docstring
    with its unit. Values are texts, numbers, booleans, None, paths, enumerations, other dataclasses, and sequences and
    mappings of these.
    """

    SCHEMA: ClassVar[str]
    SCHEMA_VERSION: ClassVar[int] = 1

    def to_json(self) -> Json:
        """The document as a JSON object, ``schema`` and ``schema_version`` first."""
        return {"schema": self.SCHEMA, "schema_version": self.SCHEMA_VERSION, **_object(self)}


def to_json(value: Any) -> Any:
    """``value`` as JSON has it. Raises TypeError for a type that documents do not hold, ValueError for NaN."""
    if value is None or (isinstance(value, bool | str) and not isinstance(value, Enum)):
        return value
    if isinstance(value, Enum):
        return to_json(value.value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        if not math.isfinite(value):
            raise ValueError(f"{value} in a document; JSON has finite numbers only")
        return float(value)
    if isinstance(value, Path):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return value.to_json() if isinstance(value, Document) else _object(value)
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    raise TypeError(f"{type(value).__name__} in a document")


def _object(value: Any) -> Json:
    return {field.name: to_json(getattr(value, field.name)) for field in fields(value)}


def json_schema(document: type[Document]) -> Json:
    """The JSON Schema (2020-12) of what ``document.to_json`` returns, with the docstrings as descriptions.

    Types of fields must be importable when this runs, not only for type checkers.
    """
    from pydantic import TypeAdapter

    made = TypeAdapter(document).json_schema(mode="serialization")
    named = {cls.__name__: cls for cls in _nested(document, set())}
    for name, schema in {document.__name__: made, **made.get("$defs", {})}.items():
        if name in named:
            schema["additionalProperties"] = False
            for field, text in _docstrings(named[name]).items():
                schema["properties"][field].setdefault("description", text)
            if issubclass(named[name], Document):
                schema["properties"] = _own_properties(named[name]) | schema["properties"]
            schema["required"] = list(schema["properties"])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def _own_properties(document: type[Document]) -> Json:
    return {
        "schema": {"const": document.SCHEMA, "type": "string"},
        "schema_version": {"const": document.SCHEMA_VERSION, "type": "integer"},
    }


def _nested(cls: type[Any], seen: set[type[Any]]) -> set[type[Any]]:
    """``cls`` and all dataclasses that its fields may hold."""
    if cls in seen:
        return seen
    seen.add(cls)
    pending = list(get_type_hints(cls).values())
    while pending:
        hint = pending.pop()
        pending += get_args(hint)
        if isinstance(hint, type) and is_dataclass(hint):
            _nested(hint, seen)
    return seen


def _docstrings(cls: type[Any]) -> dict[str, str]:
    """The docstrings of a dataclass's fields, those of its bases included."""
    found: dict[str, str] = {}
    for base in reversed([each for each in cls.__mro__ if is_dataclass(each)]):
        body = cast(ast.ClassDef, ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]).body
        for field, told in pairwise(body):
            if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
                continue
            if (
                isinstance(told, ast.Expr)
                and isinstance(told.value, ast.Constant)
                and isinstance(told.value.value, str)
            ):
                found[field.target.id] = " ".join(inspect.cleandoc(told.value.value).split())
    return found
