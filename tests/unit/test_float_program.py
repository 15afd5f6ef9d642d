"""The decoder in C gives what LiteRT gives, and where it cannot, LiteRT takes its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgecodec
from edgecodec.bundle import DECODER, Bundle
from edgecodec.decoding.decoder import FrameDecoder
from edgecodec.decoding.float_program import read_program
from edgecodec.entropy.unpacking import Unpacked
from edgecodec.errors import BundleError, InputError, UnsupportedOpError
from edgecodec.host.decode import VectorDecoder, fastest_decoder
from edgecodec.host.streams import packets_of
from tests.cli.run import edgecodec as run
from tests.float_decoders import (
    CHANNELS,
    DECODERS,
    POSITIONS,
    SAMPLES,
    decoder_bundle,
    indices_of,
    keras_decoder,
    preset_decoder,
    statistics,
)
from tests.linear_codec import pulse_frames
from tests.streams import packets_for, stream_bundle, stream_bytes
from tests.tools import require

FRAMES = 37
"""Of no whole number of vectors."""


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return stream_bundle(tmp_path_factory.mktemp("stream"))


def _compare(bundle: Bundle) -> None:
    """Normalised to 1e-4 of the signal's largest value, counts to a count."""
    indices = indices_of(bundle, FRAMES)
    found, expected = VectorDecoder(bundle), FrameDecoder(bundle)
    normalized = expected.decode(indices)
    assert np.abs(found.decode(indices) - normalized).max() < 1e-4 * np.abs(normalized).max()
    counts = statistics(FRAMES, bundle.codec.samples)
    assert np.abs(found.decode(indices, *counts) - expected.decode(indices, *counts)).max() < 1


@pytest.mark.parametrize("preset", ["08x_ds8_l2", "16x_ds16_l2"])
def test_presets(preset: str, tmp_path: Path) -> None:
    """The decoder of 32x is that of 16x, the demo's that of 8x without its first layers."""
    require("cc", "Python.h", "module:tensorflow")
    _compare(decoder_bundle(tmp_path / "bundle", *preset_decoder(preset)))


@pytest.mark.parametrize("name", DECODERS)
def test_other_decoders(name: str, tmp_path: Path) -> None:
    require("cc", "Python.h", "module:tensorflow")
    from edgecodec.nn.backend import import_keras

    keras = import_keras()
    _compare(decoder_bundle(tmp_path / "bundle", keras_decoder(keras, DECODERS[name](keras)), SAMPLES))


def test_threads_and_batches_change_nothing(linear: Bundle) -> None:
    require("cc", "Python.h")
    indices = indices_of(linear, 300)
    whole = VectorDecoder(linear).decode(indices)
    assert np.array_equal(VectorDecoder(linear, threads=3).decode(indices), whole)
    one = VectorDecoder(linear)
    assert np.array_equal(np.concatenate([one.decode(indices[i : i + 1]) for i in range(5)]), whole[:5])
    assert one.decode(indices[:0]).shape == (0, linear.codec.samples)
    _compare(linear)


def test_flat_frames_and_levels_left_out(linear: Bundle) -> None:
    require("cc", "Python.h")
    count, levels = 50, np.arange(50, dtype=np.uint8) % 3
    offset, spread = statistics(count, linear.codec.samples)
    unpacked = Unpacked.empty(count, linear.codec.positions, 2)
    unpacked.indices[:], unpacked.levels[:] = indices_of(linear, count), levels
    unpacked.offset[:], unpacked.spread[:] = offset, spread
    found, expected = (each(linear).decode_unpacked(unpacked) for each in (VectorDecoder, FrameDecoder))
    assert found == pytest.approx(expected, abs=0.05)
    assert (found[levels == 0] == expected[levels == 0]).all()


def test_streams_are_decoded_in_c(linear: Bundle, tmp_path: Path) -> None:
    require("cc", "Python.h")
    packets = packets_for(linear, pulse_frames(40, seed=2))
    (tmp_path / "x.ecs").write_bytes(stream_bytes(linear, packets))
    result = run("decode", "-v", linear.path, tmp_path / "x.ecs", "-o", tmp_path / "x.npy")
    assert "decoder: C, " in result.stderr
    assert fastest_decoder(linear).how == result.stderr.split("decoder: ")[1].splitlines()[0]


def test_litert_where_ops_are_not_known(tmp_path: Path) -> None:
    require("cc", "Python.h", "module:tensorflow")
    from edgecodec.nn.backend import import_keras

    keras = import_keras()
    layers = [*DECODERS["transposed"](keras), keras.layers.Activation("tanh")]
    bundle = decoder_bundle(tmp_path / "bundle", keras_decoder(keras, layers), SAMPLES, packets=True)
    with pytest.raises(UnsupportedOpError, match="op TANH of the decoder"):
        VectorDecoder(bundle)
    decoder = fastest_decoder(bundle)
    assert decoder.how == "LiteRT (op TANH of the decoder)"
    indices = indices_of(bundle, 5)
    assert edgecodec.decode(bundle, indices) == pytest.approx(FrameDecoder(bundle).decode(indices), abs=1e-5)
    packets = [packets_of(bundle).encode(each, 64 * 2000, 64**2 * 400, 0) for each in indices]
    (tmp_path / "x.ecs").write_bytes(stream_bytes(bundle, packets))
    result = run("decode", "-v", bundle.path, tmp_path / "x.ecs", "-o", tmp_path / "x.npy")
    assert "decoder: LiteRT (op TANH of the decoder)" in result.stderr


def test_litert_where_there_is_no_compiler(linear: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    decoder = fastest_decoder(linear)
    assert decoder.how.startswith("LiteRT (host shim: no C compiler: $CC")
    assert decoder.decode(indices_of(linear, 2)).shape == (2, linear.codec.samples)


def test_what_is_refused(bundle: Bundle, linear: Bundle) -> None:
    with pytest.raises(BundleError, match=r"no decoder\.tflite"):
        fastest_decoder(bundle)
    with pytest.raises(InputError, match="threads is 0"):
        fastest_decoder(linear, threads=0)
    with pytest.raises(InputError, match="threads is 0"):
        edgecodec.decode(linear, indices_of(linear, 1), threads=0)
    path = linear.file(DECODER)
    assert path is not None
    data, positions, dimension = path.read_bytes(), linear.codec.positions, linear.codec.rvq.dimension
    with pytest.raises(UnsupportedOpError, match="gives 64 x 1 values"):
        read_program(data, positions, dimension, 65)
    with pytest.raises(UnsupportedOpError, match=r"latents \(1, 1, 8, 8\)"):
        read_program(data, positions + 1, dimension, 64)


@pytest.mark.parametrize("seed", range(3))
def test_damaged_files_end_in_one_error(linear: Bundle, seed: int) -> None:
    path = linear.file(DECODER)
    assert path is not None
    rng, whole = np.random.default_rng(seed), path.read_bytes()
    for _ in range(60):
        data = bytearray(whole)
        for at in rng.integers(0, 700, 3):
            data[at] = int(rng.integers(256))
        try:
            program = read_program(bytes(data), POSITIONS // 2, 2 * CHANNELS, SAMPLES)
        except (InputError, UnsupportedOpError):
            continue
        assert program.memory > 0
