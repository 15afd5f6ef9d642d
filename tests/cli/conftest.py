"""What tests of the command line share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.cli.odd_files import CHANNELS, SAMPLES
from tests.tflite_builder import ppg_frames, small_encoder


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of parts that fit: ``encoder.tflite``, ``codebooks.npz`` and ``frames.npz``."""
    folder = tmp_path_factory.mktemp("good")
    (folder / "encoder.tflite").write_bytes(small_encoder())
    rng = np.random.default_rng(0)
    np.savez(folder / "codebooks.npz", level_0=rng.normal(size=(16, CHANNELS)))
    np.savez(folder / "frames.npz", frames=ppg_frames(12, SAMPLES), rate_hz=64.0)
    return folder
