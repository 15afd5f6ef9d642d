"""Every key of a YAML file is described, and the page and schemas that are made of the descriptions are as kept."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from edgecodec.boards.schema import Board
from edgecodec.documents import input_schema
from edgecodec.training.config import TrainConfig
from tools.keys import FILES, PAGE, page, schema_of, schemas

ROOT = Path(__file__).resolve().parents[2]
KEPT = schemas()


def kept(path: Path, text: str) -> None:
    if os.environ.get("EDGECODEC_UPDATE_GOLDEN") == "1":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text, "run `make golden` and look at the difference"


def test_page() -> None:
    kept(PAGE, page())


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_schema(path: Path) -> None:
    kept(path, KEPT[path])


@pytest.mark.parametrize("model", FILES.values())
def test_every_key_has_a_description(model: type[BaseModel]) -> None:
    schema = schema_of(model)
    for section in (schema, *schema["$defs"].values()):
        for key, content in section["properties"].items():
            words = content["description"].split()
            assert len(words) >= 2, key
            assert content["description"].endswith("."), key


def test_key_without_a_description_is_noticed() -> None:
    class Undescribed(BaseModel):
        key: int = 1

    with pytest.raises(TypeError, match=r"Undescribed\.key has no docstring"):
        input_schema(Undescribed)


def allowed(value: Any, content: dict[str, Any], schema: dict[str, Any]) -> bool:
    """Whether ``value`` is of the type that ``content`` names, keys of sections included."""
    if "$ref" in content:
        return allowed(value, schema["$defs"][content["$ref"].rpartition("/")[2]], schema)
    if "anyOf" in content:
        return any(allowed(value, each, schema) for each in content["anyOf"])
    if "enum" in content:
        return value in content["enum"]
    kinds = content["type"] if isinstance(content["type"], list) else [content["type"]]
    if isinstance(value, dict):
        properties = content.get("properties", {})
        return "object" in kinds and all(
            key in properties and allowed(inner, properties[key], schema) for key, inner in value.items()
        )
    if isinstance(value, bool):
        return "boolean" in kinds
    found = {int: "integer", float: "number", str: "string", list: "array", type(None): "null"}[type(value)]
    return found in kinds or (found == "integer" and "number" in kinds)


@pytest.mark.parametrize(
    ("model", "file"),
    [(TrainConfig, file) for file in sorted((ROOT / "edgecodec" / "presets").glob("*.yaml"))]
    + [(Board, file) for file in sorted((ROOT / "firmware" / "boards").glob("*.yaml"))],
    ids=lambda value: value.stem if isinstance(value, Path) else "",
)
def test_files_that_ship_are_what_the_schema_allows(model: type[BaseModel], file: Path) -> None:
    schema = json.loads(json.dumps(schema_of(model)))
    assert allowed(yaml.safe_load(file.read_text()), schema, schema)
    assert not allowed({"nonsense": 1}, schema, schema)
