"""The numpy executor of SPEC.md 1: every stage in exact integers, written from the specification alone.

It shares no code with the C. Constants come from :class:`~edgecodec.codec.graph.Graph`,
:class:`~edgecodec.codec.normalizer.Normalizer` and :class:`~edgecodec.codec.rvq.IntegerRvq`, types and ranges from
their :class:`~edgecodec.codec.numerics.Numerics`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from edgecodec.codec.arrays import Activations, Frames, Indices, Int64Array, as_frames
from edgecodec.codec.codec import Codec
from edgecodec.codec.graph import Graph, Layer, Op
from edgecodec.codec.normalizer import FixedNormalizer, MinMaxNormalizer, Normalizer, ZScoreNormalizer
from edgecodec.codec.numerics import INT16X8
from edgecodec.codec.rvq import IntegerRvq
from edgecodec.codec.stages import Stages
from edgecodec.errors import InputError

_CHUNK_ELEMENTS = 1 << 21
"""Values of 8 bytes in the largest temporary array."""


class ReferenceExecutor:
    """Runs a codec in numpy integers; the answer that every other executor is compared with."""

    name = "reference"

    def __init__(self, codec: Codec) -> None:
        self._codec = codec

    def stages(self, frames: Frames) -> Stages:
        """Encode int16 ``[N, T]`` and keep every stage. Raises InputError for frames of another shape or type."""
        codec = self._codec
        quantized, offset, spread = normalize(codec.normalizer, frames)
        latent = run_layers(codec.graph, quantized)
        indices = quantize_latent(codec.rvq, latent)
        return Stages(offset=offset, spread=spread, input=quantized, latent=latent, indices=indices)

    def encode(self, frames: Frames) -> Indices:
        """Encode int16 ``[N, T]`` into uint16 ``[N, P, L]``. Raises InputError for another shape or type."""
        return self.stages(frames).indices


def normalize(
    normalizer: Normalizer, frames: Frames
) -> tuple[Activations, npt.NDArray[np.int32], npt.NDArray[np.uint64]]:
    """Normalise and quantise frames int16 ``[N, T]`` (SPEC.md 1.1).

    Returns:
        The encoder's input ``[N, T]`` of the activation type, offset int32 ``[N]`` and spread uint64 ``[N]``.

    Raises:
        InputError: ``frames`` are not int16 ``[N, T]`` of the normaliser's T.
    """
    frames = as_frames(frames, normalizer.samples)
    quantized = np.empty(frames.shape, normalizer.numerics.activation)
    offset = np.empty(len(frames), np.int32)
    spread = np.empty(len(frames), np.uint64)
    for chunk in _chunks(len(frames), normalizer.samples):
        values, offset[chunk], spread[chunk] = _steps(normalizer, frames[chunk].astype(np.int64))
        quantized[chunk] = normalizer.numerics.clip(values)
    return quantized, offset, spread


def run_layers(graph: Graph, quantized: Activations) -> Activations:
    """Run the encoder (SPEC.md 1.2): its input ``[N, T]`` to the latent ``[N, P, D]``, both of the activation type."""
    return _run(graph, quantized, keep=False)[-1]


def run_every_layer(graph: Graph, quantized: Activations) -> list[Activations]:
    """Run the encoder on ``[N, T]`` and return each layer's output ``[N, width, channels]``, first layer first."""
    return _run(graph, quantized, keep=True)


def quantize_latent(rvq: IntegerRvq, latent: Activations) -> Indices:
    """Search the codebooks (SPEC.md 1.3): latents ``[N, P, D]`` to indices uint16 ``[N, P, L]``.

    Raises InputError when the last axis is not the codebooks' dimension.
    """
    if latent.ndim < 1 or latent.shape[-1] != rvq.dimension:
        raise InputError(f"latents have shape {latent.shape}; expected [N, P, {rvq.dimension}]")
    flat = latent.reshape(-1, rvq.dimension)
    indices = np.empty((len(flat), rvq.levels), np.uint16)
    # Products and sums stay below 2^53 (IntegerRvq proves int32), so BLAS in float64 is exact in any order.
    books = [book.astype(np.float64) for book in rvq.codebooks]
    keys = [rvq.keys(level).astype(np.float64) for level in range(rvq.levels)]
    for chunk in _chunks(len(flat), max(rvq.codebook_sizes)):
        residual = rvq.residual(flat[chunk]).astype(np.float64)
        for level, (book, key) in enumerate(zip(books, keys, strict=True)):
            # argmin returns the first, so the lowest index, of equal distances.
            chosen = np.argmin(key - 2.0 * (residual @ book.T), axis=1)
            indices[chunk, level] = chosen
            residual -= book[chosen]
    return indices.reshape(*latent.shape[:-1], rvq.levels)


