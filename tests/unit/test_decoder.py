import subprocess
import sys

import numpy as np
import pytest

from edgecodec.bundle import Bundle
from edgecodec.decoding import decode
from edgecodec.decoding.decoder import FloatDecoder, FrameDecoder
from edgecodec.decoding.index_file import IndexFile, load_indices, save_indices
from edgecodec.errors import BundleError, InputError
from edgecodec.quantization.codebooks import quantize_float
from edgecodec.quantization.measure import dequantized, encoder_inputs, run_int8
from edgecodec.signal.normalize import normalize


def _encode(bundle: Bundle, frames):
    """Indices, sum and variance of frames, from the definitions of SPEC.md 1."""
    graph = bundle.codec.graph
    levels = run_int8(bundle.encoder_bytes, graph, encoder_inputs(bundle.codec.normalizer, frames))
    latents = dequantized(levels, graph.latent.scale, graph.latent.zero_point)
    step = bundle.codec.rvq.latent_scale / 2.0**bundle.codec.rvq.fraction_bits
    books = [book * step for book in bundle.codec.rvq.codebooks]
    indices, _ = quantize_float(latents.reshape(-1, bundle.codec.rvq.dimension), books)
    wide = frames.astype(np.int64)
    total = wide.sum(axis=1)
    variance = bundle.codec.samples * (wide**2).sum(axis=1) - total**2
    shape = (len(frames), bundle.codec.positions, bundle.codec.levels)
    return indices.reshape(shape), total.astype(np.int32), variance.astype(np.uint64)


@pytest.fixture(scope="module")
def encoded(trained_bundle):
    return _encode(trained_bundle, trained_bundle.frames()[:5])


def test_decodes_as_the_keras_decoder(trained_bundle, trained_run, encoded):
    from edgecodec.nn.backend import import_keras

    indices = encoded[0]
    decoder = import_keras().models.load_model(trained_run / "decoder.keras", compile=False)
    latents = trained_bundle.codec.rvq.dequantize(indices)[:, None]
    expected = np.asarray(decoder(latents))[:, 0, :, 0]
    found = FrameDecoder(trained_bundle).decode(indices)
    assert found.shape == (5, 64)
    assert found.dtype == np.float32
    assert found == pytest.approx(expected, abs=1e-4)


def test_counts_follow_from_sum_and_variance(trained_bundle, encoded):
    indices, total, variance = encoded
    decoder = FrameDecoder(trained_bundle)
    counts = decoder.decode(indices, total, variance)
    frames = trained_bundle.frames()[:5]
    expected = frames.mean(axis=1, keepdims=True) + decoder.decode(indices) * np.sqrt(
        frames.astype(float).var(axis=1, keepdims=True) + 1e-3
    )
    assert counts == pytest.approx(expected, rel=1e-4)
    assert normalize(frames).std() > 0


def test_function_decodes_as_the_class_does(trained_bundle, encoded):
    decoder = FrameDecoder(trained_bundle)
    assert np.array_equal(decode(trained_bundle, encoded[0]), decoder.decode(encoded[0]))
    assert np.array_equal(decode(trained_bundle, *encoded), decoder.decode(*encoded))


def test_no_frames(trained_bundle):
    assert FrameDecoder(trained_bundle).decode(np.empty((0, 8, 2), np.uint16)).shape == (0, 64)


@pytest.mark.parametrize(
    ("indices", "message"),
    [
        (np.zeros((2, 7, 2), np.uint16), r"\(2, 7, 2\).*\[N, 8, 2\]"),
        (np.zeros((8, 2), np.uint16), r"\[N, 8, 2\]"),
        (np.zeros((1, 8, 2)), "float64"),
        (np.full((1, 8, 2), 16, np.uint16), "index 16 at level 0; the codebook has 16 codes"),
        (np.full((1, 8, 2), -1, np.int32), "level 0"),
    ],
)
def test_bad_indices(trained_bundle, indices, message):
    with pytest.raises(InputError, match=message):
        FrameDecoder(trained_bundle).decode(indices)


