"""Files and arguments of heliaEDGE's quantisers and autoencoder, by the behaviour and layout that it documents.

The classes that stand in for its own say where variables and metrics lie in a file, and compute the least that a
comparison needs.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.tools import require

RNG = np.random.default_rng(0)
X = RNG.normal(size=(16, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def nn() -> Any:
    require("module:tensorflow")
    import edgecodec.nn

    return edgecodec.nn


@pytest.fixture(scope="module")
def theirs(nn: Any) -> SimpleNamespace:
    """Stand-ins with heliaEDGE's names, registered as its own are."""
    from edgecodec.nn.backend import import_keras

    keras = import_keras()
    ops = keras.ops
    register = keras.saving.register_keras_serializable(package="helia_edge")

    class Base(keras.layers.Layer):  # type: ignore[misc, name-defined]  # keras comes late, untyped
        ema = False

        def __init__(self, num_levels: int, num_embeddings: Any, embedding_dim: int, beta: float = 0.25, **kwargs: Any):
            super().__init__(**kwargs)
            sizes = num_embeddings if isinstance(num_embeddings, list | tuple) else [num_embeddings] * num_levels
            self.M, self.D, self.Ks, self.beta = num_levels, embedding_dim, [int(size) for size in sizes], beta
            levels = range(1, num_levels + 1)
            self._lvl_perp = [keras.metrics.Mean(name=f"rvq_l{level}_perplexity") for level in levels]
            self._lvl_usage = [keras.metrics.Mean(name=f"rvq_l{level}_usage") for level in levels]
            self._lvl_bpi = [keras.metrics.Mean(name=f"rvq_l{level}_bits_per_index") for level in levels]
            self._perp_mean = keras.metrics.Mean(name="rvq_perplexity_mean")
            self._usage_mean = keras.metrics.Mean(name="rvq_usage_mean")
            self._bpi_sum = keras.metrics.Mean(name="rvq_bits_per_index_sum")

        def build(self, input_shape: Any) -> None:
            self._codebooks, self._ema_counts, self._ema_weights = [], [], []
            for level, size in enumerate(self.Ks, start=1):
                shape, train = (size, self.D), not self.ema
                self._codebooks.append(self.add_weight(name=f"codebook_l{level}", shape=shape, trainable=train))
                if self.ema:
                    count = self.add_weight(name=f"ema_count_l{level}", shape=(size,), trainable=False)
                    total = self.add_weight(name=f"ema_weight_l{level}", shape=shape, trainable=False)
                    self._ema_counts.append(count)
                    self._ema_weights.append(total)
            super().build(input_shape)

        def call(self, x: Any) -> Any:
            rest = flat = ops.reshape(x, (-1, self.D))
            for variable in self._codebooks:
                book = ops.convert_to_tensor(variable)
                near = ops.argmin(ops.sum(book * book, axis=1) - 2.0 * ops.matmul(rest, ops.transpose(book)), axis=1)
                rest = rest - ops.take(book, near, axis=0)
            return ops.reshape(flat - rest, ops.shape(x))

        def get_config(self) -> dict[str, Any]:
            own = {"num_levels": self.M, "num_embeddings": self.Ks, "embedding_dim": self.D, "beta": self.beta}
            return {**super().get_config(), **own}

    @register
    class ResidualVectorQuantizer(Base):
        pass

    @register
    class EmaResidualVectorQuantizer(Base):
        ema = True

        def __init__(self, *args: Any, ema_decay: float = 0.99, epsilon: float = 1e-5, **kwargs: Any):
            super().__init__(*args, **kwargs)
            self.ema_decay, self.epsilon = ema_decay, epsilon

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), "ema_decay": self.ema_decay, "epsilon": self.epsilon}

    class VQAutoencoder(keras.Model):  # type: ignore[misc, name-defined]  # keras comes late, untyped
        """Not registered, as its own is not: files have the name of the class alone."""

        def __init__(self, encoder: Any, vq: Any, decoder: Any, **kwargs: Any):
            super().__init__(**kwargs)
            self.encoder, self.vq, self.decoder = encoder, vq, decoder

        def get_config(self) -> dict[str, Any]:
            parts = {"encoder": self.encoder, "vq": self.vq, "decoder": self.decoder}
            made = {key: keras.saving.serialize_keras_object(part) for key, part in parts.items()}
            return {**super().get_config(), **made}

        def call(self, x: Any, training: bool = False) -> Any:
            return self.decoder(self.vq(self.encoder(x, training=training)), training=training)

    made = (ResidualVectorQuantizer, EmaResidualVectorQuantizer, VQAutoencoder)
    return SimpleNamespace(keras=keras, **{each.__name__: each for each in made})


QUANTIZERS = ("ResidualVectorQuantizer", "EmaResidualVectorQuantizer")


