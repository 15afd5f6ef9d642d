"""Encoders that the real TensorFlow converter made, and the float executor beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecodec.bundle import KERAS_ENCODER, Bundle, write_bundle
from edgecodec.codec.reference import ReferenceExecutor
from edgecodec.host.oracles import (
    KerasExecutor,
    OracleError,
    OracleMissingError,
    TfliteReferenceExecutor,
    TflmExecutor,
)
from edgecodec.host.shim import HostShim
from edgecodec.nn.backend import import_keras
from edgecodec.quantization.convert import convert_encoder
from edgecodec.verify.compare import NamedStages, Verdict, compare
from tests.tflite_builder import fitted_rvq, ppg_frames
from tests.tools import require

SAMPLES = 96
FRAMES = 60


def _family(keras: Any, activation: str) -> Any:
    """The seeds' encoder: two strided convolutions, a depthwise stage, a pointwise head; norms to be folded."""
    layers = keras.layers
    source = keras.Input((1, SAMPLES, 1), name="enc_in")
    x = source
    for filters in (8, 12):
        x = layers.Conv2D(filters, (1, 7), strides=(1, 2), padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(epsilon=1e-5)(x)
        x = layers.Activation(activation)(x)
    x = layers.DepthwiseConv2D((1, 7), strides=(1, 2), padding="same")(x)
    x = layers.BatchNormalization(epsilon=1e-5)(x)
    x = layers.Activation(activation)(x)
    x = layers.Conv2D(16, 1, padding="same")(x)
    x = layers.Activation(activation)(x)
    return keras.Model(source, layers.Conv2D(6, 1, padding="same", name="to_vq")(x))


def _valid(keras: Any) -> Any:
    """VALID padding, an odd kernel of 4, a depth multiplier, a stride of 3."""
    layers = keras.layers
    source = keras.Input((1, SAMPLES, 1), name="enc_in")
    x = layers.Conv2D(5, (1, 4), strides=(1, 3), padding="valid", activation="relu")(source)
    x = layers.DepthwiseConv2D((1, 5), padding="valid", depth_multiplier=2, activation="relu6")(x)
    return keras.Model(source, layers.Conv2D(7, (1, 3), padding="same")(x))


@pytest.fixture(scope="module", params=["relu", "relu6", "valid"])
def keras_bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    require("module:tensorflow")
    keras = import_keras()
    keras.utils.set_random_seed(5)
    model = _valid(keras) if request.param == "valid" else _family(keras, request.param)
    rng = np.random.default_rng(5)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            drawn = [rng.uniform(0.5, 1.5, gamma.shape), rng.normal(0, 0.5, beta.shape)]
            layer.set_weights([*drawn, rng.normal(0, 0.2, mean.shape), rng.uniform(0.2, 1, variance.shape)])
    encoder, graph = convert_encoder(model, ppg_frames(100, SAMPLES, 5))
    folder = tmp_path_factory.mktemp("keras")
    model.save(folder / "encoder.keras")
    return write_bundle(
        folder / "bundle",
        encoder=encoder,
        rvq=fitted_rvq(graph, (37, 21), 3),
        name=request.param,
        optional={KERAS_ENCODER: (folder / "encoder.keras").read_bytes()},
    )


def test_every_integer_executor_agrees(keras_bundle: Bundle) -> None:
    require("cc", "Python.h", "module:tflite_micro")
    frames = ppg_frames(FRAMES, SAMPLES, 77)
    reference = NamedStages("reference", ReferenceExecutor(keras_bundle.codec).stages(frames))
    assert len(np.unique(reference.stages.latent)) > 60
    for executor in (HostShim(keras_bundle), TflmExecutor(keras_bundle), TfliteReferenceExecutor(keras_bundle)):
        result = compare(reference, NamedStages(executor.name, executor.stages(frames)), keras_bundle.codec.rvq)
        assert result.first_divergence is None, result.first_divergence.describe()
        assert result.verdict is Verdict.EQUAL


def test_the_float_executor_is_near(keras_bundle: Bundle) -> None:
    frames = ppg_frames(FRAMES, SAMPLES, 77)
    exact = ReferenceExecutor(keras_bundle.codec).stages(frames)
    real = KerasExecutor(keras_bundle).stages(frames)
    assert np.mean(real.input == exact.input) >= 0.999
    error = np.abs(real.latent.astype(int) - exact.latent)
    assert error.mean() < 3
    assert np.mean(real.indices[..., 0] == exact.indices[..., 0]) > 0.8
    np.testing.assert_array_equal(KerasExecutor(keras_bundle).encode(frames), real.indices)


def test_no_float_encoder_in_the_bundle(bundle: Bundle) -> None:
    with pytest.raises(OracleMissingError, match=r"encoder\.keras"):
        KerasExecutor(bundle)


def test_damaged_float_encoder(bundle: Bundle, tmp_path: Path) -> None:
    require("module:tensorflow")
    damaged = write_bundle(
        tmp_path / "bundle",
        encoder=bundle.encoder_bytes,
        rvq=bundle.codec.rvq,
        name="damaged",
        optional={KERAS_ENCODER: b"no archive"},
    )
    with pytest.raises(OracleError, match="cannot be loaded") as error:
        KerasExecutor(damaged)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("module", "executor", "package"),
    [("tflite_micro", TflmExecutor, r"\[verify\]"), ("ai_edge_litert.interpreter", TfliteReferenceExecutor, "litert")],
)
def test_missing_package(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, module: str, executor: Any, package: str
) -> None:
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(OracleMissingError, match=f"pip install .*{package}"):
        executor(bundle)
