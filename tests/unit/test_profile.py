"""The document of ``edgecodec profile``, of figures made up."""

from __future__ import annotations

import pytest

from edgecodec.verify.profile import Part, Profile


def profile(unit: str, *costs: float) -> Profile:
    kinds = ("normaliser", "layer", "rvq", "packet")
    macs = (0, 100, 400, 0)
    parts = tuple(
        Part(kind, kind, "op", "edc", count, cost) for kind, count, cost in zip(kinds, macs, costs, strict=True)
    )
    return Profile("ab" * 32, "nucleo", "cortex-m4", "native", "speed", unit, 3, parts, None)


def test_real_board_has_cycles() -> None:
    document = profile("cycles", 50.0, 250.0, 600.0, 100.0).to_json()
    assert (document["unit"], document["engine"]) == ("cycles", "native")
    assert document["cycles_per_frame"] == 1000.0
    assert document["memory"] is None
    assert [row["cycles"] for row in document["layers"]] == [50.0, 250.0, 600.0, 100.0]
    assert [row["per_mac"] for row in document["layers"]] == [None, 2.5, 1.5, None]
    assert [row["share"] for row in document["layers"]] == pytest.approx([0.05, 0.25, 0.6, 0.1])
    assert all("instructions" not in row and "cost" not in row for row in document["layers"])


def test_nothing_measured_has_no_share() -> None:
    document = profile("instructions", 0.0, 0.0, 0.0, 0.0).to_json()
    assert [row["share"] for row in document["layers"]] == [0.0, 0.0, 0.0, 0.0]
    assert document["instructions_per_frame"] == 0.0
