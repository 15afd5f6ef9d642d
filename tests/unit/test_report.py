"""Reports: what the document, the page and JUnit's XML say of verifications made up, and whose folders they replace."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jsonschema
import numpy as np
import pytest

from edgecodec.bundle import MANIFEST, Bundle
from edgecodec.codec.reference import ReferenceExecutor
from edgecodec.codec.rvq import IntegerRvq
from edgecodec.codec.stages import Stages
from edgecodec.decoding.decoder import FrameDecoder
from edgecodec.demo import DemoResult, on_air
from edgecodec.errors import InputError
from edgecodec.report import folder as folders
from edgecodec.report.documents import ReportedBoard
from edgecodec.report.drawing import chart, curves, difference_map
from edgecodec.report.folder import DOCUMENT, JUNIT, PAGE, check_report, write_report
from edgecodec.report.margins import decide, measure_flips, measure_margins
from edgecodec.report.page import html_page, junit_xml
from edgecodec.report.sections import Origin, Report, report_profile, report_verification
from edgecodec.verify.attribution import LayerDivergence
from edgecodec.verify.compare import NamedStages, compare, merge
from edgecodec.verify.documents import BitsOnAir
from edgecodec.verify.run import VerifyResult
from tests.linear_codec import linear_codec, pulse_frames
from tests.unit.test_profile import profile

SCHEMA = Path(__file__).resolve().parents[2] / "docs" / "schemas" / "report.json"
HOSTILE = "</p><script>alert(1)</script>'\"&\x1b[31m\x00\u202e" + "W" * 300
ORIGIN = Origin("flash-and-verify", f"edgecodec flash-and-verify '{HOSTILE}'")


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A codec with a decoder."""
    return linear_codec(tmp_path_factory.mktemp("linear"))[0]


@pytest.fixture(autouse=True)
def _no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """What decodes is tested elsewhere; building C for it would only take time."""
    monkeypatch.setattr("edgecodec.report.sections.fastest_decoder", FrameDecoder)


def verification(bundle: Bundle, frames: np.ndarray[Any, Any], **executors: Stages) -> VerifyResult:
    """The reference, and other executors that gave what is said."""
    stages = {"reference": ReferenceExecutor(bundle.codec).stages(frames), **executors}
    named = [NamedStages(name, found) for name, found in stages.items()]
    comparison = merge(compare(a, b, bundle.codec.rvq) for a, b in combinations(named, 2))
    return VerifyResult(bundle.digest, len(frames), comparison, (), stages)


def wrong_board(bundle: Bundle, frames: np.ndarray[Any, Any]) -> VerifyResult:
    """Of a board that goes wrong in two positions of frame 3, and of a host that does not."""
    right = ReferenceExecutor(bundle.codec).stages(frames)
    assert right.latent is not None
    latent, indices = right.latent.copy(), right.indices.copy()
    latent[3, 2:4, 1] ^= 1
    indices[3, 2, 0] ^= 1
    found = verification(bundle, frames, host=right, board=right.changed(latent=latent, indices=indices))
    layer = LayerDivergence("board", 3, 0, HOSTILE, "CONV_2D", 8, 64, 2, 2, 3, 1, 5, -5)
    return replace(found, layer_divergences=(layer,))


def different(bundle: Bundle) -> Report:
    """Report of :func:`wrong_board`, with names that nobody would choose."""
    frames = pulse_frames(6, seed=4)
    hostile = replace(bundle, manifest=bundle.manifest.model_copy(update={"name": HOSTILE}))
    board = ReportedBoard("b", HOSTILE, "cortex-m4", True, "speed")
    return report_verification(ORIGIN, hostile, frames, wrong_board(hostile, frames), board=board)


def text_of(page: str) -> str:
    """What a page shows, as one line."""
    body = page.partition("<body>")[2]
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


