"""What each rounding of the integer codec costs: PRDN of a float codec with one thing rounded at a time.

    python -m tools.rounding RUN

RUN is a run folder; the frames are those of its test people. Ranges are the ones that TensorFlow's converter
calibrates; roundings are simulated in floats (Jacob et al. 2018, fake quantisation) and nothing is chosen among
candidates or fine-tuned, so this is what ``edgecodec quantize`` starts from. Prints a table of docs/presets.md.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.codec.numerics import INT8, INT16X8, Numerics
from edgecodec.nn.backend import import_tensorflow
from edgecodec.quantization.codebooks import quantize_float
from edgecodec.quantization.convert import convert_encoder, predict
from edgecodec.quantization.convolutions import Convolution
from edgecodec.quantization.fold import fold, keras_model
from edgecodec.quantization.ranges import tensors
from edgecodec.quantization.sources import KerasDecoder, Source
from edgecodec.signal.quality import prdn

FloatArray = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Rounded:
    """What is rounded, a row of the table."""

    title: str
    numerics: Numerics | None
    """Type of those activations that are rounded; None where none are."""
    input: bool = False
    weights: bool = False
    activations: bool = False
    """Outputs of all layers but the last."""
    latent: bool = False


ROWS = (
    Rounded("nothing", None),
    Rounded("input, int8", INT8, input=True),
    Rounded("weights, int8", None, weights=True),
    Rounded("activations, int8", INT8, activations=True),
    Rounded("latent, int8", INT8, latent=True),
    Rounded("all, int8", INT8, input=True, weights=True, activations=True, latent=True),
    Rounded("weights int8, all others int16", INT16X8, input=True, weights=True, activations=True, latent=True),
    Rounded("all but weights, int16", INT16X8, input=True, activations=True, latent=True),
)


def fake_quantize(x: FloatArray, scale: float, zero_point: int, numerics: Numerics) -> FloatArray:
    """``x`` of any shape as integers of ``numerics`` hold it, in floats."""
    integers = np.clip(np.rint(x / scale) + zero_point, numerics.lowest, numerics.highest)
    return np.asarray((integers - zero_point) * scale, np.float32)


def rounded_weights(convolution: Convolution) -> npt.NDArray[np.float64]:
    """Weights as int8 holds them, one symmetric scale an output channel (SPEC.md 1.1)."""
    kernel = convolution.kernel
    axes = (0,) if convolution.depthwise else (0, 1)
    scale = np.maximum(np.abs(kernel).max(axis=axes, keepdims=True) / 127.0, 1e-12)
    return np.asarray(np.rint(kernel / scale) * scale)


def latents(row: Rounded, convolutions: Sequence[Convolution], ranges: Sequence[Any], inputs: FloatArray) -> FloatArray:
    """Latents ``[N, 1, P, D]`` of normalised frames ``[N, 1, T, 1]``; ``ranges`` are the input's and each layer's."""
    x = (
        fake_quantize(inputs, ranges[0].scale, ranges[0].zero_point, row.numerics)
        if row.input and row.numerics
        else inputs
    )
    for convolution, tensor in zip(convolutions, ranges[1:], strict=True):
        kernel = rounded_weights(convolution) if row.weights else convolution.kernel
        x = predict(keras_model([replace(convolution, kernel=kernel)], x.shape[2:]), np.asarray(x, np.float32), 256)
        is_rounded = row.latent if tensor is ranges[-1] else row.activations
        if is_rounded and row.numerics:
            x = fake_quantize(x, tensor.scale, tensor.zero_point, row.numerics)
    return x


def main(arguments: list[str]) -> None:
    """Print the table."""
    if len(arguments) != 1:
        sys.exit(str(__doc__).strip())
    import_tensorflow()
    source = Source.of_run(arguments[0])
    model, decoder = source.encoder.float_model, source.decoder
    assert isinstance(decoder, KerasDecoder)
    convolutions = fold(model)
    graphs = {
        numerics: convert_encoder(model, source.calibration, source.normalization, numerics)[1]
        for numerics in (INT8, INT16X8)
    }
    decode = decoder.model(graphs[INT8])
    frames = source.figures
    frames = frames[np.any(frames != frames[:, :1], axis=1)]
    original = source.normalization.normalize(frames).astype(np.float32)
    print(f"{len(frames):,} frames\n\n| rounded | PRDN |\n| --- | ---: |")
    for row in ROWS:
        latent = latents(row, convolutions, tensors(graphs[row.numerics or INT8]), original[:, None, :, None])
        codes = quantize_float(latent.reshape(-1, latent.shape[-1]), source.codebooks, source.biases)[1]
        decoded = predict(decode, codes.reshape(latent.shape).astype(np.float32), 256)
        print(f"| {row.title} | {prdn(original, decoded.reshape(original.shape)).mean():.3f} % |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
