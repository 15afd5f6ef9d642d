"""Where a frame lay and how large it was, in a few bits (SPEC.md 5.2).

The normaliser removes a *location* and a *scale* from a frame, as the two integers ``offset`` and ``spread``. A packet
carries the scale in steps of its logarithm and the location in steps of the quantised scale, so that either costs the
same share of the distortion for a weak signal and for a strong one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from edgecodec.errors import InputError

COST = 0.01
"""Share of the distortion that both steps may add together."""
COMMON_BYTES = (2, 3, 4)
"""Bytes that the common form may take."""
WIDE_BYTES = 6
"""Scale and location of the wide form: u16, i32."""
MOST_SCALE_BITS = 9
MOST_LOCATION_BITS = 9
MOST_SCALE_FIELD = 14
_LEAST_OCTAVES = 3
"""The common form covers ``2^_LEAST_OCTAVES`` octaves of scale at least: sensors of a 16th to 16 times the gain."""
_FLAGS_BYTES = 1
"""What the wide form takes elsewhere in a packet."""
_COUNT_BITS = 15
_FITTED_FRAMES = 2048


@dataclass(frozen=True)
class SideInformation:
    """How ``offset`` int32 and ``spread`` uint64 of a frame become a few bits, and what a decoder makes of them.

    With z-scores (``squared``) they are S and V of SPEC.md 1.1: the scale of ``T`` times the counts is ``sqrt(V)``.
    Otherwise both are in the same unit, as minimum and range are. Raises InputError for values outside the range in
    which the integers are proven.
    """

    samples: int
    """T, counts of a frame."""
    scale_bits: int
    """a: the scale is kept in steps of ``2^-a`` octaves."""
    location_bits: int
    """b: the location is kept in steps of ``2^-b`` scales."""
    first_scale: int = 0
    """Scale code that the common form's range begins with."""
    scale_field: int = 12
    """Bits of the scale in the common form; frames outside its range take the wide form."""
    common_bytes: int = 3
    """Bytes of the common form; what the scale leaves of them is the location's."""
    squared: bool = True
    """Whether ``spread`` is a square, as a variance is."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("samples", 1, 16384),
            ("scale_bits", 1, MOST_SCALE_BITS),
            ("location_bits", 0, MOST_LOCATION_BITS),
            ("first_scale", 0, 0xFFFF),
            ("scale_field", 1, MOST_SCALE_FIELD),
            ("common_bytes", min(COMMON_BYTES), max(COMMON_BYTES)),
        ):
            if not low <= getattr(self, name) <= high:
                raise InputError(f"side information: {name} is {getattr(self, name)}; expected {low}..{high}")
        # |S| / sqrt(V) is at most 2^15 T / sqrt(T - 1), V being at least T - 1 where counts differ.
        if self.squared and 2 * self.samples << 2 * (_COUNT_BITS + self.location_bits) >= 1 << 62:
            raise InputError(
                f"side information: locations of {self.samples} samples in steps of 2^-{self.location_bits} scales "
                "do not fit 32 bits"
            )

    @property
    def fraction_bits(self) -> int:
        """Bits behind the point of ``log2 spread``, as kept."""
        return self.scale_bits - self.squared

    @property
    def location_field(self) -> int:
        """Bits of the location in the common form."""
        return 8 * self.common_bytes - self.scale_field

    def cost(self, prdn: float) -> float:
        """Share of the distortion that rounding adds at ``prdn`` percent (:func:`choose_steps`)."""
        return _added(self.scale_bits, self.location_bits) / (prdn / 100) ** 2

    def quantize(self, offset: int, spread: int) -> tuple[int, int]:
        """Scale code N, 0 and up, and location n, int32, of a frame that is not flat (``spread`` at least 1)."""
        scale = _log2(spread, self.fraction_bits)
        mantissa, exponent = self._scale(scale)
        position = (abs(offset) << 34) // mantissa
        shift = exponent + 3 - self.location_bits
        rounded = (position + (1 << (shift - 1))) >> shift if shift > 0 else position << -shift
        rounded = min(rounded, 2**31 - 1)
        return scale, -rounded if offset < 0 else rounded

    def dequantize(self, scale: int, location: int) -> tuple[int, int]:
        """``offset`` and ``spread`` for a decoder. Raises InputError when they would not fit their types."""
        mantissa, exponent = self._scale(scale)
        shift = 31 + self.location_bits - exponent
        offset = _scaled(abs(location) * mantissa, shift)
        spread = _scaled(mantissa * mantissa, 62 - 2 * exponent) if self.squared else _scaled(mantissa, 31 - exponent)
        if offset >= 1 << 31 or spread >= 1 << 64:
            raise InputError(f"side information: scale {scale} and location {location} are of no frame")
        return -offset if location < 0 else offset, spread

    def is_common(self, scale: int, location: int) -> bool:
        """Whether a frame fits the common form."""
        half = 1 << (self.location_field - 1)
        return 0 <= scale - self.first_scale < 1 << self.scale_field and -half <= location < half

    def pack(self, scale: int, location: int) -> bytes:
        """The common form, or the wide one where that does not do."""
        if not self.is_common(scale, location):
            return scale.to_bytes(2, "little") + location.to_bytes(4, "little", signed=True)
        field = scale - self.first_scale | (location & ((1 << self.location_field) - 1)) << self.scale_field
        return field.to_bytes(self.common_bytes, "little")

    def unpack(self, data: bytes) -> tuple[int, int]:
        """Scale and location of what :meth:`pack` returned."""
        if len(data) == WIDE_BYTES:
            return int.from_bytes(data[:2], "little"), int.from_bytes(data[2:], "little", signed=True)
        field = int.from_bytes(data, "little")
        location = field >> self.scale_field
        if location >> (self.location_field - 1):
            location -= 1 << self.location_field
        return (field & ((1 << self.scale_field) - 1)) + self.first_scale, location

    def _scale(self, scale: int) -> tuple[int, int]:
        """The middle of a step, ``m 2^(e - 31)`` with m in [2^31, 2^32)."""
        bits = self.fraction_bits + 1 + self.squared
        middle = 2 * scale + 1
        mantissa = 1 << 31
        for bit, root in enumerate(ROOTS[:bits], 1):
            if middle >> (bits - bit) & 1:
                mantissa = (mantissa * root + (1 << 30)) >> 31
        return mantissa, middle >> bits


def choose_steps(prdn: float, samples: int) -> list[tuple[int, int]]:
    """The coarsest pairs ``(scale_bits, location_bits)`` that add at most :data:`COST` to the distortion at ``prdn``.

    ``prdn`` is in percent. A frame is ``x = l + s y`` with ``y`` of mean square 1, its reconstruction ``l' + s' y'``.
    Errors of location and scale are even within their steps and independent of the codec's, ``y' - y`` (Bennett 1948,
    "Spectra of quantized signals"), so the squared error over ``s^2`` grows by ``(step_l / s)^2 / 12 + (step_s / s)^2
    / 12``, where ``step_l / s = 2^-b`` and ``step_s / s = ln 2 2^-a``; without them it is ``(prdn / 100)^2``. Where
    even the finest steps add more, they are the only pair.
    """
    allowed = COST * (prdn / 100) ** 2
    locations = [b for b in range(MOST_LOCATION_BITS + 1) if 2 * samples << 2 * (_COUNT_BITS + b) < 1 << 62]
    found: list[tuple[int, int]] = []
    for a in range(1, MOST_SCALE_BITS + 1):
        fitting = [b for b in locations if _added(a, b) <= allowed]
        if fitting and (not found or fitting[0] < found[-1][1]):
            found.append((a, fitting[0]))
    return found or [(MOST_SCALE_BITS, locations[-1])]


def fit_side_information(
    prdn: float,
    samples: int,
    offsets: npt.NDArray[np.int32],
    spreads: npt.NDArray[np.uint64],
    *,
    squared: bool = True,
) -> SideInformation:
    """Steps for a codec of ``prdn`` percent, and the ranges with the shortest packets for frames like those given.

    ``offsets`` and ``spreads`` ``[N]`` are the normaliser's. Of ranges that are as good the one with the most scales
    is taken, about the median.
    """
    moving = [(int(o), int(s)) for o, s in zip(offsets.tolist(), spreads.tolist(), strict=True) if s]
    moving = moving[:: max(1, len(moving) // _FITTED_FRAMES)]
    best: tuple[float, int] | None = None
    found = SideInformation(samples, *choose_steps(prdn, samples)[0], squared=squared)
    for a, b in choose_steps(prdn, samples):
        codes = [SideInformation(samples, a, b, squared=squared).quantize(*frame) for frame in moving]
        middle = int(np.median([scale for scale, _ in codes])) if codes else 1 << 12
        for size in COMMON_BYTES:
            for field in range(a + _LEAST_OCTAVES, MOST_SCALE_FIELD + 1):
                first = max(0, middle - (1 << (field - 1)))
                side = SideInformation(samples, a, b, first, field, size, squared)
                wide = sum(not side.is_common(*code) for code in codes) / max(1, len(codes))
                bytes_ = size + wide * (WIDE_BYTES + _FLAGS_BYTES - size)
                if best is None or (bytes_, -field) < best:
                    best, found = (bytes_, -field), side
    return found


def _added(scale_bits: int, location_bits: int) -> float:
    """Squared error that the steps add, over the squared scale."""
    return ((math.log(2.0) * 2.0**-scale_bits) ** 2 + 4.0**-location_bits) / 12


def _log2(value: int, fraction_bits: int) -> int:
    """``log2 value`` in steps of ``2^-fraction_bits``, rounded down: the integer part, then a squaring a bit."""
    exponent = value.bit_length() - 1
    mantissa = value << 31 >> exponent
    result = exponent
    for _ in range(fraction_bits):
        mantissa = mantissa * mantissa >> 31
        bit = mantissa >> 32
        mantissa >>= bit
        result = 2 * result + bit
    return result


def _scaled(value: int, shift: int) -> int:
    """``value / 2^shift``, rounded half up."""
    return (value + (1 << (shift - 1))) >> shift if shift > 0 else value << -shift


def _root(bit: int) -> int:
    """``2^31 2^(2^-bit)``, rounded: ``floor((2 r + 1) / 2)`` of the exact root, which is taken of an integer."""
    power = Fraction(2) ** (2 * 64)
    root = power * 2
    value = int(root)
    for _ in range(bit):
        value = math.isqrt(value << 128)
    return (value + (1 << 96)) >> 97


ROOTS = tuple(_root(bit) for bit in range(1, MOST_SCALE_BITS + 2))
"""``2^31 2^(1/2)``, ``2^31 2^(1/4)``, ..., rounded."""
