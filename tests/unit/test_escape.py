"""Texts from outside in what is generated: each language's escaping, and that no template prints a text without one."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
import pytest
from jinja2 import nodes

from edgecodec.boards.load import list_boards, load_board
from edgecodec.bundle import Bundle
from edgecodec.compile.plan import make_plan
from edgecodec.compile.render import _environment, render_codec, render_template
from edgecodec.files.escape import FILTERS, c_comment, c_string, cmake_argument, markdown_text, shell_word
from edgecodec.files.resources import templates_dir
from edgecodec.firmware.project import make_project
from edgecodec.report import page
from tests.tflite_builder import CONV, LayerSpec, build_encoder, bundle_of
from tests.tools import require

HOSTILE = (
    "x */ int evil; /* y",
    'x", evil, "',
    "a\\",
    "a\\\\\\",
    "one\ntwo",
    "one\r\n#define evil",
    "a; evil",
    "$(touch evil)",
    "`touch evil`",
    "${CMAKE_COMMAND} $ENV{HOME} @evil@",
    "<script>evil</script>",
    "&lt;",
    "*/??/",
    "what??/",
    "??>*??/",
    "/*/*/**//*",
    "\u202egnp.live\u2066",
    "a\u2028b\u2029c\x85d",
    "# evil",
    "'; evil '",
    "-evil",
    "[[evil]] ]=] [=[",
    "tab\tbell\a",
    "\u00b5 \U0001fac0",
    " ",
)
PLAIN_WORDS = (" ", "-evil", "[[evil]] ]=] [=[")
"""Of them, what does no harm as it is."""
PLAIN = """
    activation activation_bytes arena_bytes arrays blob blob.alignment blob.data blob.memory_bytes board
    board.core board.cpu.flags board.emulator.machine board.emulator.serial board.flash.pyocd.target
    board.memory.flash.length board.memory.flash.origin board.memory.ram.length board.memory.ram.origin
    board.name board.setup board.setup.core_hz board.setup.function board.setup.pins.rx board.setup.pins.tx
    board.setup.rx board.setup.tx board.timer.base board.timer.clock_hz board.timer.counts board.timer.hz
    board.uart.base board.uart.baud board.uart.clock_hz board.uart.rx_irq board.window
    bundle.codec.bits_per_frame bundle.codec.levels bundle.codec.positions bundle.codec.samples bundle.digest
    bundle.rate_hz cascade.first cascade.last cascade.members cascades channels codebook_sizes constant_bytes
    core debug_stack_bytes digest engine.alignment_bytes engine.languages engine.link_options exception_bytes
    field has_vtor header index_bits index_count kernel.name kernel.number kernels latent_bytes layer.id
    layer.layer.accumulator_bound layer.layer.activation layer.layer.op layer.layer.padding layer.scratch
    layer.step.kernel layer.step.kernel.struct layer.step.source.offset_bytes layer.step.source.rows
    layer.step.stripe layer.step.target.is_whole layer.step.target.offset_bytes layer.step.target.size_bytes
    layer_count levels license looks loop.first macro member memory method model.size model_source moves name
    normalizer.function normalizer.kind numerics offset_bytes op.code op.header op.method op.registration ops
    optimize optimize_flag packets packets.header packets.index_bits packets.levels packets.model
    packets.plain_bytes packets.positions packets.samples packets.side packets.state_bytes packets.tables
    packets.tag places.input places.latent places.residual plan.state_bytes positions prefix preset rate_mhz
    registration rows_offset_bytes samples search search.codebook_struct search.struct source stack_bytes
    state_bytes step storage structure.ctype structure.name structure.rows symbol table.ctype table.name
    table.size target title value version version_major version_minor work_words
"""
"""What templates print as it is: numbers, and names that edgecodec gives or a pattern of the board's file holds to."""


def unescaped(node: nodes.Node) -> Iterator[str]:
    """Names of what an expression prints without one of the filters that escape."""
    if isinstance(node, nodes.Filter) and node.name in FILTERS:
        return
    chain: list[str] = []
    inner: Any = node
    while isinstance(inner, nodes.Getattr):
        chain.insert(0, inner.attr)
        inner = inner.node
    if isinstance(inner, nodes.Name):
        yield ".".join([inner.name, *chain])
        return
    if chain:
        yield chain[-1]
    for child in node.iter_child_nodes():
        yield from unescaped(child)


def printed_by(source: str) -> set[str]:
    tree = _environment().parse(source)
    return {name for output in tree.find_all(nodes.Output) for each in output.nodes for name in unescaped(each)}


@pytest.mark.parametrize("path", sorted(templates_dir().glob("*.j2")), ids=lambda path: path.name)
def test_template_escapes_its_texts(path: Path) -> None:
    if path.name.endswith((".html.j2", ".xml.j2")):
        # Pages of the report, whose environment escapes all that no filter and no block keeps it from.
        assert page._environment().autoescape is True
        assert not re.search(r"\|\s*safe|autoescape", path.read_text())
        return
    assert printed_by(path.read_text()) <= set(PLAIN.split()), "pass it through a filter of edgecodec.files.escape"


def test_text_without_a_filter_is_found() -> None:
    assert printed_by("/* {{ board.description }} {{ 'a' ~ layer.layer.name | upper }} */") == {
        "board.description",
        "layer.layer.name",
    }
    assert printed_by("{{ board.description | comment }}") == set()


