"""What the firmware's timer says of each part, against QEMU's own count of instructions."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from edgecodec.boards.load import list_boards, load_board
from edgecodec.bundle import Bundle
from edgecodec.compile.search_bound import bound_search
from edgecodec.device.emulator import QEMU
from edgecodec.firmware.project import plan_for
from edgecodec.verify.profile import profile_board
from tests import tools
from tests.cli.run import edgecodec
from tests.packets import bundle_with_packets
from tools.qemu_counts import Counts, count

pytestmark = pytest.mark.emulated
MEASURING = {
    "edc_server_poll",
    "edc_engine_infer_watched",
    "edc_watch_layer_starts",
    "edc_watch_layer_ends",
    "edc_watch_layer_output",
    "edc_model_layer_output",
    "edc_port_ticks",
    "(looking at the counter)",
}
"""Functions of a counted interval that are no part of the codec."""


@pytest.fixture
def _plugins() -> None:
    tools.require("cc", QEMU)
    usage = subprocess.run([QEMU, "-help"], capture_output=True, text=True, check=True).stdout
    if "-plugin" not in usage:
        tools.lack(f"{QEMU} was built without plug-ins")


def of_codec(counts: Counts) -> list[int]:
    """Instructions of the codec's own functions, part by part."""
    return [sum(n for name, n in part.items() if name not in MEASURING) for part in counts.parts]


MODEL = {"edc_context_position", "edc_causal_position"}
"""Functions that code a position by a model of indices."""
INNER_LOOPS = {
    "edc_conv_mve": {"multiply", "convolve"},
    "edc_depthwise_mve": {"convolve"},
    "edc_conv_paired": {"edc_paired_sums", "run_one_part"},
    "edc_conv_winograd": {"edc_paired_sums", "build_rows", "finish_one_part"},
    "edc_conv_twin": {"edc_twin_sums"},
    "edc_pointwise": {"edc_pointwise_sums"},
    "edc_conv_bytes": {"edc_bytes_sums", "widen"},
}
"""Of kernels that keep theirs in functions of their own."""


@pytest.mark.parametrize("board", [board.name for board in list_boards() if not board.is_real])
@pytest.mark.usefixtures("_plugins")
def test_timer_agrees_with_the_functions_that_ran(bundle: Bundle, board: str) -> None:
    frames = bundle.frames()
    assert frames is not None
    counts = count(bundle, load_board(board), frames[:1])
    steps = plan_for(bundle, load_board(board)).steps
    assert len(counts.parts) == len(steps) + 3
    assert counts.timed.unit == "instructions"
    # The reply is put together by the server itself, so only its total can be compared.
    for ours, theirs in zip(counts.timed.parts[:-1], of_codec(counts)[:-1], strict=True):
        assert ours == pytest.approx(theirs, rel=0.01, abs=12)
    for ours, part in zip(counts.timed.parts, counts.parts, strict=True):
        assert ours == pytest.approx(part.total(), rel=0.001, abs=3)
    for step, part in zip(steps, counts.parts[1:], strict=False):
        kernel = str(step.kernel)
        own = part[kernel] + part[f"{kernel}_run"]  # one of which the compiler may make a part of the other
        assert own > 0
        inner = sum(part[name] for name in INNER_LOOPS.get(kernel, ()))
        assert own + inner > 0.4 * part.total(), f"{step.layer.name} runs {kernel}"


@pytest.mark.parametrize("kind", ["plain", "tables", "network"])
@pytest.mark.parametrize("board", ["mps2-an386", "microbit"])
@pytest.mark.usefixtures("_plugins")
def test_timer_agrees_of_packets(bundle: Bundle, tmp_path: Path, board: str, kind: str) -> None:
    packed = bundle_with_packets(bundle, tmp_path / "b", kind)
    frames = packed.frames()
    assert frames is not None
    counts = count(packed, load_board(board), frames[:1])
    for ours, part in zip(counts.timed.parts, counts.parts, strict=True):
        assert ours == pytest.approx(part.total(), rel=0.001, abs=3)
    *_, rvq, packet, reply = counts.parts
    assert packet["edc_packet_write"] > 0
    assert bool(MODEL & packet.keys()) == (kind != "plain")
    assert not {"edc_packet_write", *MODEL} & {*rvq, *reply}


@pytest.mark.parametrize("board", ["mps2-an386", "microbit"])
@pytest.mark.usefixtures("_plugins")
def test_full_size(codec: Bundle, board: str) -> None:
    """With layers that take turns, whose calls are summed up."""
    frames = codec.frames()
    assert frames is not None
    assert plan_for(codec, load_board(board)).cascade is not None
    counts = count(codec, load_board(board), frames[:1])
    for ours, theirs in zip(counts.timed.parts[:-1], of_codec(counts)[:-1], strict=True):
        assert ours == pytest.approx(theirs, rel=0.01)


def test_document(bundle: Bundle) -> None:
    board = load_board("mps2-an386")
    frames = bundle.frames()
    assert frames is not None
    document = profile_board(bundle, board, frames[:4]).to_json()
    rows = document["layers"]
    assert [row["kind"] for row in rows] == ["normaliser", *["layer"] * len(bundle.codec.graph.layers), "rvq", "reply"]
    layers = rows[1:-2]
    assert [row["name"] for row in layers] == [layer.name for layer in bundle.codec.graph.layers]
    assert [row["macs"] for row in layers] == [layer.macs for layer in bundle.codec.graph.layers]
    assert [row["op"] for row in layers] == [str(layer.op) for layer in bundle.codec.graph.layers]
    assert all(row["cost"] == pytest.approx(row["per_mac"] * row["macs"]) for row in layers)
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert document["instructions_per_frame"] == pytest.approx(sum(row["cost"] for row in rows))
    assert document["frames"] == 4
    assert all(row["least"] <= row["cost"] <= row["most"] for row in rows)
    frame = document["frame"]
    assert frame["least"] <= frame["mean"] <= frame["most"] <= frame["bound"]
    assert frame["mean"] == document["instructions_per_frame"]
    bounded = {row["kind"]: row["bound"] for row in rows if row["bound"] is not None}
    assert bounded == {"rvq": bound_search(bundle.codec, plan_for(bundle, board)).instructions}
    assert bounded["rvq"] >= rows[-2]["most"]
    assert document["memory"]["flash_bytes"] > 0


def test_command(bundle: Bundle) -> None:
    result = edgecodec("profile", bundle.path, "--limit", "2", "--json")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert {"name", "kind", "op", "macs", "cost"} <= document["layers"][0].keys()
    text = edgecodec("profile", bundle.path, "--limit", "2")
    assert text.returncode == 0, text.stderr
    for row in document["layers"]:
        assert row["name"] in text.stdout
