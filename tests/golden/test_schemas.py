"""The JSON Schema of each document that a command prints: as kept in docs/schemas, and true of what is printed."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path

import pytest

from edgecodec.documents import Document, json_schema

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "schemas"
DOCUMENTS = (
    "edgecodec.boards.documents.BoardDocument",
    "edgecodec.boards.documents.BoardsDocument",
    "edgecodec.cli.commands_document.CommandsDocument",
    "edgecodec.cli.decode.DecodeDocument",
    "edgecodec.cli.encode.EncodeDocument",
    "edgecodec.cli.error_document.ErrorDocument",
    "edgecodec.cli.generate.GenerateDocument",
    "edgecodec.cli.quantize_document.QuantizeDocument",
    "edgecodec.cli.refit.RefitDocument",
    "edgecodec.cli.train.TrainDocument",
    "edgecodec.compile.inspect.InspectDocument",
    "edgecodec.demo.DemoDocument",
    "edgecodec.device.ports.PortsDocument",
    "edgecodec.doctor.DoctorDocument",
    "edgecodec.evaluation.rate_distortion.Evaluation",
    "edgecodec.firmware.report.BuildReport",
    "edgecodec.quantization.check.CheckDocument",
    "edgecodec.report.comparison.ComparisonDocument",
    "edgecodec.report.documents.ReportDocument",
    "edgecodec.verify.documents.VerificationDocument",
    "edgecodec.verify.profile.ProfileDocument",
)
"""Module and class of each."""


def document_class(path: str) -> type[Document]:
    module, name = path.rsplit(".", 1)
    found: type[Document] = getattr(importlib.import_module(module), name)
    return found


@pytest.mark.parametrize("path", DOCUMENTS)
def test_schema(path: str) -> None:
    document = document_class(path)
    kept = FOLDER / f"{document.SCHEMA.removeprefix('edgecodec.')}.json"
    text = json.dumps(json_schema(document), indent=2) + "\n"
    if os.environ.get("EDGECODEC_UPDATE_GOLDEN") == "1":
        FOLDER.mkdir(exist_ok=True)
        kept.write_text(text, encoding="utf-8")
    assert kept.read_text(encoding="utf-8") == text, "run `make golden` and look at the difference"


def test_each_document_has_a_schema_of_its_own() -> None:
    names = [document_class(path).SCHEMA for path in DOCUMENTS]
    assert sorted({f"{name.removeprefix('edgecodec.')}.json" for name in names}) == sorted(
        path.name for path in FOLDER.glob("*.json")
    )
    assert len(set(names)) == len(names)
