"""The models that people have: each runs, by the integers of the same function, or is refused by its layer's name."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from edgecodec.codec.reference import ReferenceExecutor, run_layers
from edgecodec.codec.tflite_reader import read_graph
from edgecodec.decoding.decoder import decode
from edgecodec.errors import EdgecodecError, InputError, QuantizationError
from edgecodec.host.oracles import tflite_reference_encoder, tflm_encoder
from edgecodec.quantization import quantize
from edgecodec.quantization.check import check_model
from edgecodec.quantization.sources import open_encoder
from tests.cli.run import assert_one_error, edgecodec
from tests.tflite_builder import dynamic_batch_encoder, malformed_encoder, ppg_frames
from tests.tools import require

SAMPLES = 64
FRAMES = ppg_frames(40, SAMPLES, 3)
Build = Callable[[Any], Any]


@pytest.fixture(scope="module")
def keras() -> Any:
    require("module:tensorflow")
    from edgecodec.nn.backend import import_keras

    keras = import_keras()
    keras.utils.set_random_seed(4)
    return keras


def _norm(keras: Any, channels: int, name: str | None = None, rank: int = 4) -> Any:
    """Batch normalisation with statistics as training leaves them: none of them 0 or 1."""
    rng = np.random.default_rng(channels)
    weights = [rng.uniform(0.5, 1.5, channels), *rng.normal(0, 0.4, (2, channels)), rng.uniform(0.3, 2, channels)]
    layer = keras.layers.BatchNormalization(name=name)
    layer.build((None, *[1] * (rank - 2), channels))
    layer.set_weights(weights)
    return layer


def _stack(keras: Any, *layers: Any, shape: tuple[int, ...] = (1, SAMPLES, 1)) -> Any:
    x = inputs = keras.Input(shape)
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x)


def _head(keras: Any, **options: Any) -> list[Any]:
    """Two strided convolutions to (1, 16, 4)."""
    layers = keras.layers
    return [
        layers.Conv2D(6, (1, 5), strides=(1, 2), padding="same", activation="relu", **options),
        layers.Conv2D(4, (1, 3), strides=(1, 2), padding="same", **options),
    ]


def _in_a_list(keras: Any) -> Any:
    model = _stack(keras, *_head(keras))
    return keras.Model([model.inputs[0]], [model.outputs[0]])


def _in_a_dict(keras: Any) -> Any:
    model = _stack(keras, *_head(keras))
    return keras.Model({"ppg": model.inputs[0]}, {"latent": model.outputs[0]})


def _sequential(keras: Any) -> Any:
    return keras.Sequential([keras.Input((1, SAMPLES, 1)), *_head(keras)])


def _nested(keras: Any) -> Any:
    layers = keras.layers
    inner = keras.Sequential([keras.Input((1, SAMPLES, 1)), layers.Conv2D(5, (1, 3), padding="same", name="same")])
    other = keras.Sequential([keras.Input((1, SAMPLES, 5)), layers.Conv2D(4, (1, 4), (1, 4), name="same")])
    return _stack(keras, inner, layers.ReLU(), other)


def _conv1d(keras: Any) -> Any:
    layers = keras.layers
    return _stack(
        keras,
        layers.Conv1D(6, 5, strides=2, padding="same", use_bias=False),
        _norm(keras, 6, rank=3),
        layers.ReLU(),
        layers.Conv1D(4, 4, strides=4),
        shape=(SAMPLES, 1),
    )


def _conv1d_to_a_picture(keras: Any) -> Any:
    layers = keras.layers
    return _stack(keras, layers.Conv1D(4, 5, strides=4, padding="same"), layers.Reshape((1, 16, 4)), shape=(SAMPLES, 1))


def _upright(keras: Any) -> Any:
    layers = keras.layers
    return _stack(
        keras,
        layers.Conv2D(6, (5, 1), strides=(2, 1), padding="same", activation="relu"),
        layers.DepthwiseConv2D((4, 1), padding="valid"),
        shape=(SAMPLES, 1, 1),
    )


def _square(keras: Any) -> Any:
    """Square kernels on a frame one row high: the middle row alone meets samples."""
    layers = keras.layers
    return _stack(
        keras,
        layers.Conv2D(6, 5, strides=2, padding="same", activation="relu"),
        layers.Conv2D(4, 4, strides=2, padding="same"),
    )


def _causal(keras: Any) -> Any:
    layers = keras.layers
    return _stack(
        keras,
        layers.Conv1D(6, 5, strides=2, padding="causal", activation="relu"),
        layers.Conv1D(4, 3, dilation_rate=2, padding="causal"),
        shape=(SAMPLES, 1),
    )


def _zero_padding(keras: Any) -> Any:
    layers = keras.layers
    return _stack(
        keras,
        layers.ZeroPadding2D(((0, 0), (4, 0))),
        layers.Conv2D(6, (1, 5), strides=(1, 2), activation="relu"),
        layers.ZeroPadding2D(((0, 0), (1, 2))),
        layers.DepthwiseConv2D((1, 4)),
        layers.Conv2D(4, 1),
    )


def _dilated(keras: Any) -> Any:
    layers = keras.layers
    return _stack(
        keras,
        layers.Conv2D(6, (1, 3), dilation_rate=(1, 4), padding="same", activation="relu"),
        layers.DepthwiseConv2D((1, 3), dilation_rate=(1, 2), padding="same"),
        layers.Conv2D(4, (1, 2), strides=(1, 2)),
    )


def _norm_behind_the_activation(keras: Any) -> Any:
    first, second = _head(keras)
    return _stack(keras, first, _norm(keras, 6, "after"), second, _norm(keras, 4))


def _norm_before_one_tap(keras: Any) -> Any:
    layers = keras.layers
    return _stack(
        keras,
        layers.Conv2D(6, (1, 4), strides=(1, 4), activation="relu"),
        _norm(keras, 6),
        layers.Conv2D(4, 1, activation="relu"),
        _norm(keras, 4, "last"),
    )


def _rescaled(keras: Any) -> Any:
    return _stack(keras, keras.layers.Rescaling(0.5, 0.3, name="rescaling"), *_head(keras))


def _normalized(keras: Any) -> Any:
    return _stack(keras, keras.layers.Normalization(mean=0.2, variance=4.0, name="normalization"), *_head(keras))


def _separable(keras: Any) -> Any:
    layers = keras.layers
    return _stack(
        keras,
        *_head(keras)[:1],
        layers.SeparableConv2D(8, (1, 3), padding="same", depth_multiplier=2, activation="relu", name="separable"),
        layers.Dense(4, name="dense"),
    )


def _quantizer_layers(keras: Any) -> tuple[Any, Any, Any]:
    from edgecodec.nn import ResidualVectorQuantizer

    layers = keras.layers
    encoder = keras.Sequential([keras.Input((1, SAMPLES, 1)), *_head(keras)], name="my_encoder")
    decoder = keras.Sequential(
        [keras.Input((1, 16, 4)), layers.UpSampling2D((1, 4)), layers.Conv2D(1, (1, 5), padding="same")], name="decoder"
    )
    return encoder, ResidualVectorQuantizer(2, 8, 4, name="rvq"), decoder


def _autoencoder(keras: Any) -> Any:
    return _stack(keras, *_quantizer_layers(keras))


def _flat_autoencoder(keras: Any) -> Any:
    _, rvq, decoder = _quantizer_layers(keras)
    return _stack(keras, *_head(keras), rvq, decoder)


RUNS: dict[str, Build] = {
    build.__name__.lstrip("_").replace("_", " "): build
    for build in (
        _in_a_list, _in_a_dict, _sequential, _nested, _conv1d, _conv1d_to_a_picture, _upright, _square, _causal,
        _zero_padding, _dilated, _norm_behind_the_activation, _norm_before_one_tap, _rescaled, _normalized, _separable,
        _autoencoder, _flat_autoencoder,
    )
}  # fmt: skip
"""Float encoders that run."""


def _latents(model: Any, frames: np.ndarray) -> np.ndarray:
    """What a model's own axes make of normalised frames ``[N, T]``, as ``[N, P, D]``."""
    from edgecodec.quantization.convert import predict

    if hasattr(model, "layers") and any("rvq" in layer.name for layer in model.layers):
        inner = [layer for layer in model.layers if layer.name == "my_encoder"]
        model = inner[0] if inner else type(model)(model.inputs, model.get_layer("rvq").input)
    from edgecodec.nn.backend import import_keras

    model = import_keras().Model(model.inputs[0], model.outputs[0])
    shape = model.inputs[0].shape[1:]
    found = predict(model, frames.reshape(len(frames), *shape).astype(np.float32))
    return found.reshape(len(frames), -1, found.shape[-1])


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("kind", RUNS)
def test_runs(keras: Any, kind: str, suffix: str, tmp_path: Any) -> None:
    from edgecodec.nn.backend import quiet

    if suffix == ".h5" and kind in ("in a dict", "autoencoder", "flat autoencoder"):
        pytest.skip("Keras does not write it as .h5")
    model = RUNS[kind](keras)
    with quiet():
        model.save(tmp_path / f"enc{suffix}")
    encoder = open_encoder(tmp_path / f"enc{suffix}")
    assert encoder.samples == SAMPLES
    frames = np.random.default_rng(1).normal(0, 1, (6, SAMPLES))
    expected = _latents(model, frames)
    found = _latents(encoder.float_model, frames)
    assert found == pytest.approx(expected, abs=2e-5 * float(np.abs(expected).max()))
    data = encoder.to_int8(FRAMES, 1e-3)
    graph = read_graph(data)
    quantized = np.clip(np.rint(frames / graph.input.scale) + graph.input.zero_point, -128, 127).astype(np.int8)
    latent = run_layers(graph, quantized)
    np.testing.assert_array_equal(tflm_encoder(data, graph).run(quantized), latent)
    real = (latent.astype(float) - graph.latent.zero_point) * graph.latent.scale
    assert np.abs(real - expected).mean() < 0.1 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("kind", "note"),
    [
        ("autoencoder", "the encoder is 'my_encoder' of 'functional"),
        ("flat autoencoder", "the encoder is what comes before 'rvq' of 'functional"),
        ("conv1d", r"(64, 1) to (8, 4) taken as (1, 64, 1) to (1, 8, 4)"),
    ],
)
def test_what_was_taken_is_said(keras: Any, kind: str, note: str) -> None:
    notes = open_encoder(RUNS[kind](keras)).notes
    assert len(notes) == 1
    assert notes[0].startswith(note)