def test_document_of_a_divergence(linear: Bundle) -> None:
    document = json.loads(json.dumps(different(linear).document.to_json(), allow_nan=False))
    jsonschema.validate(document, json.loads(SCHEMA.read_text(encoding="utf-8")), cls=jsonschema.Draft202012Validator)
    assert (document["schema"], document["verdict"]) == ("edgecodec.report", "different")
    assert document["headline"].startswith("first difference: frame 3, latent, position 2, channel 1: reference gives")
    assert [(row["executor"], row["exact"]) for row in document["attribution"]] == [("host", True), ("board", True)]
    counts = {stage: tuple(count.values()) for stage, count in document["attribution"][1]["stages"].items()}
    assert counts == {"input": (6 * 64, 0), "latent": (6 * 64, 2), "indices": (6 * 16, 1)}
    assert document["divergence"]["prdn_received"] > document["divergence"]["prdn_expected"] > 0
    assert document["divergence"]["layers"][0].startswith("board: frame 3, layer 0 (CONV_2D")
    assert [frame["place"] for frame in document["drawn"]] == ["worst", "median", "best"]
    assert document["drawn"][0]["prdn"] == document["quality"]["worst"]
    assert document["result"]["schema"] == "edgecodec.verification"
    assert document["parts"] is None, "the firmware was there already, and was not timed"


