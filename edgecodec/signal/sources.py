"""Recordings of PPG: what of them is usable, at which rate, and the ones that HeartPy ships."""

from __future__ import annotations

import csv
import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecodec.errors import InputError, install_extra

HEARTPY_RECORDINGS = ("data", "data2", "data3")
GOOD, GAP, CLIPPED, FLAT = range(4)
"""What a sample is: usable, missing, at the end of the sensor's range, or of a sensor that is stuck or off the skin."""
_DATA_RATE_HZ = 100.0
_STUCK_S = 0.15
_FLAT_S = 1.5
_FLAT_SHARE = 0.05
_MARGIN_S = 0.1
_PIECE = 1 << 18
"""Samples that are looked at together."""


@dataclass(frozen=True)
class Origin:
    """What a recording was before it was brought to the codec's rate, and what of it is not usable."""

    rate_hz: float | None = None
    """Sampling rate in Hz that it was recorded at; None when nobody said it."""
    gap_s: float = 0.0
    """Seconds around missing samples."""
    clipped_s: float = 0.0
    """Seconds at the end of the sensor's range."""
    flat_s: float = 0.0
    """Seconds of a sensor that is stuck or off the skin."""
    notes: tuple[str, ...] = ()
    """What the user should know of how its file was understood."""


@dataclass(frozen=True)
class Recording:
    """One uninterrupted PPG recording of one person."""

    name: str
    """What it is called in messages: its file, and its row there."""
    samples: npt.NDArray[np.int16]
    """ADC counts, int16 ``[M]``."""
    valid: npt.NDArray[np.bool_]
    """For each sample, ``[M]``, False where the sensor was off, stuck or saturated, or the sample was missing."""
    rate_hz: float
    """Sampling rate in Hz."""
    subject: str = ""
    """Name of the person; empty where the file does not say it."""
    origin: Origin = Origin()
    """What it was before."""

    def frames(self, samples: int, hop: int) -> npt.NDArray[np.int16]:
        """Cut into int16 ``[N, samples]``, ``hop`` apart, without frames that hold an invalid sample."""
        starts = self.starts(samples)
        aligned = starts[starts % hop == 0]
        cut: npt.NDArray[np.int16] = self.samples[aligned[:, None] + np.arange(samples)]
        return cut

    def starts(self, samples: int) -> npt.NDArray[np.intp]:
        """Every position at which a frame of ``samples`` valid, not constant, samples starts."""
        if len(self.samples) < samples:
            return np.empty(0, np.intp)
        bad = _counted(~self.valid)
        changes = _counted(np.diff(self.samples, prepend=self.samples[0]) != 0)
        unbroken = bad[samples:] == bad[:-samples]
        # A change to a frame's first sample is none within it.
        return np.flatnonzero(unbroken & (changes[samples:] > changes[1 : len(changes) - samples + 1]))


def heartpy_recordings(rate_hz: float = 64.0) -> dict[str, Recording]:
    """The three recordings that HeartPy ships (pulse sensor, 10-bit counts), resampled to ``rate_hz``.

    ``data`` is 25 s at 100 Hz, ``data2`` 128 s at 117 Hz, ``data3`` 682 s at 100.4 Hz (rates of the last
    two from their time stamps). Samples are rounded to whole counts of the sensor. Raises InputError when
    HeartPy is not installed.
    """
    spec = importlib.util.find_spec("heartpy")
    if spec is None or not spec.submodule_search_locations:
        raise InputError("HeartPy's recordings are not installed", hint=install_extra("signal"))
    folder = Path(next(iter(spec.submodule_search_locations))) / "data"
    return {name: resample(name, *_read_heartpy(folder / f"{name}.csv"), rate_hz) for name in HEARTPY_RECORDINGS}


def invalid_samples(samples: npt.NDArray[np.floating], rate_hz: float) -> npt.NDArray[np.bool_]:
    """Mark the samples ``[M]`` that :func:`find_flaws` finds anything wrong with."""
    invalid: npt.NDArray[np.bool_] = find_flaws(samples, rate_hz) != GOOD
    return invalid