def test_a_model_that_needs_nothing_stays_as_it_is(keras: Any) -> None:
    model = _stack(keras, *_head(keras))
    encoder = open_encoder(model)
    assert encoder.float_model is model
    assert encoder.notes == ()


def _between(*inner: Build) -> Build:
    """A model with those layers between two convolutions."""

    def build(keras: Any) -> Any:
        first, second = _head(keras)
        return _stack(keras, first, *(make(keras.layers) for make in inner), second)

    return build


def _residual(keras: Any) -> Any:
    first, second = _head(keras)
    x = first(inputs := keras.Input((1, SAMPLES, 1)))
    return keras.Model(inputs, second(keras.layers.Add(name="skip")([x, x])))


def _attention(keras: Any) -> Any:
    first, second = _head(keras)
    x = first(inputs := keras.Input((1, SAMPLES, 1)))
    return keras.Model(inputs, second(keras.layers.Attention(name="look")([x, x])))


def _recurrent(keras: Any) -> Any:
    layers = keras.layers
    return _stack(keras, layers.GRU(4, return_sequences=True, name="gru"), layers.Conv1D(4, 1), shape=(SAMPLES, 1))


def _two_outputs(keras: Any) -> Any:
    model = _stack(keras, *_head(keras))
    return keras.Model(model.inputs, [model.outputs[0], model.layers[1].output])


