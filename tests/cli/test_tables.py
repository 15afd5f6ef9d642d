"""Tables that fit the terminal, and the colour of the verdict."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.console import Console

from edgecodec.bundle import Bundle
from edgecodec.cli.tables import facts, table
from tests.cli.run import edgecodec

HEADER = ("layer", "runs", "because", "bytes")
ROWS = [
    ("enc_s1_conv_1", "edc_conv_paired", "four products a multiplication, and no lane overflows", 12345),
    ("enc_s3_dw_1", "edc_depthwise_paired", "four products a multiplication", 7),
]


def printed(width: int, rows: list[tuple[object, ...]] = ROWS) -> list[str]:
    file = io.StringIO()
    table(Console(file=file, width=width, highlight=False, markup=False), HEADER, rows)
    return file.getvalue().splitlines()


def test_wide_console_has_a_line_for_each_row() -> None:
    lines = printed(120)
    assert len(lines) == 2 + len(ROWS)
    assert lines[2].split()[:4] == ["enc_s1_conv_1", "edc_conv_paired", "four", "products"]
    assert lines[2].endswith("overflows  12,345")


@pytest.mark.parametrize("width", [120, 80, 72, 66, 60, 50, 40])
def test_no_word_is_broken(width: int) -> None:
    lines = printed(width)
    assert max(map(len, lines)) <= width or "four products a multiplication, and no lane overflows" in "\n".join(lines)
    text = " ".join(lines)
    for word in {word for row in ROWS for cell in row[:3] for word in str(cell).split()} | {"12,345"}:
        assert word in text


def test_narrow_console_has_a_block_for_each_row() -> None:
    assert printed(40) == [
        "layer    enc_s1_conv_1",
        "runs     edc_conv_paired",
        "because  four products a multiplication, and no lane overflows",
        "bytes    12,345",
        "",
        "layer    enc_s3_dw_1",
        "runs     edc_depthwise_paired",
        "because  four products a multiplication",
        "bytes    7",
    ]


@pytest.mark.parametrize("arguments", [["inspect"], ["boards"], ["doctor"]])
def test_tables_of_commands_fit_80_columns(arguments: list[str], bundle: Bundle) -> None:
    command = [*arguments, str(bundle.path)] if arguments == ["inspect"] else arguments
    result = edgecodec(*command, env={"COLUMNS": "80"})
    rules = [line for line in result.stdout.splitlines() if set(line.strip()) == {"\u2500"}]
    assert rules, "there is a table"
    tables = "\n".join(rules)
    assert max(map(len, tables.splitlines())) <= 80
    for word in ("edc_", "mps2-an386", "stm32vldiscovery"):
        for found in re.findall(rf"{word}\S*", result.stdout):
            assert not found.endswith("_")


@pytest.mark.parametrize(("verdict", "code"), [("equal", "1;32"), ("different", "1;31"), ("undecided", "1;33")])
def test_colour_of_the_verdict(verdict: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def shown(**options: Any) -> str:
        file = io.StringIO()
        facts(Console(file=file, highlight=False, **options), {"a": 1, "verdict": verdict})
        return file.getvalue()

    for variable in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert f"\x1b[{code}m{verdict}\x1b[0m" in shown(force_terminal=True)
    assert shown() == f"a        1\nverdict  {verdict}\n"
    monkeypatch.setenv("NO_COLOR", "1")
    assert f"{code}m" not in shown(force_terminal=True)
