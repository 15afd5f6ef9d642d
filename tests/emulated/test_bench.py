"""The benchmark's baseline is right before it is slow: CMSIS-NN in our firmware gives the reference's latents."""

from __future__ import annotations

import numpy as np
import pytest

from edgecodec.boards.load import load_board
from edgecodec.bundle import Bundle
from edgecodec.codec.reference import ReferenceExecutor
from tests import tools
from tools import bench

pytestmark = pytest.mark.emulated


@pytest.mark.parametrize("name", ["mps2-an385", "mps2-an386", "mps3-an547"])
def test_cmsis_nn_computes_the_same_latents(codec: Bundle, name: str) -> None:
    tools.require("module:bakenn")
    frames = codec.frames()
    assert frames is not None
    expected = ReferenceExecutor(codec.codec).stages(frames[:2])
    run = bench.run(codec, load_board(name), bench.CMSIS, frames[:2], expected)
    assert run.wrong == 0
    assert run.firmware.report.text > 10_000
    assert all(cost > layer.macs / 8 for cost, layer in zip(run.costs.layers, codec.codec.graph.layers, strict=True))
    other = bench.Run(run.board, "speed", run.firmware, run.costs, 0)
    text = bench.encoder_table(
        [bench.Run(run.board, v, run.firmware, run.costs, 0) for v in bench.VARIANTS], [run.board]
    )
    assert text.count("\n") == 3
    assert f"{run.encoder / 1e6:.3f}" in text
    assert "| 1.00 |" in text
    assert bench.whole_table([run, other]).count(bench.core_name(run.board.core)) == 2


def test_wrong_latents_are_counted(bundle: Bundle) -> None:
    frames = bundle.frames()
    assert frames is not None
    expected = ReferenceExecutor(bundle.codec).stages(frames[:1])
    assert expected.latent is not None
    expected.latent[0, 0, :3] = np.invert(expected.latent[0, 0, :3])
    assert bench.run(bundle, load_board("mps2-an386"), "flash", frames[:1], expected).wrong == 3