def _scalar_quantizer(keras: Any) -> Any:
    class FSQ(keras.layers.Layer):  # type: ignore[misc, name-defined]
        def call(self, x: Any) -> Any:
            return x

    return _stack(keras, *_head(keras), FSQ(name="fsq"))


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
        lambda keras: _stack(keras, *_head(keras), keras.layers.Flatten(name="flat"), keras.layers.Dense(8)),
        "'flat' is Flatten.*axes of size 1",
    ),
    "groups": (
        _between(lambda layers: layers.Conv2D(6, 1, groups=2, name="groups")),
        "'groups' is Conv2D.*2 groups: one group or a depthwise",
    ),
    "two channels": (
        lambda keras: _stack(keras, keras.layers.Conv2D(4, 1), shape=(1, SAMPLES, 2)),
        "2 channels.*one codec runs one channel",
    ),
    "frames of any length": (
        lambda keras: _stack(keras, keras.layers.Conv2D(4, 1), shape=(1, None, 1)),
        r"fixed length T.*Input\(\(1, T, 1\)\)",
    ),
    "padding at the end": (
        lambda keras: _stack(keras, *_head(keras), keras.layers.ZeroPadding2D(((0, 0), (1, 1)), name="end")),
        "'end' is ZeroPadding2D.*no convolution follows",
    ),
    "two outputs": (_two_outputs, "1 inputs and 2 outputs.*main output"),
    "finite scalar quantiser": (_scalar_quantizer, "'fsq' .FSQ. is a finite scalar quantiser.*residual vector"),
}
"""Float encoders that are refused, and by which words."""


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_by_the_layers_name(keras: Any, kind: str) -> None:
    build, message = REFUSED[kind]
    with pytest.raises(QuantizationError, match=message) as caught:
        open_encoder(build(keras))
    assert caught.value.hint is not None
    assert "\n" not in str(caught.value)


