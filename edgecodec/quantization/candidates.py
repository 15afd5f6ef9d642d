"""Try what may close the gap between the float codec and its integers, and keep what helps on held-out frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.codec.arrays import Frames
from edgecodec.codec.reference import run_every_layer
from edgecodec.errors import EdgecodecError, QuantizationError
from edgecodec.quantization.codebooks import quantize_float, refit
from edgecodec.quantization.convert import convert_decoder, convert_encoder, predict
from edgecodec.quantization.convolutions import Convolution
from edgecodec.quantization.fine_tune import FineTuning, fine_tune
from edgecodec.quantization.fold import (
    equalize,
    fold,
    keras_model,
    rotate,
    rotated_decoder,
    spreading_rotation,
)
from edgecodec.quantization.measure import DIGITS, Variant, dequantized, encoder_inputs, int8_latents, measure
from edgecodec.quantization.ranges import Quantization, fit_quantization, tensors, with_quantization
from edgecodec.quantization.report import Candidate, Figures
from edgecodec.quantization.weight_rounding import rounded_to_inputs
from edgecodec.signal.normalize import Normalization
from edgecodec.signal.quality import prdn

Progress = Callable[[int, int, str], None]
"""``progress(done, total, stage)``: steps of the stage that runs; ``(0, 0, stage)`` where they are not counted."""
FIRST = "min-max ranges"
"""Name of the candidate that TensorFlow's converter makes."""
CRITERIA = ("prdn_integer", "latent_error")
"""Figures that may decide between candidates, the first that there is."""
_GAIN = 0.999
"""A candidate has to lower the criterion below this share of the best so far."""
_LOST = 1.005
"""Share of the float codec's PRDN from which on codebooks are refitted: that regains what rounding cost, and where
that is nothing it only makes another codec of it."""
_LATENT_PERCENTILES = (99.99, 99.95)
_RANGE_PERCENTILE = 99.99
_RANGE_FRAMES = 256


@dataclass(frozen=True)
class SearchData:
    """Frames that candidates are built and judged with, all ADC counts int16 ``[N, T]``."""

    calibration: Frames
    """Frames that show the ranges of activations."""
    validation: Frames
    """Frames to judge on, no constant one among them, none calibrated or trained on."""
    other_people: bool
    """Whether the validation frames come from elsewhere than the calibration frames."""
    fine_tuning: Frames | None = None
    """Frames to fine-tune on; None for no fine-tuning."""


