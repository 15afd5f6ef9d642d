"""Constants of the integer normaliser, ADC counts to the encoder's input (SPEC.md 1.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

from edgecodec.codec.numerics import INT8, Numerics
from edgecodec.errors import PlanError

MAX_SAMPLES = 16384


@dataclass(frozen=True)
class Normalizer:
    """z-score normaliser of frames of ``samples`` counts into activations at ``scale``, ``zero_point``.

    Derived fields are the constants f, E, I and i of SPEC.md 1.1. Raises PlanError for values
    outside the range in which the integer arithmetic is proven.
    """

    samples: int
    epsilon: float
    scale: float
    zero_point: int
    numerics: Numerics = INT8
    variance_shift: int = field(init=False)
    """f"""
    epsilon_term: int = field(init=False)
    """E, fits uint64"""
    inverse_scale: int = field(init=False)
    """I, in [2^30, 2^31)"""
    inverse_scale_shift: int = field(init=False)
    """i"""

    def __post_init__(self) -> None:
        if not 1 <= self.samples <= MAX_SAMPLES:
            raise PlanError(f"frame has {self.samples} samples; expected 1..{MAX_SAMPLES}")
        if not (math.isfinite(self.scale) and 2.0**-16 <= self.scale <= 1.0):
            raise PlanError(f"input scale is {self.scale}; expected 2^-16..1 (normalised PPG needs about 0.03)")
        low, high = self.numerics.lowest, self.numerics.highest
        if not low <= self.zero_point <= high:
            raise PlanError(f"input zero point is {self.zero_point}; expected {low}..{high}")
        square = self.samples * self.samples
        shift = 0
        while shift < 32 and square << (30 + shift + 2) < 1 << 63:
            shift += 2
        if not (math.isfinite(self.epsilon) and self.epsilon > 0):
            raise PlanError(f"normaliser epsilon is {self.epsilon}; expected a finite value above 0")
        term = math.floor(Fraction(self.epsilon) * square * (1 << shift) + Fraction(1, 2))
        if not 1 <= term < 1 << 63:
            raise PlanError(
                f"normaliser epsilon {self.epsilon} with {self.samples} samples cannot be held in fixed point; "
                "expected about 1e-3"
            )
        inverse = 1 / Fraction(self.scale)
        exponent = 30 - (math.floor(inverse).bit_length() - 1)
        mantissa = math.floor(inverse * (1 << exponent) + Fraction(1, 2))
        if mantissa == 1 << 31:
            mantissa >>= 1
            exponent -= 1
        object.__setattr__(self, "variance_shift", shift)
        object.__setattr__(self, "epsilon_term", term)
        object.__setattr__(self, "inverse_scale", mantissa)
        object.__setattr__(self, "inverse_scale_shift", exponent)