def test_keras_2_file(keras: Any, tmp_path: Any) -> None:
    """Keras 2 wrote `groups` for depthwise convolutions and `batch_input_shape` for inputs."""
    h5py = pytest.importorskip("h5py")
    from edgecodec.nn.backend import quiet

    layers = keras.layers
    model = _stack(keras, layers.DepthwiseConv2D((1, 3), padding="same"), *_head(keras))
    with quiet():
        model.save(tmp_path / "enc.h5")
    with h5py.File(tmp_path / "enc.h5", "a") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            settings = layer["config"]
            if layer["class_name"] == "InputLayer":
                settings["batch_input_shape"] = settings.pop("batch_shape")
            if layer["class_name"] == "DepthwiseConv2D":
                settings["groups"] = 1
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = "2.15.0"
    frames = np.random.default_rng(1).normal(0, 1, (6, SAMPLES))
    encoder = open_encoder(tmp_path / "enc.h5")
    assert _latents(encoder.float_model, frames) == pytest.approx(_latents(model, frames), abs=1e-6)
    # What the bundle keeps is a .keras file, whatever came.
    (tmp_path / "again.keras").write_bytes(encoder.keras_file)
    assert open_encoder(tmp_path / "again.keras").samples == SAMPLES


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("enc.onnx", r"another framework.*onnx2tf -i MODEL\.onnx"),
        ("enc.pt", r"another framework.*torch\.onnx\.export.*onnx2tf"),
    ],
)
def test_other_frameworks_are_told_the_way(keras: Any, name: str, message: str, tmp_path: Any) -> None:
    (tmp_path / name).write_bytes(b"whatever")
    with pytest.raises(InputError, match=message):
        open_encoder(tmp_path / name)


def _recurrent_saved_model(keras: Any, folder: Any) -> Any:
    from edgecodec.nn.backend import quiet

    layers = keras.layers
    model = _stack(
        keras, layers.Reshape((SAMPLES, 1)), layers.GRU(4, return_sequences=True), layers.Reshape((1, SAMPLES, 4))
    )
    with quiet():
        model.export(str(folder / "saved"), verbose=False)
    return open_encoder(folder / "saved")


