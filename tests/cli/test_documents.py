"""What README and the helps' examples say exists: commands, options, make targets, JSON keys, links."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import click
import pytest

from edgecodec.bundle import Bundle
from edgecodec.cli.main import COMMANDS, cli
from edgecodec.documents import json_schema
from edgecodec.verify.documents import VerificationDocument
from tests.cli.run import edgecodec
from tests.tools import require

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(path for path in ROOT.glob("*.md") if path.name != "CHANGELOG.md")


def command_lines(text: str) -> list[str]:
    """Indented lines that start with ``edgecodec``, continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", text)
    return [line.strip() for line in joined.splitlines() if re.match(r"\s+edgecodec ", line)]


def parse(line: str) -> None:
    """Parse a command line as click would, without running it. Raises click.UsageError."""
    words = shlex.split(line)
    assert words[0] == "edgecodec"
    command = cli.get_command(click.Context(cli), words[1])
    assert command is not None, line
    command.make_context(words[1], words[2:])


def examples() -> list[str]:
    lines = [line for path in DOCUMENTS for line in command_lines(path.read_text(encoding="utf-8"))]
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        lines += command_lines(command.epilog or "")
    return lines


@pytest.mark.parametrize("line", examples())
def test_command_line_parses(line: str) -> None:
    parse(line)


def test_readme_names_every_command() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"edgecodec {name}" not in text] == []
    assert [name for name in re.findall(r"`edgecodec ([a-z-]+)", text) if name not in COMMANDS] == []


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for path in DOCUMENTS:
        named = re.findall(r"(?:^    |`)make ([a-z]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert set(named) <= targets, path.name


def test_links_lead_somewhere() -> None:
    for path in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", path.read_text(encoding="utf-8")):
            assert (ROOT / target).exists(), f"{path.name}: {target}"


def test_json_keys_of_the_readme(bundle: Bundle) -> None:
    require("cc", "Python.h")
    result = edgecodec("verify-host", bundle.path, "--limit", "2", "--json")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    table = text.partition("For `verify-host` and `flash-and-verify`:")[2].partition("An error is")[0]
    keys = {key for row in re.findall(r"^\|(.*?)\|", table, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)}
    assert {"verdict", "pairs", "ram_bytes"} <= keys
    assert keys <= document.keys()
    assert list(document) == list(json_schema(VerificationDocument)["properties"])
    assert document["schema"] == VerificationDocument.SCHEMA