class Search:
    """Candidates one after the other, each built on the best so far and judged on the validation frames.

    The criterion is the mean PRDN of the integer codec, or without decoder the error of its latent. Without
    either, or without validation frames, the codec stays as the converter made it.
    """

    def __init__(
        self,
        data: SearchData,
        keras_decoder: Callable[[], Any] | None,
        settings: FineTuning,
        progress: Progress,
    ) -> None:
        self._data, self._keras_decoder = data, keras_decoder
        self._settings, self._progress = settings, progress
        self._latents: npt.NDArray[np.floating[Any]] | None = None
        self._best_value = np.inf
        self.candidates: tuple[Candidate, ...] = ()
        """All that were tried so far."""

    @property
    def criterion(self) -> str | None:
        """Name of the figure that decides; None when nothing could be compared."""
        figures = self.candidates[0].figures
        return next((name for name in CRITERIA if name in figures), None)

    @property
    def best_value(self) -> float | None:
        """The criterion's value of the best candidate so far; None when nothing could be compared."""
        return None if self.criterion is None else float(self._best_value)

    def start(self, first: Variant) -> Figures:
        """Measure ``first``, which the rest is built on. Raises QuantizationError when it cannot be measured."""
        if not len(self._data.validation):
            self.candidates = (Candidate(first.name, True, {}),)
        else:
            if first.model is not None:
                self._latents = self._float_latents(first)
            self._judge(first, self._latents, first)
        return self.candidates[0].figures

    def run(self, first: Variant) -> Variant:
        """Try what may be better than ``first``, with which the search was started, and return the best."""
        data, best = self._data, first
        if self.criterion is None:
            return best
        if first.model is not None:
            best = self._rewritten(best)
            best = self._try("weights rounded to inputs", best, self._rounded)
        # Clipping and refitting serve the people they are measured on: judged on the same people's frames they
        # made the demo's PRDN on another person worse by a tenth.
        if data.other_people:
            if first.model is not None:
                best = self._ranged(best)
            if self._loses():
                best = self._try("codebooks refitted", best, self._refitted)
        if data.fine_tuning is not None:
            best = self._try("fine-tuned", best, self._fine_tuned)
        return best

    def _loses(self) -> bool:
        """Whether rounding costs the best candidate more than a little, or nobody knows."""
        figures = self.candidates[0].figures
        known = self.criterion == "prdn_integer" and "prdn_float" in figures
        return not known or self._best_value > _LOST * figures["prdn_float"]

    def _judge(self, variant: Variant, latents: Any, best: Variant) -> Variant:
        """Measure ``variant`` with the ``latents [N, P, D]`` of its float model; the better of it and ``best``."""
        figures = measure(variant, self._data.validation, latents)
        self.candidates += (Candidate(variant.name, False, figures),)
        value = figures.get(self.criterion or "", np.inf)
        if len(self.candidates) > 1 and value >= _GAIN * self._best_value:
            return best
        self._best_value, self._latents = value, latents
        self.candidates = tuple(
            replace(candidate, kept=number == len(self.candidates) - 1)
            for number, candidate in enumerate(self.candidates)
        )
        return variant

    def _try(self, name: str, best: Variant, make: Callable[[Variant], tuple[Variant, Any]]) -> Variant:
        self._progress(0, 0, f"candidate {name}")
        full = name if best.name == FIRST else f"{best.name}, {name}"
        try:
            variant, latents = make(best)
            return self._judge(replace(variant, name=full), latents, best)
        except EdgecodecError as error:
            self.candidates += (Candidate(full, False, {}, str(error)),)
            return best

    def _rewritten(self, first: Variant) -> Variant:
        """Equalised channels, then a rotated latent: the same float function in numbers that round better."""
        best = self._try("channels equalised", first, self._equalized)
        if first.decoder is not None and self._keras_decoder is None:
            return best
        return self._try("latent rotated", best, self._rotated)

    def _ranged(self, best: Variant) -> Variant:
        for percent in _LATENT_PERCENTILES:
            best = self._try(f"latent range {percent} %", best, partial(self._clipped, percent=percent, latent=True))
        clip = partial(self._clipped, percent=_RANGE_PERCENTILE, latent=False)
        return self._try(f"other ranges {_RANGE_PERCENTILE} %", best, clip)

    def _equalized(self, best: Variant) -> tuple[Variant, Any]:
        convolutions = fold(best.model)
        peaks = [np.abs(values).max(axis=(0, 1)) for values in self._activations(best)[1:]]
        return self._converted(best, equalize(convolutions, peaks)), self._latents

    def _rotated(self, best: Variant) -> tuple[Variant, Any]:
        convolutions = best.convolutions or fold(best.model)
        latents = self._activations(best)[-1]
        rotation = spreading_rotation(latents.reshape(-1, latents.shape[-1]))
        turned = self._converted(best, rotate(convolutions, rotation))
        decoder = best.decoder
        if self._keras_decoder is not None:
            decoder = convert_decoder(rotated_decoder(self._keras_decoder(), rotation))
        books = [book @ rotation for book in best.codebooks]
        variant = replace(
            turned, decoder=decoder, codebooks=books, model_codebooks=books, rotation=rotation, new_model=True
        )
        variant = replace(variant, model=self._float_model(turned.convolutions or ()))
        return variant, None if self._latents is None else self._latents @ rotation

    def _rounded(self, best: Variant) -> tuple[Variant, Any]:
        convolutions = best.convolutions or fold(best.model)
        pairs = zip(convolutions, self._activations(best), strict=False)
        return self._converted(best, [rounded_to_inputs(conv, values) for conv, values in pairs]), self._latents

    def _clipped(self, best: Variant, percent: float, latent: bool) -> tuple[Variant, Any]:
        changes: dict[int, Quantization] = {}
        values = self._activations(best)
        last = len(values) - 1
        for number in [last] if latent else range(last):
            layer = best.graph.layers[number - 1] if number else None
            if layer is None or layer.activation == "NONE":
                low, high = np.percentile(values[number], [100 - percent, percent])
            elif layer.activation == "RELU" and np.any(values[number] > 0):
                low, high = 0.0, np.percentile(values[number][values[number] > 0], percent)
            else:
                continue
            changes[number] = fit_quantization(float(low), float(high), best.graph.input.numerics)
        return replace(best, encoder=with_quantization(best.encoder, changes)), self._latents

    def _refitted(self, best: Variant) -> tuple[Variant, Any]:
        latents = int8_latents(best, self._data.calibration)
        books = refit(best.codebooks, latents.reshape(-1, best.graph.latent.channels), best.biases)
        return replace(best, codebooks=books), self._latents

    def _fine_tuned(self, best: Variant) -> tuple[Variant, Any]:
        data = self._data
        if self._keras_decoder is None or data.fine_tuning is None:
            raise QuantizationError("fine-tuning needs frames and the decoder as a Keras model")
        decoder = self._keras_decoder()
        if best.rotation is not None:
            decoder = rotated_decoder(decoder, best.rotation)
        tuned = fine_tune(
            best.convolutions or fold(best.model),
            [(tensor.scale, tensor.zero_point) for tensor in tensors(best.graph)],
            best.codebooks,
            decoder,
            _as_input(data.fine_tuning, best.normalization),
            self._settings,
            biases=best.biases,
            numerics=best.graph.input.numerics,
            progress=lambda done, total, figures: self._progress(done, total, "fine-tuning"),
        )
        variant = self._converted(best, tuned.convolutions)
        encoder = with_quantization(variant.encoder, dict(enumerate(tuned.quantization)))
        variant = replace(
            variant,
            encoder=encoder,
            codebooks=tuned.codebooks,
            model_codebooks=tuned.codebooks,
            decoder=convert_decoder(decoder),
            model=self._float_model(tuned.convolutions),
            new_model=True,
        )
        return variant, self._float_latents(variant)

    def _converted(self, best: Variant, convolutions: Sequence[Convolution]) -> Variant:
        model, numerics = self._float_model(convolutions), best.graph.input.numerics
        encoder, _ = convert_encoder(model, self._data.calibration, best.normalization, numerics)
        return replace(best, encoder=encoder, convolutions=list(convolutions))

    def _float_model(self, convolutions: Sequence[Convolution]) -> Any:
        return keras_model(convolutions, (self._data.calibration.shape[1], 1))

    def _float_latents(self, variant: Variant) -> npt.NDArray[np.floating[Any]]:
        return float_latents(variant.model, self._data.validation, variant.normalization)

    def _activations(self, variant: Variant) -> list[npt.NDArray[np.float64]]:
        """Real values ``[N, W, C]`` of the input and every layer's output on some calibration frames."""
        frames = self._data.calibration
        chosen = np.linspace(0, len(frames) - 1, min(len(frames), _RANGE_FRAMES)).round().astype(int)
        return int8_activations(variant, frames[chosen])


