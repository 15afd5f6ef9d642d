"""What ``--json`` prints has the keys and types that docs/schemas says, no more and no less."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edgecodec.bundle import Bundle
from tests.cli.run import edgecodec
from tests.tools import require

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "schemas"


def check(document: dict[str, Any], name: str) -> None:
    """Raise ValidationError unless ``document`` is as the schema ``name`` says; keys in its order, too."""
    schema = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    jsonschema.validate(document, schema, cls=jsonschema.Draft202012Validator)
    assert list(document) == list(schema["properties"])


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_schemas_are_schemas_and_leave_nothing_open(path: Path) -> None:
    schema = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    for part in (schema, *(each for each in schema.get("$defs", {}).values() if "properties" in each)):
        assert part["additionalProperties"] is False
        assert part["required"] == list(part["properties"])


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
def test_document(arguments: list[str], name: str) -> None:
    document = json.loads(edgecodec(*arguments, "--json").stdout)
    check(document, name)
    assert document["schema"] == f"edgecodec.{name}"


@pytest.mark.parametrize(
    ("command", "arguments", "name"),
    [
        ("inspect", ["--core", "cortex-m0"], "inspect"),
        ("generate", ["-o", "OUT", "--library"], "generate"),
        ("verify-host", ["--limit", "2"], "verification"),
        ("verify-host", ["--limit", "0"], "error"),
    ],
)
def test_document_of_a_bundle(command: str, arguments: list[str], name: str, bundle: Bundle, tmp_path: Path) -> None:
    require("cc", "Python.h")
    words = [str(tmp_path / "out") if word == "OUT" else word for word in arguments]
    check(json.loads(edgecodec(command, bundle.path, *words, "--json").stdout), name)


@pytest.mark.emulated
def test_document_of_a_firmware(bundle: Bundle, tmp_path: Path) -> None:
    board = ["--board", "mps2-an386"]
    built = edgecodec("build-firmware", bundle.path, *board, "-o", tmp_path / "firmware", "--json")
    check(json.loads(built.stdout), "build")
    check(json.loads((tmp_path / "firmware" / "build-report.json").read_text(encoding="utf-8")), "build")
    check(json.loads(edgecodec("profile", bundle.path, *board, "--limit", "2", "--json").stdout), "profile")
    check(
        json.loads(edgecodec("flash-and-verify", bundle.path, *board, "--limit", "2", "--json").stdout), "verification"
    )
    check(json.loads(edgecodec("flash-and-verify", bundle.path, *board, "--dry-run", "--json").stdout), "commands")


def test_a_wrong_document_is_noticed() -> None:
    port = {"device": "COM3", "description": "x", "hardware_id": "y", "vid": 1, "pid": None, "serial_number": None}
    good = {"schema": "edgecodec.ports", "schema_version": 1, "ports": [port | {"boards": ["pico"]}]}
    check(good, "ports")
    for wrong in (
        good | {"more": 1},
        good | {"schema": "edgecodec.port"},
        good | {"ports": [port]},
        good | {"ports": [good["ports"][0] | {"vid": "1"}]},
    ):
        with pytest.raises(jsonschema.ValidationError):
            check(wrong, "ports")
