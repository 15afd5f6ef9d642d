"""What ``--json`` prints has the keys and types that docs/schemas says, no more and no less."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.run import edgecodec

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "schemas"
TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


def problems(value: Any, schema: dict[str, Any], definitions: dict[str, Any], where: str = "document") -> list[str]:
    """Where ``value`` is not as ``schema`` says, for the part of JSON Schema that the documents use."""
    if "$ref" in schema:
        return problems(value, definitions[schema["$ref"].rpartition("/")[2]], definitions, where)
    if "anyOf" in schema:
        each = [problems(value, choice, definitions, where) for choice in schema["anyOf"]]
        return [] if [] in each else min(each, key=len)
    kind = TYPES[schema["type"]]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        return [f"{where}: {value!r} is no {schema['type']}"]
    if value != schema.get("const", value) or value not in schema.get("enum", [value]):
        return [f"{where}: {value!r} is not allowed"]
    if isinstance(value, list):
        parts = [problems(item, schema["items"], definitions, f"{where}[{i}]") for i, item in enumerate(value)]
        return [found for part in parts for found in part]
    if not isinstance(value, dict) or "properties" not in schema:
        return []
    assert schema["additionalProperties"] is False
    assert schema["required"] == list(schema["properties"])
    if list(value) != schema["required"]:
        return [f"{where}: keys {sorted(value.keys() ^ set(schema['required']))} or their order"]
    parts = [problems(value[key], schema["properties"][key], definitions, f"{where}.{key}") for key in value]
    return [found for part in parts for found in part]


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["boards"], "boards"),
        (["boards", "show", "nucleo-f446re"], "board"),
        (["boards", "show", "mps2-an386"], "board"),
        (["boards", "show", "nosuch"], "error"),
        (["doctor"], "doctor"),
        (["ports"], "ports"),
    ],
)
def test_document_is_as_its_schema_says(arguments: list[str], name: str) -> None:
    document = json.loads(edgecodec(*arguments, "--json").stdout)
    schema = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert problems(document, schema, schema.get("$defs", {})) == []
    assert document["schema"] == f"edgecodec.{name}"


def test_a_wrong_document_is_noticed() -> None:
    schema = json.loads((FOLDER / "ports.json").read_text(encoding="utf-8"))
    definitions = schema["$defs"]
    port = {"device": "COM3", "description": "x", "hardware_id": "y", "vid": 1, "pid": None, "serial_number": None}
    good = {"schema": "edgecodec.ports", "schema_version": 1, "ports": [port | {"boards": ["pico"]}]}
    assert problems(good, schema, definitions) == []
    assert problems(good | {"more": 1}, schema, definitions) == ["document: keys ['more'] or their order"]
    assert problems(good | {"schema": "edgecodec.port"}, schema, definitions)
    lacking = problems(good | {"ports": [port]}, schema, definitions)
    assert lacking == ["document.ports[0]: keys ['boards'] or their order"]
    assert problems(good | {"ports": [good["ports"][0] | {"vid": "1"}]}, schema, definitions)