def test_a_saved_model_of_rank_3(keras: Any, tmp_path: Any) -> None:
    """What other frameworks' converters write: no layers, (T, 1) to (P, D)."""
    from edgecodec.nn.backend import quiet

    model = _conv1d(keras)
    with quiet():
        model.export(str(tmp_path / "saved"), verbose=False)
    encoder = open_encoder(tmp_path / "saved")
    frames = np.random.default_rng(1).normal(0, 1, (6, SAMPLES)).astype(np.float32)
    found = encoder.float_model(frames.reshape(6, 1, SAMPLES, 1)).numpy()
    assert found.shape == (6, 1, 8, 4)
    assert found[:, 0] == pytest.approx(_latents(model, frames), abs=1e-5)
    graph = read_graph(encoder.to_int8(FRAMES, 1e-3))
    assert [(layer.kernel, layer.output.width) for layer in graph.layers] == [(5, 32), (4, 8)]


def test_a_recurrent_saved_model_is_one_line(keras: Any, tmp_path: Any) -> None:
    """Its layers cannot be seen, and TensorFlow's converter may end this very process on it."""
    with pytest.raises(QuantizationError, match=r"TensorFlow.*the encoder") as caught:
        _recurrent_saved_model(keras, tmp_path).to_int8(FRAMES, 1e-3)
    assert "\n" not in str(caught.value)
    assert "runpy" not in str(caught.value)


def test_a_crash_of_the_converter_is_one_line(keras: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = _recurrent_saved_model(keras, tmp_path)
    crashing = tmp_path / "python"
    crashing.write_text("#!/bin/sh\nkill -SEGV $$\n")
    crashing.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(crashing))
    with pytest.raises(QuantizationError, match=r"converter crashed on the encoder \(SIGSEGV\); .*recurrent"):
        encoder.to_int8(FRAMES, 1e-3)


def _converted(keras: Any, *, inner: str) -> bytes:
    """The encoder as TensorFlow's converter leaves it unless it is told otherwise: a dynamic batch and float ends."""
    from edgecodec.nn.backend import import_tensorflow, quiet
    from edgecodec.signal.normalize import normalize

    tf = import_tensorflow()
    with quiet():
        converter = tf.lite.TFLiteConverter.from_keras_model(_stack(keras, *_head(keras)))
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


def test_float_ends_are_taken_off(keras: Any, tmp_path: Any) -> None:
    require("module:tflite_micro")
    given = _converted(keras, inner="int8")
    encoder = open_encoder(given)
    assert encoder.notes == ("took the QUANTIZE off its input", "took the DEQUANTIZE off its output")
    data = encoder.to_int8(FRAMES, 1e-3)
    assert len(data) == len(given)
    graph = read_graph(data)
    frames = np.random.default_rng(2).normal(0, 1, (20, SAMPLES)).astype(np.float32)
    quantized = np.clip(np.rint(frames / np.float32(graph.input.scale)) + graph.input.zero_point, -128, 127)
    latent = run_layers(graph, quantized.astype(np.int8))
    for oracle in (tflm_encoder, tflite_reference_encoder):
        np.testing.assert_array_equal(oracle(data, graph).run(quantized.astype(np.int8)), latent)
    # The whole file, floats in and out, by TFLite itself.
    whole = Interpreter(model_content=given, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    whole.allocate_tensors()
    for frame, expected in zip(frames, latent, strict=True):
        whole.set_tensor(whole.get_input_details()[0]["index"], frame.reshape(1, 1, SAMPLES, 1))
        whole.invoke()
        real = whole.get_tensor(whole.get_output_details()[0]["index"])[0, 0]
        assert real == pytest.approx((expected.astype(float) - graph.latent.zero_point) * graph.latent.scale, abs=1e-6)


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        ("float32", "FLOAT32; expected INT8; a float model: convert with .*representative_dataset"),
        ("float16", "DEQUANTIZE.*a model with float16 weights: convert with"),
        ("int16", "16-bit activations"),
        ("dynamic range", "FLOAT32; expected INT8"),
    ],
)
def test_tflite_of_other_types(keras: Any, inner: str, message: str) -> None:
    with pytest.raises(EdgecodecError, match=message):
        open_encoder(_converted(keras, inner=inner))


