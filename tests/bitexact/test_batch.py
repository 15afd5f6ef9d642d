"""The batch encoder of servers against the numpy reference: every vector width, every shape, every thread."""

from __future__ import annotations

import platform
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgecodec.bundle import Bundle, write_bundle
from edgecodec.codec.numerics import INT8, INT16X8
from edgecodec.codec.reference import ReferenceExecutor
from edgecodec.errors import BuildError, InputError, PlanError
from edgecodec.host import extension
from edgecodec.host.batch import BatchEncoder
from edgecodec.host.encoders import fastest_encoder
from edgecodec.host.shim import HostShim
from edgecodec.signal.normalize import NONE, MinMax, Normalization
from tests.random_encoders import random_encoder
from tests.tflite_builder import CONV, LayerSpec, build_encoder, bundle_of, ppg_frames, small_encoder
from tests.tools import require

NARROWER = {
    "no dot product of bytes": ("-march=native", "-mno-avx512vnni"),
    "8 lanes": ("-mavx2",),
    "4 lanes": (),
}


@pytest.fixture(autouse=True)
def _compiler() -> None:
    require("cc", "Python.h")


def frames_of(bundle: Bundle, count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    wild = rng.integers(-32768, 32768, (count // 2, bundle.codec.samples)).astype(np.int16)
    wild[:1] = 9  # no variance
    return np.concatenate([ppg_frames(count - len(wild), bundle.codec.samples, seed), wild])


def assert_exact(bundle: Bundle, encoder: BatchEncoder, count: int, seed: int = 0) -> None:
    frames = frames_of(bundle, count, seed)
    expected, found = ReferenceExecutor(bundle.codec).stages(frames), encoder.stages(frames)
    for name in ("indices", "offset", "spread"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    assert (found.input, found.latent) == (None, None)


@pytest.mark.parametrize("seed", range(60))
def test_random_encoders(tmp_path: Path, seed: int) -> None:
    sizes = [(9, 5), (256,), (3, 40, 7), (1,)][seed % 4]
    bundle = bundle_of(tmp_path / "b", random_encoder(seed).data, sizes=sizes, seed=seed)
    # More than a vector and less than two, so that lanes are left over.
    assert_exact(bundle, BatchEncoder(bundle.codec), 19, seed)


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 12, 13, 14, 15, 16, 17, 18, 19, 20, 22])
def test_random_encoders_of_16_bits(tmp_path: Path, seed: int) -> None:
    """Of those that are left out the latent is constant, so that there are no codebooks for it."""
    bundle = bundle_of(tmp_path / "b", random_encoder(seed, INT16X8).data, sizes=(9, 5), seed=seed)
    if max(layer.accumulator_bound for layer in bundle.codec.graph.layers) >= 2**31:
        with pytest.raises(PlanError, match=r"sums may reach \d+; the batch encoder has int32"):
            BatchEncoder(bundle.codec)
        assert fastest_encoder(bundle).name == "host"
        return
    assert_exact(bundle, BatchEncoder(bundle.codec), 19, seed)
    assert fastest_encoder(bundle).name == "batch"


@pytest.mark.parametrize("normalization", [MinMax(), NONE])
def test_normalizers_of_16_bits(tmp_path: Path, normalization: Normalization) -> None:
    bundle = bundle_of(tmp_path / "b", small_encoder(numerics=INT16X8), normalization=normalization)
    assert_exact(bundle, BatchEncoder(bundle.codec), 19)


@pytest.mark.parametrize("shift", [8, 9, 12, 15, 16, 17, 18, 24, 31, 32, 33])
def test_shifts_of_16_bits(tmp_path: Path, shift: int) -> None:
    """Multipliers of 16 bits that are shifted by little and by much; small weights, so that sums are small, too."""
    limit = 3 if shift < 20 else 127
    layer = LayerSpec(CONV, 5, 9, scale_ratio=2.0 ** (14.5 - shift), scale_spread=0.2, weight_limit=limit)
    bundle = bundle_of(tmp_path / "b", build_encoder([layer], 64, seed=shift, numerics=INT16X8), normalization=NONE)
    assert shift in bundle.codec.graph.layers[0].total_shift
    assert_exact(bundle, BatchEncoder(bundle.codec), 19)


def test_biased_codes(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "b", random_encoder(1).data, sizes=(40, 9), seed=1)
    rng = np.random.default_rng(1)
    books = bundle.codec.rvq.codebooks
    biases = tuple(rng.integers(0, 1 + int((book.astype(int) ** 2).sum(1).max()), len(book)) for book in books)
    rvq = replace(bundle.codec.rvq, biases=tuple((bias - bias.min()).astype(np.int32) for bias in biases))
    biased = write_bundle(tmp_path / "biased", encoder=bundle.encoder_bytes, rvq=rvq, name="biased")
    frames = frames_of(bundle, 19)
    assert np.any(ReferenceExecutor(biased.codec).encode(frames) != ReferenceExecutor(bundle.codec).encode(frames))
    assert_exact(biased, BatchEncoder(biased.codec), 19)


def supports(flags: tuple[str, ...]) -> bool:
    cpu = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    if "-mavx2" in flags:
        return platform.machine() == "x86_64" and " avx2 " in cpu
    return "avx512" not in " ".join(flags) or " avx512bw " in cpu


@pytest.mark.parametrize("flags", NARROWER.values(), ids=NARROWER)
def test_narrower_vectors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...]) -> None:
    if not supports(flags):
        pytest.skip("this CPU has no such vectors")
    monkeypatch.setattr(extension, "_CPU_FLAGS", flags)
    for seed in range(24):
        numerics = INT16X8 if seed % 4 == 2 else INT8
        bundle = bundle_of(tmp_path / str(seed), random_encoder(seed, numerics).data, sizes=(9, 5), seed=seed)
        encoder = BatchEncoder(bundle.codec)
        if "-march=native" not in flags:
            assert encoder.lanes == (8 if "-mavx2" in flags else 4)
        assert_exact(bundle, encoder, 19, seed)


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 200])
@pytest.mark.parametrize("threads", [1, 3, None])
def test_any_number_of_frames_and_threads(bundle: Bundle, count: int, threads: int | None) -> None:
    assert_exact(bundle, BatchEncoder(bundle.codec, threads=threads), count)


