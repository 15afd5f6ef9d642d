"""Parts that are not of one model are told from those that are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgecodec.bundle import DECODER
from edgecodec.errors import QuantizationError
from edgecodec.quantization import floor, quantize, quantize_run
from edgecodec.quantization.codebooks import check_codebooks
from edgecodec.quantization.floor import shortfalls_of_codec, shortfalls_of_parts
from edgecodec.quantization.measure import cohens_kappa, float_codebooks
from edgecodec.quantization.report import Shortfall
from tests.linear_codec import codec_of_scaled_frames, linear_codec, pulse_frames
from tests.tools import require

Parts = tuple[bytes, list[np.ndarray], bytes]
FRAMES = pulse_frames(60, seed=4)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Parts:
    """Encoder, float codebooks and decoder of one codec."""
    require("module:tensorflow")
    bundle, _ = linear_codec(tmp_path_factory.mktemp("linear"))
    decoder = bundle.file(DECODER)
    assert decoder is not None
    return bundle.encoder_bytes, float_codebooks(bundle.codec.rvq), Path(decoder).read_bytes()


def _names(encoder: bytes, books: list[np.ndarray], decoder: bytes | None) -> list[str]:
    return [found.figure for found in quantize(encoder, books, FRAMES, decoder=decoder).report.shortfalls]


def test_parts_of_one_model_pass(parts: Parts) -> None:
    encoder, books, decoder = parts
    quantized = quantize(encoder, books, FRAMES, decoder=decoder, accept_quality=False)
    assert quantized.report.shortfalls == ()
    assert 5 < quantized.figures["code_error"] < 30
    # A tenth of the size leaves something of each latent.
    assert _names(encoder, [book * 0.1 for book in books], decoder) == []


def test_codes_far_too_small_are_told_without_a_decoder(parts: Parts) -> None:
    encoder, books, _ = parts
    small = [book * 0.01 for book in books]
    assert [found.figure for found in quantize(encoder, small, FRAMES).report.shortfalls] == ["code_error"]
    stages: list[str] = []
    with pytest.raises(QuantizationError, match=r"code_error 10\d.* \(limit 100: .*latents' mean is\); check that enc"):
        quantize(encoder, small, FRAMES, accept_quality=False, progress=lambda done, total, stage: stages.append(stage))
    assert stages == ["encoder"], "refused before anything else is tried"


def test_a_run_is_never_refused(trained_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(floor, "MOST_ERROR", 5.0)
    found = quantize_run(trained_run).report.shortfalls
    assert [each.figure for each in found] == ["code_error", "prdn_integer"]


@pytest.mark.parametrize("factor", [1e-6, 1e-12, 0.0])
def test_codes_that_round_to_zero_are_refused(parts: Parts, factor: float) -> None:
    encoder, books, decoder = parts
    with pytest.raises(QuantizationError, match=r"level_0: all 64 codes (round to the same integers|are equal)"):
        quantize(encoder, [book * factor for book in books], FRAMES, decoder=decoder)


@pytest.mark.parametrize("size", [1e300, 1e30, 1e16])
def test_codes_beyond_float32_are_refused_by_name(size: float) -> None:
    with pytest.raises(QuantizationError, match=r"codebook level_1 holds values up to 1e\+.*; expected at most 1e\+15"):
        check_codebooks([np.eye(4), np.eye(4) * size], 4)


def test_codes_of_another_model_are_told_by_what_is_decoded(parts: Parts) -> None:
    encoder, books, decoder = parts
    rng = np.random.default_rng(1)
    other = [rng.normal(0, book.std(), book.shape) for book in books]
    assert _names(encoder, other, decoder) == ["prdn_integer"]
    with pytest.raises(QuantizationError, match=r"encoder: prdn_integer 1\d\d.* \(limit 100: a flat line is as close"):
        quantize(encoder, other, FRAMES, decoder=decoder, accept_quality=False)


def test_another_convention_of_normalising_is_named() -> None:
    require("module:tensorflow")
    quantized = quantize(*codec_of_scaled_frames()[:2], FRAMES, decoder=codec_of_scaled_frames()[2])
    (found,) = quantized.report.shortfalls
    assert found.figure == "prdn_normalization"
    assert found.value == quantized.report.candidates[0].figures["prdn_int8"]
    assert 10 < found.floor < 20 < 30 < found.value < 40
    assert "scaled to -1..1" in found.meaning


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("frames scaled to 0..1 (--normalization minmax)", 0.0, 1.0),
        ("frames scaled to -1..1 (--normalization minmax:-1,1)", -1.0, 1.0),
        ("ADC counts less their mean (which no bundle does: train it on z-scores)", -300.0, 100.0),
        ("ADC counts as they are (--normalization none)", 1000.0, 1400.0),
    ],
)
def test_every_convention_is_told_by_its_values(
    name: str, low: float, high: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = np.array([[1000, 1400, 1400, 1400], [1400, 1400, 1000, 1400]], np.int16)

    class Decoder:
        """Gives back what lies within its limits, and a flat line for the rest."""

        @staticmethod
        def run_decoder(inputs: np.ndarray) -> np.ndarray:
            fits = (inputs.min(), inputs.max()) == (low, high)
            return inputs if fits else np.zeros_like(inputs)

    monkeypatch.setattr(floor, "_codes", lambda variant, scaled: scaled)
    found = floor.other_convention(Decoder(), frames, 100.0)  # type: ignore[arg-type]  # a stand-in
    assert found == Shortfall(
        "prdn_normalization", 100.0, 0.0, f"{name} are decoded with a PRDN of 0.0 %: it was trained on such frames"
    )
    # What decodes well is not doubted, and nothing is said without frames.
    assert floor.other_convention(Decoder(), frames, 19.9) is None  # type: ignore[arg-type]  # a stand-in
    assert floor.other_convention(Decoder(), frames[:0], 100.0) is None  # type: ignore[arg-type]  # a stand-in


def test_kappa_by_hand() -> None:
    # Equal in 3 of 4; by chance in 1/2 1/4 + 1/2 3/4 = 1/2.
    assert cohens_kappa(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])) == pytest.approx(0.5)
    assert cohens_kappa(np.array([2, 2]), np.array([2, 2])) == 1.0
    assert cohens_kappa(np.array([0, 1]), np.array([1, 0])) == pytest.approx(-1.0)


def test_limits() -> None:
    assert shortfalls_of_parts({}) == shortfalls_of_codec({}) == ()
    assert shortfalls_of_parts({"code_error": 99.9}) == ()
    assert shortfalls_of_codec({"kappa_l1": 0.1, "prdn_integer": 99.9}) == ()
    assert [found.figure for found in shortfalls_of_parts({"code_error": 100.0})] == ["code_error"]
    found = shortfalls_of_codec({"kappa_l1": 0.09, "prdn_integer": 100.0})
    assert [each.figure for each in found] == ["kappa_l1", "prdn_integer"]
