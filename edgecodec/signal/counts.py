"""ADC counts within int16 from whatever numbers a file holds (SPEC.md 4)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.errors import InputError

COUNT_MIN, COUNT_MAX = -32768, 32767
Counts = npt.NDArray[np.int16] | npt.NDArray[np.float64]
"""Whole numbers within int16; float64 with NaN where some are missing."""

_OFFSET = 32768
_FRACTION_BITS = 14
_WIDEST = 2.0**32
_MOST_NOISE = 0.1
_SUBTRACT = "subtract the sensor's offset first, or give --scale"


def to_counts(values: npt.NDArray[Any], scale: float | None, where: object) -> tuple[Counts, str | None]:
    """Whole counts within int16 of ``values [N, M]``, and what was done to them in words, if anything.

    Whole numbers within int16 stay. Those within 0..65535 lose 32768. Wider ones are shifted right by the fewest bits
    that make them fit. Values with fractions are multiplied by the power of two that brings the largest magnitude to
    more than 8,192 and at most 16,384, and rounded. With ``scale`` values are multiplied by it and rounded instead.
    Samples that are missing (NaN, infinity) are NaN, and the result is float64; it is int16 without any. Raises
    InputError when there is no finite sample, when ``scale`` leaves int16, or when rounding makes noise of more than a
    tenth of the signal's standard deviation.
    """
    known = np.isfinite(values) if values.dtype.kind == "f" else None
    finite = values if known is None or known.all() else values[known]
    if finite.size == 0:
        raise InputError(f"{where}: holds no finite sample")
    low, high = finite.min().item(), finite.max().item()
    if scale is not None:
        return _scaled(values, scale, (low, high), where)
    whole = known is None or bool(np.all(finite == np.rint(finite)))
    if whole and low >= COUNT_MIN and high <= COUNT_MAX:
        return _exact(values, known), None
    if whole and low >= 0 and high <= COUNT_MAX + _OFFSET:
        shifted = values.astype(np.float64 if known is not None else np.int64) - _OFFSET
        return _exact(shifted, known), "unsigned 16-bit counts less 32,768, which the device must subtract, too"
    if whole and high - low < _WIDEST and max(-low, high) < _WIDEST:
        bits = _fewest_bits(int(low), int(high))
        noise = _noise(values, 2.0**bits, where)
        counts = np.floor(values.astype(np.float64) / 2.0**bits)
        return _exact(counts, known), f"counts shifted right by {bits} bits, with noise of {noise:.2g} % of the signal"
    # frexp: |x| = m 2^e with m in [0.5, 1), so that the largest magnitude goes to [8192, 16384).
    bits = _FRACTION_BITS - math.frexp(max(abs(low), abs(high)))[1]
    noise = _noise(values, 2.0**-bits, where)
    counts = np.rint(np.ldexp(np.asarray(values, np.float64), bits))
    return _exact(counts, known), f"values times 2^{bits}, rounded with noise of {noise:.2g} % of the signal"


def _exact(values: npt.NDArray[Any], known: npt.NDArray[np.bool_] | None) -> Counts:
    if known is None or known.all():
        return np.ascontiguousarray(values.astype(np.int16))
    return np.where(known, np.asarray(values, np.float64), np.nan)


def _scaled(values: npt.NDArray[Any], scale: float, ends: tuple[float, float], where: object) -> tuple[Counts, str]:
    low, high = sorted(end * scale for end in ends)
    if not COUNT_MIN - 0.5 <= low <= high < COUNT_MAX + 0.5:
        largest = COUNT_MAX / max(abs(end) for end in ends)
        raise InputError(
            f"{where}: values times --scale {scale:g} are {low:g}..{high:g}, outside int16",
            hint=f"at most {largest:.3g} fits",
        )
    counts = np.rint(np.asarray(values, np.float64) * scale)
    return _exact(counts, np.isfinite(counts)), f"values multiplied by {scale:g} and rounded"


def _fewest_bits(low: int, high: int) -> int:
    return next(bits for bits in range(40) if low >> bits >= COUNT_MIN and high >> bits <= COUNT_MAX)


def _noise(values: npt.NDArray[Any], step: float, where: object) -> float:
    """Noise of rounding to ``step``, uniform, in percent of the median standard deviation of the rows."""
    numbers = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    rows = numbers[np.isfinite(numbers).any(axis=1)]
    # Divided first: squares of the largest floats overflow.
    peak = float(np.nanmax(np.abs(rows))) or 1.0
    deviation = float(np.median(np.nanstd(rows / peak, axis=1))) * peak
    if deviation == 0:
        return 0.0
    share = step / math.sqrt(12) / deviation
    if share > _MOST_NOISE:
        raise InputError(
            f"{where}: 16 bits leave the signal {deviation / step:.2g} counts of standard deviation above its offset",
            hint=_SUBTRACT,
        )
    return 100 * share
