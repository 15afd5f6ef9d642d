"""Many frames through one board and one link; ``python -m tools.soak`` runs as many as one likes."""

from __future__ import annotations

import numpy as np
import pytest

from edgecodec.boards.load import load_board
from edgecodec.bundle import Bundle
from tools.soak import BOARD, frames_like, soak

FRAMES = 2000


@pytest.mark.emulated
def test_board_goes_on_and_on() -> None:
    result = soak(Bundle.load("08x_light"), load_board(BOARD), FRAMES)
    assert result.is_equal
    assert result.frames == FRAMES
    assert result.stages["indices"] == (80 * FRAMES, 0)
    assert result.stages.keys() == {"input", "latent", "indices", "packet"}
    assert result.link.bad_messages == 0


def test_frames_are_many_and_of_all_kinds() -> None:
    given = np.arange(-400, 400, dtype=np.int16).reshape(4, 200) * np.int16(20)
    found = frames_like(given, 200, np.random.default_rng(1))
    assert (found.shape, found.dtype) == ((200, 200), np.int16)
    assert len({frame.tobytes() for frame in found}) == 200
    assert len({int(np.ptp(frame)) for frame in found}) > 150
