"""1,000 frames of real PPG through a codec of full size on the emulated boards, every stage of every executor."""

from __future__ import annotations

import numpy as np
import pytest

from edgecodec.boards.load import load_board
from edgecodec.bundle import Bundle
from edgecodec.verify.run import verify_board
from tests import tools

SAMPLES, FRAMES = 320, 1000


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """Overlapping frames of HeartPy's second recording."""
    tools.require("module:heartpy", "module:scipy")
    from edgecodec.signal.sources import heartpy_recordings

    samples = heartpy_recordings(64.0)["data2"].samples
    starts = np.linspace(0, len(samples) - SAMPLES, FRAMES).astype(int)
    return np.stack([samples[start : start + SAMPLES] for start in starts])


@pytest.mark.slow
@pytest.mark.emulated
@pytest.mark.parametrize("board", ["mps2-an386", "mps2-an385"])
def test_thousand_real_frames(codec: Bundle, frames: np.ndarray, board: str) -> None:
    tools.require("module:tflite_micro")
    result = verify_board(codec, load_board(board), frames)
    assert result.verdict == "equal"
    assert result.frames == FRAMES
    compared = {(pair.a, pair.stage): pair.compared for pair in result.comparison.pairs if pair.b == "board"}
    values = {"input": FRAMES * SAMPLES, "latent": FRAMES * 40 * 16, "indices": FRAMES * 40 * 2}
    assert compared == {
        ("tflm", "latent"): values["latent"],
        ("tflm", "indices"): values["indices"],
        **{(name, stage): count for name in ("reference", "host") for stage, count in values.items()},
    }
    assert sum(pair.mismatches for pair in result.comparison.pairs) == 0
    indices = result.stages["board"].indices
    assert len(np.unique(indices)) > 50  # a codec that always says the same would compare equal too