def test_no_frames(bundle: Bundle) -> None:
    assert BatchEncoder(bundle.codec).encode(np.zeros((0, bundle.codec.samples), np.int16)).shape == (
        *(0, bundle.codec.positions, bundle.codec.levels),
    )


def test_ties_go_to_the_lowest_index(bundle: Bundle) -> None:
    books = tuple(np.concatenate([book, book, book[::-1]]) for book in bundle.codec.rvq.codebooks)
    doubled = replace(bundle.codec, rvq=replace(bundle.codec.rvq, codebooks=books))
    frames = frames_of(bundle, 40)
    found = BatchEncoder(doubled).encode(frames)
    np.testing.assert_array_equal(found, ReferenceExecutor(doubled).encode(frames))
    assert all(found[..., level].max() < len(book) for level, book in enumerate(bundle.codec.rvq.codebooks))


def test_the_interpreter_is_free_meanwhile(bundle: Bundle) -> None:
    encoder = BatchEncoder(bundle.codec)
    frames = np.tile(frames_of(bundle, 64), (400, 1))
    encoder.encode(frames[:1])
    turns = 0
    done = threading.Event()

    def encode() -> None:
        encoder.encode(frames)
        done.set()

    thread = threading.Thread(target=encode)
    thread.start()
    while not done.is_set():
        turns += 1
        time.sleep(0)
    thread.join()
    # With the interpreter held there would be one turn or two.
    assert turns > 10


def test_it_is_the_fastest_encoder_and_says_so(bundle: Bundle) -> None:
    encoder = fastest_encoder(bundle, threads=2)
    assert encoder.name == "batch"
    frames = frames_of(bundle, 70)
    np.testing.assert_array_equal(encoder.encode(frames), HostShim(bundle).stages(frames).indices)


def test_codec_that_is_none_for_it_is_refused_and_the_firmwares_c_encodes(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    book = np.full_like(bundle.codec.rvq.codebooks[0], 0)
    book[0, 0] = 20000
    large = replace(bundle, codec=replace(bundle.codec, rvq=replace(bundle.codec.rvq, codebooks=(book,))))
    with pytest.raises(PlanError, match="level_0 has entries beyond 16383"):
        BatchEncoder(large.codec)
    with pytest.raises(InputError, match="threads is 0"):
        fastest_encoder(bundle, threads=0)
    frames = frames_of(bundle, 20)
    assert fastest_encoder(large).name == "host"
    np.testing.assert_array_equal(fastest_encoder(large).encode(frames), ReferenceExecutor(large.codec).encode(frames))

    def fail(*_: object, **__: object) -> None:
        raise BuildError("no vectors")

    monkeypatch.setattr("edgecodec.host.encoders.BatchEncoder", fail)
    assert fastest_encoder(bundle).name == "host"
    np.testing.assert_array_equal(
        fastest_encoder(bundle).encode(frames), ReferenceExecutor(bundle.codec).encode(frames)
    )
    monkeypatch.setattr("edgecodec.host.encoders.HostShim", fail)
    assert fastest_encoder(bundle).name == "reference"


def test_the_shim_never_encodes_by_it(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = frames_of(bundle, 20)
    shim = HostShim(bundle)
    monkeypatch.setattr(BatchEncoder, "encode", lambda *_: pytest.fail("the batch encoder ran"))
    monkeypatch.setattr(BatchEncoder, "__init__", lambda *_, **__: pytest.fail("the batch encoder was made"))
    np.testing.assert_array_equal(shim.encode(frames), ReferenceExecutor(bundle.codec).encode(frames))
