"""Float models as people have them, small: those that run, and those that are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
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


def _in_a_tuple(keras: Any) -> Any:
    model = stack(keras, *head(keras))
    return keras.Model((model.inputs[0],), (model.outputs[0],))


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


def _scaled_by_operators(keras: Any) -> Any:
    """What a norm of one's own comes to: scales, offsets, a ReLU and zeros between the layers, as functions."""
    ops = keras.ops
    x = inputs = keras.Input((1, SAMPLES, 1))
    first, second = head(keras)
    x = first(ops.pad((x - 0.1) * 0.5 + 0.2, ((0, 0), (0, 0), (2, 1), (0, 0))))
    x = ops.relu(second(x) / np.arange(1, 5, dtype=np.float32))
    return keras.Model(inputs, ops.squeeze(-x, 1))


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
        _in_a_list, _in_a_tuple, _in_a_dict, _sequential, _nested, conv1d, _conv1d_to_a_picture, _upright, _square,
        _causal,
        _zero_padding, _dilated, norm_behind_the_activation, _norm_before_one_tap,
        _norm_of_the_frame, _mixed_precision, _rescaled, _normalized,
        _scaled_by_operators, _separable, autoencoder, _flat_autoencoder,
    )
}  # fmt: skip
"""Float encoders that run."""


def _between(*inner: Build) -> Build:
    """A model with those layers between two convolutions."""

    def build(keras: Any) -> Any:
        first, second = head(keras)
        return stack(keras, first, *(make(keras.layers) for make in inner), second)

    return build


def _of_functions(function: Callable[[Any, Any], Any], layer: Callable[[Any, Any], Any] | None = None) -> Build:
    """A model with what ``function`` of `keras.ops`, or ``layer``, makes of a tensor between two convolutions."""

    def build(keras: Any) -> Any:
        first, second = head(keras)
        x = first(inputs := keras.Input((1, SAMPLES, 1)))
        return keras.Model(inputs, second(function(keras.ops, x) if layer is None else layer(keras.layers, x)))

    return build


def _twice(merging: Any) -> Callable[[Any], Any]:
    return lambda x: merging([x, x])


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


def _two_inputs(keras: Any) -> Any:
    first, second = head(keras)
    ppg, other = keras.Input((1, SAMPLES, 1)), keras.Input((1, SAMPLES, 1))
    return keras.Model([ppg, other], second(first(keras.layers.Add()([ppg, other]))))


def _not_finite(keras: Any) -> Any:
    model = stack(keras, *head(keras))
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    return model


def foreign_layer(keras: Any, kind: str, name: str, **arrays: tuple[int, ...]) -> Any:
    """A layer of a class that nobody else has, with weights of the shapes ``arrays``; it hands on what it gets."""

    class Foreign(keras.layers.Layer):  # type: ignore[misc, name-defined]  # keras comes late, untyped
        def build(self, input_shape: Any) -> None:
            for weight, shape in arrays.items():
                self.add_weight(name=weight, shape=shape, initializer="random_normal")

        def call(self, x: Any) -> Any:
            return x

    return type(kind, (Foreign,), {})(name=name)


def _with_quantizer(kind: str, name: str, **arrays: tuple[int, ...]) -> Build:
    """An autoencoder with a quantiser of somebody's own."""

    def build(keras: Any) -> Any:
        encoder, _, decoder = _quantizer_layers(keras)
        return stack(keras, encoder, foreign_layer(keras, kind, name, **arrays), decoder)

    return build


def _with_layer(kind: str) -> Build:
    def build(keras: Any) -> Any:
        first, second = head(keras)
        return stack(keras, first, foreign_layer(keras, kind, "own", weight=(3,)), second)

    return build


def _with_lambda(keras: Any) -> Any:
    first, second = head(keras)
    return stack(keras, first, keras.layers.Lambda(lambda x: x, name="code"), second)


