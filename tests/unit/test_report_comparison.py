"""``compare``: rules by hand, figures by their names, and documents that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgecodec.errors import InputError
from edgecodec.report.comparison import Outcome, Rule, compare_documents

KIND = {"schema": "edgecodec.example", "schema_version": 1}
A = {
    **KIND,
    "verdict": "equal",
    "flash_bytes": 1000,
    "instructions_per_frame": 50.0,
    "prdn": {"mean": 2.0, "worst": 4.0},
    "memory": {"flash_bytes": 7, "stack_bytes": 100},
    "layers": [{"name": "one", "cost": 1.0}, {"name": "two.x", "cost": 2.0}, {"name": "two.x", "cost": 3.0}],
    "pairs": [
        {"a": "x", "b": "y", "stage": "latent", "compared": 9, "mismatches": 1, "exact": True},
        {"a": "keras", "b": "y", "stage": "latent", "compared": 9, "mismatches": 5, "exact": False},
    ],
    "ok": True,
    "nothing": None,
}


def file(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def outcome(tmp_path: Path, rule: str, **changed: Any) -> bool:
    """Whether a rule hits, of :data:`A` beside itself with other values."""
    document = compare_documents(file(tmp_path, "a", A), file(tmp_path, "b", A | changed), [Rule.parse(rule)])
    assert (document.verdict == Outcome.FAILED) == document.rules[0].failed
    return document.rules[0].failed


@pytest.mark.parametrize(
    ("rule", "value", "hit"),
    [
        ("flash>+2%", 1020, False),
        ("flash>+2%", 1021, True),
        ("flash>=+2%", 1020, True),
        ("flash < -10%", 899, True),
        ("flash<-10%", 900, False),
        ("flash<=-10%", 900, True),
        ("flash_bytes>+5", 1005, False),
        ("flash_bytes>+5", 1006, True),
        ("flash>1024", 1024, False),
        ("flash>1024", 1025, True),
        ("flash!=+0", 1000, False),
        ("flash!=+0", 1001, True),
        ("flash!=1001.", 1001, False),
        ("flash>+1.5%", 1015, False),
    ],
)
def test_rules(tmp_path: Path, rule: str, value: int, hit: bool) -> None:
    assert outcome(tmp_path, rule, flash_bytes=value) == hit


def test_percents_of_nothing_and_of_less_than_nothing() -> None:
    assert Rule.parse("x>+2%").hits(0, 1)
    assert not Rule.parse("x>+2%").hits(0, 0)
    assert Rule.parse("x>+10%").limit(-50) == -45


@pytest.mark.parametrize(
    "text", ["", "flash", "flash>", ">2", "flash=2", "flash>two", "flash>1e3", "flash>2%", "flash>+-2"]
)
def test_what_is_no_rule(text: str) -> None:
    with pytest.raises(InputError, match=r"is no rule; expected NAME|percents are of a change"):
        Rule.parse(text)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("instructions", "instructions_per_frame"),
        ("mean", "prdn.mean"),
        ("prdn.worst", "prdn.worst"),
        ("stack", "memory.stack_bytes"),
        ("memory.flash", "memory.flash_bytes"),
        ("layers.one.cost", "layers.one.cost"),
        ("layers.two.x/2.cost", "layers.two.x/2.cost"),
        ("pairs.x/y/latent.mismatches", "pairs.x/y/latent.mismatches"),
        ("mismatches", "mismatches"),
    ],
)
def test_names(tmp_path: Path, name: str, found: str) -> None:
    document = compare_documents(file(tmp_path, "a", A), file(tmp_path, "b", A), [Rule.parse(f"{name}!=+0")])
    assert document.rules[0].name == found


def test_mismatches_are_those_of_the_verdict(tmp_path: Path) -> None:
    assert outcome(tmp_path, "mismatches!=1") is False


def test_names_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no figure is called 'flsh'; there are flash_bytes, .*prdn\.mean"):
        outcome(tmp_path, "flsh>+2%")
    with pytest.raises(InputError, match=r"'compared' may be pairs\.x/y/latent\.compared, pairs\.keras"):
        outcome(tmp_path, "compared>0")
    b = {key: value for key, value in A.items() if key != "flash_bytes"}
    with pytest.raises(InputError, match="the second document has no flash_bytes"):
        compare_documents(file(tmp_path, "a", A), file(tmp_path, "b", b), [Rule.parse("flash_bytes>0")])


def test_what_changed(tmp_path: Path) -> None:
    b = A | {"verdict": "different", "flash_bytes": 1100, "prdn": {"mean": 2.0}, "more": 0}
    document = compare_documents(file(tmp_path, "a", A), file(tmp_path, "b", b))
    assert [tuple(vars(each).values()) for each in document.texts] == [("verdict", "equal", "different")]
    assert [tuple(vars(each).values()) for each in document.changes] == [
        ("flash_bytes", 1000, 1100, 100, 10.0),
        ("prdn.worst", 4.0, None, None, None),
        ("more", None, 0, None, None),
    ]
    assert (document.verdict, document.kind) == ("passed", "edgecodec.example")


def test_a_report_is_compared_as_its_command_s_document(tmp_path: Path) -> None:
    result = {key: value for key, value in A.items() if key != "prdn"}
    report = {"schema": "edgecodec.report", "schema_version": 1, "date": "now", "quality": {"mean": 3.0}}
    one = file(tmp_path, "a", report | {"result": result})
    quality = compare_documents(one, one, [Rule.parse("prdn.mean!=3")])
    assert quality.verdict == "passed"
    beside = compare_documents(one, file(tmp_path, "b", result | {"flash_bytes": 1001}))
    assert [change.name for change in beside.changes] == ["flash_bytes", "prdn.mean"]
    assert [change.is_detail for change in beside.changes] == [False, True]
    # What the command's own document says of it goes first.
    own = compare_documents(one, file(tmp_path, "b", report | {"result": A}))
    assert [(change.name, change.b) for change in own.changes] == [
        ("prdn.mean", A["prdn"]["mean"]),
        ("prdn.worst", 4.0),
    ]
    assert beside.texts == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no JSON document"),
        ("{", "no JSON document"),
        ("[1]", "expected an object"),
        ("{}", "expected keys schema"),
        ('{"schema": "other", "schema_version": 1}', "expected keys schema"),
        ('{"schema": "edgecodec.a", "schema_version": 1, "x": NaN}', r"NaN is no JSON\)"),
        ('{"schema": "edgecodec.a", "schema_version": 1, "x": 1e999}', "a number is too large"),
        ('{"schema": "edgecodec.a", "schema_version": 1, "x": 1' + 400 * "0" + "}", "an integer of 401 digits"),
        ('{"schema": "edgecodec.a", "schema_version": 1, "x": ' + 6000 * "1" + "}", "no JSON document"),
        ('{"schema": "edgecodec.a", "schema_version": 1, "x": ' + 200_000 * "[", "nested too deeply|no JSON"),
        ('{"schema": "edgecodec.report", "schema_version": 1}', "no JSON document"),
        ('{"schema": "edgecodec.report", "schema_version": 1, "result": 3}', "expected an object"),
        ('{"schema": "edgecodec.a", "schema_version": true}', "expected keys schema"),
        (json.dumps(KIND | {"pairs": [{"exact": True, "mismatches": "many"}]}), "mismatches that are no number"),
        (json.dumps(KIND | {"pairs": [{"exact": True, "mismatches": None}]}), "mismatches that are no number"),
        (json.dumps(KIND | {"pairs": [{"exact": True}]}), "no JSON document"),
        (json.dumps(KIND | {"pairs": [1]}), "no JSON document"),
        (json.dumps(KIND | {"pairs": 1}), "no JSON document"),
        ('{"schema": "edgecodec.error", "schema_version": 1, "error": "x"}', "document of an error"),
        ('{"schema": "edgecodec.example", "schema_version": 2}', "are of two kinds"),
        ('{"schema": "edgecodec.a", "schema_version": 1, "x": 1, "x": 2}', "no JSON document .* 'x' is there twice"),
        (" " * (1 << 22) + "{}", "at most 4,194,304 are read"),
    ],
)
def test_what_is_no_document(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        compare_documents(file(tmp_path, "a", A), file(tmp_path, "b", content))


def test_what_is_no_file(tmp_path: Path) -> None:
    a = file(tmp_path, "a", A)
    for path, message in (
        (tmp_path, "is a folder"),
        (tmp_path / "none", "no such file"),
        (Path("/dev/zero"), "regular"),
    ):
        with pytest.raises(InputError, match=message):
            compare_documents(a, path)
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(InputError, match="no JSON document"):
        compare_documents(a, tmp_path / "bytes")