@pytest.mark.parametrize("kind", ["plain", "rank 3", "frame of rank 2", "autoencoder", "tflite", "tflite of rank 3"])
def test_decoders(keras: Any, kind: str, tmp_path: Any) -> None:
    from edgecodec.nn.backend import import_tensorflow, quiet

    layers = keras.layers
    if kind in ("plain", "tflite"):
        decoder = _stack(keras, layers.UpSampling2D((1, 4)), layers.Conv2D(1, (1, 5), padding="same"), shape=(1, 16, 4))
    elif kind == "autoencoder":
        decoder = _autoencoder(keras)
    else:
        tail = [layers.Flatten()] if kind == "frame of rank 2" else []
        decoder = _stack(keras, layers.UpSampling1D(4), layers.Conv1D(1, 5, padding="same"), *tail, shape=(16, 4))
    given: Any = decoder
    if kind.startswith("tflite"):
        with quiet():
            given = import_tensorflow().lite.TFLiteConverter.from_keras_model(decoder).convert()
    rng = np.random.default_rng(3)
    books = [rng.normal(0, 0.5, (8, 4)), rng.normal(0, 0.2, (8, 4))]
    quantized = quantize(_stack(keras, *_head(keras)), books, FRAMES, decoder=given)
    bundle = quantized.write(tmp_path / "bundle")
    stages = ReferenceExecutor(bundle.codec).stages(FRAMES[:4])
    found = decode(bundle, stages.indices)
    if quantized.report.chosen == "latent rotated":
        return
    latents = bundle.codec.rvq.dequantize(stages.indices)
    inner = decoder.get_layer("decoder") if kind == "autoencoder" else decoder
    expected = inner(latents.reshape(-1, *inner.inputs[0].shape[1:])).numpy().reshape(4, SAMPLES)
    assert found == pytest.approx(expected, abs=1e-4)


def test_check_tells_what_becomes_of_each_layer(keras: Any, tmp_path: Any) -> None:
    _norm_behind_the_activation(keras).save(tmp_path / "enc.keras")
    document = check_model(tmp_path / "enc.keras")
    assert (document.verdict, document.error) == ("runs", None)
    assert [(row.kind, row.verdict) for row in document.layers] == [
        ("InputLayer", "folded"),
        ("Conv2D", "runs"),
        ("BatchNormalization", "folded"),
        ("Conv2D", "runs"),
        ("BatchNormalization", "folded"),
    ]
    # The norm behind the ReLU is a layer of one tap: the convolution after it pads.
    assert [(layer.op, layer.kernel, layer.output) for layer in document.encoder] == [
        ("CONV_2D", 5, (32, 6)),
        ("DEPTHWISE_CONV_2D", 1, (32, 6)),
        ("CONV_2D", 3, (16, 4)),
    ]
    assert document.macs == 32 * 6 * 5 + 32 * 6 + 16 * 4 * 6 * 3


def test_check_of_a_refused_model_says_what_to_change(keras: Any, tmp_path: Any) -> None:
    REFUSED["LayerNorm"][0](keras).save(tmp_path / "enc.keras")
    document = check_model(tmp_path / "enc.keras")
    assert document.verdict == "refused"
    assert [row.name for row in document.layers if row.verdict == "refused"] == ["ln"]
    assert document.error is not None
    assert "train with batch normalisation" in document.error


def test_the_command_check(tmp_path: Any) -> None:
    (tmp_path / "enc.tflite").write_bytes(malformed_encoder("op_add"))
    result = edgecodec("check", tmp_path / "enc.tflite", "--json")
    document = json.loads(result.stdout)
    assert (result.returncode, document["verdict"]) == (2, "refused")
    assert [row["verdict"] for row in document["layers"]] == ["runs"] * 5 + ["refused"]
    (tmp_path / "enc.tflite").write_bytes(dynamic_batch_encoder())
    shown = edgecodec("check", tmp_path / "enc.tflite")
    assert shown.returncode == 0
    assert "runs: 14,656 multiply-accumulates a frame" in shown.stdout
    assert_one_error(edgecodec("check", tmp_path / "none.tflite"), "none.tflite", "cannot be read")