def requantize(acc: Int64Array, layer: Layer) -> Activations:
    """Accumulators int64 ``[..., out]`` to activations as TFLM does: rounded twice (SPEC.md 1.2), or once (1.4).

    Source: TFLite Micro ``common.cc: MultiplyByQuantizedMultiplier``, of int32 and of int64; gemmlowp
    ``SaturatingRoundingDoublingHighMul`` and ``RoundingDivideByPOT``.
    """
    if layer.numerics == INT16X8:
        down = layer.total_shift.astype(np.int64)
        once = (acc * layer.reduced_multiplier.astype(np.int64) + (np.int64(1) << (down - 1))) >> down
        return layer.numerics.clip(np.clip(once, layer.activation_min, layer.activation_max))
    multiplier = layer.multiplier.astype(np.int64)
    exponent = layer.shift.astype(np.int64)
    product = (acc << np.maximum(exponent, 0)) * multiplier
    nudged = product + np.where(product >= 0, 1 << 30, 1 - (1 << 30))
    high = np.where(nudged >= 0, nudged >> 31, -(-nudged >> 31))
    right = np.maximum(-exponent, 0)
    mask = (np.int64(1) << right) - 1
    rounded = (high >> right) + ((high & mask) > (mask >> 1) + (high < 0))
    clamped: Int64Array = np.clip(rounded + layer.output.zero_point, layer.activation_min, layer.activation_max)
    return clamped.astype(layer.numerics.activation)


def _steps(normalizer: Normalizer, counts: Int64Array) -> tuple[Int64Array, Int64Array, Int64Array]:
    """Inputs before they are clipped ``[n, T]``, offset ``[n]`` and spread ``[n]`` of counts ``[n, T]``."""
    if isinstance(normalizer, ZScoreNormalizer):
        return _zscore(normalizer, counts)
    if isinstance(normalizer, MinMaxNormalizer):
        return _minmax(normalizer, counts)
    assert isinstance(normalizer, FixedNormalizer)
    nothing = np.zeros(len(counts), np.int64)
    return (counts * normalizer.gain + normalizer.bias) >> normalizer.gain_shift, nothing, nothing


def _zscore(normalizer: ZScoreNormalizer, counts: Int64Array) -> tuple[Int64Array, Int64Array, Int64Array]:
    sums = counts.sum(axis=1)
    variances = normalizer.samples * (counts * counts).sum(axis=1) - sums * sums
    deviation = normalizer.samples * counts - sums[:, None]
    multiplier, shift = _columns([_zscore_gain(normalizer, int(v)) for v in variances])
    scaled = (deviation * multiplier + (np.int64(1) << (shift - 1))) >> shift
    return scaled + normalizer.zero_point, sums, variances


def _minmax(normalizer: MinMaxNormalizer, counts: Int64Array) -> tuple[Int64Array, Int64Array, Int64Array]:
    least = counts.min(axis=1)
    spans = counts.max(axis=1) - least
    multiplier, shift = _columns([_minmax_gain(normalizer, int(span)) for span in spans])
    bias = (normalizer.bias << np.maximum(shift - 32, 0)) >> np.maximum(32 - shift, 0)
    start = bias + (np.int64(1) << (shift - 1))
    return ((counts - least[:, None]) * multiplier + start) >> shift, least, spans


def _columns(gains: list[tuple[int, int]]) -> tuple[Int64Array, Int64Array]:
    """Multipliers and shifts ``[n, 1]``."""
    multiplier, shift = np.array(gains, np.int64).reshape(-1, 2).T
    return multiplier[:, None], shift[:, None]


