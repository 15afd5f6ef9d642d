"""Constants of the integer normalisers, ADC counts to the encoder's input (SPEC.md 1.1)."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from edgecodec.codec.numerics import INT8, Numerics
from edgecodec.errors import PlanError
from edgecodec.signal.normalize import Fixed, MinMax, Normalization, ZScore

MAX_SAMPLES = 16384
_HALF = Fraction(1, 2)


@dataclass(frozen=True)
class Normalizer(ABC):
    """What brings frames of ``samples`` counts to activations at ``scale`` and ``zero_point``, in integers.

    Raises PlanError for values outside the range in which the integer arithmetic is proven.
    """

    samples: int
    normalization: Normalization
    scale: float
    zero_point: int
    numerics: Numerics = INT8

    def __post_init__(self) -> None:
        if not 1 <= self.samples <= MAX_SAMPLES:
            raise PlanError(f"frame has {self.samples} samples; expected 1..{MAX_SAMPLES}")
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise PlanError(f"input scale is {self.scale}; expected a finite value above 0")
        low, high = self.numerics.lowest, self.numerics.highest
        if not low <= self.zero_point <= high:
            raise PlanError(f"input zero point is {self.zero_point}; expected {low}..{high}")

    @staticmethod
    def of(
        normalization: Normalization, samples: int, scale: float, zero_point: int, numerics: Numerics = INT8
    ) -> Normalizer:
        """The normaliser that does ``normalization`` in integers. Raises PlanError."""
        kinds: Mapping[type[Normalization], type[Normalizer]]
        kinds = {ZScore: ZScoreNormalizer, MinMax: MinMaxNormalizer, Fixed: FixedNormalizer}
        return kinds[type(normalization)](samples, normalization, scale, zero_point, numerics)

    @property
    def kind(self) -> str:
        """Name of its C structure ``edc_<kind>``, and of its function and header by :attr:`function`."""
        return self.normalization.kind

    @property
    def function(self) -> str:
        """Name of its C function without ``_normalize``, which is that of the function's header."""
        return f"edc_{self.kind}" if self.numerics == INT8 else f"edc_{self.kind}16"

    @property
    @abstractmethod
    def fields(self) -> Mapping[str, int]:
        """Members of its C structure."""


@dataclass(frozen=True)
class ZScoreNormalizer(Normalizer):
    """f, E, I and i of SPEC.md 1.1."""

    variance_shift: int = field(init=False)
    """f"""
    epsilon_term: int = field(init=False)
    """E, fits uint64"""
    inverse_scale: int = field(init=False)
    """I, in [2^30, 2^31)"""
    inverse_scale_shift: int = field(init=False)
    """i"""

    def __post_init__(self) -> None:
        super().__post_init__()
        assert isinstance(self.normalization, ZScore)
        epsilon = self.normalization.epsilon
        if not 2.0**-16 <= self.scale <= 1.0:
            raise PlanError(f"input scale is {self.scale}; expected 2^-16..1 (normalised PPG needs about 0.03)")
        square = self.samples * self.samples
        shift = 0
        while shift < 32 and square << (30 + shift + 2) < 1 << 63:
            shift += 2
        term = math.floor(Fraction(epsilon) * square * (1 << shift) + _HALF)
        if not 1 <= term < 1 << 63:
            raise PlanError(
                f"normaliser epsilon {epsilon} with {self.samples} samples cannot be held in fixed point; "
                "expected about 1e-3"
            )
        mantissa, exponent = _mantissa(1 / Fraction(self.scale))
        object.__setattr__(self, "variance_shift", shift)
        object.__setattr__(self, "epsilon_term", term)
        object.__setattr__(self, "inverse_scale", mantissa)
        object.__setattr__(self, "inverse_scale_shift", exponent)

    @property
    def fields(self) -> Mapping[str, int]:
        """Members of its C structure."""
        return {
            "epsilon": self.epsilon_term,
            "inverse_scale": self.inverse_scale,
            "samples": self.samples,
            "variance_shift": self.variance_shift,
            "inverse_shift": self.inverse_scale_shift,
            "zero_point": self.zero_point,
        }


