"""Float models as people have them, small: those that run, and those that are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tests.tflite_builder import ppg_frames

SAMPLES = 64
FRAMES = ppg_frames(40, SAMPLES, 3)
"""Frames to calibrate on."""
Build = Callable[[Any], Any]
"""Makes a model with the ``keras`` module."""


def norm(keras: Any, channels: int, name: str | None = None, rank: int = 4) -> Any:
    """Batch normalisation with statistics as training leaves them: none of them 0 or 1."""
    rng = np.random.default_rng(channels)
    weights = [rng.uniform(0.5, 1.5, channels), *rng.normal(0, 0.4, (2, channels)), rng.uniform(0.3, 2, channels)]
    layer = keras.layers.BatchNormalization(name=name)
    layer.build((None, *[1] * (rank - 2), channels))
    layer.set_weights(weights)
    return layer


def stack(keras: Any, *layers: Any, shape: tuple[int, ...] = (1, SAMPLES, 1)) -> Any:
    """A model of ``layers``, one after the other, on an input of ``shape``."""
    x = inputs = keras.Input(shape)
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x)


def head(keras: Any, **options: Any) -> list[Any]:
    """Two strided convolutions to (1, 16, 4)."""
    layers = keras.layers
    return [
        layers.Conv2D(6, (1, 5), strides=(1, 2), padding="same", activation="relu", **options),
        layers.Conv2D(4, (1, 3), strides=(1, 2), padding="same", **options),
    ]


def _in_a_list(keras: Any) -> Any:
    model = stack(keras, *head(keras))
    return keras.Model([model.inputs[0]], [model.outputs[0]])


def _in_a_dict(keras: Any) -> Any:
    x = inputs = keras.Input((1, SAMPLES, 1), name="ppg")
    for layer in head(keras):
        x = layer(x)
    return keras.Model({"ppg": inputs}, {"latent": x})


def _sequential(keras: Any) -> Any:
    return keras.Sequential([keras.Input((1, SAMPLES, 1)), *head(keras)])


def _nested(keras: Any) -> Any:
    layers = keras.layers
    inner = keras.Sequential([keras.Input((1, SAMPLES, 1)), layers.Conv2D(5, (1, 3), padding="same", name="same")])
    other = keras.Sequential([keras.Input((1, SAMPLES, 5)), layers.Conv2D(4, (1, 4), (1, 4), name="same")])
    return stack(keras, inner, layers.ReLU(), other)


def conv1d(keras: Any) -> Any:
    layers = keras.layers
    return stack(
        keras,
        layers.Conv1D(6, 5, strides=2, padding="same", use_bias=False),
        norm(keras, 6, rank=3),
        layers.ReLU(),
        layers.Conv1D(4, 4, strides=4),
        shape=(SAMPLES, 1),
    )


def _conv1d_to_a_picture(keras: Any) -> Any:
    layers = keras.layers
    return stack(keras, layers.Conv1D(4, 5, strides=4, padding="same"), layers.Reshape((1, 16, 4)), shape=(SAMPLES, 1))


def _upright(keras: Any) -> Any:
    layers = keras.layers
    return stack(
        keras,
        layers.Conv2D(6, (5, 1), strides=(2, 1), padding="same", activation="relu"),
        layers.DepthwiseConv2D((4, 1), padding="valid"),
        shape=(SAMPLES, 1, 1),
    )


def _square(keras: Any) -> Any:
    """Square kernels on a frame one row high: the middle row alone meets samples."""
    layers = keras.layers
    return stack(
        keras,
        layers.Conv2D(6, 5, strides=2, padding="same", activation="relu"),
        layers.Conv2D(4, 4, strides=2, padding="same"),
    )


def _causal(keras: Any) -> Any:
    layers = keras.layers
    return stack(
        keras,
        layers.Conv1D(6, 5, strides=2, padding="causal", activation="relu"),
        layers.Conv1D(4, 3, dilation_rate=2, padding="causal"),
        shape=(SAMPLES, 1),
    )


def _zero_padding(keras: Any) -> Any:
    layers = keras.layers
    return stack(
        keras,
        layers.ZeroPadding2D(((0, 0), (4, 0))),
        layers.Conv2D(6, (1, 5), strides=(1, 2), activation="relu"),
        layers.ZeroPadding2D(((0, 0), (1, 2))),
        layers.DepthwiseConv2D((1, 4)),
        layers.Conv2D(4, 1),
    )


def _dilated(keras: Any) -> Any:
    layers = keras.layers
    return stack(
        keras,
        layers.Conv2D(6, (1, 3), dilation_rate=(1, 4), padding="same", activation="relu"),
        layers.DepthwiseConv2D((1, 3), dilation_rate=(1, 2), padding="same"),
        layers.Conv2D(4, (1, 2), strides=(1, 2)),
    )


def norm_behind_the_activation(keras: Any) -> Any:
    first, second = head(keras)
    return stack(keras, first, norm(keras, 6, "after"), second, norm(keras, 4))


def _norm_before_one_tap(keras: Any) -> Any:
    layers = keras.layers
    return stack(
        keras,
        layers.Conv2D(6, (1, 4), strides=(1, 4), activation="relu"),
        norm(keras, 6),
        layers.Conv2D(4, 1, activation="relu"),
        norm(keras, 4, "last"),
    )


def _norm_of_the_frame(keras: Any) -> Any:
    return stack(keras, norm(keras, 1), *head(keras))


def _mixed_precision(keras: Any) -> Any:
    return stack(keras, *head(keras, dtype="mixed_float16"))


def _rescaled(keras: Any) -> Any:
    return stack(keras, keras.layers.Rescaling(0.5, 0.3, name="rescaling"), *head(keras))


def _normalized(keras: Any) -> Any:
    return stack(keras, keras.layers.Normalization(mean=0.2, variance=4.0, name="normalization"), *head(keras))


def _separable(keras: Any) -> Any:
    layers = keras.layers
    return stack(
        keras,
        *head(keras)[:1],
        layers.SeparableConv2D(8, (1, 3), padding="same", depth_multiplier=2, activation="relu", name="separable"),
        layers.Dense(4, name="dense"),
    )


def _quantizer_layers(keras: Any) -> tuple[Any, Any, Any]:
    from edgecodec.nn import ResidualVectorQuantizer

    layers = keras.layers
    encoder = keras.Sequential([keras.Input((1, SAMPLES, 1)), *head(keras)], name="my_encoder")
    decoder = keras.Sequential(
        [keras.Input((1, 16, 4)), layers.UpSampling2D((1, 4)), layers.Conv2D(1, (1, 5), padding="same")], name="decoder"
    )
    return encoder, ResidualVectorQuantizer(2, 8, 4, name="rvq"), decoder


def autoencoder(keras: Any) -> Any:
    return stack(keras, *_quantizer_layers(keras))


def _flat_autoencoder(keras: Any) -> Any:
    _, rvq, decoder = _quantizer_layers(keras)
    return stack(keras, *head(keras), rvq, decoder)


RUNS: dict[str, Build] = {
    build.__name__.lstrip("_").replace("_", " "): build
    for build in (
        _in_a_list, _in_a_dict, _sequential, _nested, conv1d, _conv1d_to_a_picture, _upright, _square, _causal,
        _zero_padding, _dilated, norm_behind_the_activation, _norm_before_one_tap,
        _norm_of_the_frame, _mixed_precision, _rescaled, _normalized, _separable,
        autoencoder, _flat_autoencoder,
    )
}  # fmt: skip
"""Float encoders that run."""


def _between(*inner: Build) -> Build:
    """A model with those layers between two convolutions."""

    def build(keras: Any) -> Any:
        first, second = head(keras)
        return stack(keras, first, *(make(keras.layers) for make in inner), second)

    return build


def _residual(keras: Any) -> Any:
    first, second = head(keras)
    x = first(inputs := keras.Input((1, SAMPLES, 1)))
    return keras.Model(inputs, second(keras.layers.Add(name="skip")([x, x])))


def _attention(keras: Any) -> Any:
    first, second = head(keras)
    x = first(inputs := keras.Input((1, SAMPLES, 1)))
    return keras.Model(inputs, second(keras.layers.Attention(name="look")([x, x])))


def _recurrent(keras: Any) -> Any:
    layers = keras.layers
    return stack(keras, layers.GRU(4, return_sequences=True, name="gru"), layers.Conv1D(4, 1), shape=(SAMPLES, 1))


def _two_outputs(keras: Any) -> Any:
    model = stack(keras, *head(keras))
    return keras.Model(model.inputs, [model.outputs[0], model.layers[1].output])


def _not_finite(keras: Any) -> Any:
    model = stack(keras, *head(keras))
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    return model


def _scalar_quantizer(keras: Any) -> Any:
    class FSQ(keras.layers.Layer):  # type: ignore[misc, name-defined]  # keras comes late, untyped
        def call(self, x: Any) -> Any:
            return x

    return stack(keras, *head(keras), FSQ(name="fsq"))


REFUSED: dict[str, tuple[Build, str]] = {
    "LayerNorm": (
        _between(lambda layers: layers.LayerNormalization(name="ln")),
        "'ln' is LayerNormalization.*train with batch normalisation",
    ),
    "GroupNorm": (
        _between(lambda layers: layers.GroupNormalization(2, name="gn")),
        "'gn' is GroupNormalization.*train with batch normalisation",
    ),
    "attention": (_attention, "'look' is Attention.*dilated convolution"),
    "GRU": (_recurrent, "'gru' is GRU.*recurrent: a longer or dilated convolution"),
    "ELU": (_between(lambda layers: layers.ELU(name="elu")), "'elu' is ELU.*train with ReLU or ReLU6"),
    "GELU": (_between(lambda layers: layers.Activation("gelu", name="a")), "'a' is Activation.*gelu: train with ReLU"),
    "tanh in a convolution": (
        _between(lambda layers: layers.Conv2D(4, 1, activation="tanh", name="c")),
        "'c' is Conv2D.*tanh: train with ReLU",
    ),
    "LeakyReLU": (_between(lambda layers: layers.LeakyReLU(name="leaky")), "'leaky' is LeakyReLU.*train with ReLU"),
    "ReLU of another limit": (_between(lambda layers: layers.ReLU(1.0, name="clip")), "'clip' is ReLU.*limit"),
    "skip connection": (_residual, "'skip' is Add.*skip connection"),
    "pooling": (
        _between(lambda layers: layers.MaxPooling2D((1, 2), name="pool")),
        "'pool' is MaxPooling2D.*strided convolution in its place",
    ),
    "Flatten and Dense": (
        lambda keras: stack(keras, *head(keras), keras.layers.Flatten(name="flat"), keras.layers.Dense(8)),
        "'flat' is Flatten.*axes of size 1",
    ),
    "groups": (
        _between(lambda layers: layers.Conv2D(6, 1, groups=2, name="groups")),
        "'groups' is Conv2D.*2 groups: one group or a depthwise",
    ),
    "two channels": (
        lambda keras: stack(keras, keras.layers.Conv2D(4, 1), shape=(1, SAMPLES, 2)),
        "2 channels.*one codec runs one channel",
    ),
    "frames of any length": (
        lambda keras: stack(keras, keras.layers.Conv2D(4, 1), shape=(1, None, 1)),
        r"fixed length T.*Input\(\(1, T, 1\)\)",
    ),
    "Reshape of time into channels": (
        lambda keras: stack(
            keras, keras.layers.Reshape((16, 4), name="cut"), keras.layers.Conv1D(4, 1), shape=(SAMPLES, 1)
        ),
        "'cut' is Reshape.*axes of size 1",
    ),
    "weights that are not finite": (_not_finite, "'conv2d.*' is Conv2D.*not finite"),
    "257 taps": (
        lambda keras: stack(keras, keras.layers.Conv2D(4, (1, 257), padding="same", name="long")),
        "'long' is Conv2D.*reach over 257 positions; at most 255",
    ),
    "padding at the end": (
        lambda keras: stack(keras, *head(keras), keras.layers.ZeroPadding2D(((0, 0), (1, 1)), name="end")),
        "'end' is ZeroPadding2D.*no convolution follows",
    ),
    "two outputs": (_two_outputs, "1 inputs and 2 outputs.*main output"),
    "finite scalar quantiser": (_scalar_quantizer, "'fsq' .FSQ. is a finite scalar quantiser.*residual vector"),
}
"""Float encoders that are refused, and by which words."""


def converted(keras: Any, *, inner: str) -> bytes:
    """The encoder as TensorFlow's converter leaves it unless it is told otherwise: a dynamic batch and float ends."""
    from edgecodec.nn.backend import import_tensorflow, quiet
    from edgecodec.signal.normalize import normalize

    tf = import_tensorflow()
    with quiet():
        converter = tf.lite.TFLiteConverter.from_keras_model(stack(keras, *head(keras)))
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if inner == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if inner in ("int8", "int16"):
            frames = normalize(FRAMES).astype(np.float32)[:, None, None, :, None]
            converter.representative_dataset = lambda: ([frame] for frame in frames)
        if inner == "int16":
            kind = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
            converter.target_spec.supported_ops = [kind]
        if inner == "float32":
            converter.optimizations = []
        data: bytes = converter.convert()
    return data
