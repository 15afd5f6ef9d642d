"""Codecs of every normalisation: quantised, written, equal on host and boards, decoded to ADC counts."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

import edgecodec
from edgecodec.codec.reference import ReferenceExecutor
from edgecodec.host.batch import BatchEncoder
from edgecodec.host.shim import HostShim
from edgecodec.quantization.quantized import Quantized
from edgecodec.signal.normalize import NONE, Fixed, MinMax, Normalization, ZScore
from edgecodec.signal.quality import prdn
from tests.linear_codec import codec_of_scaled_frames, pulse_frames
from tests.tools import require

CALIBRATION = pulse_frames(60, seed=4)
KINDS: dict[str, tuple[Normalization, float, int]] = {
    "zscore": (ZScore(), 0.02, -3),
    "minmax": (MinMax(), 1 / 255, -128),
    "minmax to -1..1": (MinMax(-1, 1), 2 / 255, -1),
    "fixed": (Fixed(2048, 512), 0.03, 5),
    "none": (NONE, 16.0, -128),
}
"""Normalisation, scale and zero point of the encoder's input."""


@cache
def _quantized(kind: str) -> Quantized:
    normalization, scale, zero_point = KINDS[kind]
    encoder, books, decoder = codec_of_scaled_frames(normalization, scale, zero_point)
    return edgecodec.quantize(
        encoder, books, CALIBRATION, decoder=decoder, normalization=normalization, accept_quality=False
    )


def _frames() -> np.ndarray:
    """Pulses, a flat frame, and counts from end to end."""
    rng = np.random.default_rng(3)
    wild = rng.integers(-32768, 32768, (6, 64)).astype(np.int16)
    wild[0] = -7
    return np.concatenate([pulse_frames(10, seed=5), wild])


@pytest.mark.parametrize("kind", KINDS)
def test_reaches_the_decoder_as_it_should(kind: str, tmp_path: Path) -> None:
    require("cc", "Python.h")
    quantized = _quantized(kind)
    assert quantized.report.shortfalls == ()
    bundle = quantized.write(tmp_path / "bundle")
    assert bundle.codec.normalizer.normalization == KINDS[kind][0]
    frames = pulse_frames(50, seed=6)
    stages = HostShim(bundle).stages(frames)
    decoded = edgecodec.decode(bundle, stages.indices, stages.offset, stages.spread)
    # Half of a flat line's: of counts as they are, many codes go to the levels that frames lie at.
    assert prdn(frames, decoded).mean() < 50
    # In ADC counts, as good as in the encoder's units: the way back undoes the normalisation.
    assert prdn(frames, decoded).mean() == pytest.approx(
        prdn(KINDS[kind][0].normalize(frames), edgecodec.decode(bundle, stages.indices)).mean(), rel=1e-3
    )


@pytest.mark.parametrize("kind", KINDS)
def test_equal_on_the_host(kind: str, tmp_path: Path) -> None:
    require("cc", "Python.h", "module:tflite_micro")
    bundle = _quantized(kind).write(tmp_path / "bundle")
    frames = _frames()
    result = edgecodec.verify_host(bundle, frames)
    assert result.verdict == "equal"
    assert "packet" in {pair.stage for pair in result.comparison.pairs}
    expected, found = ReferenceExecutor(bundle.codec).stages(frames), BatchEncoder(bundle.codec).stages(frames)
    for name in ("indices", "offset", "spread"):
        np.testing.assert_array_equal(found[name], expected[name])


@pytest.mark.emulated
@pytest.mark.parametrize("board", ["microbit", "mps2-an386", "mps3-an547"])
@pytest.mark.parametrize("kind", ["minmax", "fixed", "none"])
def test_equal_on_boards(kind: str, board: str, tmp_path: Path) -> None:
    require("cc", "Python.h", "module:tflite_micro")
    bundle = _quantized(kind).write(tmp_path / "bundle")
    result = edgecodec.verify_board(bundle, board, _frames())
    assert result.verdict == "equal"
    assert ("host", "board", "packet") in {(pair.a, pair.b, pair.stage) for pair in result.comparison.pairs}


@pytest.mark.parametrize(
    ("kind", "said", "message"),
    [
        ("zscore", "minmax", r"--normalization zscore\) are decoded with a PRDN of"),
        ("minmax", "zscore", r"--normalization minmax\) are decoded with a PRDN of"),
        ("minmax to -1..1", "none", r"--normalization minmax:-1,1\) are decoded with a PRDN of"),
        ("none", "fixed", r"--normalization none\) are decoded with a PRDN of"),
        ("none", "zscore", "input scale is 16.0; expected 2\\^-16..1"),
    ],
)
def test_another_normalisation_than_the_encoders_is_refused(kind: str, said: str, message: str) -> None:
    encoder, books, decoder = codec_of_scaled_frames(*KINDS[kind])
    with pytest.raises(edgecodec.EdgecodecError, match=message):
        edgecodec.quantize(
            encoder, books, CALIBRATION, decoder=decoder, normalization=KINDS[said][0], accept_quality=False
        )


@pytest.mark.parametrize("kind", ["zscore", "minmax", "fixed"])
def test_packets_bring_the_counts_back(kind: str, tmp_path: Path) -> None:
    """Side information adds a hundredth to the distortion at most, whatever the normaliser removes."""
    require("cc", "Python.h")
    bundle = _quantized(kind).write(tmp_path / "bundle")
    frames = pulse_frames(200, seed=6)
    stages = HostShim(bundle).stages(frames)
    assert stages.offset is not None
    assert stages.spread is not None
    packets = bundle.packets()
    assert packets is not None
    assert (packets.side is None) == (kind == "fixed")
    read = [
        packets.decode(packets.encode(indices, int(offset), int(spread), 0))
        for indices, offset, spread in zip(stages.indices, stages.offset, stages.spread, strict=True)
    ]
    np.testing.assert_array_equal([packet.indices for packet in read], stages.indices)
    exact = edgecodec.decode(bundle, stages.indices, stages.offset, stages.spread)
    offset = np.array([packet.offset for packet in read], np.int32)
    spread = np.array([packet.spread for packet in read], np.uint64)
    found = edgecodec.decode(bundle, stages.indices, offset, spread)
    worse = (prdn(frames, found) ** 2).mean() / (prdn(frames, exact) ** 2).mean()
    assert worse < 1.01 if packets.side else worse == 1.0
