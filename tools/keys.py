"""What the YAML files of edgecodec may say, from the classes that check them: a page, and schemas for editors."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgecodec.boards.schema import Board
from edgecodec.documents import Json, input_schema
from edgecodec.training.config import TrainConfig

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "config.md"
SCHEMAS = DOCS / "schemas" / "yaml"
FILES = {"train": TrainConfig, "board": Board}
"""Kind of file to the class that checks it."""
_HEAD = """# Keys of YAML files

Written by `make golden` from the classes that check these files. An unknown key is refused with the nearest known one.
An editor that knows YAML completes keys and shows what they mean with a first line that names the schema, the language
server's, say:

    # yaml-language-server: $schema=.../docs/schemas/yaml/train.json
"""
_TITLES = {
    "train": "Training configuration\n\nThe file of `edgecodec train CONFIG`; `--set data.epochs=3` replaces one key. "
    "Every key may be left out.",
    "board": "Board file\n\nA file of `firmware/boards`, or your own by its path: `--board ./my-board.yaml`.",
}


schema_of = functools.cache(input_schema)
"""The JSON Schema of what a class reads; reading its docstrings takes a second."""


def page() -> str:
    """The Markdown of :data:`PAGE`."""
    parts = [_HEAD]
    for kind, model in FILES.items():
        schema = schema_of(model)
        parts.append(f"## {_TITLES[kind]}\n")
        for path, section in _sections(schema, schema, ""):
            parts.append(_table(path, section, schema))
    return "\n".join(parts)


def schemas() -> dict[Path, str]:
    """The JSON Schema of each kind of file, by where it is kept."""
    return {SCHEMAS / f"{kind}.json": json.dumps(schema_of(model), indent=2) + "\n" for kind, model in FILES.items()}


def _sections(section: Json, schema: Json, path: str) -> Iterator[tuple[str, Json]]:
    """Each section with its path, the outer before the inner."""
    yield path, section
    for key, content in section["properties"].items():
        inner = _inner(content, schema)
        if inner is not None:
            yield from _sections(inner, schema, f"{path}.{key}" if path else key)


def _inner(content: Json, schema: Json) -> Json | None:
    """The section that a key holds, or None."""
    references = [content, *content.get("anyOf", ()), content.get("items", {})]
    for each in references:
        if "$ref" in each:
            found: Json = schema["$defs"][each["$ref"].rpartition("/")[2]]
            return found
    return None


def _table(path: str, section: Json, schema: Json) -> str:
    required = section.get("required", ())
    lines = [f"### `{path}`\n"] if path else []
    lines += ["| key | value | default | |", "|---|---|---|---|"]
    for key, content in section["properties"].items():
        inner = _inner(content, schema) is not None
        many = content.get("type") == "array"
        value = ("list of sections" if many else "section") if inner else _value(content)
        default = "required" if key in required else "" if inner else _code(content.get("default"))
        text = content["description"].replace("``", "`").replace("|", "\\|")
        lines.append(f"| `{key}` | {value} | {default} | {text} |")
    return "\n".join(lines) + "\n"


def _value(content: Json) -> str:
    """What a key may hold."""
    if "anyOf" in content:
        return " or ".join(_value(each) for each in content["anyOf"] if each.get("type") != "null")
    if "enum" in content or "const" in content:
        return ", ".join(_code(each) for each in content.get("enum", [content.get("const")]))
    kind = content.get("type")
    if isinstance(kind, list):
        return " or ".join(_value({**content, "type": each}) for each in kind)
    if kind in ("integer", "number"):
        return ("whole number" if kind == "integer" else "number") + _range(content)
    if kind == "array":
        items = content.get("prefixItems")
        return f"list of {len(items)} numbers" if items else f"list ({_value(content['items'])})"
    return {"boolean": "true, false", "string": "text"}.get(str(kind), "any")


def _range(content: Json) -> str:
    bounds = {
        "minimum": "from {}",
        "exclusiveMinimum": "above {}",
        "maximum": "to {}",
        "exclusiveMaximum": "below {}",
    }
    return "".join(f" {text.format(_number(content[key]))}" for key, text in bounds.items() if key in content)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _code(value: Any) -> str:
    return "" if value is None else f"`{value if isinstance(value, str) else json.dumps(value)}`"
