"""The models that people have: each runs, by the integers of the same function, or is refused by its layer's name."""

from __future__ import annotations

import json
from pathlib import Path
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
from edgecodec.quantization.codebooks import load_codebooks, quantize_float
from edgecodec.quantization.sources import open_encoder
from edgecodec.signal.normalize import ZSCORE
from tests.cli.run import assert_one_error, edgecodec
from tests.models import (
    DECODERS,
    FOREIGN,
    FRAMES,
    REFUSED,
    RUNS,
    SAMPLES,
    conv1d,
    converted,
    foreign_layer,
    head,
    keras_2_file,
    norm_behind_the_activation,
    stack,
)
from tests.tflite_builder import dynamic_batch_encoder, malformed_encoder
from tests.tools import require


@pytest.fixture(scope="module")
def keras() -> Any:
    require("module:tensorflow")
    from edgecodec.nn.backend import import_keras

    keras = import_keras()
    keras.utils.set_random_seed(4)
    return keras


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


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [*((kind, ".keras") for kind in RUNS), ("sequential", ".h5"), ("nested", ".h5"), ("conv1d", ".h5")],
)
def test_runs(keras: Any, kind: str, suffix: str, tmp_path: Path) -> None:
    from edgecodec.nn.backend import quiet

    model = RUNS[kind](keras)
    with quiet():
        model.save(tmp_path / f"enc{suffix}")
    encoder = open_encoder(tmp_path / f"enc{suffix}")
    assert encoder.samples == SAMPLES
    frames = np.random.default_rng(1).normal(0, 1, (6, SAMPLES))
    expected = _latents(model, frames)
    found = _latents(encoder.float_model, frames)
    # Of the floats in mixed precision, 11 bits count; what is quantised has the weights' 24.
    rounding = 5e-3 if kind == "mixed precision" else 2e-5
    assert found == pytest.approx(expected, abs=rounding * float(np.abs(expected).max()))
    data = encoder.to_integers(FRAMES, ZSCORE)
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
    model = stack(keras, *head(keras))
    encoder = open_encoder(model)
    assert encoder.float_model is model
    assert encoder.notes == ()


@pytest.mark.parametrize("kind", REFUSED)
def test_refused_by_the_layers_name(keras: Any, kind: str) -> None:
    build, message = REFUSED[kind]
    with pytest.raises(QuantizationError, match=message) as caught:
        open_encoder(build(keras))
    assert caught.value.hint is not None
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", FOREIGN)
def test_layers_whose_code_is_not_here(keras: Any, kind: str, tmp_path: Path) -> None:
    from edgecodec.nn.backend import quiet

    build, message = FOREIGN[kind]
    model, path = build(keras), tmp_path / "model.keras"
    with quiet():
        model.save(path)
    if message:
        with pytest.raises(EdgecodecError, match=message) as caught:
            open_encoder(path)
        assert str(path) in str(caught.value)
        assert _refusal_of_check(path) == str(caught.value)
        if "quantiser" in kind:
            with pytest.raises(InputError, match=message):
                load_codebooks(path)
        return
    encoder = open_encoder(path)
    assert encoder.notes[0].startswith("the encoder is 'my_encoder' of 'functional")
    assert check_model(path).verdict == "runs"
    own = next(layer for layer in model.layers if "quant" in layer.name or layer.name in ("vq", "rvq"))
    assert [np.array_equal(*books) for books in zip(load_codebooks(path), own.get_weights(), strict=True)]
    frames = np.random.default_rng(1).normal(0, 1, (6, SAMPLES))
    expected = _latents(model.get_layer("my_encoder"), frames)
    assert _latents(encoder.float_model, frames) == pytest.approx(expected, abs=1e-6)


def _refusal_of_check(path: Path) -> str | None:
    """Why `edgecodec check` refuses a model; None when it does not."""
    try:
        return check_model(path).error
    except EdgecodecError as error:
        return str(error)