FOREIGN: dict[str, tuple[Build, str]] = {
    "a vector quantiser": (_with_quantizer("VectorQuantizer", "vq", codebook=(8, 4)), ""),
    "a residual quantiser": (_with_quantizer("ResidualVQ", "rvq", embedding_0=(8, 4), embedding_1=(6, 4)), ""),
    "a finite scalar quantiser": (
        _with_quantizer("FSQ", "levels"),
        "layer 'levels' .FSQ. is a finite scalar quantiser; train with a residual vector quantiser",
    ),
    "a lookup-free quantiser": (
        _with_quantizer("LFQ", "signs"),
        "layer 'signs' .LFQ. is a lookup-free quantiser; train with a residual vector quantiser",
    ),
    "a Gumbel-softmax quantiser": (
        _with_quantizer("GumbelSoftmaxBottleneck", "gs", embed=(8, 4), proj=(4, 8)),
        "layer 'gs' .GumbelSoftmaxBottleneck. is a Gumbel-softmax quantiser.*; train with a residual vector",
    ),
    "a product quantiser": (
        _with_quantizer("ProductQuantizer", "pq", book_0=(8, 2), book_1=(8, 2)),
        "layer 'pq' .ProductQuantizer. is a product quantiser; give it as a residual one, .*with zeros at the other",
    ),
    "an activation": (_with_layer("Snake"), "layer 'own' is Snake.*its code is not here: .*SavedModel"),
    "a Lambda": (_with_lambda, "layer 'code' is Lambda.*what it computes cannot be seen: write it as layers of Keras"),
}
"""Models with a layer whose code is not where they are loaded, and the words that refuse them; none where they run."""


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
    "multi-head attention": (
        _of_functions(lambda ops, x: x, lambda layers, x: layers.MultiHeadAttention(2, 3, name="heads")(x, x)),
        "'heads' is MultiHeadAttention.*dilated convolution",
    ),
    "LSTM": (
        lambda keras: stack(keras, keras.layers.LSTM(4, return_sequences=True, name="lstm"), shape=(SAMPLES, 1)),
        "'lstm' is LSTM.*recurrent: a longer or dilated convolution",
    ),
    "GRU": (_recurrent, "'gru' is GRU.*recurrent: a longer or dilated convolution"),
    "ELU": (_between(lambda layers: layers.ELU(name="elu")), "'elu' is ELU.*train with ReLU or ReLU6"),
    "GELU": (_between(lambda layers: layers.Activation("gelu", name="a")), "'a' is Activation.*gelu: train with ReLU"),
    "tanh in a convolution": (
        _between(lambda layers: layers.Conv2D(4, 1, activation="tanh", name="c")),
        "'c' is Conv2D.*tanh: train with ReLU",
    ),
    "LeakyReLU": (_between(lambda layers: layers.LeakyReLU(name="leaky")), "'leaky' is LeakyReLU.*train with ReLU"),
    "ReLU of another limit": (_between(lambda layers: layers.ReLU(1.0, name="clip")), "'clip' is ReLU.*limit"),
    "PReLU": (_between(lambda layers: layers.PReLU(name="slope")), "'slope' is PReLU.*train with ReLU or ReLU6"),
    "Softmax": (_between(lambda layers: layers.Softmax(name="share")), "'share' is Softmax.*train with ReLU or ReLU6"),
    "sigmoid": (
        _between(lambda layers: layers.Activation("sigmoid", name="a")),
        "'a' is Activation.*the activation sigmoid: train with ReLU",
    ),
    "softplus": (
        _between(lambda layers: layers.Activation("softplus", name="a")),
        "'a' is Activation.*the activation softplus: train with ReLU",
    ),
    "a swish of keras.ops": (
        _of_functions(lambda ops, x: ops.silu(x)),
        "'silu.*' is Silu.*train with ReLU or ReLU6",
    ),
    "an operator between branches": (_of_functions(lambda ops, x: x + ops.relu(x)), "is Add.*skip connection"),
    "a constant for each position": (
        _of_functions(lambda ops, x: x * np.arange(32, dtype=np.float32)[:, None]),
        "is Multiply.*constants of their own for each position; one for each channel folds",
    ),
    "padding of ones": (
        _of_functions(lambda ops, x: ops.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)), constant_values=1)),
        "is Pad.*only zeros before and behind",
    ),
    "skip connection": (_residual, "'skip' is Add.*skip connection"),
    "pooling": (
        _between(lambda layers: layers.MaxPooling2D((1, 2), name="pool")),
        "'pool' is MaxPooling2D.*strided convolution in its place",
    ),
    "average pooling": (
        _between(lambda layers: layers.AveragePooling2D((1, 2), name="pool")),
        "'pool' is AveragePooling2D.*strided convolution in its place",
    ),
    "global pooling": (
        lambda keras: stack(keras, *head(keras), keras.layers.GlobalAveragePooling2D(keepdims=True, name="pool")),
        "'pool' is GlobalAveragePooling2D.*strided convolution in its place",
    ),
    "Dense over all positions": (
        lambda keras: stack(
            keras, *head(keras), keras.layers.Reshape((1, 1, 64), name="row"), keras.layers.Dense(8, name="all")
        ),
        "'row' is Reshape.*axes of size 1",
    ),
    "transposed convolution": (
        _between(lambda layers: layers.Conv2DTranspose(4, (1, 2), strides=(1, 2), name="up")),
        "'up' is Conv2DTranspose.*the decoder's part",
    ),
    "concatenated branches": (
        lambda keras: stack(keras, *head(keras)[:1], _twice(keras.layers.Concatenate(name="both"))),
        "'both' is Concatenate.*skip connection or branch",
    ),
    "Normalization of each sample": (
        lambda keras: stack(
            keras,
            keras.layers.Normalization(axis=2, mean=np.zeros(SAMPLES), variance=np.ones(SAMPLES), name="n"),
            *head(keras),
        ),
        "'n' is Normalization.*normalises 64 values one by one",
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
    "two inputs": (_two_inputs, "2 inputs and 1 outputs.*main output"),
    "a picture": (
        lambda keras: stack(keras, keras.layers.Conv2D(4, 3), shape=(8, 8, 1)),
        r"takes \(8, 8, 1\), a picture.*frames \(1, T, 1\)",
    ),
    "a quantiser within the encoder": (
        lambda keras: stack(keras, keras.Sequential([*head(keras), foreign_layer(keras, "FSQ", "levels")])),
        "'levels' is FSQ.*a finite scalar quantiser: train with a residual vector quantiser",
    ),
}
"""Float encoders that are refused, and by which words."""


