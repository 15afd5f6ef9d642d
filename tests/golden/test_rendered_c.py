"""The C rendered for a fixed bundle, byte for byte. `make golden` writes it anew; review the difference."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import jinja2
import jinja2.nodes
import pytest

from edgecodec.bundle import Bundle
from edgecodec.compile.blob import kernel_set, target_kernels
from edgecodec.compile.library import codec_files, write_sources
from edgecodec.compile.plan import make_plan
from edgecodec.compile.render import render_codec, render_template
from edgecodec.compile.target import DEFAULT_TARGET, Target
from edgecodec.entropy.packet_file import PacketConstants
from edgecodec.entropy.side_information import SideInformation
from edgecodec.errors import InputError
from edgecodec.files.escape import c_comment, c_string, checked
from edgecodec.files.resources import templates_dir
from tests.packets import tables
from tests.tflite_builder import bundle_of, small_encoder

GOLDEN = Path(__file__).parent / "model"
GENERATED = ("ppg_model.c", "ppg_model.h")


@pytest.mark.parametrize("name", GENERATED)
def test_rendered_as_before(bundle: Bundle, name: str) -> None:
    text = render_codec(bundle, make_plan(bundle.codec))[name]
    golden = GOLDEN / name
    if os.environ.get("EDGECODEC_UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.parametrize("name", GENERATED)
def test_rendered_with_packets_as_before(tmp_path: Path, name: str) -> None:
    packets = PacketConstants(SideInformation(64, 8, 8, 2048), tables(1, 8, (29, 13), 700))
    bundle = bundle_of(tmp_path / "bundle", small_encoder(), packets=packets)
    text = render_codec(bundle, make_plan(bundle.codec))[name]
    golden = GOLDEN / f"packets_{name}"
    if os.environ.get("EDGECODEC_UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


def test_kernel_set_as_before() -> None:
    """Numbers change with structures, and then files that are out already open no more."""
    names = {name for target in (DEFAULT_TARGET, Target(vectors=True)) for name in target_kernels(target)}
    text, golden = kernel_set("ppg", sorted(names)), GOLDEN / "all_kernels.c"
    if os.environ.get("EDGECODEC_UPDATE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


def test_twice_rendered_is_identical(bundle: Bundle, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_sources(Bundle.load(bundle.path), tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert set(GENERATED) < set(files)
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_library_holds_what_its_sources_include(bundle: Bundle) -> None:
    files = codec_files(bundle, make_plan(bundle.codec))
    included = {line.split('"')[1] for text in files.values() for line in text.splitlines() if '#include "' in line}
    assert included <= set(files)


def test_library_never_replaces_a_foreign_folder(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(InputError, match="holds other files"):
        write_sources(bundle, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_template_with_a_missing_name_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError):
        render_template("model.h.j2")


def _literals(node: jinja2.nodes.Node) -> Iterator[str]:
    """Texts that an expression may print as they stand in the template, filters of escaping aside."""
    if isinstance(node, jinja2.nodes.Const) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, jinja2.nodes.CondExpr):
        for child in (node.expr1, node.expr2):
            if child is not None:
                yield from _literals(child)
    elif isinstance(node, jinja2.nodes.BinExpr | jinja2.nodes.Concat):
        for child in node.iter_child_nodes():
            yield from _literals(child)


def test_no_template_refuses_a_text_of_its_own() -> None:
    """What is printed only for some bundles would be refused when the first of them comes."""
    environment, found = jinja2.Environment(), 0
    for path in sorted(templates_dir().glob("*.j2")):
        if path.name.endswith(".html.j2"):
            continue  # escaped by Jinja
        for output in environment.parse(path.read_text(encoding="utf-8")).find_all(jinja2.nodes.Output):
            for text in (text for node in output.nodes for text in _literals(node)):
                assert checked(text) == text, path.name
                found += 1
    assert found > 5


@pytest.mark.parametrize(
    ("text", "literal"),
    [
        ("08x ppg", '"08x ppg"'),
        ('a"b\\c\n??/', r'"a\042b\134c\012\077\077/"'),
        ("\u00b5 */", r'"\302\265 */"'),
        ("", '""'),
    ],
)
def test_text_of_a_bundle_as_a_c_string(text: str, literal: str) -> None:
    assert c_string(text) == literal


def test_text_of_a_bundle_in_a_c_comment() -> None:
    assert c_comment("x */ int y; /* \n#define z") == "x * / int y; / * #define z"


@pytest.mark.parametrize("prefix", ["", "PPG", "1x", "edc", "edc_x", "a-b", "a b", "a" * 33, "\u00b5", "x\n"])
def test_prefixes_that_start_no_name(bundle: Bundle, prefix: str) -> None:
    with pytest.raises(InputError, match=r"prefix .*; expected"):
        render_codec(bundle, make_plan(bundle.codec), prefix)
