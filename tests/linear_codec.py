"""A bundle with a decoder that is one matrix, made without TensorFlow and computed by hand in the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from edgecodec.bundle import DECODER, Bundle, write_bundle
from edgecodec.codec import reference
from edgecodec.codec.graph import Graph
from edgecodec.codec.normalizer import Normalizer
from edgecodec.codec.reference import run_layers
from edgecodec.codec.rvq import IntegerRvq
from edgecodec.codec.tflite_reader import read_graph
from edgecodec.signal.normalize import ZSCORE, MinMax, Normalization, normalize
from tests.tflite_builder import CONV, LayerSpec, build_encoder, serialize

SAMPLES, RATE_HZ = 64, 16.0
"""Frames of 4 s."""
CODEBOOK_SIZES = (64, 32)
SCALED = MinMax(-1.0, 1.0)


def pulse_frames(count: int, seed: int = 0) -> npt.NDArray[np.int16]:
    """Pulses of 60 to 150 a minute at 16 Hz in ADC counts, int16 ``[count, 64]``."""
    rng = np.random.default_rng(seed)
    cycle = 2 * np.pi * rng.uniform(1.0, 2.5, (count, 1)) * np.arange(SAMPLES) / RATE_HZ
    cycle = cycle + rng.uniform(0, 2 * np.pi, (count, 1))
    wave = np.sin(cycle) + 0.3 * np.sin(2 * cycle + 0.7) + rng.normal(0, 0.02, (count, SAMPLES))
    return np.rint(rng.uniform(1500, 2500, (count, 1)) + 400 * wave).astype(np.int16)


def linear_codec(folder: Path) -> tuple[Bundle, npt.NDArray[np.float32]]:
    """Write and load a bundle at 16 Hz, and its decoder's matrix float32 ``[T, P D]``, fitted by least squares."""
    # One layer, 8 samples to 8 channels without ReLU: all that is lost is lost to quantisation.
    encoder = build_encoder([LayerSpec(CONV, 8, 8, 8)], SAMPLES, input_zero_point=-3, input_scale=0.02)
    graph = read_graph(encoder)
    frames = pulse_frames(1000, seed=9)
    normalizer = Normalizer.of(ZSCORE, SAMPLES, graph.input.scale, graph.input.zero_point)
    rvq, weights = _fitted(graph, reference.normalize(normalizer, frames)[0], normalize(frames))
    bundle = write_bundle(
        folder / "linear",
        encoder=encoder,
        rvq=rvq,
        name="linear",
        rate_hz=RATE_HZ,
        optional={DECODER: _decoder(weights, graph.latent.width, graph.latent.channels)},
    )
    return bundle, weights


def codec_of_scaled_frames(
    normalization: Normalization = SCALED, scale: float = 0.02, zero_point: int = -3
) -> tuple[bytes, list[npt.NDArray[np.float64]], bytes]:
    """Encoder, float codebooks and decoder fitted to frames after ``normalization``, by default scaled to -1..1.

    ``scale`` and ``zero_point`` quantise the encoder's input.
    """
    encoder = build_encoder([LayerSpec(CONV, 8, 8, 8)], SAMPLES, input_zero_point=zero_point, input_scale=scale)
    graph = read_graph(encoder)
    scaled = normalization.normalize(pulse_frames(1000, seed=9))
    inputs = np.clip(np.rint(scaled / graph.input.scale) + graph.input.zero_point, -128, 127).astype(np.int8)
    rvq, weights = _fitted(graph, inputs, scaled)
    books = [book * (rvq.latent_scale / 2.0**rvq.fraction_bits) for book in rvq.codebooks]
    return encoder, books, _decoder(weights, graph.latent.width, graph.latent.channels)


def _fitted(
    graph: Graph, inputs: npt.NDArray[np.int8], frames: npt.NDArray[np.float64]
) -> tuple[IntegerRvq, npt.NDArray[np.float32]]:
    """Codebooks for the latents of ``inputs [N, T]``, and the matrix that decodes their codes to ``frames [N, T]``."""
    latents = run_layers(graph, inputs)
    rvq = _fitted_rvq(graph, latents.reshape(-1, graph.latent.channels))
    codes = rvq.dequantize(reference.quantize_latent(rvq, latents)).reshape(len(frames), -1).astype(np.float64)
    return rvq, np.linalg.lstsq(codes, frames, rcond=None)[0].T.astype(np.float32)


def _fitted_rvq(graph: Graph, latents: npt.NDArray[np.int8]) -> IntegerRvq:
    """Codebooks of residuals of ``latents`` ``[N, D]``, drawn at random."""
    rng = np.random.default_rng(0)
    residual = (latents.astype(np.float64) - graph.latent.zero_point) * graph.latent.scale
    books = []
    for size in CODEBOOK_SIZES:
        book = rng.choice(residual, size, replace=False)
        distance = (book**2).sum(axis=1) - 2 * residual @ book.T
        residual = residual - book[distance.argmin(axis=1)]
        books.append(book)
    return IntegerRvq.from_float(books, graph.latent.scale, graph.latent.zero_point)


def _decoder(weights: npt.NDArray[np.float32], positions: int, channels: int) -> bytes:
    """A float ``.tflite``: reshape, fully connected without bias, reshape."""
    samples, inputs = weights.shape
    model = schema.ModelT()
    model.version = 3
    model.buffers = [schema.BufferT()]
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = [], []
    model.subgraphs = [graph]
    model.operatorCodes = []
    for code in (schema.BuiltinOperator.RESHAPE, schema.BuiltinOperator.FULLY_CONNECTED):
        entry = schema.OperatorCodeT()
        entry.builtinCode = entry.deprecatedBuiltinCode = code
        entry.version = 1
        model.operatorCodes.append(entry)

    def tensor(shape: tuple[int, ...], data: npt.NDArray[np.generic] | None = None) -> int:
        made = schema.TensorT()
        made.name = f"t{len(graph.tensors)}"
        made.shape = list(shape)
        made.type = schema.TensorType.FLOAT32
        if data is not None:
            made.type = schema.TensorType.INT32 if data.dtype == np.int32 else schema.TensorType.FLOAT32
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            made.buffer = len(model.buffers)
            model.buffers.append(buffer)
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    def operator(code: int, inputs: list[int], output: int, kind: int, options: object) -> None:
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = code, inputs, [output]
        made.builtinOptionsType, made.builtinOptions = kind, options
        graph.operators.append(made)

    def reshape(source: int, shape: tuple[int, ...]) -> int:
        wanted = tensor((len(shape),), np.array(shape, np.int32))
        output = tensor(shape)
        options = schema.ReshapeOptionsT()
        options.newShape = list(shape)
        operator(0, [source, wanted], output, schema.BuiltinOptions.ReshapeOptions, options)
        return output

    latent = tensor((1, 1, positions, channels))
    flat = reshape(latent, (1, inputs))
    line = tensor((1, samples))
    options = schema.FullyConnectedOptionsT()
    matrix = tensor((samples, inputs), weights)
    operator(1, [flat, matrix, -1], line, schema.BuiltinOptions.FullyConnectedOptions, options)
    graph.inputs, graph.outputs = [latent], [reshape(line, (1, 1, samples, 1))]
    return serialize(model)
