"""What rounding costs a codec: quality, agreement and saturation of float, INT8 and integer codec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgecodec.codec.arrays import Activations, Frames
from edgecodec.codec.codec import Codec
from edgecodec.codec.graph import Graph
from edgecodec.codec.normalizer import Normalizer
from edgecodec.codec.numerics import INT8, Numerics
from edgecodec.codec.reference import normalize as normalize_integer
from edgecodec.codec.rvq import IntegerRvq
from edgecodec.codec.tflite_reader import read_graph
from edgecodec.decoding.decoder import FloatDecoder
from edgecodec.errors import QuantizationError
from edgecodec.quantization.codebooks import FloatArray, quantize_float
from edgecodec.signal.normalize import Normalization
from edgecodec.signal.quality import prdn

if TYPE_CHECKING:
    from edgecodec.quantization.convolutions import Convolution

DIGITS = 4
"""Decimals that figures are rounded to."""


@dataclass(frozen=True)
class Variant:
    """A codec ready for a bundle, and the float codec that it rounds."""

    name: str
    """What was done to the codec."""
    encoder: bytes
    """INT8 TFLite file."""
    normalization: Normalization
    """How the encoder's frames are normalised."""
    codebooks: Sequence[FloatArray]
    """Float ``[K, D]``, one a level, to be rounded to the latent's scale."""
    decoder: bytes | None
    """Float32 TFLite file; None when there is no decoder."""
    biases: Sequence[FloatArray] | None = None
    """What choosing each code costs beside its squared distance, ``[K]`` a level in squared units of the latent, in
    floats and integers alike."""
    model: Any | None = None
    """Float encoder of the same latent as a Keras model; None when it came as TFLite."""
    model_codebooks: Sequence[FloatArray] = ()
    """Float ``[K, D]``, one a level, that the float codec searches."""
    convolutions: Sequence[Convolution] | None = None
    """Convolutions that :attr:`encoder` was converted from; None for those of :attr:`model`."""
    rotation: npt.NDArray[np.float64] | None = None
    """Orthogonal ``[D, D]`` that the given encoder's latent is multiplied by from the right; None for none."""
    new_model: bool = False
    """Whether :attr:`model` is another function than the encoder given."""

    @cached_property
    def graph(self) -> Graph:
        """Layers of :attr:`encoder`. Raises UnsupportedOpError or PlanError when they cannot be executed exactly."""
        return read_graph(self.encoder)

    @cached_property
    def codec(self) -> Codec:
        """The integer codec, proven. Raises QuantizationError, UnsupportedOpError or PlanError when there is none."""
        graph, latent = self.graph, self.graph.latent
        source = graph.input
        normalizer = Normalizer.of(self.normalization, source.width, source.scale, source.zero_point, source.numerics)
        rvq = IntegerRvq.from_float(self.codebooks, latent.scale, latent.zero_point, latent.numerics, self.biases)
        return Codec(normalizer, graph, rvq)

    def run_decoder(self, latents: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32] | None:
        """Normalised frames float32 ``[N, T]`` of ``latents [N, P, D]``, or None without decoder."""
        if self.decoder is None:
            return None
        latent = self.graph.latent
        decoder = FloatDecoder(self.decoder, latent.width, latent.channels, self.graph.input.width)
        return decoder.run(latents.astype(np.float32))


def measure(variant: Variant, frames: Frames, float_latents: npt.NDArray[np.floating[Any]] | None) -> dict[str, float]:
    """Figures of ``variant`` on ``frames`` of ADC counts int16 ``[N, T]``, none constant, rounded to 4 decimals.

    ``saturation_input`` and ``saturation_latent``: share of activations at either end of their range.
    ``code_error``: distance of the integer codec's sum of codes from its INT8 latent, percent of the latent's distance
    from its mean. With ``float_latents [N, P, D]`` of its float encoder, ``agreement_l{l}``: share of indices equal to
    the float codec's, ``kappa_l1``: Cohen's kappa of those of the first level, which is 0 where codes agree as often
    as by chance, and ``latent_error``: distance of the integer codec's sum of codes from the float latent, percent
    of the latent's standard deviation. With a decoder, mean PRDN in percent: ``prdn_float`` (float encoder and
    codebooks), ``prdn_int8`` (latents of the encoder in integers, float codebooks), ``prdn_integer``.

    Raises QuantizationError when the decoder returns NaN or infinity, and as :attr:`Variant.codec` does.
    """
    inputs = encoder_inputs(variant.codec.normalizer, frames)
    latents = run_int8(variant.encoder, variant.graph, inputs)
    latent, rvq = variant.graph.latent, variant.codec.rvq
    flat = dequantized(latents, latent.scale, latent.zero_point).reshape(-1, latent.channels)
    indices, integer = quantize_float(flat, float_codebooks(rvq), float_biases(rvq))
    chosen = {"int8": quantize_float(flat, variant.codebooks, variant.biases)[1], "integer": integer}
    numerics = latent.numerics
    figures = {
        "saturation_input": saturation(inputs, numerics),
        "saturation_latent": saturation(latents, numerics),
        "code_error": 100 * float(np.sqrt(np.sum((integer - flat) ** 2) / max(_power(flat), 1e-30))),
    }
    if float_latents is not None:
        wanted = np.asarray(float_latents, np.float64).reshape(-1, latent.channels)
        float_indices, chosen["float"] = quantize_float(wanted, variant.model_codebooks, variant.biases)
        for level, same in enumerate((float_indices == indices).mean(axis=0), start=1):
            figures[f"agreement_l{level}"] = float(same)
        figures["kappa_l1"] = cohens_kappa(indices[:, 0], float_indices[:, 0])
        figures["latent_error"] = 100 * float(np.sqrt(np.mean((integer - wanted) ** 2) / max(wanted.var(), 1e-30)))
    original = variant.normalization.normalize(frames)
    for key in sorted(chosen):
        decoded = variant.run_decoder(chosen[key].reshape(latents.shape))
        if decoded is None:
            continue
        if not np.isfinite(decoded).all():
            raise QuantizationError("the decoder returns NaN or infinity on real frames", hint="check its weights")
        figures[f"prdn_{key}"] = float(prdn(original, decoded).mean())
    return {key: round(value, DIGITS) for key, value in figures.items()}