def test_prdn_of_the_frames_is_that_of_the_definition(linear: Bundle) -> None:
    frames = pulse_frames(5, seed=6)
    found = verification(linear, frames)
    quality = report_verification(ORIGIN, linear, frames, found).document.quality
    stages = found.stages["reference"]
    decoded = FrameDecoder(linear).decode(stages.indices, stages.offset, stages.spread)
    error = ((frames - decoded) ** 2).sum(axis=1) / ((frames - frames.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    assert quality is not None
    assert (quality.frames, quality.mean) == (5, pytest.approx(100 * np.sqrt(error).mean(), rel=1e-6))
    given = report_verification(ORIGIN, linear, frames, found, decoded=frames.astype(np.float32)).document.quality
    assert given is not None
    assert (given.mean, given.decoded_from) == (0.0, "the packets of this machine")


def test_page_of_a_divergence(linear: Bundle) -> None:
    page = html_page(different(linear))
    shown = text_of(page)
    assert shown.startswith("different first difference: frame 3")
    assert "<script" not in page
    assert "&lt;/p&gt;&lt;script&gt;alert(1)" in page
    assert not [c for c in page if c != "\n" and not c.isprintable()], "control characters are escaped"
    assert "\\x1b[31m\\x00\\u202e" in page
    assert not re.search(r"(?:src|href)=|https?:|url\(|@import", page), "needs nothing else"
    assert "2 of 384 differ" in shown
    assert "1 of 96 differ" in shown
    assert 'd="M2 1h2v1h-2z"' in page, "two positions of channel 1"
    assert 'd="M3 1h1v1h-1z"' in page, "frame 3 of the board"
    for heading in ("Each executor beside the reference", "First divergence", "Frames", "How near decisions are"):
        assert page.count(f"<h2>{heading}</h2>") == 1
    assert "What a frame costs" not in page


def test_page_of_agreement_has_only_what_was_measured(bundle: Bundle) -> None:
    frames = bundle.frames()
    assert frames is not None
    stages = ReferenceExecutor(bundle.codec).stages(frames)
    report = report_verification(ORIGIN, bundle, frames, verification(bundle, frames, host=stages))
    page = html_page(report)
    assert text_of(page).startswith("equal reference, host: all 2,048 values of 16 frames are equal")
    headings = re.findall(r"<h2>(.*?)</h2>", page)
    assert headings == ["Each executor beside the reference", "How near decisions are", "What a frame costs"], (
        "no decoder"
    )
    assert report.document.to_json()["flips"] is None


def test_undecided_is_said_before_all_else(bundle: Bundle) -> None:
    frames = bundle.frames()
    assert frames is not None
    report = report_verification(ORIGIN, bundle, frames, verification(bundle, frames))
    assert text_of(html_page(report)).startswith("undecided nothing was compared")
    assert ElementTree.fromstring(junit_xml(report)).attrib["errors"] == "1"


def test_junit(linear: Bundle) -> None:
    root = ElementTree.fromstring(junit_xml(different(linear)))
    (suite,) = root
    assert suite.attrib["tests"] == str(len(suite.findall("testcase"))) == "12"
    failed = {(case.attrib["classname"], case.attrib["name"]) for case in suite.iter("testcase") if len(case)}
    assert failed == {
        (f"{name} beside board", stage) for name in ("reference", "host") for stage in ("latent", "indices")
    }
    assert suite.attrib["failures"] == root.attrib["failures"] == "4"
    (said,) = {
        case[0].attrib["message"] for case in suite.iter("testcase") if len(case) and case.attrib["name"] == "latent"
    }
    assert said == "2 of 384 values differ"
    assert {each.attrib["name"]: each.attrib["value"] for each in suite.iter("property")}["verdict"] == "different"


def test_profile(bundle: Bundle) -> None:
    board = ReportedBoard("b", "Board", "cortex-m4", False, "speed")
    found = profile("cycles", 50.0, 250.0, 600.0, 100.0)
    report = report_profile(Origin("profile", "edgecodec profile"), bundle, found, board, None)
    shown = text_of(html_page(report))
    assert shown.startswith("measured 1,000 cycles a frame on nucleo")
    assert "600 60.0 %" in shown
    assert [part.flash_bytes for part in report.document.parts or ()] == [None] * 4
    (case,) = ElementTree.fromstring(junit_xml(report)).iter("testcase")
    assert (case.attrib, len(case)) == ({"classname": "profile", "name": "measured"}, 0)


def test_margins_by_hand() -> None:
    rvq = IntegerRvq((np.array([[0], [4], [9]], np.int16),), 1, 0.1, 0)
    # In steps of the codes: boundaries at 2 and 6.5; two of these are a step of the latent.
    found = decide(rvq, np.array([[1], [2], [5], [100]]), 0)
    assert found.chosen.tolist() == [0, 0, 1, 2]
    assert found.next_best.tolist() == [1, 1, 2, 1]
    assert found.margin.tolist() == [0.5, 0.0, 0.75, (100 - 6.5) / 2]
    (level,) = measure_margins(rvq, np.array([[[1], [0], [3]]], np.int8))
    # Latents 1, 0 and 3 are residuals 2, 0 and 6.
    assert (level.decisions, level.ties, level.least, level.median) == (3, 1, 0.0, 0.25)
    assert level.histogram == (1, 1, 1, 0, 0, 0, 0, 0)
    dear = IntegerRvq(rvq.codebooks, 1, 0.1, 0, biases=(np.array([0, 8, 0], np.int32),))
    # A bias of 8 moves the boundary between 0 and 4 by 8 / (2 * 4).
    assert decide(dear, np.array([[1]]), 0).margin.tolist() == [1.0]
    assert measure_margins(IntegerRvq((np.array([[3]], np.int16),), 0, 0.1, 0), np.zeros((1, 2, 1), np.int8)) == ()


def test_flips_turn_one_decision_each(linear: Bundle) -> None:
    frames = pulse_frames(4, seed=8)
    rvq, stages = linear.codec.rvq, ReferenceExecutor(linear.codec).stages(frames)
    decoder = FrameDecoder(linear)
    seen: list[np.ndarray[Any, Any]] = []

    class Watched:
        def decode(self, indices: np.ndarray[Any, Any], *rest: Any) -> np.ndarray[Any, Any]:
            seen.append(indices)
            return decoder.decode(indices, *rest)

    costs: Any = measure_flips(rvq, Watched(), frames, stages)  # type: ignore[arg-type]  # a stand-in
    usual, *flipped = seen
    assert (usual == stages.indices).all()
    assert [(cost.level, cost.flip, cost.flips) for cost in costs] == [
        *((0, "next best", 16), (0, "any", 16), (1, "next best", 16), (1, "any", 16))
    ]
    for cost, indices in zip(costs, flipped, strict=True):
        before = np.repeat(usual, 4, axis=0)
        assert ((indices != before).any(axis=2).sum(axis=1) == 1).all(), "one position"
        assert ((indices != before)[:, :, cost.level].sum(axis=1) == 1).all(), "of this level"
        assert not (indices != before)[:, :, : cost.level].any()
    assert costs[1].mean > costs[0].mean, "a near decision costs less than damage"
    flat = np.full((2, 64), 7, np.int16)
    assert measure_flips(rvq, decoder, flat, ReferenceExecutor(linear.codec).stages(flat)) is None


def test_pictures() -> None:
    spike = np.zeros(10_000)
    spike[7777] = 5
    drawn = curves(spike, np.zeros(10_000))
    assert (drawn.low, drawn.high) == (0, 5)
    assert drawn.original.count("L") < 1500
    assert " 5.0L" in drawn.original, "the spike is at the upper edge, though points were left out"
    assert curves(np.ones(3), np.ones(3)).original == "M0.0 95.0L500.0 95.0L1000.0 95.0"
    table = np.zeros((6, 2), np.bool_)
    table[[0, 1, 5], 1] = True
    assert difference_map("t", table, ("a", "b"), "byte").cells == "M0 1h2v1h-2zM5 1h1v1h-1z"
    one = chart([("a", True, False, [(100.0, 2.0)])])
    assert (one.series[0].line, one.series[0].dots) == ("", "M500.0 7.4h0")
    assert [tick.label for tick in one.up] == ["0", "1", "2"]
    assert [tick.label for tick in one.across] == ["99", "99.5", "100", "100.5", "101"]


def written(bundle: Bundle, folder: Path, *, force: bool = False) -> None:
    write_report(different(bundle), folder, force=force)


def names(folder: Path) -> Sequence[str]:
    return sorted(path.name for path in folder.iterdir())


def test_folder_is_whole_and_replaced(linear: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "report"
    written(linear, target)
    assert names(target) == sorted([DOCUMENT, JUNIT, PAGE])
    (target / PAGE).write_text("old")
    written(linear, target)
    assert (target / PAGE).read_text(encoding="utf-8").startswith("<!doctype html>")

    def fail(report: Report) -> str:
        raise RuntimeError

    monkeypatch.setattr(folders, "junit_xml", fail)
    with pytest.raises(RuntimeError):
        written(linear, tmp_path / "other")
    assert names(tmp_path) == ["report"]


@pytest.mark.parametrize(
    "foreign",
    [
        {"thesis.tex": "years"},
        {DOCUMENT: "{}"},
        {DOCUMENT: '{"schema": "edgecodec.report"}', "mine.txt": ""},
        {DOCUMENT: "["},
    ],
)
def test_folders_of_others_are_kept(linear: Bundle, tmp_path: Path, foreign: dict[str, str]) -> None:
    for name, text in foreign.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match="holds other files"):
        check_report(tmp_path)
    with pytest.raises(InputError, match="holds other files"):
        written(linear, tmp_path)
    assert names(tmp_path) == sorted(foreign)
    with pytest.raises(InputError, match="holds other files"):
        check_report(tmp_path / "missing" / "..")
    written(linear, tmp_path, force=True)
    assert names(tmp_path) == sorted([DOCUMENT, JUNIT, PAGE])


def test_bundles_are_never_replaced(linear: Bundle) -> None:
    with pytest.raises(InputError, match="holds a bundle"):
        written(linear, linear.path, force=True)
    assert (linear.path / MANIFEST).is_file()


def result(received: int, **packets: list[bytes]) -> VerifyResult:
    """Of two frames of one index, the second of which may be another on the board; and their packets, if any."""
    stages = {
        name: Stages(indices=np.array([[[3]], [[value]]], np.uint16)) for name, value in (("a", 5), ("b", received))
    }
    comparison = compare(*(NamedStages(name, found) for name, found in stages.items()))
    for name, made in packets.items():
        stages[name] = stages["a"].changed(packet=np.array(made, np.object_))
    return VerifyResult("ab" * 32, 2, comparison, comparison.pairs, stages)


def test_demo_ends_with_the_bytes_of_the_board_s_packets() -> None:
    found = result(5, host=[b"12", b"34"], board=[b"1234567", bytes(10)])
    assert on_air(found, 16 * 320) == {"packet on air": "8.5 bytes mean, 10 at most, all included; 75.3 : 1"}
    assert found.document.bits_on_air == BitsOnAir(68.0, 80)
    assert on_air(result(5), 16 * 320) == {}
    assert result(5).document.bits_on_air is None


def test_document_of_the_demo_is_the_verification_and_more(bundle: Bundle, tmp_path: Path) -> None:
    found, nothing = result(6), np.empty((0, 64), np.float32)
    demo = DemoResult(bundle, nothing.astype(np.int16), nothing, found, {"frames": "2"})
    document = demo.document(tmp_path / "report.html").to_json()
    verification = found.document.to_json()
    assert document.pop("schema") == "edgecodec.demo"
    assert document.pop("summary") == {"frames": "2"}
    assert document.pop("report") == str(tmp_path / "report.html")
    assert verification.pop("schema") == "edgecodec.verification"
    assert document == verification
    assert (document["verdict"], document["board"], document["engine"], document["runs"]) == (
        *("different", None, "native", []),
    )