def int8_activations(variant: Variant, frames: Frames) -> list[npt.NDArray[np.float64]]:
    """Real values ``[N, W, C]`` of the input and of every layer's output for ADC counts int16 ``[N, T]``."""
    graph = variant.graph
    inputs = encoder_inputs(variant.codec.normalizer, frames)
    levels = [inputs[:, :, None], *run_every_layer(graph, inputs)]
    return [dequantized(q, tensor.scale, tensor.zero_point) for q, tensor in zip(levels, tensors(graph), strict=True)]


def float_latents(model: Any, frames: Frames, normalization: Normalization) -> npt.NDArray[np.floating[Any]]:
    """Latents ``[N, P, D]`` of a float encoder for ADC counts int16 ``[N, T]``."""
    return predict(model, _as_input(frames, normalization))[:, 0]


def _as_input(frames: Frames, normalization: Normalization) -> npt.NDArray[np.float32]:
    """Normalised frames as the encoder takes them, float32 ``[N, 1, T, 1]``."""
    return normalization.normalize(frames).astype(np.float32)[:, None, :, None]


def measure_rounded_input(variant: Variant, frames: Frames, latents: npt.NDArray[np.floating[Any]]) -> dict[str, float]:
    """Figures of the float codec of ``variant`` when nothing but its input ``frames`` int16 ``[N, T]`` is rounded.

    ``latents [N, P, D]`` are those of the input as it is: ``agreement_rounded_input_l{l}`` is the share of indices
    that stay, ``prdn_rounded_input`` the mean PRDN in percent, if there is a decoder.
    """
    source = variant.graph.input
    rounded = dequantized(encoder_inputs(variant.codec.normalizer, frames), source.scale, source.zero_point)
    moved = predict(variant.model, rounded.astype(np.float32)[:, None, :, None])[:, 0]
    flat = (np.asarray(part, np.float64).reshape(-1, part.shape[-1]) for part in (latents, moved))
    (indices, _), (other, total) = (quantize_float(part, variant.model_codebooks, variant.biases) for part in flat)
    same = (indices == other).mean(axis=0)
    figures = {f"agreement_rounded_input_l{level}": float(share) for level, share in enumerate(same, start=1)}
    decoded = variant.run_decoder(total.reshape(moved.shape))
    if decoded is not None:
        figures["prdn_rounded_input"] = float(prdn(variant.normalization.normalize(frames), decoded).mean())
    return {key: round(value, DIGITS) for key, value in figures.items()}
