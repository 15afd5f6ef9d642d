"""The least that a codec of its own encoder, codebooks and decoder reaches; below it the parts are not of one model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from edgecodec.codec.arrays import Frames
from edgecodec.errors import QuantizationError
from edgecodec.quantization.codebooks import quantize_float
from edgecodec.quantization.convert import predict
from edgecodec.quantization.measure import Variant, dequantized, float_biases, float_codebooks, run_int8
from edgecodec.quantization.report import Figures, Shortfall
from edgecodec.signal.normalize import NONE, ZSCORE, MinMax
from edgecodec.signal.quality import prdn

LEAST_KAPPA = 0.1
"""Least Cohen's kappa between the integer and the float codec's indices of the first level; 0 is chance."""
MOST_ERROR = 100.0
"""Most error in percent: where the mean in place of the latent, and a flat line in place of a frame, are as good."""
_TELLING = 0.7
"""Another convention is said to be the encoder's when its PRDN is below this share of that of what was said."""
_DECODES = 50.0
"""PRDN in percent that another convention must reach at most; what decodes nothing may be near 100 with any."""
_SUSPECT = 20.0
"""PRDN in percent below which a codec was surely trained on frames normalised as was said."""
_FRAMES = 32

FloatArray = npt.NDArray[np.float64]


def _centred(frames: Frames) -> FloatArray:
    counts = np.asarray(frames, np.float64)
    centred: FloatArray = counts - counts.mean(axis=1, keepdims=True)
    return centred


_CONVENTIONS: Mapping[str, Callable[[Frames], FloatArray]] = MappingProxyType(
    {
        "frames of mean 0 and variance 1 (--normalization zscore)": ZSCORE.normalize,
        "frames scaled to 0..1 (--normalization minmax)": MinMax().normalize,
        "frames scaled to -1..1 (--normalization minmax:-1,1)": MinMax(-1.0, 1.0).normalize,
        "ADC counts less their mean (which no bundle does: train it on z-scores)": _centred,
        "ADC counts as they are (--normalization none)": NONE.normalize,
    }
)
"""What encoders elsewhere are trained on: ADC counts ``[N, T]``, none constant, to float64 ``[N, T]``."""


def shortfalls_of_parts(given: Figures) -> tuple[Shortfall, ...]:
    """What the codec says against its codebooks before anything was tried to round it better.

    ``given`` are figures of :func:`~edgecodec.quantization.measure.measure`; one that is missing is not judged.
    """
    if given.get("code_error", 0.0) < MOST_ERROR:
        return ()
    meaning = "the codes are no nearer to the latents than the latents' mean is"
    return (Shortfall("code_error", given["code_error"], MOST_ERROR, meaning),)


def shortfalls_of_codec(kept: Figures) -> tuple[Shortfall, ...]:
    """What lies below the floor of the codec that is to be written, by its figures as above."""
    found = []
    if kept.get("kappa_l1", 1.0) < LEAST_KAPPA:
        meaning = "integer and float codec choose the same codes hardly more often than by chance"
        found.append(Shortfall("kappa_l1", kept["kappa_l1"], LEAST_KAPPA, meaning))
    if kept.get("prdn_integer", 0.0) >= MOST_ERROR:
        meaning = "a flat line is as close to the frames as what is decoded"
        found.append(Shortfall("prdn_integer", kept["prdn_integer"], MOST_ERROR, meaning))
    return tuple(found)


def refuse(name: str, found: Sequence[Shortfall]) -> None:
    """Raise QuantizationError, which names the codec and all of ``found``, when there is any."""
    if found:
        raise QuantizationError(
            f"{name}: " + "; ".join(map(str, found)),
            hint="check that encoder, codebooks and decoder are of one model, trained on frames normalised as "
            "--normalization says, or keep it with --accept-quality",
        )


def other_convention(variant: Variant, frames: Frames, prdn_as_said: float) -> Shortfall | None:
    """Whether the codec decodes frames that are scaled another way far better than as the user said.

    ``frames`` are ADC counts int16 ``[N, T]``, none constant. ``prdn_as_said`` is the mean PRDN in percent of
    frames normalised as said, of the float codec, or of the integer codec when there is no float encoder. None
    without a decoder or frames, and where that PRDN is below 20 %.
    """
    if prdn_as_said < _SUSPECT or not len(frames):
        return None
    used = frames[np.linspace(0, len(frames) - 1, min(len(frames), _FRAMES)).round().astype(int)]
    best: tuple[float, str] | None = None
    for name, scale in _CONVENTIONS.items():
        scaled = scale(used)
        decoded = variant.run_decoder(_codes(variant, scaled))
        if decoded is None:
            return None
        if np.isfinite(decoded).all():
            reached = float(prdn(scaled, decoded).mean())
            best = (reached, name) if best is None else min(best, (reached, name))
    if best is None or best[0] >= min(_TELLING * prdn_as_said, _DECODES):
        return None
    meaning = f"{best[1]} are decoded with a PRDN of {best[0]:.1f} %: it was trained on such frames"
    return Shortfall("prdn_normalization", round(prdn_as_said, 4), round(best[0], 4), meaning)


def _codes(variant: Variant, scaled: FloatArray) -> FloatArray:
    """Sums of codes ``[N, P, D]`` of real inputs ``[N, T]``, in float where there is a float encoder."""
    graph = variant.graph
    shape = (len(scaled), graph.latent.width, graph.latent.channels)
    if variant.model is not None:
        latents = predict(variant.model, scaled.astype(np.float32)[:, None, :, None]).astype(np.float64)
        return quantize_float(latents.reshape(-1, shape[2]), variant.model_codebooks)[1].reshape(shape)
    levels = graph.input.numerics.clip(np.rint(scaled / graph.input.scale) + graph.input.zero_point)
    latents = dequantized(run_int8(variant.encoder, graph, levels), graph.latent.scale, graph.latent.zero_point)
    rvq = variant.codec.rvq
    return quantize_float(latents.reshape(-1, shape[2]), float_codebooks(rvq), float_biases(rvq))[1].reshape(shape)
