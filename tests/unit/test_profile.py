"""The document of ``edgecodec profile``, of figures made up."""

from __future__ import annotations

import pytest

from edgecodec.verify.profile import Part, ProfileDocument, frame_cost, rows_of


def profile(unit: str, *costs: float, bound: float | None = None) -> ProfileDocument:
    """Of three frames, of which the first takes a tenth less than the mean and the last a tenth more."""
    kinds = ("normaliser", "layer", "rvq", "reply")
    macs = (0, 100, 400, 0)
    parts = tuple(
        Part(kind, kind, "op", "edc", count, cost, 0.9 * cost, 1.1 * cost, bound if kind == "rvq" else None)
        for kind, count, cost in zip(kinds, macs, costs, strict=True)
    )
    rows = rows_of(parts)
    total = sum(costs)
    frame = frame_cost(rows, [0.9 * total, total, 1.1 * total])
    instructions, cycles = (sum(costs) if unit == counted else None for counted in ("instructions", "cycles"))
    origin = ("ab" * 32, "nucleo", "cortex-m4", "native", "speed")
    return ProfileDocument(*origin, unit, 3, instructions, cycles, frame, rows, None, None)


def test_real_board_has_cycles() -> None:
    document = profile("cycles", 50.0, 250.0, 600.0, 100.0).to_json()
    assert (document["unit"], document["engine"]) == ("cycles", "native")
    assert (document["schema"], document["cycles_per_frame"]) == ("edgecodec.profile", 1000.0)
    assert document["instructions_per_frame"] is None
    assert document["memory"] is None
    assert [row["cost"] for row in document["layers"]] == [50.0, 250.0, 600.0, 100.0]
    assert [row["per_mac"] for row in document["layers"]] == [None, 2.5, 1.5, None]
    assert [row["share"] for row in document["layers"]] == pytest.approx([0.05, 0.25, 0.6, 0.1])
    names = ["name", "kind", "op", "kernel", "macs", "cost", "least", "most", "bound", "per_mac", "share"]
    assert list(document["layers"][0]) == names
    assert document["frame"] == {"least": 900.0, "mean": 1000.0, "most": pytest.approx(1100.0), "bound": None}


def test_bound_of_a_frame_has_the_search_at_its_bound_and_the_rest_as_measured() -> None:
    document = profile("instructions", 50.0, 250.0, 600.0, 100.0, bound=4000.0)
    assert document.frame.bound == pytest.approx(55 + 275 + 4000 + 110)
    assert [row.bound for row in document.layers] == [None, None, 4000.0, None]


def test_nothing_measured_has_no_share() -> None:
    document = profile("instructions", 0.0, 0.0, 0.0, 0.0).to_json()
    assert [row["share"] for row in document["layers"]] == [0.0, 0.0, 0.0, 0.0]
    assert document["instructions_per_frame"] == 0.0