@dataclass(frozen=True)
class MinMaxNormalizer(Normalizer):
    """G, g and B of SPEC.md 1.1."""

    steps: int = field(init=False)
    """G, in [2^30, 2^31)"""
    steps_shift: int = field(init=False)
    """g, 16..30, or 8..22 with 16-bit activations"""
    bias: int = field(init=False)
    """B, below 2^47, or 2^55 with 16-bit activations"""

    def __post_init__(self) -> None:
        super().__post_init__()
        assert isinstance(self.normalization, MinMax)
        low, high = Fraction(self.normalization.low), Fraction(self.normalization.high)
        steps = (high - low) / Fraction(self.scale)
        # Wider activations have smaller steps: as many more as they have values.
        finer = self.numerics.reach // INT8.reach
        if not finer <= steps < finer << 14:
            raise PlanError(
                f"frames scaled to {self.normalization.low:g}..{self.normalization.high:g} take {float(steps):g} steps "
                f"of the input scale {self.scale:g}; expected {finer}..{finer << 14} "
                f"({self.numerics.highest - self.numerics.lowest} fill the range)"
            )
        bias = math.floor((low / Fraction(self.scale) + self.zero_point) * 2**32 + _HALF)
        if not abs(bias) < finer << 47:
            raise PlanError(
                f"frames scaled to {self.normalization.low:g}..{self.normalization.high:g} lie outside the input's "
                f"range, scale {self.scale:g} and zero point {self.zero_point}"
            )
        mantissa, exponent = _mantissa(steps)
        object.__setattr__(self, "steps", mantissa)
        object.__setattr__(self, "steps_shift", exponent)
        object.__setattr__(self, "bias", bias)

    @property
    def fields(self) -> Mapping[str, int]:
        """Members of its C structure."""
        return {"bias": self.bias, "steps": self.steps, "samples": self.samples, "steps_shift": self.steps_shift}


@dataclass(frozen=True)
class FixedNormalizer(Normalizer):
    """G, g and B of SPEC.md 1.1."""

    gain: int = field(init=False)
    """G, in [2^30, 2^31)"""
    gain_shift: int = field(init=False)
    """g, 14..46"""
    bias: int = field(init=False)
    """B, with the half that rounds; below 2^62"""

    def __post_init__(self) -> None:
        super().__post_init__()
        assert isinstance(self.normalization, Fixed)
        offset, step = Fraction(self.normalization.offset), Fraction(self.normalization.scale) * Fraction(self.scale)
        if not Fraction(1, 1 << 16) <= step <= 1 << 16:
            raise PlanError(
                f"a step of the input, scale {self.scale:g} times {self.normalization.scale:g}, is {float(step):g} ADC "
                "counts; expected 2^-16..2^16"
            )
        mantissa, exponent = _mantissa(1 / step)
        bias = math.floor((self.zero_point - offset / step + _HALF) * 2**exponent + _HALF)
        if not abs(bias) < 1 << 62:
            raise PlanError(f"an offset of {float(offset):g} ADC counts is beyond what steps of {float(step):g} hold")
        object.__setattr__(self, "gain", mantissa)
        object.__setattr__(self, "gain_shift", exponent)
        object.__setattr__(self, "bias", bias)

    @property
    def fields(self) -> Mapping[str, int]:
        """Members of its C structure."""
        return {"bias": self.bias, "gain": self.gain, "samples": self.samples, "gain_shift": self.gain_shift}


def _mantissa(value: Fraction) -> tuple[int, int]:
    """``(m, e)`` with ``value = m 2^-e``, ``m`` in [2^30, 2^31), rounded half up; ``value`` is 2^-16 at least."""
    exponent = 30 - (math.floor(value * 2**16).bit_length() - 1 - 16)
    mantissa = math.floor(value * Fraction(2) ** exponent + _HALF)
    if mantissa == 1 << 31:
        mantissa >>= 1
        exponent -= 1
    return mantissa, exponent
