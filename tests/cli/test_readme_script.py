"""The script of the README does the whole road, and the public face is as README and help say."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import typing
from pathlib import Path

import pytest
import yaml

import edgecodec
from edgecodec.bundle import Bundle
from tests.cli.run import edgecodec as edgecodec_process
from tests.tflite_builder import ppg_frames
from tests.tools import require

ROOT = Path(__file__).resolve().parents[2]


def script() -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.mark.slow
@pytest.mark.emulated
def test_script_does_the_whole_road(tmp_path: Path, smoke_config: dict[str, object]) -> None:
    require("module:tensorflow", "module:scipy", "cc", "Python.h")
    (tmp_path / "codec.yaml").write_text(yaml.safe_dump(smoke_config), encoding="utf-8")
    result = subprocess.run(
        [sys.executable, "-c", script()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    printed = result.stdout.splitlines()
    assert [line.partition("(")[0] for line in printed[:3]] == ["Bundle", "Firmware", "ProfileDocument"]
    assert re.fullmatch(r"\d+\.\d ADC counts off in the mean", printed[3])
    assert printed[4].startswith("PrdnSummary(mean=")
    assert (tmp_path / "firmware" / "firmware.elf").is_file()


@pytest.mark.emulated
def test_commands_on_a_bundle_run_one_behind_the_other(tmp_path: Path) -> None:
    require("cc", "Python.h")
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^    edgecodec (.*[^\\])$", text, re.MULTILINE)
    commands = [
        line for line in lines if re.search(r" (bundle|08x_light) ?", line) and not re.search(_TAKES_MORE, line)
    ]
    assert len(commands) >= 16
    shutil.copytree(Bundle.load("08x_light").path, tmp_path / "bundle")
    rows = "\n".join(map(str, ppg_frames(12, 320, 1).reshape(-1)))
    (tmp_path / "ppg.csv").write_text(f"ppg\n{rows}\n", encoding="utf-8")
    for command in commands:
        done = edgecodec_process(*shlex.split(command), cwd=tmp_path)
        assert done.returncode == 0, f"{command}\n{done.stderr}"


_TAKES_MORE = r"^(train|quantize|compare) |nucleo|tcp://|TREE"
"""Data, hardware, a cluster, a report of another day."""


def test_script_is_short() -> None:
    assert len([line for line in script().splitlines() if line.strip()]) <= 20


def test_every_name_of_the_face_is_documented_alone() -> None:
    names = [name for name in dir(edgecodec) if not name.startswith("_") and name not in sys.modules]
    public = {name: getattr(edgecodec, name) for name in names if callable(getattr(edgecodec, name)) and name != "lazy"}
    assert len(public) >= 15
    page = edgecodec.__doc__ or ""
    for name, value in public.items():
        assert name in page, f"{name} is not on the page of help(edgecodec)"
        doc = value.__doc__ or ""
        assert doc, name
        assert not re.match(r"(The same|As |Like )", doc), name
    for name, value in public.items():
        if not isinstance(value, type):
            assert "Raises" in (value.__doc__ or ""), name
            assert "return" in typing.get_type_hints(value, localns=_TYPES), name


_LATER = ("Attachment", "Engine", "Evaluation", "Firmware", "Limits", "ProfileDocument", "VerifyResult")
_TYPES = dict.fromkeys(_LATER, typing.Any)
"""What api.py imports for type checkers alone."""


def test_import_takes_nothing_heavy() -> None:
    heavy = ("numpy", "pydantic", "keras", "tensorflow")
    program = f"import sys, edgecodec; print([name for name in {heavy} if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_help_is_a_page() -> None:
    result = subprocess.run(
        [sys.executable, "-c", "import edgecodec; help(edgecodec)"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PAGER": "cat"},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = result.stdout.splitlines()
    assert len(lines) < 100
    assert max(map(len, lines[: lines.index("PACKAGE CONTENTS")])) <= 88
