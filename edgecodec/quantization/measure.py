"""What rounding costs a codec: quality, agreement and saturation of float, INT8 and integer codec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgecodec.codec.graph import Graph
from edgecodec.codec.rvq import IntegerRvq
from edgecodec.decoding.decoder import FloatDecoder
from edgecodec.errors import QuantizationError
from edgecodec.quantization.codebooks import FloatArray, quantize_float
from edgecodec.signal.normalize import normalize
from edgecodec.signal.quality import prdn

if TYPE_CHECKING:
    from edgecodec.quantization.fold import Convolution

Frames = npt.NDArray[np.int16]
DIGITS = 4


@dataclass(frozen=True)
class Variant:
    """A codec ready for a bundle, and the float codec that it rounds."""

    name: str
    encoder: bytes
    """INT8 TFLite file."""
    graph: Graph
    codebooks: Sequence[FloatArray]
    """Float ``[K, D]``, to be rounded to the latent's scale."""
    decoder: bytes | None
    """float32 TFLite file."""
    model: Any | None = None
    """Float encoder of the same latent; None when it came as TFLite."""
    model_codebooks: Sequence[FloatArray] = ()
    """What the float codec searches."""
    chain: Sequence[Convolution] | None = None
    rotation: npt.NDArray[np.float64] | None = None
    """By which the latent differs from the given encoder's."""
    new_model: bool = False
    """Whether ``model`` is another function than the encoder given."""

    def integer_rvq(self) -> IntegerRvq:
        """The codebooks in integers. Raises QuantizationError."""
        return IntegerRvq.from_float(self.codebooks, self.graph.latent.scale, self.graph.latent.zero_point)

    def run_decoder(self, latents: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32] | None:
        """Normalised frames ``[N, T]`` of ``latents [N, P, D]``, or None without decoder."""
        if self.decoder is None:
            return None
        latent = self.graph.latent
        decoder = FloatDecoder(self.decoder, latent.width, latent.channels, self.graph.input.width)
        return decoder.run(latents.astype(np.float32))


def measure(
    variant: Variant, frames: Frames, epsilon: float, float_latents: npt.NDArray[np.floating[Any]] | None
) -> dict[str, float]:
    """Figures of ``variant`` on ``frames [N, T]``, none constant, rounded to 4 decimals.

    ``saturation_input`` and ``saturation_latent``: share of int8 values at -128 or 127. With ``float_latents
    [N, P, D]`` of its float encoder, ``agreement_l{l}``: share of indices equal to the float codec's, and
    ``latent_error``: distance of the integer codec's sum of codes from the float latent, percent of the latent's
    standard deviation. With a decoder, mean PRDN in percent: ``prdn_float`` (float encoder and codebooks),
    ``prdn_int8`` (INT8 latents, float codebooks), ``prdn_integer``. Raises QuantizationError when the decoder
    returns NaN or infinity.
    """
    inputs = int8_inputs(variant.graph, frames, epsilon)
    latents = run_int8(variant.encoder, variant.graph, inputs)
    latent = variant.graph.latent
    flat = dequantized(latents, latent.scale, latent.zero_point).reshape(-1, latent.channels)
    rvq = variant.integer_rvq()
    indices, integer = quantize_float(flat, float_codebooks(rvq))
    chosen = {"int8": quantize_float(flat, variant.codebooks)[1], "integer": integer}
    figures = {"saturation_input": saturation(inputs), "saturation_latent": saturation(latents)}
    if float_latents is not None:
        wanted = np.asarray(float_latents, np.float64).reshape(-1, latent.channels)
        float_indices, chosen["float"] = quantize_float(wanted, variant.model_codebooks)
        for level, same in enumerate((float_indices == indices).mean(axis=0), start=1):
            figures[f"agreement_l{level}"] = float(same)
        figures["latent_error"] = 100 * float(np.sqrt(np.mean((integer - wanted) ** 2) / max(wanted.var(), 1e-30)))
    original = normalize(frames, epsilon)
    for key in sorted(chosen):
        decoded = variant.run_decoder(chosen[key].reshape(latents.shape))
        if decoded is None:
            continue
        if not np.isfinite(decoded).all():
            raise QuantizationError("the decoder returns NaN or infinity on real frames; check its weights")
        figures[f"prdn_{key}"] = float(prdn(original, decoded).mean())
    return {key: round(value, DIGITS) for key, value in figures.items()}


def saturation(levels: npt.NDArray[np.int8]) -> float:
    """Share of int8 values at either end, -128 or 127."""
    return float(np.mean((levels == -128) | (levels == 127))) if levels.size else 0.0


def float_codebooks(rvq: IntegerRvq) -> list[npt.NDArray[np.float64]]:
    """The integer codebooks in the latent's real units; searching them gives the integer answer."""
    step = rvq.latent_scale / 2.0**rvq.fraction_bits
    return [book.astype(np.float64) * step for book in rvq.codebooks]


def dequantized(levels: npt.NDArray[np.int8], scale: float, zero_point: int) -> npt.NDArray[np.float64]:
    """Real values ``scale (q - zero_point)``."""
    real: npt.NDArray[np.float64] = (levels.astype(np.float64) - zero_point) * scale
    return real


def int8_inputs(graph: Graph, frames: Frames, epsilon: float) -> npt.NDArray[np.int8]:
    """The encoder's input int8 ``[N, T]`` for ADC counts ``[N, T]``."""
    levels = np.rint(normalize(frames, epsilon) / graph.input.scale) + graph.input.zero_point
    clipped: npt.NDArray[np.int8] = np.clip(levels, -128, 127).astype(np.int8)
    return clipped


def int8_latents(encoder: bytes, graph: Graph, frames: Frames, epsilon: float) -> npt.NDArray[np.float64]:
    """Dequantised latents float64 ``[N, P, D]`` of the INT8 encoder for ADC counts ``[N, T]``."""
    levels = run_int8(encoder, graph, int8_inputs(graph, frames, epsilon))
    return dequantized(levels, graph.latent.scale, graph.latent.zero_point)


def run_int8(encoder: bytes, graph: Graph, inputs: npt.NDArray[np.int8]) -> npt.NDArray[np.int8]:
    """Latents int8 ``[N, P, D]`` of inputs int8 ``[N, T]``.

    Run by TFLite's reference kernels, which round as the integer engine does (SPEC.md 1.2).
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter: Any = Interpreter(
        model_content=encoder, num_threads=1, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]["index"]
    latents = np.empty((len(inputs), graph.latent.width, graph.latent.channels), np.int8)
    for frame, latent in zip(inputs, latents, strict=True):
        interpreter.set_tensor(source["index"], frame.reshape(source["shape"]))
        interpreter.invoke()
        latent[:] = interpreter.get_tensor(target).reshape(latent.shape)
    return latents
