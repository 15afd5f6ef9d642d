"""Packets on an emulated Cortex-M4: the reference's bytes, and what they take."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from edgecodec.entropy.packet import Form
from tests.packets import likely, network, packet_format, tables
from tools.packet_counts import count

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