def find_flaws(samples: npt.NDArray[np.floating], rate_hz: float) -> npt.NDArray[np.uint8]:
    """What is wrong with each of the samples ``[M]``, and those within 0.1 s: :data:`GAP` and the other codes, uint8.

    A gap is what is missing (NaN). Stuck is 0.15 s without any change: clipped at the recording's largest or smallest
    value, else flat. Flat is also 1.5 s, longer than any heartbeat, whose range is below 5 % of the median such range:
    a sensor off the skin. A single clipped peak is neither.
    """
    missing = ~np.isfinite(samples)
    filled = _fill(samples)
    # Straight lines that bridge gaps are no sensor's: windows with a missing sample are never flat.
    seen = np.where(missing, np.nan, filled) if missing.any() else filled
    flat_range = _FLAT_SHARE * _median(_window_ranges(seen, round(_FLAT_S * rate_hz)))
    stuck = _runs_within(seen, 0.0, round(_STUCK_S * rate_hz))
    at_end = (filled == filled.max()) | (filled == filled.min())
    flat = (stuck & ~at_end) | _runs_within(seen, flat_range, round(_FLAT_S * rate_hz))
    margin = np.ones(2 * round(_MARGIN_S * rate_hz) + 1)
    flaws = np.full(len(filled), GOOD, np.uint8)
    for flaw, marked in ((FLAT, flat), (CLIPPED, stuck & at_end), (GAP, missing)):
        if marked.any():
            flaws[_near(marked, margin)] = flaw
    return flaws


def resample(name: str, samples: npt.NDArray[np.floating], native_hz: float, rate_hz: float) -> Recording:
    """Recording of ``samples [M]`` (NaN where missing) brought from ``native_hz`` to ``rate_hz``.

    By SciPy's polyphase filter, with the signal reflected about its ends, which a step to zero would ring at. Rounds to
    whole counts and never leaves the range that the sensor gave.
    """
    flaws = find_flaws(samples, native_hz)
    filled = _fill(samples)
    ratio = _ratio(rate_hz, native_hz)
    if ratio == 1:
        counts, marks = filled, flaws
    else:
        from scipy.signal import resample_poly

        # Without its level: the filter's gain differs a little between its phases, which an offset would show as noise.
        middle = float(np.median(filled))
        counts = resample_poly(
            filled - middle, ratio.numerator, ratio.denominator, window=_lowpass(ratio), padtype="antireflect"
        )
        counts = counts + middle
        at = np.minimum((np.arange(len(counts)) / float(ratio)).round().astype(int), len(flaws) - 1)
        marks = flaws[at]
    rounded = np.rint(np.clip(counts, filled.min(), filled.max())).astype(np.int16)
    gap_s, clipped_s, flat_s = (float(np.sum(marks == flaw)) / rate_hz for flaw in (GAP, CLIPPED, FLAT))
    return Recording(name, rounded, marks == GOOD, rate_hz, origin=Origin(native_hz, gap_s, clipped_s, flat_s))


def _ratio(rate_hz: float, native_hz: float) -> Fraction:
    """``rate_hz / native_hz`` within 1e-5, which shifts a minute by less than a millisecond; raises InputError."""
    for largest in (1000, 10_000, 100_000):
        ratio = Fraction(rate_hz / native_hz).limit_denominator(largest)
        if ratio.numerator <= largest and abs(float(ratio) * native_hz / rate_hz - 1) <= 1e-5:
            return ratio
    raise InputError(f"{native_hz:g} Hz cannot be resampled to {rate_hz:g} Hz")


@lru_cache(maxsize=64)
def _lowpass(ratio: Fraction) -> npt.NDArray[np.float64]:
    """The filter that SciPy's ``resample_poly`` designs for ``ratio``, designed once: many recordings are short."""
    from scipy.signal import firwin

    fastest = max(ratio.numerator, ratio.denominator)
    taps: npt.NDArray[np.float64] = firwin(20 * fastest + 1, 1.0 / fastest, window=("kaiser", 5.0))
    return taps


