"""The bundles that come with edgecodec, by name: here and on cores of every kind, every stage equal."""

from __future__ import annotations

import json

import numpy as np
import pytest

from edgecodec.boards.load import load_board
from edgecodec.bundle import Bundle
from edgecodec.codec.numerics import INT16X8
from edgecodec.files.resources import shipped_bundles
from edgecodec.verify.compare import Verdict
from edgecodec.verify.run import verify_board
from tests.tools import require

RATIOS = {"04x_light": 4, "08x_light": 8, "16x_light": 16, "32x_light": 32}
NAMES = tuple(RATIOS)


def test_there_are_these() -> None:
    assert tuple(shipped_bundles()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_whole_and_at_its_rate(name: str) -> None:
    bundle = Bundle.load(name)
    frames, packets = bundle.frames(), bundle.packets()
    assert (bundle.name, bundle.rate_hz, bundle.codec.samples) == (name, 64.0, 320)
    assert bundle.codec.numerics == INT16X8
    assert bundle.codec.rvq.biases is not None
    assert frames is not None
    assert len(frames) >= 16
    assert packets is not None
    assert packets.side is not None
    assert packets.model is not None
    nominal = bundle.codec.positions * sum(int(np.log2(size)) for size in bundle.codec.rvq.codebook_sizes)
    assert nominal == 16 * bundle.codec.samples // RATIOS[name]
    # Nothing of the machine that it was made on.
    assert "/" not in json.dumps(bundle.manifest.provenance["training"]["config"]["data"]["files"])


@pytest.mark.emulated
@pytest.mark.parametrize("board", ["microbit", "mps2-an386", "mps3-an547"])
@pytest.mark.parametrize("name", NAMES)
def test_equal_on_boards(name: str, board: str) -> None:
    require("module:tflite_micro")
    bundle = Bundle.load(name)
    frames = bundle.frames()
    assert frames is not None
    result = verify_board(bundle, load_board(board), frames[:8])
    assert result.verdict is Verdict.EQUAL
    found = {(pair.a, pair.b, pair.stage) for pair in result.comparison.pairs}
    assert {("host", "board", stage) for stage in ("input", "latent", "indices", "packet")} <= found
