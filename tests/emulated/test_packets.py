"""Packets and the encoder object on an emulated Cortex-M4: the reference's bytes, and what they take."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from edgecodec.entropy.packet import Form
from edgecodec.entropy.packet_file import PacketConstants
from edgecodec.entropy.side_information import SideInformation
from tests.emulated.conftest import ENCODER_08X
from tests.packets import likely, network, packet_format, tables
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
@pytest.mark.parametrize("kind", ["tables", "network"])
def test_steps_are_short_but_for_large_stripes_of_a_layer(kind: str, tmp_path: Path) -> None:
    model = tables(1, POSITIONS, SIZES, 16384) if kind == "tables" else network(6, SIZES, 16, 16, 12, (1, 2, 4, 8))
    encoder = build_encoder(ENCODER_08X, 320, seed=1, input_zero_point=-3)
    constants = PacketConstants(SideInformation(320, 8, 8, 2048), model)
    bundle = bundle_of(tmp_path / "bundle", encoder, SIZES, packets=constants)
    # That the bytes are the reference's is checked on the core.
    steps = count_steps(bundle, ppg_frames(2, 320, 1))
    longer = {step.part for step in steps if step.instructions > LONGEST_STEP}
    # Stripes of the second layer, of 12 positions of 40 channels, take 0.099 M instructions.
    assert longer == {"edc_conv_paired_run"}
    assert max(step.instructions for step in steps) <= 100_000
    assert len(steps) > 2 * (POSITIONS + 3)
