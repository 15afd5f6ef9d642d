"""What README and the helps' examples say exists: commands, options, make targets, JSON keys, links."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import click
import pytest

from edgecodec.cli.main import COMMANDS, cli

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


def test_json_tables_of_the_readme_are_the_schemas() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    parts = re.split(r"\[`edgecodec\.\w+`\]\((docs/schemas/\w+\.json)\):\n", text)
    tables = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert len(tables) >= 3
    for path, after in tables.items():
        rows = re.match(r"\n((?:\|.*\n)+)", after)
        assert rows is not None, path
        keys = [key for row in rows[1].splitlines()[2:] for key in re.findall(r"`(\w+)`", row.split("|")[1])]
        schema = json.loads((ROOT / path).read_text(encoding="utf-8"))
        assert sorted(keys) == sorted(schema["properties"].keys() - {"schema", "schema_version"}), path
        for fields in re.findall(r"`\{([^}]*)\}`", rows[1]):
            names = fields.split(", ")
            assert any(names == list(each.get("properties", ())) for each in schema["$defs"].values()), fields
