"""How ADC counts are scaled for an encoder, in floating point: the targets of the integer normalisers (SPEC.md 1.1)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from edgecodec.errors import InputError

EPSILON = 1e-3
"""What is added to the variance, in squared ADC counts, so that a constant frame gives zeros."""

FloatFrames = npt.NDArray[np.float64]


def _check(normalization: ZScore | MinMax | Fixed, positive: tuple[str, ...] = ()) -> None:
    for name, value in dataclasses.asdict(normalization).items():
        if not math.isfinite(value) or (name in positive and value <= 0):
            expected = "a finite value above 0" if name in positive else "a finite value"
            raise InputError(f"normalisation {normalization.kind}: {name} is {value}; expected {expected}")


@dataclass(frozen=True)
class ZScore:
    """``(x - mean) / sqrt(variance + epsilon)`` of each frame. Raises InputError unless ``epsilon`` is above 0."""

    kind: ClassVar[str] = "zscore"

    epsilon: float = EPSILON
    """What is added to the variance, in squared ADC counts."""

    def __post_init__(self) -> None:
        _check(self, positive=("epsilon",))

    def normalize(self, frames: npt.NDArray[np.number]) -> FloatFrames:
        """ADC counts ``[N, T]`` to what the encoder takes, float64 ``[N, T]``."""
        return normalize(frames, self.epsilon)

    def denormalize(
        self, normalized: npt.NDArray[np.floating], offset: npt.NDArray[np.int32], spread: npt.NDArray[np.uint64]
    ) -> FloatFrames:
        """ADC counts of normalised frames ``[N, T]``: ``S/T + y sqrt(V/T^2 + epsilon)``, ``S`` and ``V`` ``[N]``."""
        samples = normalized.shape[-1]
        mean = np.asarray(offset, np.float64) / samples
        deviation = np.sqrt(np.asarray(spread, np.float64) / samples**2 + self.epsilon)
        return _affine(normalized, deviation, mean)

    def __str__(self) -> str:
        return f"z-score of each frame, (x - mean) / sqrt(variance + {self.epsilon:g})"


@dataclass(frozen=True)
class MinMax:
    """``low + (high - low) (x - min) / (max - min)`` of each frame; ``low`` where a frame is constant.

    Raises InputError unless ``low`` is below ``high``.
    """

    kind: ClassVar[str] = "minmax"

    low: float = 0.0
    """What the least count of a frame becomes."""
    high: float = 1.0
    """What the largest becomes."""

    def __post_init__(self) -> None:
        _check(self)
        if not self.low < self.high:
            raise InputError(f"normalisation to {self.low:g}..{self.high:g}; expected the lower end first")

    def normalize(self, frames: npt.NDArray[np.number]) -> FloatFrames:
        """ADC counts ``[N, T]`` to what the encoder takes, float64 ``[N, T]``."""
        counts = np.asarray(frames, np.float64)
        least = counts.min(axis=-1, keepdims=True)
        span = counts.max(axis=-1, keepdims=True) - least
        share = np.divide(counts - least, span, out=np.zeros_like(counts), where=span > 0)
        scaled: FloatFrames = self.low + (self.high - self.low) * share
        return scaled

    def denormalize(
        self, normalized: npt.NDArray[np.floating], offset: npt.NDArray[np.int32], spread: npt.NDArray[np.uint64]
    ) -> FloatFrames:
        """ADC counts of normalised frames ``[N, T]``, with least counts ``[N]`` and ``max - min`` ``[N]``."""
        unit = np.asarray(spread, np.float64) / (self.high - self.low)
        return _affine(normalized, unit, np.asarray(offset, np.float64) - self.low * unit)

    def __str__(self) -> str:
        return f"each frame's least and largest count to {self.low:g} and {self.high:g}"


@dataclass(frozen=True)
class Fixed:
    """``(x - offset) / scale`` of every frame. Raises InputError unless ``scale`` is above 0."""

    kind: ClassVar[str] = "fixed"

    offset: float = 0.0
    """What is taken off, in ADC counts."""
    scale: float = 1.0
    """ADC counts of a unit."""

    def __post_init__(self) -> None:
        _check(self, positive=("scale",))

    def normalize(self, frames: npt.NDArray[np.number]) -> FloatFrames:
        """ADC counts ``[N, T]`` to what the encoder takes, float64 ``[N, T]``."""
        scaled: FloatFrames = (np.asarray(frames, np.float64) - self.offset) / self.scale
        return scaled

    def denormalize(
        self, normalized: npt.NDArray[np.floating], offset: npt.NDArray[np.int32], spread: npt.NDArray[np.uint64]
    ) -> FloatFrames:
        """ADC counts of normalised frames ``[N, T]``; what left the device beside them, ``[N]``, is 0."""
        ones = np.ones(np.shape(offset))
        return _affine(normalized, self.scale * ones, self.offset * ones)

    def __str__(self) -> str:
        if self == NONE:
            return "none, ADC counts as they are"
        return f"(x - {self.offset:g}) / {self.scale:g}"


Normalization = ZScore | MinMax | Fixed
"""What was done to the frames that an encoder was trained on."""
ZSCORE = ZScore()
"""What edgecodec trains on."""
NONE = Fixed()
"""ADC counts as they are."""
NORMALIZATIONS: dict[str, type[Normalization]] = {kind.kind: kind for kind in (ZScore, MinMax, Fixed)}
"""By the name that a bundle's manifest has."""


def normalization_json(normalization: Normalization) -> dict[str, Any]:
    """The ``normalizer`` of a bundle's manifest (SPEC.md 3)."""
    return {"kind": normalization.kind, **dataclasses.asdict(normalization)}


def normalization_of(given: Mapping[str, Any]) -> Normalization:
    """What :func:`normalization_json` returned. Raises InputError for another kind, key, type or value."""
    kind = given.get("kind")
    if not isinstance(kind, str) or kind not in NORMALIZATIONS:
        raise InputError(f"normalisation {kind!r}; expected one of {', '.join(NORMALIZATIONS)}")
    found = NORMALIZATIONS[kind]
    keys = sorted(field.name for field in dataclasses.fields(found))
    values = {key: value for key, value in given.items() if key != "kind"}
    if sorted(values) != keys:
        raise InputError(f"normalisation {kind} has {sorted(values)}; expected {keys}")
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in values.values()):
        raise InputError(f"normalisation {kind} has {values}; expected numbers")
    return found(**values)


def normalize(frames: npt.NDArray[np.number], epsilon: float = EPSILON) -> FloatFrames:
    """``(x - mean) / sqrt(var + epsilon)`` of each frame: ADC counts ``[N, T]`` to float64 ``[N, T]``."""
    counts = np.asarray(frames, np.float64)
    mean = counts.mean(axis=-1, keepdims=True)
    variance = counts.var(axis=-1, keepdims=True)
    normalized: FloatFrames = (counts - mean) / np.sqrt(variance + epsilon)
    return normalized


def _affine(normalized: npt.NDArray[np.floating], unit: FloatFrames, zero: FloatFrames) -> FloatFrames:
    counts: FloatFrames = zero[..., None] + np.asarray(normalized, np.float64) * unit[..., None]
    return counts
