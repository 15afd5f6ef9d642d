"""The document of ``edgecodec profile``, of figures made up."""

from __future__ import annotations

import pytest

from edgecodec.verify.profile import Part, ProfileDocument, rows_of


def profile(unit: str, *costs: float) -> ProfileDocument:
    kinds = ("normaliser", "layer", "rvq", "packet")
    macs = (0, 100, 400, 0)
    parts = tuple(
        Part(kind, kind, "op", "edc", count, cost) for kind, count, cost in zip(kinds, macs, costs, strict=True)
    )
    instructions, cycles = (sum(costs) if unit == counted else None for counted in ("instructions", "cycles"))
    origin = ("ab" * 32, "nucleo", "cortex-m4", "native", "speed")
    return ProfileDocument(*origin, unit, 3, instructions, cycles, rows_of(parts), None)


def test_real_board_has_cycles() -> None:
    document = profile("cycles", 50.0, 250.0, 600.0, 100.0).to_json()
    assert (document["unit"], document["engine"]) == ("cycles", "native")
    assert (document["schema"], document["cycles_per_frame"]) == ("edgecodec.profile", 1000.0)
    assert document["instructions_per_frame"] is None
    assert document["memory"] is None
    assert [row["cost"] for row in document["layers"]] == [50.0, 250.0, 600.0, 100.0]
    assert [row["per_mac"] for row in document["layers"]] == [None, 2.5, 1.5, None]
    assert [row["share"] for row in document["layers"]] == pytest.approx([0.05, 0.25, 0.6, 0.1])
    assert list(document["layers"][0]) == ["name", "kind", "op", "kernel", "macs", "cost", "per_mac", "share"]


def test_nothing_measured_has_no_share() -> None:
    document = profile("instructions", 0.0, 0.0, 0.0, 0.0).to_json()
    assert [row["share"] for row in document["layers"]] == [0.0, 0.0, 0.0, 0.0]
    assert document["instructions_per_frame"] == 0.0
