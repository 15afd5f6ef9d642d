"""Models whose layers the presets do not have, from Keras to emulated boards."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

import edgecodec
from edgecodec.bundle import FRAMES as BUNDLE_FRAMES
from edgecodec.bundle import Bundle, write_bundle
from edgecodec.codec.tflite_reader import read_graph
from edgecodec.files.atomic import npz_bytes
from edgecodec.signal.normalize import ZSCORE
from tests.models import FRAMES, RUNS
from tests.tflite_builder import fitted_rvq
from tests.tools import require

ON_BOARDS = ("causal", "zero padding", "dilated", "norm behind the activation")
"""Padding that is not SAME's, taps of zero, and a depthwise layer of one tap."""
BOARDS = ("mps2-an386", "microbit", "mps3-an547")


@cache
def _encoder(kind: str) -> bytes:
    from edgecodec.nn.backend import import_keras
    from edgecodec.quantization.sources import open_encoder

    keras: Any = import_keras()
    keras.utils.set_random_seed(4)
    return open_encoder(RUNS[kind](keras)).to_integers(FRAMES, ZSCORE)


def _bundle(kind: str, folder: Path) -> Bundle:
    encoder = _encoder(kind)
    frames = {BUNDLE_FRAMES: npz_bytes({"frames": FRAMES[:8]})}
    return write_bundle(
        folder / "bundle", encoder=encoder, rvq=fitted_rvq(read_graph(encoder)), name=kind, optional=frames
    )


@pytest.mark.emulated
@pytest.mark.slow
@pytest.mark.parametrize("kind", ON_BOARDS)
def test_equal_on_host_and_boards(kind: str, tmp_path: Path) -> None:
    require("cc", "Python.h", "module:tensorflow", "module:tflite_micro")
    bundle = _bundle(kind, tmp_path)
    frames = bundle.frames()
    assert frames is not None
    assert edgecodec.verify_host(bundle, frames).verdict == "equal"
    for board in BOARDS:
        assert edgecodec.verify_board(bundle, board, frames).verdict == "equal"