def converted(keras: Any, *, inner: str, build: Build | None = None) -> bytes:
    """An encoder as TensorFlow's converter leaves it unless it is told otherwise: a dynamic batch and float ends."""
    from edgecodec.nn.backend import import_tensorflow, quiet
    from edgecodec.signal.normalize import normalize

    tf = import_tensorflow()
    with quiet():
        converter = tf.lite.TFLiteConverter.from_keras_model(
            stack(keras, *head(keras)) if build is None else build(keras)
        )
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


def keras_2_file(keras: Any, path: Path) -> Any:
    """Write an encoder to ``path`` (.h5) as Keras 2 did, and return it.

    Keras 2 wrote `groups` for depthwise convolutions and `batch_input_shape` for inputs.
    """
    import h5py  # type: ignore[import-untyped]  # it has no stubs

    from edgecodec.nn.backend import quiet

    model = stack(keras, keras.layers.DepthwiseConv2D((1, 3), padding="same"), *head(keras))
    with quiet():
        model.save(path)
    with h5py.File(path, "a") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            settings = layer["config"]
            if layer["class_name"] == "InputLayer":
                settings["batch_input_shape"] = settings.pop("batch_shape")
            if layer["class_name"] == "DepthwiseConv2D":
                settings["groups"] = 1
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = "2.15.0"
    return model


def _decoder(*tail: Callable[[Any], Any], rank: int = 4, samples: int = SAMPLES) -> Build:
    def build(keras: Any) -> Any:
        layers = keras.layers
        if rank == 4:
            inner = [layers.UpSampling2D((1, samples // 16)), layers.Conv2D(1, (1, 5), padding="same")]
        else:
            inner = [layers.UpSampling1D(samples // 16), layers.Conv1D(1, 5, padding="same")]
        shape = (1, 16, 4) if rank == 4 else (16, 4)
        return stack(keras, *inner, *(make(layers) for make in tail), shape=shape)

    return build


DECODERS: dict[str, Build] = {
    "(1, P, D) to (1, T, 1)": _decoder(),
    "(P, D) to (T, 1)": _decoder(rank=3),
    "(P, D) to (T)": _decoder(lambda layers: layers.Flatten(), rank=3),
    "in an autoencoder": autoencoder,
    "of positions of any number": lambda keras: stack(
        keras, keras.layers.UpSampling1D(4), keras.layers.Conv1D(1, 5, padding="same"), shape=(None, 4)
    ),
    "of frames of another length": _decoder(samples=2 * SAMPLES),
}
"""Decoders for latents of 16 positions and 4 channels; the last is of another encoder."""