@pytest.mark.parametrize("text", HOSTILE)
def test_template_that_forgets_is_an_error(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = _environment().overlay(loader=jinja2.DictLoader({"bad.j2": "/* {{ text }} */"}))
    monkeypatch.setattr("edgecodec.compile.render._environment", lambda: environment)
    if text in PLAIN_WORDS:
        assert render_template("bad.j2", text=text) == f"/* {text} */"
        return
    with pytest.raises(ValueError, match="unescaped"):
        render_template("bad.j2", text=text)


def test_texts_in_c_are_texts(tmp_path: Path) -> None:
    """As strings they are what they were; comments end where they end, with trigraphs and all warnings."""
    require("gcc")
    lines = ["#include <stdio.h>", "#include <string.h>", "int main(void) {", "  int wrong = 0;"]
    for text in HOSTILE:
        expected = ", ".join(str(byte) for byte in (*text.encode(), 0))
        lines += [
            f"  /* {c_comment(text)} */ {{",
            f"    static const char found[] = {c_string(text)};",
            f"    static const unsigned char expected[] = {{{expected}}};",
            "    wrong += sizeof found != sizeof expected || memcmp(found, expected, sizeof found) != 0;",
            "  }",
        ]
    lines += ["  return wrong;", "}", ""]
    (tmp_path / "texts.c").write_text("\n".join(lines), encoding="utf-8")
    flags = ["-std=c11", "-trigraphs", "-Wall", "-Wextra", "-Wbidi-chars=any", "-Werror"]
    subprocess.run(["gcc", *flags, "texts.c", "-o", "texts"], cwd=tmp_path, check=True)
    assert subprocess.run([tmp_path / "texts"], check=False).returncode == 0


def test_texts_in_a_linker_script_are_comments(tmp_path: Path) -> None:
    require("gcc", "ld")
    (tmp_path / "a.c").write_text("int a;\n")
    subprocess.run(["gcc", "-c", "a.c"], cwd=tmp_path, check=True)
    comments = "".join(f"/* {c_comment(text)} */\n" for text in HOSTILE)
    (tmp_path / "a.ld").write_text(comments + "SECTIONS { .data : { *(.data) *(.bss) } }\n", encoding="utf-8")
    done = subprocess.run(
        ["ld", "-T", "a.ld", "a.o", "-o", "a"], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_texts_in_cmake_are_one_argument(tmp_path: Path) -> None:
    require("cmake")
    lines = []
    for number, text in enumerate(HOSTILE):
        lines += [f"list(LENGTH {number}_ unused)", f"file(WRITE {number}.txt {cmake_argument(text)})"]
    (tmp_path / "a.cmake").write_text("\n".join(lines) + "\n", encoding="utf-8")
    subprocess.run(["cmake", "-P", "a.cmake"], cwd=tmp_path, check=True, capture_output=True)
    for number, text in enumerate(HOSTILE):
        assert (tmp_path / f"{number}.txt").read_bytes().decode() == text


def test_texts_in_a_command_are_one_word(tmp_path: Path) -> None:
    require("sh")
    for text in HOSTILE:
        done = subprocess.run(
            ["sh", "-c", f"printf '%s\\n' {shell_word(text)}"], cwd=tmp_path, check=True, capture_output=True, text=True
        )
        assert len(done.stdout.splitlines()) == 1
        assert done.stdout.split() == "".join(char if char.isprintable() else " " for char in text).split()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_in_markdown_are_text(text: str) -> None:
    shown = markdown_text(text)
    assert "\n" not in shown
    assert not any(mark in shown.replace("\\" + mark, "") for mark in "<`[&*")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    encoder = build_encoder([LayerSpec(CONV, 4, 3, 2, "SAME")], 16, seed=0)
    return bundle_of(tmp_path_factory.mktemp("escape") / "bundle", encoder, sizes=(4,))


@pytest.mark.parametrize("text", HOSTILE)
def test_project_of_a_hostile_board(text: str, bundle: Bundle, tmp_path: Path) -> None:
    """What the board's file says in words changes no token of any file, even where its own checks let it through."""
    require("gcc")
    board = load_board("mps2-an386")
    assert board.emulator is not None
    good = make_project(bundle, board).files
    emulator = board.emulator.model_copy(update={"args": (text,)})
    files = make_project(bundle, board.model_copy(update={"description": text, "emulator": emulator})).files
    assert {name for name in good if files[name] != good[name]} <= {"edc_board.h", "README.md"}
    for name, made in (("good", good), ("bad", files)):
        (tmp_path / f"{name}.h").write_text(made["edc_board.h"], encoding="utf-8")
    command = ["gcc", "-trigraphs", "-Wall", "-Wbidi-chars=any", "-Werror", "-fsyntax-only", "-x", "c"]
    subprocess.run([*command, "bad.h"], cwd=tmp_path, check=True)
    tokens = [
        subprocess.run(
            ["gcc", "-E", "-P", "-dM", "-x", "c", f"{name}.h"], cwd=tmp_path, check=True, capture_output=True
        ).stdout
        for name in ("good", "bad")
    ]
    assert tokens[0] == tokens[1]


@pytest.mark.parametrize("text", [text for text in HOSTILE if text not in PLAIN_WORDS])
def test_name_that_is_no_plain_word_is_no_boards(text: str, bundle: Bundle) -> None:
    """Where a name is printed as it is, one that got past the board's own checks goes no further."""
    board = load_board("mps2-an386").model_copy(update={"name": text})
    with pytest.raises(ValueError, match="unescaped"):
        make_project(bundle, board)


def test_every_board_is_printed(bundle: Bundle) -> None:
    for board in list_boards():
        assert make_project(bundle, board).files


def test_name_of_a_bundle_is_a_string_in_c(bundle: Bundle, tmp_path: Path) -> None:
    require("gcc")
    for text in HOSTILE:
        made = replace(bundle, manifest=bundle.manifest.model_copy(update={"name": text}))
        source = render_codec(made, make_plan(made.codec))["ppg_model.c"]
        assert source.count(f".name = {c_string(text)},") == 1
        assert source.isascii()
