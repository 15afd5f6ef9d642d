"""Documents: what may be in them, and how their JSON and its schema are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, Field

from edgecodec.documents import INLINE, Document, json_schema, to_json


class Colour(Enum):
    RED = "red"


class Model(BaseModel):
    size_bytes: int = Field(ge=0)
    """Size in bytes."""
    label: str | None = None
    """What it is called."""


@dataclass(frozen=True)
class Part:
    weight: float
    """Weight in kg."""


@dataclass(frozen=True)
class Crate:
    part: Part = field(metadata=INLINE)
    """What is in it."""
    lid: bool
    """Whether it is shut."""


@dataclass(frozen=True)
class Example(Document):
    """An example."""

    SCHEMA = "edgecodec.example"
    SCHEMA_VERSION = 3

    first: int
    """A number."""
    model: Model = field(metadata=INLINE)
    """Whose keys stand here."""
    crates: tuple[Crate, ...]
    """Crates."""
    models: tuple[Model, ...] = ()
    """Models."""


def example() -> Example:
    return Example(1, Model(size_bytes=2), (Crate(Part(0.5), lid=True),))


def test_inline_keys_take_the_place_of_their_field() -> None:
    document = example().to_json()
    assert document == {
        "schema": "edgecodec.example",
        "schema_version": 3,
        "first": 1,
        "size_bytes": 2,
        "label": None,
        "crates": [{"weight": 0.5, "lid": True}],
        "models": [],
    }
    assert list(document) == list(json_schema(Example)["properties"])


def test_schema_of_inline_keys() -> None:
    @dataclass(frozen=True)
    class One(Document):
        SCHEMA = "edgecodec.one"

        model: Model = field(metadata=INLINE)
        """Whose keys stand here."""

    made = json_schema(One)
    assert made["required"] == ["schema", "schema_version", "size_bytes", "label"]
    assert made["properties"]["size_bytes"]["description"] == "Size in bytes."
    assert made["properties"]["schema"] == {"const": "edgecodec.one", "type": "string"}
    assert made["additionalProperties"] is False
    assert "$defs" not in made or made["$defs"] == {}
    definitions = json_schema(Example)["$defs"]
    assert definitions["Crate"]["required"] == ["weight", "lid"]
    assert definitions.keys() == {"Crate", "Model"}, "what is inline alone is defined nowhere else"


def test_values() -> None:
    assert to_json({1: (Colour.RED, Path("a"), np.int16(3), np.float32(0.5), True, None)}) == {
        "1": ["red", "a", 3, 0.5, True, None]
    }
    odd: list[tuple[Any, type[Exception]]] = [
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        (object(), TypeError),
        (np.zeros(2), TypeError),
        (Example, TypeError),
        (Model, TypeError),
    ]
    for value, error in odd:
        with pytest.raises(error, match="in a document"):
            to_json(value)
