"""The folder of a report, which appears whole or not at all."""

from __future__ import annotations

import json
import os
from pathlib import Path

from edgecodec.errors import InputError
from edgecodec.files.atomic import check_folder, replace_folder
from edgecodec.files.regular import read_regular
from edgecodec.files.strict_json import parse_json
from edgecodec.files.writing import writing
from edgecodec.report.documents import ReportDocument
from edgecodec.report.page import html_page, junit_xml
from edgecodec.report.sections import Report

DOCUMENT = "report.json"
JUNIT = "junit.xml"
PAGE = "report.html"
_MOST_BYTES = 1 << 24


def check_report(folder: Path, *, force: bool = False) -> None:
    """Raise InputError where :func:`write_report` would refuse ``folder``, before long work; nothing is made.

    What is there is taken for an earlier report when it is nothing but one's files, ``report.json`` being of its
    schema. Other folders are replaced with ``force`` alone, and the current one, bundles and runs never.
    """
    check_folder(folder, marker=DOCUMENT, force=force)
    target = Path(os.path.realpath(folder))
    if target.is_dir() and not force and any(target.iterdir()) and not _is_report(target):
        raise InputError(f"{folder}: holds other files than a report's", hint="choose an empty folder or pass --force")


def write_report(report: Report, folder: Path, *, force: bool = False) -> None:
    """Write ``report.json``, ``junit.xml`` and ``report.html`` into ``folder``, in the place of an earlier report.

    Raises InputError as :func:`check_report` does, and when it cannot be written.
    """
    check_report(folder, force=force)
    files = {
        DOCUMENT: json.dumps(report.document.to_json(), indent=2, allow_nan=False) + "\n",
        JUNIT: junit_xml(report),
        PAGE: html_page(report),
    }
    with replace_folder(folder, marker=DOCUMENT, force=force) as beside:
        for name, text in files.items():
            with writing(folder):
                (beside / name).write_text(text, encoding="utf-8", newline="\n")


def _is_report(folder: Path) -> bool:
    """Whether a folder holds an earlier report and nothing else."""
    if {path.name for path in folder.iterdir()} - {DOCUMENT, JUNIT, PAGE}:
        return False
    try:
        found = parse_json(read_regular(folder / DOCUMENT, "a report", _MOST_BYTES))
    except (InputError, ValueError):
        return False
    return isinstance(found, dict) and found.get("schema") == ReportDocument.SCHEMA
