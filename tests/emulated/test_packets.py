"""Packets on emulated boards, and the encoder object on a Cortex-M4: the reference's bytes, and what they take."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from edgecodec.boards.load import load_board
from edgecodec.bundle import Bundle
from edgecodec.codec.numerics import INT8, INT16X8, Numerics
from edgecodec.codec.reference import ReferenceExecutor, run_every_layer
from edgecodec.compile.cascade import CALL_INSTRUCTIONS
from edgecodec.compile.plan import make_plan
from edgecodec.compile.target import Target
from edgecodec.device.emulator import Emulator
from edgecodec.entropy.packet import Form
from edgecodec.entropy.packet_file import PacketConstants
from edgecodec.entropy.side_information import SideInformation
from edgecodec.firmware.build import cached_firmware
from edgecodec.firmware.project import make_project
from edgecodec.link.client import BoardExecutor
from edgecodec.verify.compare import NamedStages, compare
from edgecodec.verify.profile import profile_board
from edgecodec.verify.pushed import compare_board
from edgecodec.verify.run import verify_board, verify_host
from tests import tools
from tests.emulated.conftest import ENCODER_08X
from tests.packets import bundle_with_packets, kinds_of_frames, likely, network, packet_format, tables
from tests.tflite_builder import build_encoder, bundle_of, ppg_frames
from tools.packet_counts import count
from tools.step_counts import count_steps

SIZES, POSITIONS, FRAMES = (256, 256), 40, 6


@pytest.mark.emulated
@pytest.mark.parametrize("kind", ["tables", "network"])
def test_board_writes_the_reference(kind: str) -> None:
    model = tables(1, POSITIONS, SIZES, 16384) if kind == "tables" else network(6, SIZES, 16, 16, 12, (1, 2, 4, 8))
    packets = packet_format(1, model, POSITIONS, SIZES)
    indices = likely(model, 1, FRAMES, POSITIONS)
    offsets, spreads = np.arange(FRAMES, dtype=np.int32) * 9000, np.full(FRAMES, 1 << 33, np.uint64)
    forms = {packets.decode(packets.encode(row, 0, 1 << 33, 0)).form for row in indices}
    assert forms == {Form.CODED}
    # That the bytes are the reference's is checked on the core, and here.
    counted = count(packets, indices, offsets, spreads).frames
    mean: Counter[str] = sum(counted, Counter())
    if kind == "tables":
        coding = (mean["edc_context_position"] + mean["edc_range_word"]) / FRAMES
        assert coding / (POSITIONS * len(SIZES)) <= 60
    else:
        assert mean.total() / FRAMES <= 600_000


LONGEST_STEP = 50_000


@pytest.mark.emulated
@pytest.mark.parametrize(("kind", "optimize"), [("tables", "balanced"), ("network", "balanced"), ("tables", "speed")])
def test_steps_are_short(kind: str, optimize: str, tmp_path: Path) -> None:
    model = tables(1, POSITIONS, SIZES, 16384) if kind == "tables" else network(6, SIZES, 16, 16, 12, (1, 2, 4, 8))
    encoder = build_encoder(ENCODER_08X, 320, seed=1, input_zero_point=-3)
    constants = PacketConstants(SideInformation(320, 8, 8, 2048), model)
    bundle = bundle_of(tmp_path / "bundle", encoder, SIZES, packets=constants)
    # That the bytes are the reference's is checked on the core.
    steps = count_steps(bundle, ppg_frames(2, 320, 1), optimize)
    assert max(step.instructions for step in steps) <= LONGEST_STEP
    assert len(steps) > 2 * (POSITIONS + 3)
    # The model by which layers are divided misses a tenth of the longest call, and what padding takes; a stripe is
    # chosen without the rows that are moved behind it.
    longest = make_plan(bundle.codec, Target.of_core("cortex-m4", optimize)).longest_call
    assert longest is not None
    calls = [step.instructions for step in steps if step.part.endswith("_run")]
    assert longest.instructions <= 1.01 * CALL_INSTRUCTIONS
    assert max(calls) == pytest.approx(longest.instructions, rel=0.15)


A_BOARD_A_CORE = ("microbit", "mps2-an385", "mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547")


@pytest.mark.emulated
@pytest.mark.parametrize(
    ("name", "kind", "numerics", "frame_count"),
    [
        *product(("microbit", "mps2-an386", "mps3-an547"), ("plain", "tables", "network"), (INT8,), (260,)),
        *product(A_BOARD_A_CORE, ("tables",), (INT16X8,), (40,)),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_firmware_sends_the_reference(
    bundles: Mapping[Numerics, Bundle], tmp_path: Path, name: str, kind: str, numerics: Numerics, frame_count: int
) -> None:
    """Of PPG, of flat and of extreme frames, numbered past 255, samples pushed or not: board, C here and reference."""
    tools.require("module:tflite_micro")
    packed, board = bundle_with_packets(bundles[numerics], tmp_path / "b", kind), load_board(name)
    frames = kinds_of_frames(packed.codec.samples, frame_count)
    result = verify_board(packed, board, frames)
    assert result.exit_code == 0
    compared = {(pair.a, pair.b) for pair in result.comparison.pairs if pair.stage == "packet" and pair.compared}
    pushed = {("reference", "host-encoder"), ("reference", "board-encoder")}
    assert compared == {("reference", "host"), ("reference", "board"), ("host", "board")} | pushed
    assert result.run is not None
    assert result.run.encoder_bytes > 4 * packed.codec.samples
    format_ = packed.packets()
    assert format_ is not None
    packets = result.stages["board"].packet
    assert packets is not None
    read = [format_.decode(packet) for packet in packets]
    assert [packet.sequence for packet in read] == [number % 256 for number in range(len(frames))]
    forms = {packet.form for packet in read}
    assert forms >= {Form.FLAT, Form.PLAIN if kind == "plain" else Form.CODED}
    assert result.run is not None
    breakdown = result.run.breakdown
    assert breakdown.packet is not None
    assert breakdown.packet > 500
    assert result.run.cost_per_frame == pytest.approx(sum(cost for _, cost in breakdown.items()))
    # Tables, network and state are in the firmware, and its stack is known.
    firmware = cached_firmware(make_project(packed, board))
    report = firmware.report
    assert report.stack_use.bytes is not None, report.stack_use.unknown
    assert report.stack_use.bytes <= board.stack_bytes
    assert "edc_step" in {symbol.name for symbol in report.symbols}
    # Each layer is what the reference's is.
    reference = result.stages["reference"]
    outputs = run_every_layer(packed.codec.graph, reference.input[1:2])
    with Emulator(board, firmware.elf) as emulator, BoardExecutor(packed, emulator.url) as device:
        assert device.hello.numerics == numerics
        read_back = [device.read_layer(frames[1], layer) for layer in range(len(outputs))]
    for output, found in zip(outputs, read_back, strict=True):
        np.testing.assert_array_equal(found, output.reshape(-1))
        assert found.dtype == numerics.activation


@pytest.mark.emulated
def test_where_ram_is_scarce_nothing_is_pushed(bundle: Bundle, tmp_path: Path) -> None:
    tools.require("module:tflite_micro")
    packed, board = bundle_with_packets(bundle, tmp_path / "b", "plain"), load_board("mps2-an386")
    ram = board.memory.ram
    need = 4 * packed.codec.samples + 2 * packed.codec.positions * packed.codec.levels
    boards = [
        board.model_copy(
            update={"memory": board.memory.model_copy(update={"ram": ram.model_copy(update={"length": length})})}
        )
        for length in (8 * need, 8 * need - 8)
    ]
    here, away = ("EDC_SERVED_WITHOUT_ENCODER" in make_project(packed, each).files["CMakeLists.txt"] for each in boards)
    assert (here, away) == (False, True)
    project = make_project(packed, board)
    files = dict(project.files)
    files["CMakeLists.txt"] += "target_compile_definitions(firmware.elf PRIVATE EDC_SERVED_WITHOUT_ENCODER)\n"
    firmware = cached_firmware(replace(project, files=files))
    assert "edc_step" not in {symbol.name for symbol in firmware.report.symbols}
    frames = packed.frames()
    assert frames is not None
    reference = ReferenceExecutor(packed.codec).stages(frames)
    with Emulator(board, firmware.elf) as emulator, BoardExecutor(packed, emulator.url) as device:
        assert device.hello.encoder_bytes == 0
        assert device.stages(frames).packet is not None
        assert compare_board(packed, device, frames, reference).pairs == ()


@pytest.mark.emulated
def test_broken_encoder_of_a_board_is_named(bundle: Bundle, tmp_path: Path) -> None:
    """Firmware whose object does not mark gaps; its packets made at once are right."""
    tools.require("module:tflite_micro")
    packed, board = bundle_with_packets(bundle, tmp_path / "b", "tables"), load_board("mps2-an386")
    project = make_project(packed, board)
    files = dict(project.files)
    files["codec/edc_encoder.c"] = files["codec/edc_encoder.c"].replace("e->flags = e->skips ? 0 : EDC_PACKET_GAP;", "")
    assert files != project.files
    frames = packed.frames()
    assert frames is not None
    reference = ReferenceExecutor(packed.codec).stages(frames)
    firmware = cached_firmware(replace(project, files=files))
    with Emulator(board, firmware.elf) as emulator, BoardExecutor(packed, emulator.url) as device:
        found = compare_board(packed, device, frames, reference)
    assert found.verdict == "different"
    divergence = found.first_divergence
    assert divergence is not None
    # Frame 0 has nothing lost before it. The flag's byte, or the check before, tells.
    assert (divergence.b, divergence.stage, divergence.frame, divergence.position) == ("board-encoder", "packet", 1, 0)


@pytest.mark.emulated
def test_wrong_byte_of_a_board_s_packet_is_named(bundle: Bundle, tmp_path: Path) -> None:
    """Firmware whose tag is another: the check's last byte differs, and the lower half of the first."""
    tools.require("module:tflite_micro")
    packed, board = bundle_with_packets(bundle, tmp_path / "b", "tables"), load_board("mps2-an386")
    project = make_project(packed, board)
    files = dict(project.files)
    files["codec/ppg_model.c"] = re.sub(r"\.tag = \d+", ".tag = 4096", files["codec/ppg_model.c"])
    assert files != project.files
    frames = packed.frames()
    assert frames is not None
    with (
        Emulator(board, cached_firmware(replace(project, files=files)).elf) as emulator,
        BoardExecutor(packed, emulator.url) as device,
    ):
        board_stages = device.stages(frames)
    host = verify_host(packed, frames).stages["host"]
    found = compare(NamedStages("host", host), NamedStages("board", board_stages))
    assert {pair.stage for pair in found.pairs if pair.mismatches} == {"packet"}
    assert found.first_divergence is not None
    assert (found.first_divergence.stage, found.first_divergence.frame) == ("packet", 0)


@pytest.mark.emulated
@pytest.mark.parametrize("kind", ["plain", "network"])
def test_entropy_coding_is_profiled(bundle: Bundle, tmp_path: Path, kind: str) -> None:
    packed, board = bundle_with_packets(bundle, tmp_path / "b", kind), load_board("mps2-an386")
    frames = packed.frames()
    assert frames is not None
    packed_rows = {row.name: row for row in profile_board(packed, board, frames[:4]).layers}
    bare_rows = {row.name: row for row in profile_board(bundle, board, frames[:4]).layers}
    assert packed_rows.keys() - bare_rows.keys() == {"entropy coding"}
    row = packed_rows["entropy coding"]
    assert (row.kind, row.op) == ("packet", "plain" if kind == "plain" else "causal network")
    assert 500 < row.least <= row.cost <= row.most
    assert list(packed_rows)[-3:] == ["rvq", "entropy coding", "reply"]
    # The reply of indices alone is what it was.
    assert packed_rows["reply"].cost == pytest.approx(bare_rows["reply"].cost, rel=0.02)