def _counted(marked: npt.NDArray[np.bool_]) -> npt.NDArray[np.int32]:
    """How many are marked before each, ``[M + 1]``."""
    counts = np.zeros(len(marked) + 1, np.int32)
    np.cumsum(marked, dtype=np.int32, out=counts[1:])
    return counts


def _near(marked: npt.NDArray[np.bool_], margin: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Samples that are marked or within half the length of ``margin`` of one that is."""
    near: npt.NDArray[np.bool_] = np.convolve(marked, margin)[len(margin) // 2 :][: len(marked)] > 0.5
    return near


def _median(values: npt.NDArray[np.float64]) -> float:
    """Of those that are finite, which end in another order; 0 when none is."""
    known = np.isfinite(values)
    finite = values if known.all() else values[known]
    return float(np.median(finite, overwrite_input=True)) if len(finite) else 0.0


def _window_ranges(values: npt.NDArray[np.floating], length: int) -> npt.NDArray[np.float64]:
    """Largest less smallest value of every window of ``length`` samples, NaN where one is; empty when there is none."""
    if length < 2 or len(values) < length:
        return np.empty(0)
    # Piece by piece: a recording may be of weeks.
    found = np.empty(len(values) - length + 1)
    for start in range(0, len(found), _PIECE):
        found[start : start + _PIECE] = _piece_ranges(values[start : start + _PIECE + length - 1], length)
    return found


def _piece_ranges(values: npt.NDArray[np.floating], length: int) -> npt.NDArray[np.float64]:
    """Of every window of at least one."""
    # Extremes of windows of 1, 2, 4, ... samples; two of the last, which overlap, make one of ``length``.
    low = high = np.asarray(values, np.float64)
    width = 1
    while 2 * width <= length:
        low, high = np.minimum(low[:-width], low[width:]), np.maximum(high[:-width], high[width:])
        width *= 2
    shift = length - width
    if shift:
        low, high = np.minimum(low[:-shift], low[shift:]), np.maximum(high[:-shift], high[shift:])
    ranges: npt.NDArray[np.float64] = high - low
    return ranges


def _runs_within(values: npt.NDArray[np.floating], spread: float, length: int) -> npt.NDArray[np.bool_]:
    """Mark every window of ``length`` samples whose range is at most ``spread``."""
    starts = np.flatnonzero(_window_ranges(values, length) <= spread)
    edges = np.zeros(len(values) + 1, np.int32)
    edges[starts] += 1
    edges[starts + min(length, len(values))] -= 1
    marked: npt.NDArray[np.bool_] = np.cumsum(edges[:-1], dtype=np.int32) > 0
    return marked


def _fill(samples: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Bridge missing samples by straight lines."""
    values = np.asarray(samples, np.float64)
    known = np.isfinite(values)
    if known.all():
        return values
    if not known.any():
        return np.zeros_like(values)
    at = np.arange(len(values))
    return np.interp(at, at[known], values[known])


def _read_heartpy(path: Path) -> tuple[npt.NDArray[np.float64], float]:
    """Counts and sampling rate of one of HeartPy's files."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})", hint="reinstall heartpy") from error
    header, body = (rows[0], rows[1:]) if len(rows[0]) > 1 else ([], rows)
    try:
        counts = np.array([float(row[-1]) for row in body])
        rate_hz = _heartpy_rate_hz(header, body)
    except (ValueError, IndexError) as error:
        raise InputError(f"{path}: not as HeartPy ships it ({error})", hint="reinstall heartpy") from error
    return counts, rate_hz


def _heartpy_rate_hz(header: Sequence[str], rows: Sequence[Sequence[str]]) -> float:
    if header[:1] == ["timer"]:
        return (len(rows) - 1) * 1000.0 / (float(rows[-1][0]) - float(rows[0][0]))
    if header[:1] == ["datetime"]:
        # The stamps come in steps of 15.6 ms, so only the mean rate is meaningful.
        span = datetime.fromisoformat(rows[-1][0]) - datetime.fromisoformat(rows[0][0])
        return (len(rows) - 1) / span.total_seconds()
    return _DATA_RATE_HZ
