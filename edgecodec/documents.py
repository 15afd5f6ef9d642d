"""What commands print with ``--json``: dataclasses with a schema and a version.

A document's fields are its keys, in order. ``docs/schemas/`` holds the JSON Schema of each, written from the classes
(``make golden``), so a field that is added, renamed or removed shows as a change of that file.
"""

from __future__ import annotations

import ast
import inspect
import json
import math
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from itertools import pairwise
from numbers import Integral, Real
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, cast, get_args, get_type_hints

Json = dict[str, Any]
"""A JSON object."""
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
INLINE: Mapping[str, Any] = MappingProxyType({"inline": True})
"""Metadata of a field, a dataclass or a pydantic model, whose keys take its place: ``field(metadata=INLINE)``."""


@dataclass(frozen=True)
class Document:
    """Base of the documents.

    ``schema`` names the kind; ``schema_version`` rises when a key changes its meaning or goes. Subclasses are frozen
    dataclasses that set :attr:`SCHEMA` and, once it has changed, :attr:`SCHEMA_VERSION`; each field has a docstring
    with its unit. Values are texts, numbers, booleans, None, paths, enumerations, other dataclasses and pydantic
    models, and sequences and mappings of these. The keys of a field that is :data:`INLINE` stand among the
    document's own.
    """

    SCHEMA: ClassVar[str]
    SCHEMA_VERSION: ClassVar[int] = 1

    def to_json(self) -> Json:
        """The document as a JSON object, ``schema`` and ``schema_version`` first."""
        return {"schema": self.SCHEMA, "schema_version": self.SCHEMA_VERSION, **_object(self)}


def printable(text: str) -> str:
    """``text`` with control characters escaped, and what is no character at all: names from files may hold any."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


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
    if isinstance(value, Document):
        return value.to_json()
    if _is_object(type(value)):
        return _object(value)
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    raise TypeError(f"{type(value).__name__} in a document")


def _object(value: Any) -> Json:
    made: Json = {}
    inlined = _inlined(type(value))
    for name in _field_names(type(value)):
        content = to_json(getattr(value, name))
        made |= content if name in inlined else {name: content}
    return made


def _is_object(cls: type[Any]) -> bool:
    """Whether values of ``cls`` are JSON objects with the keys of the class: dataclasses and pydantic models."""
    return is_dataclass(cls) or hasattr(cls, "model_fields")


def _field_names(cls: type[Any]) -> list[str]:
    return [each.name for each in fields(cls)] if is_dataclass(cls) else list(cls.model_fields)


def _inlined(cls: type[Any]) -> set[str]:
    """Names of the fields whose keys stand among those of ``cls``."""
    return {each.name for each in fields(cls) if each.metadata == INLINE} if is_dataclass(cls) else set()


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
            for key, text in _docstrings(named[name]).items():
                schema["properties"][key].setdefault("description", text)
            if issubclass(named[name], Document):
                schema["properties"] = _own_properties(named[name]) | schema["properties"]
            schema["required"] = list(schema["properties"])
    for name, cls in named.items():
        for key in _inlined(cls):
            _put_inline(made if cls is document else made["$defs"][name], key, made["$defs"])
    for name in list(made.get("$defs", {})):
        if f'"#/$defs/{name}"' not in json.dumps(made):
            del made["$defs"][name]
    return {"$schema": _DIALECT, **made}


def input_schema(model: type[Any]) -> Json:
    """The JSON Schema (2020-12) of what a pydantic model reads, with the docstrings of its fields as descriptions.

    Raises TypeError for a field without one.
    """
    made: Json = model.model_json_schema()
    named = {cls.__name__: cls for cls in _nested(model, set())}
    for name, schema in {model.__name__: made, **made.get("$defs", {})}.items():
        told = _docstrings(named[name])
        for key, content in schema["properties"].items():
            if key not in told:
                raise TypeError(f"{name}.{key} has no docstring")
            content["description"] = told[key]
            content.pop("title", None)
    return {"$schema": _DIALECT, **made}


def _put_inline(schema: Json, key: str, definitions: Json) -> None:
    """Put the properties of the definition that ``key`` refers to in its place."""
    name = schema["properties"][key]["$ref"].rpartition("/")[2]
    properties: Json = {}
    for each, content in schema["properties"].items():
        properties |= definitions[name]["properties"] if each == key else {each: content}
    schema["properties"] = properties
    schema["required"] = list(properties)


def _own_properties(document: type[Document]) -> Json:
    return {
        "schema": {"const": document.SCHEMA, "type": "string"},
        "schema_version": {"const": document.SCHEMA_VERSION, "type": "integer"},
    }


def _nested(cls: type[Any], seen: set[type[Any]]) -> set[type[Any]]:
    """``cls`` and all dataclasses and pydantic models that its fields may hold."""
    if cls in seen:
        return seen
    seen.add(cls)
    hints = get_type_hints(cls) if is_dataclass(cls) else {}
    pending = [hints.get(name) or cls.model_fields[name].annotation for name in _field_names(cls)]
    while pending:
        hint = pending.pop()
        pending += get_args(hint)
        if isinstance(hint, type) and _is_object(hint):
            _nested(hint, seen)
    return seen


def _docstrings(cls: type[Any]) -> dict[str, str]:
    """The docstrings of the fields of a dataclass or pydantic model, those of its bases included."""
    found: dict[str, str] = {}
    for base in reversed([each for each in cls.__mro__ if _is_object(each)]):
        body = cast(ast.ClassDef, ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]).body
        for stated, told in pairwise(body):
            if not (isinstance(stated, ast.AnnAssign) and isinstance(stated.target, ast.Name)):
                continue
            if (
                isinstance(told, ast.Expr)
                and isinstance(told.value, ast.Constant)
                and isinstance(told.value.value, str)
            ):
                found[stated.target.id] = " ".join(inspect.cleandoc(told.value.value).split())
    return {name: found[name] for name in _field_names(cls) if name in found}