def _minmax_gain(normalizer: MinMaxNormalizer, span: int) -> tuple[int, int]:
    """``(m, sh)`` of SPEC.md 1.1 for max - min of one frame."""
    if span == 0:
        return 0, 16
    up = 32 - span.bit_length()
    return -(-(normalizer.steps << 31) // (span << up)), 31 + normalizer.steps_shift - up


def _zscore_gain(normalizer: ZScoreNormalizer, variance: int) -> tuple[int, int]:
    """``(m, sh)`` of SPEC.md 1.1 for V of one frame; a flat frame has deviations of 0 and any gain."""
    if variance == 0:
        return 0, 1
    wide = (variance << normalizer.variance_shift) + normalizer.epsilon_term
    up = (64 - wide.bit_length()) & ~1
    root = math.isqrt(wide << up)
    multiplier = (normalizer.inverse_scale << 31) // root
    return multiplier, 31 + normalizer.inverse_scale_shift - up // 2 - normalizer.variance_shift // 2


def _run(graph: Graph, quantized: Activations, keep: bool) -> list[Activations]:
    expected = graph.input.width * graph.input.channels
    dtype = graph.input.numerics.activation
    if quantized.dtype != dtype or quantized.ndim < 1 or quantized[:1].size != expected * len(quantized[:1]):
        raise InputError(f"encoder inputs are {quantized.dtype} {quantized.shape}; expected {dtype} [N, {expected}]")
    kept = graph.layers if keep else graph.layers[-1:]
    outputs = [np.empty((len(quantized), layer.output.width, layer.output.channels), dtype) for layer in kept]
    for chunk in _chunks(len(quantized), max(_temporary_elements(layer) for layer in graph.layers)):
        current = quantized[chunk].reshape(-1, graph.input.width, graph.input.channels)
        for number, layer in enumerate(graph.layers):
            current = requantize(_accumulate(current, layer), layer)
            if keep or number == len(graph.layers) - 1:
                outputs[number if keep else 0][chunk] = current
    return outputs


def _accumulate(source: Activations, layer: Layer) -> Int64Array:
    """Convolve ``[n, W, in]`` with bias: accumulators int64 ``[n, W', out]``."""
    taps = _taps(source, layer)
    if layer.op is Op.CONV:
        # Sums of at most kernel * in products stay far below 2^53, so BLAS in float64 is exact in any order.
        weights = layer.weights.reshape(layer.output.channels, -1).astype(np.float64)
        columns = np.concatenate(taps, axis=2).astype(np.float64)
        acc = (columns @ weights.T).astype(np.int64)
    else:
        acc = np.zeros((len(source), layer.output.width, layer.output.channels), np.int64)
        for tap, weight in zip(taps, layer.weights.astype(np.int64), strict=True):
            acc = acc + np.repeat(tap, layer.depth_multiplier, axis=2) * weight
    return acc + layer.bias.astype(np.int64)


def _taps(source: Activations, layer: Layer) -> list[Int64Array]:
    """For each tap of the kernel, the centred inputs int64 ``[n, W', in]`` that it meets; 0 outside the tensor."""
    count, width, channels = source.shape
    reach = (layer.output.width - 1) * layer.stride + layer.kernel
    padded = np.zeros((count, max(reach, layer.pad_left + width), channels), np.int64)
    padded[:, layer.pad_left : layer.pad_left + width] = source
    padded[:, layer.pad_left : layer.pad_left + width] -= layer.input.zero_point
    span = (layer.output.width - 1) * layer.stride + 1
    return [padded[:, tap : tap + span : layer.stride] for tap in range(layer.kernel)]


def _temporary_elements(layer: Layer) -> int:
    """Elements of the largest temporary of one frame."""
    columns = layer.kernel * layer.input.channels if layer.op is Op.CONV else layer.output.channels
    return max(layer.output.width * max(columns, layer.output.channels), layer.input.width * layer.input.channels)


def _chunks(count: int, elements: int) -> Iterator[slice]:
    """Slices of ``count`` rows that keep temporaries of ``elements`` a row within bounds."""
    size = max(1, _CHUNK_ELEMENTS // elements)
    for start in range(0, count, size):
        yield slice(start, start + size)