def test_bad_statistics(trained_bundle, encoded):
    indices, total, variance = encoded
    decoder = FrameDecoder(trained_bundle)
    with pytest.raises(InputError, match="only one"):
        decoder.decode(indices, total)
    with pytest.raises(InputError, match=r"expected \(5,\)"):
        decoder.decode(indices, total[:2], variance)


def test_bundle_without_decoder(bundle):
    with pytest.raises(BundleError, match=r"no decoder\.tflite.*--decoder"):
        FrameDecoder(bundle)


@pytest.mark.parametrize("data", [b"", b"hello", b"\x1c\x00\x00\x00TFL3" + bytes(40)])
def test_files_that_are_no_decoder(data):
    with pytest.raises(BundleError, match=r"decoder\.tflite"):
        FloatDecoder(data, 8, 4, 64)


def test_encoder_is_no_decoder(trained_bundle):
    with pytest.raises(BundleError, match=r"expected float32 \(1, 1, 8, 4\)"):
        FloatDecoder(trained_bundle.encoder_bytes, 8, 4, 64)


def test_index_file_round_trip(trained_bundle, encoded, tmp_path):
    path = tmp_path / "indices.npz"
    save_indices(path, IndexFile(*encoded, trained_bundle.digest))
    content = load_indices(path)
    assert content.digest == trained_bundle.digest
    for found, expected in zip((content.indices, content.offset, content.spread), encoded, strict=True):
        assert found is not None
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected)
    first = path.read_bytes()
    save_indices(path, content)
    assert path.read_bytes() == first
    decoder = FrameDecoder(trained_bundle)
    assert np.array_equal(decoder.decode_file(content), decoder.decode(*encoded))


def test_indices_of_another_bundle(trained_bundle, encoded):
    content = IndexFile(encoded[0], digest="0" * 64)
    with pytest.raises(InputError, match="made by bundle 000000000000"):
        FrameDecoder(trained_bundle).decode_file(content)


def test_indices_alone(tmp_path):
    np.savez(tmp_path / "i.npz", indices=np.zeros((1, 2, 3), np.int64))
    content = load_indices(tmp_path / "i.npz")
    assert content.indices.dtype == np.uint16
    assert (content.offset, content.spread, content.digest) == (None, None, None)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"index": np.zeros((1, 1, 1), np.uint16)}, "holds index"),
        ({"indices": np.zeros((1, 1), np.uint16)}, "rank 3"),
        ({"indices": np.zeros((1, 1, 1))}, "float64"),
        ({"indices": np.full((1, 1, 1), 65536)}, "outside uint16"),
        ({"indices": np.zeros((1, 1, 1), np.uint16), "digest": np.arange(3)}, "one text"),
        ({"indices": np.zeros((1, 1, 1), np.uint16), "offset": np.array([2**31])}, "outside int32"),
        ({"indices": np.zeros((1, 1, 1), np.uint16), "spread": np.array([-1])}, "outside uint64"),
    ],
)
def test_bad_index_files(tmp_path, arrays, message):
    np.savez(tmp_path / "i.npz", **arrays)
    with pytest.raises(InputError, match=message):
        load_indices(tmp_path / "i.npz")


def test_unreadable_index_files(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_indices(tmp_path / "none.npz")
    (tmp_path / "bad.npz").write_bytes(b"no zip")
    with pytest.raises(InputError, match="not a readable"):
        load_indices(tmp_path / "bad.npz")
    np.save(tmp_path / "one.npy", np.zeros(3))
    with pytest.raises(InputError, match=r"not a readable \.npz of indices"):
        load_indices(tmp_path / "one.npy")


def test_decoding_needs_no_tensorflow(trained_bundle):
    code = (
        "import sys, numpy as np\n"
        "from edgecodec.bundle import Bundle\n"
        "from edgecodec.decoding.decoder import FrameDecoder\n"
        "FrameDecoder(Bundle.load(sys.argv[1])).decode(np.zeros((1, 8, 2), np.uint16))\n"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(trained_bundle.path)], check=True, timeout=60)
