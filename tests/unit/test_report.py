"""The HTML report, of a verification made up: what it shows and that it needs nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgecodec.codec.stages import Stages
from edgecodec.demo import DemoResult, on_air
from edgecodec.verify.compare import NamedStages, compare
from edgecodec.verify.documents import BitsOnAir
from edgecodec.verify.report import Row, write_report
from edgecodec.verify.run import VerifyResult


def result(received: int, **packets: list[bytes]) -> VerifyResult:
    """Of two frames of one index, the second of which may be another on the board; and their packets, if any."""
    stages = {
        name: Stages(indices=np.array([[[3]], [[value]]], np.uint16)) for name, value in (("a", 5), ("<b>", received))
    }
    comparison = compare(*(NamedStages(name, found) for name, found in stages.items()))
    for name, made in packets.items():
        stages[name] = stages["a"].changed(packet=np.array(made, np.object_))
    return VerifyResult("ab" * 32, 2, comparison, comparison.pairs, stages)


def test_report_of_a_divergence(tmp_path: Path) -> None:
    write_report(
        tmp_path / "report.html",
        title="A & B",
        document=result(6).document,
        rows=[Row("verdict", "different"), Row("frames", "2 < 3")],
        picture=b"png",
    )
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<title>A &amp; B</title>" in text
    assert '<span class="verdict different">different</span>' in text
    assert "<td>2 &lt; 3</td>" in text
    assert text.count("<td>&lt;b&gt;</td>") == 3, "in both comparisons and as a fact of the divergence"
    assert text.count("(float, not part of the verdict)") == 1
    assert '<th scope="row">expected</th><td>5</td>' in text
    assert "data:image/png;base64,cG5n" in text
    assert "http" not in text


def test_report_of_agreement(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", title="t", document=result(5).document, rows=[], picture=None)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert '<span class="verdict equal">equal</span>' in text
    assert "First divergence" not in text
    assert "<img" not in text


def test_demo_ends_with_the_bytes_of_the_board_s_packets() -> None:
    found = result(5, host=[b"12", b"34"], board=[b"1234567", bytes(10)])
    (row,) = on_air(found, 16 * 320)
    assert row == Row("packet on air", "8.5 bytes mean, 10 at most, all included; 75.3 : 1")
    assert found.document.bits_on_air == BitsOnAir(68.0, 80)
    assert on_air(result(5), 16 * 320) == []
    assert result(5).document.bits_on_air is None


def test_document_of_the_demo_is_the_verification_and_more(tmp_path: Path) -> None:
    found = result(6)
    document = DemoResult(found, (Row("frames", "2"),), tmp_path / "report.html").document.to_json()
    verification = found.document.to_json()
    assert document.pop("schema") == "edgecodec.demo"
    assert document.pop("summary") == {"frames": "2"}
    assert document.pop("report") == str(tmp_path / "report.html")
    assert verification.pop("schema") == "edgecodec.verification"
    assert document == verification
    assert (document["verdict"], document["board"], document["engine"], document["runs"]) == (
        *("different", None, "native", []),
    )