def test_a_layer_before_a_quantizer_whose_code_is_not_here(keras: Any, tmp_path: Path) -> None:
    """What stands in for it hands on what it gets: nothing of that may be taken for the model."""
    from edgecodec.nn.backend import quiet

    model = stack(
        keras, *head(keras), foreign_layer(keras, "Snake", "own"), foreign_layer(keras, "VectorQuantizer", "vq")
    )
    for suffix in (".keras", ".h5"):
        with quiet():
            model.save(tmp_path / f"model{suffix}")
        with pytest.raises(EdgecodecError, match=r"'own' (is|of the class) Snake|'vq' of the class VectorQuantizer"):
            open_encoder(tmp_path / f"model{suffix}")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_an_activation_whose_code_is_not_here(keras: Any, suffix: str, tmp_path: Path) -> None:
    from edgecodec.nn.backend import quiet

    def snake(x: Any) -> Any:
        return x + keras.ops.sin(x) ** 2

    path = tmp_path / f"model{suffix}"
    with quiet():
        stack(keras, keras.layers.Conv2D(4, (1, 3), activation=snake)).save(path)
    with pytest.raises(InputError, match="holds the function 'snake', which is not Keras's; train with ReLU"):
        open_encoder(path)


def test_a_product_quantizer_is_a_residual_one_of_codes_with_zeros() -> None:
    """What the refusal of a product quantiser advises: the same indices."""
    rng = np.random.default_rng(5)
    groups = rng.normal(size=(3, 16, 2))
    latents = rng.normal(size=(500, 6))
    padded = np.zeros((3, 16, 6))
    for number, book in enumerate(groups):
        padded[number][:, 2 * number : 2 * number + 2] = book
    indices, _ = quantize_float(latents, list(padded))
    apart = [
        np.argmin(((part[:, None] - book) ** 2).sum(-1), axis=1)
        for part, book in zip(np.split(latents, 3, axis=1), groups, strict=True)
    ]
    np.testing.assert_array_equal(indices, np.stack(apart, axis=-1))


@pytest.mark.parametrize("kind", REFUSED)
def test_check_and_quantize_say_the_same(keras: Any, kind: str, tmp_path: Path) -> None:
    from edgecodec.nn.backend import quiet

    with quiet():
        REFUSED[kind][0](keras).save(tmp_path / "model.keras")
    with pytest.raises(EdgecodecError) as caught:
        open_encoder(tmp_path / "model.keras")
    assert _refusal_of_check(tmp_path / "model.keras") == str(caught.value)


def test_keras_2_file(keras: Any, tmp_path: Path) -> None:
    model = keras_2_file(keras, tmp_path / "enc.h5")
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
def test_other_frameworks_are_told_the_way(keras: Any, name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"whatever")
    with pytest.raises(InputError, match=message):
        open_encoder(tmp_path / name)


def _recurrent_saved_model(keras: Any, folder: Path) -> Any:
    from edgecodec.nn.backend import quiet

    layers = keras.layers
    model = stack(
        keras, layers.Reshape((SAMPLES, 1)), layers.GRU(4, return_sequences=True), layers.Reshape((1, SAMPLES, 4))
    )
    with quiet():
        model.export(str(folder / "saved"), verbose=False)
    return open_encoder(folder / "saved")


def test_a_saved_model_of_rank_3(keras: Any, tmp_path: Path) -> None:
    """What other frameworks' converters write: no layers, (T, 1) to (P, D)."""
    from edgecodec.nn.backend import quiet

    model = conv1d(keras)
    with quiet():
        model.export(str(tmp_path / "saved"), verbose=False)
    encoder = open_encoder(tmp_path / "saved")
    frames = np.random.default_rng(1).normal(0, 1, (6, SAMPLES)).astype(np.float32)
    found = encoder.float_model(frames.reshape(6, 1, SAMPLES, 1)).numpy()
    assert found.shape == (6, 1, 8, 4)
    assert found[:, 0] == pytest.approx(_latents(model, frames), abs=1e-5)
    graph = read_graph(encoder.to_integers(FRAMES, ZSCORE))
    assert [(layer.kernel, layer.output.width) for layer in graph.layers] == [(5, 32), (4, 8)]


def test_a_recurrent_saved_model_is_one_line(keras: Any, tmp_path: Path) -> None:
    """Its layers cannot be seen, and TensorFlow's converter may end this very process on it."""
    with pytest.raises(QuantizationError, match=r"TensorFlow.*the encoder") as caught:
        _recurrent_saved_model(keras, tmp_path).to_integers(FRAMES, ZSCORE)
    assert "\n" not in str(caught.value)
    assert "runpy" not in str(caught.value)


def test_a_crash_of_the_converter_is_one_line(keras: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = _recurrent_saved_model(keras, tmp_path)
    crashing = tmp_path / "python"
    crashing.write_text("#!/bin/sh\nkill -SEGV $$\n")
    crashing.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(crashing))
    with pytest.raises(QuantizationError, match=r"converter crashed on the encoder \(SIGSEGV\); .*recurrent"):
        encoder.to_integers(FRAMES, ZSCORE)