def _autoencoder(home: Any, quantizer: str, keras: Any) -> Any:
    encoder = keras.Sequential([keras.Input((1, 8, 1)), keras.layers.Conv2D(4, 1)], name="encoder")
    decoder = keras.Sequential([keras.Input((1, 8, 4)), keras.layers.Conv2D(1, 1)], name="decoder")
    model = home.VQAutoencoder(encoder, getattr(home, quantizer)(2, [6, 5], 4, name="rvq"), decoder, name="ae")
    model(np.zeros((1, 1, 8, 1), np.float32))
    for weight in model.vq.weights:
        weight.assign(RNG.normal(size=weight.shape))
    return model


def _functional(home: Any, quantizer: str, keras: Any) -> Any:
    """A model with a quantiser in it, as a ``.keras`` file can hold without code of its own."""
    inputs = keras.Input((1, 8, 4))
    layer = getattr(home, quantizer)(2, [6, 5], 4, name="rvq")
    model = keras.Model(inputs, layer(inputs))
    for weight in layer.weights:
        weight.assign(RNG.normal(size=weight.shape))
    return model


LATENTS = RNG.normal(size=(3, 1, 8, 4)).astype(np.float32)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_their_models_load_here(
    nn: Any, theirs: SimpleNamespace, tmp_path: Path, quantizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = _functional(theirs, quantizer, theirs.keras)
    given.save(tmp_path / "m.keras")
    # As where heliaEDGE is not installed: Keras takes a registered class first.
    monkeypatch.delitem(theirs.keras.saving.get_custom_objects(), f"helia_edge>{quantizer}")
    found = theirs.keras.models.load_model(tmp_path / "m.keras", custom_objects=nn.helia_edge_objects())
    layer = found.get_layer("rvq")
    assert type(layer) is getattr(nn, quantizer)
    assert np.asarray(found(LATENTS)) == pytest.approx(np.asarray(given(LATENTS)), abs=1e-6)
    _same_variables(layer, given.get_layer("rvq"))


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_our_models_load_there(
    nn: Any, theirs: SimpleNamespace, tmp_path: Path, quantizer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = _functional(nn, quantizer, theirs.keras)
    given.save(tmp_path / "m.keras")
    monkeypatch.delitem(theirs.keras.saving.get_custom_objects(), f"edgecodec>{quantizer}")
    names = {f"edgecodec>{name}": getattr(theirs, name) for name in QUANTIZERS}
    found = theirs.keras.models.load_model(tmp_path / "m.keras", custom_objects=names)
    layer = found.get_layer("rvq")
    assert type(layer) is getattr(theirs, quantizer)
    assert np.asarray(found(LATENTS)) == pytest.approx(np.asarray(given(LATENTS)), abs=1e-6)
    _same_variables(layer, given.get_layer("rvq"))


@pytest.mark.parametrize("quantizer", QUANTIZERS)
@pytest.mark.parametrize("here", [True, False])
def test_weights_of_autoencoders_load(
    nn: Any, theirs: SimpleNamespace, tmp_path: Path, quantizer: str, here: bool
) -> None:
    origin, target = (theirs, nn) if here else (nn, theirs)
    given, found = (_autoencoder(home, quantizer, theirs.keras) for home in (origin, target))
    given.save_weights(tmp_path / "m.weights.h5")
    found.load_weights(tmp_path / "m.weights.h5")
    frames = RNG.normal(size=(3, 1, 8, 1)).astype(np.float32)
    assert np.asarray(found(frames)) == pytest.approx(np.asarray(given(frames)), abs=1e-6)
    _same_variables(found.vq, given.vq)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
@pytest.mark.parametrize("by_hand", [True, False])
def test_their_autoencoders_load_here(
    nn: Any, theirs: SimpleNamespace, tmp_path: Path, quantizer: str, by_hand: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the names that are documented, and as `quantize` and `check` load them."""
    from edgecodec.quantization.keras_files import load_encoder_model

    given = _autoencoder(theirs, quantizer, theirs.keras)
    given.save(tmp_path / "m.keras")
    monkeypatch.delitem(theirs.keras.saving.get_custom_objects(), f"helia_edge>{quantizer}")
    if by_hand:
        found = theirs.keras.models.load_model(tmp_path / "m.keras", custom_objects=nn.helia_edge_objects())
    else:
        found = load_encoder_model(tmp_path / "m.keras")
    assert (type(found), type(found.vq)) == (nn.VQAutoencoder, getattr(nn, quantizer))
    frames = RNG.normal(size=(3, 1, 8, 1)).astype(np.float32)
    assert np.asarray(found(frames)) == pytest.approx(np.asarray(given(frames)), abs=1e-6)
    _same_variables(found.vq, given.vq)


def _same_variables(found: Any, given: Any) -> None:
    assert list(_own(found)) == list(_own(given))
    for name, value in _own(given).items():
        assert np.array_equal(_own(found)[name], value)


def _own(layer: Any) -> dict[str, np.ndarray]:
    names = ("codebook", "ema")
    return {weight.name: np.asarray(weight) for weight in layer.weights if weight.name.startswith(names)}


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_attributes_and_sizes(nn: Any, quantizer: str) -> None:
    layer = getattr(nn, quantizer)(np.int64(2), np.int32(16), np.int64(8))
    assert (layer.M, layer.D, list(layer.Ks)) == (2, 8, [16, 16])
    layer = getattr(nn, quantizer)(2, (np.int64(32), 16), 4)
    layer.build((None, 4))
    assert list(layer.Ks) == [32, 16]
    assert [tuple(book.shape) for book in layer._codebooks] == [(32, 4), (16, 4)]


@pytest.mark.parametrize("quantizer", QUANTIZERS)
@pytest.mark.parametrize("shape", [(None, 8), (None, None, 8), (None, None, None, 8), (None, None)])
def test_build_with_unknown_dimensions(nn: Any, quantizer: str, shape: tuple[int | None, ...]) -> None:
    layer = getattr(nn, quantizer)(2, 16, 8)
    layer.build(shape)
    assert layer.built
    assert np.asarray(layer(X)).shape == (16, 8)


@pytest.mark.parametrize("quantizer", QUANTIZERS)
def test_in_a_functional_model_of_unknown_length(nn: Any, theirs: SimpleNamespace, quantizer: str) -> None:
    inputs = theirs.keras.Input((None, 8))
    model = theirs.keras.Model(inputs, getattr(nn, quantizer)(2, 16, 8)(inputs))
    assert model.output_shape == (None, None, 8)
    assert np.asarray(model(X[None])).shape == (1, 16, 8)


def test_ema_quantizer_behaves_as_documented(nn: Any, theirs: SimpleNamespace) -> None:
    layer = nn.EmaResidualVectorQuantizer(2, 16, 8, ema_decay=0.9)
    layer.build((None, 8))
    assert [len(part) for part in (layer._codebooks, layer._ema_counts, layer._ema_weights)] == [2, 2, 2]
    assert layer.trainable_weights == []
    before = layer.codebooks
    y, indices = layer(X, return_indices=True)
    assert len(layer.losses) == 2
    assert len(layer.metrics) == 9
    assert np.array_equal(layer.codebooks, before), "no update outside of training"
    assert np.asarray(layer.decode(layer.encode(X), X.shape)) == pytest.approx(np.asarray(y), abs=1e-6)
    assert [np.asarray(index).shape for index in indices] == [(16,), (16,)]
    layer(X, training=True)
    assert not np.allclose(layer.codebooks[0], before[0])
    inputs = theirs.keras.Input((4,))
    outputs = theirs.keras.layers.Dense(4)(
        nn.EmaResidualVectorQuantizer(2, 16, 8)(theirs.keras.layers.Dense(8)(inputs))
    )
    model = theirs.keras.Model(inputs, outputs)
    model.compile(optimizer="adam", loss="mse")
    assert len(model.fit(X[:, :4], X[:, :4], epochs=2, batch_size=8, verbose=0).history["loss"]) == 2


def test_configuration_has_their_keys_alone(nn: Any) -> None:
    config = nn.EmaResidualVectorQuantizer(2, 16, 8).get_config()
    base = {"num_levels", "num_embeddings", "embedding_dim", "beta", "ema_decay", "epsilon"}
    assert set(config) == base | {"name", "trainable", "dtype"}


def test_extra_losses_and_metrics(nn: Any, theirs: SimpleNamespace, tmp_path: Path) -> None:
    keras, model = theirs.keras, _autoencoder(nn, "ResidualVectorQuantizer", theirs.keras)
    frames = RNG.normal(size=(8, 1, 8, 1)).astype(np.float32)
    output = np.asarray(model(frames))
    inner = sum(float(loss) for loss in model.losses)

    def doubled(y_true: Any, y_pred: Any) -> Any:
        return 2.0 * keras.ops.mean(keras.ops.abs(y_true - y_pred))

    def largest(y_true: Any, y_pred: Any) -> Any:
        return keras.ops.max(keras.ops.abs(y_true - y_pred))

    extra = {"extra_losses": [doubled], "extra_metrics": [largest, keras.metrics.MeanSquaredError(name="mse")]}
    model.compile(optimizer="sgd", loss=keras.losses.MeanSquaredError(), **extra)
    found = model.evaluate(frames, frames, batch_size=8, verbose=0, return_dict=True)
    error = np.abs(output - frames)
    assert found["loss"] == pytest.approx(np.mean(error**2) + inner + 2 * error.mean(), rel=1e-4)
    assert found["largest"] == pytest.approx(error.max(), rel=1e-4)
    assert found["mse"] == pytest.approx(np.mean(error**2), rel=1e-4)
    history = model.fit(frames, frames, batch_size=8, epochs=2, verbose=0).history
    assert {"loss", "largest", "mse"} <= set(history)
    # Extra functions are not saved, so the loaded model is not compiled; without them it is.
    model.save(tmp_path / "extra.keras")
    assert not keras.models.load_model(tmp_path / "extra.keras").compiled
    model.compile(optimizer="sgd", loss="mse")
    assert "largest" not in model.evaluate(frames, frames, verbose=0, return_dict=True)
    model.save(tmp_path / "plain.keras")
    again = keras.models.load_model(tmp_path / "plain.keras")
    assert again.compiled
    assert again.evaluate(frames, frames, verbose=0) == pytest.approx(model.evaluate(frames, frames, verbose=0))