def cohens_kappa(one: npt.NDArray[np.integer[Any]], other: npt.NDArray[np.integer[Any]]) -> float:
    """Agreement of two choices ``[N]`` beyond chance: 1 when all are equal, 0 as often as independent ones.

    Source: J. Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological Measurement 20
    (1960), 37-46.
    """
    size = int(max(one.max(), other.max())) + 1
    shares = [np.bincount(choice, minlength=size) / len(choice) for choice in (one, other)]
    chance = float(shares[0] @ shares[1])
    agreement = float(np.mean(one == other))
    return 1.0 if agreement == 1.0 else (agreement - chance) / (1.0 - chance)


def _power(vectors: npt.NDArray[np.float64]) -> float:
    """Sum of the squared distances of ``[N, D]`` from their mean."""
    return float(np.sum((vectors - vectors.mean(axis=0)) ** 2))


def saturation(levels: Activations, numerics: Numerics = INT8) -> float:
    """Share of activations of any shape at either end of their range, such as -128 or 127."""
    return float(np.mean((levels == numerics.lowest) | (levels == numerics.highest))) if levels.size else 0.0


def float_codebooks(rvq: IntegerRvq) -> list[npt.NDArray[np.float64]]:
    """The integer codebooks in the latent's real units; searching them with their biases gives the integer answer."""
    return [book.astype(np.float64) * rvq.step for book in rvq.codebooks]


def float_biases(rvq: IntegerRvq) -> list[npt.NDArray[np.float64]]:
    """What choosing each code costs, in squared real units of the latent, ``[K]`` a level."""
    return [rvq.bias(level).astype(np.float64) * rvq.step**2 for level in range(rvq.levels)]


def dequantized(levels: Activations, scale: float, zero_point: int) -> npt.NDArray[np.float64]:
    """Real values ``scale (q - zero_point)`` of activations, in their shape."""
    real: npt.NDArray[np.float64] = (levels.astype(np.float64) - zero_point) * scale
    return real


def encoder_inputs(normalizer: Normalizer, frames: Frames) -> Activations:
    """The encoder's input ``[N, T]`` for ADC counts int16 ``[N, T]``, in the codec's integers (SPEC.md 1.1)."""
    return normalize_integer(normalizer, frames)[0]


def int8_latents(variant: Variant, frames: Frames) -> npt.NDArray[np.float64]:
    """Dequantised latents float64 ``[N, P, D]`` of the INT8 encoder for ADC counts int16 ``[N, T]``."""
    latent = variant.graph.latent
    levels = run_int8(variant.encoder, variant.graph, encoder_inputs(variant.codec.normalizer, frames))
    return dequantized(levels, latent.scale, latent.zero_point)


def run_int8(encoder: bytes, graph: Graph, inputs: Activations) -> Activations:
    """Latents ``[N, P, D]`` of inputs ``[N, T]``, both int8, of the TFLite file ``encoder``.

    Run by TFLite's reference kernels, which round as the integer engine does (SPEC.md 1.2).
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter: Any = Interpreter(
        model_content=encoder, num_threads=1, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]["index"]
    shape = (len(inputs), graph.latent.width, graph.latent.channels)
    latents: Activations = np.empty(shape, graph.latent.numerics.activation)
    for frame, latent in zip(inputs, latents, strict=True):
        interpreter.set_tensor(source["index"], frame.reshape(source["shape"]))
        interpreter.invoke()
        latent[:] = interpreter.get_tensor(target).reshape(latent.shape)
    return latents
