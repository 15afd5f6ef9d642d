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


@pytest.mark.parametrize(("kernel", "stages"), [(31, 3), (63, 4), (16, 4)])
def test_linear_encoder_is_one_convolution(nn, kernel, stages):
    stride = 2**stages
    encoder = nn.build_linear_encoder_2d(64, embedding_dim=3, num_stages=stages, kernel=kernel)
    assert encoder.count_params() == 3 * (kernel + 1)
    assert encoder.name == f"LinearEncoder2D_ds{stride}"
    assert encoder.inputs[0].name == "enc_in"
    rng = np.random.default_rng(0)
    x, bias = rng.normal(size=64).astype(np.float32), np.array([0.5, -1.0, 2.0], np.float32)
    weights = rng.normal(size=(1, kernel, 1, 3)).astype(np.float32)
    encoder.get_layer("to_vq").set_weights([weights, bias])
    # TensorFlow's "same": the padding's odd zero lies behind.
    total = (64 // stride - 1) * stride + kernel - 64
    padded = np.pad(x, (total // 2, total - total // 2))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel)[::stride]
    latent = np.asarray(encoder(x[None, None, :, None]))[0, 0]
    assert latent == pytest.approx(windows @ weights[0, :, 0] + bias, abs=1e-4)


@pytest.mark.parametrize(("kernel", "stages"), [(31, 3), (63, 4), (16, 3)])
def test_linear_encoder_starts_orthogonal(nn, kernel, stages):
    """With as many bands as the stride, filters and their shifts are orthogonal: energy is kept, but for a factor."""
    stride = 2**stages
    encoder = nn.build_linear_encoder_2d(64, embedding_dim=stride, num_stages=stages, kernel=kernel)
    taps, bias = encoder.get_layer("to_vq").get_weights()
    filters = taps[0, :, 0].astype(np.float64) * np.sqrt(stride)
    assert filters.T @ filters == pytest.approx(np.eye(stride), abs=1e-6)
    for shift in range(stride, kernel, stride):
        assert filters[shift:].T @ filters[:-shift] == pytest.approx(np.zeros((stride, stride)), abs=1e-6)
    assert not bias.any()


@pytest.mark.parametrize(("kernel", "stride", "bands"), [(31, 8, 16), (63, 16, 8), (9, 8, 3)])
def test_lapped_transform_of_other_shapes(nn, kernel, stride, bands):
    """Bands lie in order from the lowest, none is empty, and no band passes more than the whole."""
    filters = nn.lapped_transform(kernel, stride, bands)
    assert (filters.shape, filters.dtype) == ((kernel, bands), np.float32)
    spectrum = np.abs(np.fft.rfft(filters, 1024, axis=0)) ** 2
    peaks = spectrum.argmax(axis=0)
    assert list(peaks) == sorted(peaks)
    assert len(set(peaks)) == bands
    assert spectrum.sum(axis=1).max() <= 2.0


def test_linear_encoder_of_two_channels_starts_with_their_mean(nn):
    one, two = (nn.build_linear_encoder_2d(64, channels, 4, 3, 15) for channels in (1, 2))
    taps = [encoder.get_layer("to_vq").get_weights()[0] for encoder in (one, two)]
    assert taps[1].shape == (1, 15, 2, 4)
    assert taps[1].sum(axis=2) == pytest.approx(taps[0][:, :, 0], abs=1e-7)


def test_linear_encoder_with_a_decoder_of_its_own_width(nn):
    encoder, _, decoder, model = nn.build_rvq_autoencoder(
        64, embedding_dim=3, latent_width=4, num_stages=3, encoder="linear", encoder_kernel=31, decoder_base_filters=16
    )
    assert [type(layer).__name__ for layer in encoder.layers[1:]] == ["Conv2D"]
    # 16 * 1.25^2 = 25, in eights 24; 24 / 1.25 = 19.2 would be 16, which is below 0.9 of it, so 24 again.
    assert [decoder.get_layer(f"dec_s{stage}_conv").filters for stage in (1, 2, 3)] == [24, 24, 24]
    assert model(np.zeros((2, 1, 64, 1), np.float32)).shape == (2, 1, 64, 1)


def test_bad_linear_encoders(nn):
    with pytest.raises(ValueError, match="kernel is 7; expected at least the stride, 8"):
        nn.build_linear_encoder_2d(64, num_stages=3, kernel=7)
    with pytest.raises(ValueError, match=r"100.*8"):
        nn.build_linear_encoder_2d(100, num_stages=3)
    with pytest.raises(ValueError, match="encoder is 'light'; expected 'stages' or 'linear'"):
        nn.build_rvq_autoencoder(64, encoder="light")


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


@pytest.mark.parametrize("use_ema", [False, True])
def test_saved_model(nn, use_ema, tmp_path):
    from edgecodec.nn.backend import import_tensorflow, quiet

    tf = import_tensorflow()
    _, _, _, model = nn.build_rvq_autoencoder(
        64, embedding_dim=4, latent_width=8, num_stages=2, base_filters=8, use_ema=use_ema
    )
    frames = np.random.default_rng(0).normal(size=(3, 1, 64, 1)).astype(np.float32)
    expected = np.asarray(model(frames))
    with quiet():
        tf.saved_model.save(model, str(tmp_path / "saved"))
        model.export(str(tmp_path / "exported"), verbose=False)
    saved = tf.saved_model.load(str(tmp_path / "saved")).signatures["serving_default"]
    assert np.asarray(next(iter(saved(tf.constant(frames)).values()))) == pytest.approx(expected, abs=1e-5)
    exported = tf.saved_model.load(str(tmp_path / "exported"))
    assert np.asarray(exported.serve(tf.constant(frames))) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("use_ema", [False, True])
def test_mixed_precision_trains_codebooks_in_float32(nn, use_ema, tmp_path):
    from edgecodec.nn.backend import import_keras

    keras = import_keras()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        encoder, rvq, _, model = nn.build_rvq_autoencoder(
            64, embedding_dim=4, latent_width=8, num_stages=2, base_filters=8, use_ema=use_ema
        )
        assert encoder.layers[1].compute_dtype == "float16"
        model.compile(optimizer="adam", loss="mse")
        frames = np.random.default_rng(0).normal(size=(16, 1, 64, 1)).astype(np.float32)
        before = rvq.codebooks
        # Steps are left out until the loss scale is low enough for float16.
        model.fit(frames, frames, epochs=15, batch_size=8, verbose=0)
        assert rvq.compute_dtype == "float32"
        assert all(book.dtype == np.float32 for book in rvq.codebooks)
        assert all(np.all(np.isfinite(book)) for book in rvq.codebooks)
        assert any(np.any(old != new) for old, new in zip(before, rvq.codebooks, strict=True))
        # Indices are those of a float32 search of the same latents.
        latent = np.asarray(encoder(frames)).astype(np.float32)
        flat, book = latent.reshape(-1, 4).astype(np.float64), rvq.codebooks[0].astype(np.float64)
        nearest = np.argmin(((flat[:, None] - book) ** 2).sum(axis=2), axis=1)
        assert np.array_equal(np.asarray(rvq.encode(latent)[0]), nearest)
        model.save(tmp_path / "model.keras")
        again = keras.models.load_model(tmp_path / "model.keras")
        assert np.asarray(again(frames)) == pytest.approx(np.asarray(model(frames)), abs=1e-2)
    finally:
        keras.config.set_dtype_policy("float32")


def test_context_blocks_widen_what_is_decoded_from(nn):
    plain, wide = (nn.build_decoder_2d(64, base=8, embedding_dim=4, num_stages=3, context_blocks=n) for n in (0, 2))
    assert plain.count_params() < wide.count_params()
    latent = np.zeros((1, 1, 8, 4), np.float32)
    touched = latent.copy()
    touched[0, 0, 0] = 1.0

    def reach(decoder):
        # The head's layer norm works sample by sample, so what changes is what the position reaches.
        changed = np.flatnonzero(np.any(np.asarray(decoder(latent) != decoder(touched))[0, 0], axis=-1))
        return changed.max()

    assert reach(wide) > reach(plain)
