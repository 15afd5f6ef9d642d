"""A bundle's packets fitted anew from the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from edgecodec.bundle import Bundle
from edgecodec.codec.numerics import NUMERICS, Numerics
from edgecodec.codec.reference import ReferenceExecutor
from tests.cli.run import assert_one_error, edgecodec
from tests.tflite_builder import ppg_frames
from tests.tools import require


@pytest.fixture
def recordings(bundle: Bundle, tmp_path: Path) -> Path:
    frames = ppg_frames(300, bundle.codec.samples, 9)
    np.savez(tmp_path / "people.npz", frames=frames[:200], rate_hz=bundle.rate_hz)
    np.savez(tmp_path / "others.npz", frames=frames[200:], rate_hz=bundle.rate_hz)
    return tmp_path


@pytest.mark.parametrize("numerics", NUMERICS.values(), ids=lambda numerics: numerics.name)
def test_codec_stays_and_packets_are_fitted(
    bundles: Mapping[Numerics, Bundle], recordings: Path, numerics: Numerics
) -> None:
    require("cc", "Python.h")
    bundle = bundles[numerics]
    command = ["refit", bundle.path, "--frames", "people.npz", "--validation", "others.npz", "-o", "new"]
    done = edgecodec(*command, "--index-flash", "1200", "--json", cwd=recordings)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    fitted = Bundle.load(recordings / "new")
    assert document["bundle_digest"] == fitted.digest != bundle.digest
    assert (document["index_model"]["frames"], document["index_model"]["validation_frames"]) == (200, 100)
    assert fitted.encoder_bytes == bundle.encoder_bytes
    np.testing.assert_array_equal(fitted.frames(), bundle.frames())
    packets = fitted.packets()
    assert packets is not None
    assert packets.model is not None
    assert packets.model.flash_bytes <= 1200
    indices = ReferenceExecutor(bundle.codec).encode(ppg_frames(300, bundle.codec.samples, 9)[200:])
    bits = packets.model.code_lengths(indices).sum(axis=(1, 2)).mean()
    kept = next(point for point in document["index_model"]["curve"] if point["chosen"])
    assert kept["bits_per_frame"] == pytest.approx(bits)
    assert bits < bundle.codec.bits_per_frame
    again = ["refit", fitted.path, "--frames", "people.npz", "--index-flash", "1000", "-o", "again"]
    shown = edgecodec(*again, cwd=recordings)
    assert shown.returncode == 0, shown.stderr
    assert "tables (kept)" in shown.stdout


def test_refuses_a_folder_of_others(bundle: Bundle, recordings: Path) -> None:
    (recordings / "full").mkdir()
    (recordings / "full" / "thesis.tex").touch()
    done = edgecodec("refit", bundle.path, "--frames", "people.npz", "-o", "full", cwd=recordings)
    assert_one_error(done, "full")
