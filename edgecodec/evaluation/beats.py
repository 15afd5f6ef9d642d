"""What compression does to beats: heart rate, their onsets, and RMSSD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecodec.evaluation.heart_rate import HeartRateError, beat_times, heart_rate_of, onset_times

RMSSD_USABLE_SHARE = 0.2
"""RMSSD is called usable up to this share of error."""
_MATCH_S = 0.15
"""Two onsets are of one beat when they are nearer than this: half an interval at 200 beats a minute."""
_RMSSD_BEATS = 4


@dataclass(frozen=True)
class BeatFigures:
    """Beats of decoded frames against those of the originals."""

    heart_rate: HeartRateError
    """Error of the heart rate."""
    onset_error_ms: float | None
    """Median absolute difference of the onsets of pulses that both show, in milliseconds; null without any."""
    missed_share: float | None
    """Share of the originals' pulses without a decoded one within 150 ms; null without any."""
    rmssd_frames: int
    """Frames in which both show at least four pulses, so that intervals differ."""
    rmssd_ms: float | None
    """Median over these frames of the original's RMSSD, in milliseconds."""
    rmssd_error_ms: float | None
    """Median over these frames of the absolute difference of RMSSD, in milliseconds."""
    rmssd_usable: bool | None
    """Whether that is at most a fifth of `rmssd_ms`."""


class BeatComparison:
    """Beats of frames ``[N, T]`` and of what they were decoded to, found once and summed up for any of them."""

    def __init__(self, original: npt.NDArray[np.number], decoded: npt.NDArray[np.number], rate_hz: float) -> None:
        """Raises as :func:`edgecodec.evaluation.heart_rate.beat_times` does."""
        before, after = (beat_times(frames, rate_hz) for frames in (original, decoded))
        self._rate_error = np.abs(heart_rate_of(after) - heart_rate_of(before))
        onsets = [onset_times(frames, rate_hz) for frames in (original, decoded)]
        self._onset_errors = [_matched(*pair) for pair in zip(*onsets, strict=True)]
        self._pulses = np.array([len(times) for times in onsets[0]])
        self._rmssd, self._rmssd_decoded = (np.array([_rmssd(times) for times in each]) for each in onsets)

    def figures(self, frames: npt.NDArray[np.integer]) -> BeatFigures:
        """Figures of the frames of these numbers ``[n]``."""
        error = self._rate_error[frames]
        known = error[np.isfinite(error)]
        mean = float(known.mean()) if known.size else None
        matched = np.concatenate([self._onset_errors[number] for number in frames.tolist()])
        pulses = int(self._pulses[frames].sum())
        change = np.abs(self._rmssd_decoded[frames] - self._rmssd[frames])
        both = np.isfinite(change)
        rmssd, rmssd_error = (
            float(1000 * np.median(values[both])) if both.any() else None for values in (self._rmssd[frames], change)
        )
        return BeatFigures(
            heart_rate=HeartRateError(mean, known.size, error.size - known.size),
            onset_error_ms=float(1000 * np.median(matched)) if matched.size else None,
            missed_share=1.0 - matched.size / pulses if pulses else None,
            rmssd_frames=int(both.sum()),
            rmssd_ms=rmssd,
            rmssd_error_ms=rmssd_error,
            rmssd_usable=None if rmssd is None or rmssd_error is None else rmssd_error <= RMSSD_USABLE_SHARE * rmssd,
        )


def groups_of(names: Sequence[str]) -> dict[str, npt.NDArray[np.intp]]:
    """Numbers of the frames of each name, by name, empty ones left out."""
    array = np.array(names)
    return {name: np.flatnonzero(array == name) for name in sorted(set(names), key=_order) if name}


def _order(name: str) -> tuple[int, str]:
    return (int(name) if name.isdecimal() else 0, name)


def _rmssd(onsets: npt.NDArray[np.float64]) -> float:
    """Root of the mean squared difference of successive intervals, in seconds; NaN with fewer than four pulses.

    Source: Task Force of the ESC and NASPE 1996, "Heart rate variability".
    """
    if len(onsets) < _RMSSD_BEATS:
        return float("nan")
    return float(np.sqrt(np.mean(np.diff(onsets, 2) ** 2)))


def _matched(original: npt.NDArray[np.float64], decoded: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Absolute differences in seconds of the onsets of pulses that both show."""
    if not original.size or not decoded.size:
        return np.empty(0)
    distance = np.abs(original[:, None] - decoded[None, :])
    nearest = distance.argmin(axis=1)
    mutual = distance.argmin(axis=0)[nearest] == np.arange(len(original))
    found = distance[np.arange(len(original)), nearest]
    kept: npt.NDArray[np.float64] = found[mutual & (found <= _MATCH_S)]
    return kept
