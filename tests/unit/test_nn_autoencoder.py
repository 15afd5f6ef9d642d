import numpy as np
import pytest

from tests.tools import require


@pytest.fixture(scope="module")
def nn():
    require("module:tensorflow")
    import edgecodec.nn

    return edgecodec.nn


@pytest.mark.parametrize(("stages", "parameters"), [(1, 912), (2, 10_200), (3, 12_968), (4, 17_192)])
def test_encoder_size_and_shape(nn, stages, parameters):
    encoder = nn.build_encoder_2d(320, base=32, num_stages=stages)
    assert encoder.count_params() == parameters
    assert encoder.output_shape == (None, 1, 320 // 2**stages, 16)
    assert encoder.name == f"Encoder2D_ds{2**stages}"
    assert encoder.inputs[0].name == "enc_in"
    assert "to_vq" in [layer.name for layer in encoder.layers]


def test_decoder_mirrors_the_encoder(nn):
    decoder = nn.build_decoder_2d(320, num_stages=3)
    assert decoder.input_shape == (None, 1, 40, 16)
    assert decoder.output_shape == (None, 1, 320, 1)
    assert decoder.inputs[0].name == "latent_in"
    filters = [layer.filters for layer in decoder.layers if type(layer).__name__ == "SeparableConv2D"]
    assert filters == sorted(filters, reverse=True)


@pytest.mark.parametrize(
    ("value", "divisor", "expected"), [(40.0, 8, 40), (50.0, 8, 48), (3.0, 8, 8), (61.0, 8, 64), (11.9, 8, 16)]
)
def test_make_divisible(nn, value, divisor, expected):
    assert nn.make_divisible(value, divisor) == expected


def test_make_divisible_minimum(nn):
    assert nn.make_divisible(3, 8, 16) == 16


@pytest.mark.parametrize("build", ["build_encoder_2d", "build_decoder_2d", "build_rvq_autoencoder"])
def test_length_must_fit_the_stages(nn, build):
    with pytest.raises(ValueError, match=r"100.*8"):
        getattr(nn, build)(100, num_stages=3)
    with pytest.raises(ValueError, match="0; expected at least 1"):
        getattr(nn, build)(100, num_stages=0)


def test_unknown_norm(nn):
    with pytest.raises(ValueError, match="'group'"):
        nn.build_encoder_2d(16, num_stages=1, block_norm="group")


def test_compression_stats(nn):
    stats = nn.compute_compression_stats(320, bit_depth=16, latent_width=256, num_levels=2, downsample_factor=8)
    assert stats == {
        "frame_size": 320,
        "latent_positions": 40,
        "bits_per_index": 8.0,
        "compressed_bits_per_window": 640.0,
        "raw_bits_per_window": 5120,
        "compression_ratio": 8.0,
    }


@pytest.fixture
def small(nn):
    return nn.build_rvq_autoencoder(
        16, embedding_dim=4, latent_width=8, base_filters=8, num_levels=2, num_stages=2, use_ema=True
    )


def test_autoencoder_parts(nn, small):
    encoder, rvq, decoder, model = small
    assert model.name == "RVQAE_2D_ds4"
    assert (model.encoder, model.vq, model.decoder) == (encoder, rvq, decoder)
    frames = np.random.default_rng(0).standard_normal((3, 1, 16, 1)).astype(np.float32)
    y, indices = model(frames, return_indices=True)
    assert y.shape == (3, 1, 16, 1)
    assert [index.shape for index in indices] == [(12,), (12,)]
    plain = nn.build_rvq_autoencoder(16, latent_width=8, base_filters=8, num_stages=1)[1]
    assert isinstance(plain, nn.ResidualVectorQuantizer)


def test_fit_save_and_load(nn, small, tmp_path):
    import keras

    model = small[3]
    frames = np.random.default_rng(0).standard_normal((8, 1, 16, 1)).astype(np.float32)
    before = model.vq.codebooks
    model.compile(optimizer="adam", loss="mse")
    history = model.fit(frames, frames, epochs=1, batch_size=4, verbose=0).history
    assert {"loss", "rvq_l1_perplexity", "rvq_l2_usage", "rvq_bits_per_index_sum"} <= set(history)
    assert not np.array_equal(before[0], model.vq.codebooks[0])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert np.array_equal(np.asarray(loaded(frames)), np.asarray(model(frames)))


def test_total_loss_is_reconstruction_plus_quantiser(small):
    model = small[3]
    frames = np.random.default_rng(1).standard_normal((4, 1, 16, 1)).astype(np.float32)
    model.compile(loss="mse")
    total = model.evaluate(frames, frames, batch_size=4, verbose=0, return_dict=True)["loss"]
    output = np.asarray(model(frames))
    expected = np.mean((output - frames) ** 2) + sum(float(loss) for loss in model.losses)
    assert total == pytest.approx(float(expected), rel=1e-5)