@pytest.mark.parametrize("inner", ["int8", "int16"])
def test_float_ends_are_taken_off(keras: Any, inner: str) -> None:
    require("module:tflite_micro")
    given = converted(keras, inner=inner)
    encoder = open_encoder(given)
    assert encoder.notes == ("took the QUANTIZE off its input", "took the DEQUANTIZE off its output")
    data = encoder.to_integers(FRAMES, ZSCORE)
    assert len(data) == len(given)
    graph = read_graph(data)
    frames = np.random.default_rng(2).normal(0, 1, (20, SAMPLES)).astype(np.float32)
    numerics = graph.input.numerics
    assert numerics.activation.name == inner
    quantized = numerics.clip(np.rint(frames / np.float32(graph.input.scale)) + graph.input.zero_point)
    latent = run_layers(graph, quantized)
    for oracle in (tflm_encoder, tflite_reference_encoder):
        np.testing.assert_array_equal(oracle(data, graph).run(quantized), latent)
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
        ("dynamic range", "FLOAT32; expected INT8"),
    ],
)
def test_tflite_of_other_types(keras: Any, inner: str, message: str) -> None:
    with pytest.raises(EdgecodecError, match=message):
        open_encoder(converted(keras, inner=inner))


@pytest.mark.parametrize("kind", [*list(DECODERS)[:-1], "tflite", "tflite of rank 3"])
def test_decoders(keras: Any, kind: str, tmp_path: Path) -> None:
    from edgecodec.nn.backend import import_tensorflow, quiet

    like = {"tflite": "(1, P, D) to (1, T, 1)", "tflite of rank 3": "(P, D) to (T, 1)"}.get(kind, kind)
    decoder = DECODERS[like](keras)
    given: Any = decoder
    if kind.startswith("tflite"):
        with quiet():
            given = import_tensorflow().lite.TFLiteConverter.from_keras_model(decoder).convert()
    rng = np.random.default_rng(3)
    books = [rng.normal(0, 0.5, (8, 4)), rng.normal(0, 0.2, (8, 4))]
    quantized = quantize(stack(keras, *head(keras)), books, FRAMES, decoder=given)
    bundle = quantized.write(tmp_path / "bundle")
    stages = ReferenceExecutor(bundle.codec).stages(FRAMES[:4])
    found = decode(bundle, stages.indices)
    if "latent rotated" in quantized.report.chosen:
        return
    latents = bundle.codec.rvq.dequantize(stages.indices)
    inner = decoder.get_layer("decoder") if kind == "in an autoencoder" else decoder
    axes = (16, 4) if len(inner.inputs[0].shape) == 3 else (1, 16, 4)
    expected = inner(latents.reshape(-1, *axes)).numpy().reshape(4, SAMPLES)
    assert found == pytest.approx(expected, abs=1e-4)


def test_check_tells_what_becomes_of_each_layer(keras: Any, tmp_path: Path) -> None:
    norm_behind_the_activation(keras).save(tmp_path / "enc.keras")
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


def test_check_of_a_refused_model_says_what_to_change(keras: Any, tmp_path: Path) -> None:
    REFUSED["LayerNorm"][0](keras).save(tmp_path / "enc.keras")
    document = check_model(tmp_path / "enc.keras")
    assert document.verdict == "refused"
    assert [row.name for row in document.layers if row.verdict == "refused"] == ["ln"]
    assert document.error is not None
    assert "train with batch normalisation" in document.error


def test_the_command_check(tmp_path: Path) -> None:
    (tmp_path / "enc.tflite").write_bytes(malformed_encoder("op_add"))
    result = edgecodec("check", tmp_path / "enc.tflite", "--json")
    document = json.loads(result.stdout)
    assert (result.returncode, document["verdict"]) == (2, "refused")
    assert [row["verdict"] for row in document["layers"]] == ["runs"] * 5 + ["refused"]
    (tmp_path / "enc.tflite").write_bytes(dynamic_batch_encoder())
    shown = edgecodec("check", tmp_path / "enc.tflite")
    assert shown.returncode == 0
    assert "runs: 14,656 multiply-accumulates a frame" in shown.stdout
    assert_one_error(
        edgecodec("check", tmp_path / "none.tflite"), "none.tflite", "no such file; expected an INT8 encoder"
    )
