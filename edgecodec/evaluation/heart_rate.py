"""Beats and heart rate of PPG frames, to see what compression does to them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecodec.errors import InputError

MIN_RATE_HZ = 8.0
"""Lowest sampling rate that beats can be found at, in Hz."""
_BAND_HZ = (0.5, 8.0)
_MAX_HEART_RATE_BPM = 220.0
_PROMINENCE, _HEIGHT = 0.7, 0.5
"""In standard deviations of the filtered frame: the first keeps ripple out, the second dicrotic waves."""
_MIN_BEATS = 3
_PADDING_S = 2.0
"""Signal mirrored at both ends before filtering, in seconds: longer than a beat."""
_RISE_S, _FOOT_S = 0.4, 0.3
"""A pulse's steepest rise is at most so long before its top, and its foot before that."""


@dataclass(frozen=True)
class HeartRateError:
    """Heart rate of decoded frames against that of the originals."""

    mean_absolute_bpm: float | None
    """Mean absolute difference of the heart rates over the measured frames, in beats a minute; None without any."""
    measured: int
    """Number of frames in which original and decoded signal both show at least three beats."""
    not_measured: int
    """Number of frames in which either shows fewer than three beats."""


def beat_times(frames: npt.NDArray[np.number], rate_hz: float) -> list[npt.NDArray[np.float64]]:
    """Times of the beats of each frame of ``[N, T]``, in seconds from its start.

    Band-pass 0.5 to 8 Hz (Butterworth, second order, forwards and backwards: the band of Elgendi et al., PLoS
    ONE 2013, doi:10.1371/journal.pone.0076585), then maxima at least 60/220 s apart that stand 0.5 standard
    deviations above the mean and 0.7 above the dips beside them, each moved to the top of the parabola through
    it and its neighbours. A constant frame has no beats. Raises InputError for a rate below 8 Hz or frames of
    another rank.
    """
    return [_refined(row, peaks) / rate_hz for row, peaks in _peaks(frames, rate_hz)]


def onset_times(frames: npt.NDArray[np.number], rate_hz: float) -> list[npt.NDArray[np.float64]]:
    """Times of the onsets of the pulses of each frame of ``[N, T]``, in seconds from its start.

    Where the tangent at a pulse's steepest rise meets the level of its foot, the least value before (intersecting
    tangents; Chiu et al. 1991, "Determination of pulse wave velocities with computerized algorithms"), for each beat
    of :func:`beat_times` whose foot lies within the frame. Raises as that does.
    """
    return [_onsets(row, peaks, rate_hz) / rate_hz for row, peaks in _peaks(frames, rate_hz)]


def _peaks(
    frames: npt.NDArray[np.number], rate_hz: float
) -> Iterator[tuple[npt.NDArray[np.float64], npt.NDArray[np.intp]]]:
    """Each frame of ``[N, T]`` after the band-pass ``[T]``, and where its beats' maxima are."""
    from scipy.signal import butter, find_peaks, sosfiltfilt

    if not (np.isfinite(rate_hz) and rate_hz >= MIN_RATE_HZ):
        raise InputError(f"sampling rate is {rate_hz} Hz; beats can be found from {MIN_RATE_HZ:g} Hz on")
    if frames.ndim != 2:
        raise InputError(f"frames have shape {frames.shape}; expected [N, T]")
    count, samples = frames.shape
    if samples * _MAX_HEART_RATE_BPM < 60.0 * rate_hz or count == 0:
        yield from [(np.zeros(samples), np.empty(0, np.intp))] * count
        return
    band = butter(2, (_BAND_HZ[0], min(_BAND_HZ[1], 0.4 * rate_hz)), "bandpass", fs=rate_hz, output="sos")
    padding = min(samples - 1, round(_PADDING_S * rate_hz))
    filtered = sosfiltfilt(band, np.asarray(frames, np.float64), axis=1, padtype="even", padlen=padding)
    distance = max(1, round(60.0 / _MAX_HEART_RATE_BPM * rate_hz))
    moving = np.ptp(frames, axis=1) > 0
    for row, moves in zip(filtered, moving, strict=True):
        deviation = row.std()
        peaks, _ = find_peaks(row, distance=distance, height=_HEIGHT * deviation, prominence=_PROMINENCE * deviation)
        yield row, peaks if moves else peaks[:0]


def heart_rate_bpm(frames: npt.NDArray[np.number], rate_hz: float) -> npt.NDArray[np.float64]:
    """Mean heart rate of each frame ``[N, T]``, float64 ``[N]`` in beats a minute.

    60 over the mean interval between beats; NaN with fewer than three beats. Raises as :func:`beat_times` does.
    """
    return heart_rate_of(beat_times(frames, rate_hz))


def heart_rate_of(beats: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """Mean heart rate of each frame's beats, in seconds, float64 ``[N]`` in beats a minute."""
    rates = [
        60.0 * (len(times) - 1) / (times[-1] - times[0]) if len(times) >= _MIN_BEATS else np.nan for times in beats
    ]
    return np.array(rates, np.float64)


def heart_rate_error(
    original: npt.NDArray[np.number], decoded: npt.NDArray[np.number], rate_hz: float
) -> HeartRateError:
    """Mean absolute difference of the heart rates of ``original`` and ``decoded`` ``[N, T]``, frame by frame.

    Raises ValueError when the shapes differ, and as :func:`beat_times` does.
    """
    if original.shape != decoded.shape:
        raise ValueError(f"original has shape {original.shape}; decoded has {decoded.shape}")
    error = np.abs(heart_rate_bpm(decoded, rate_hz) - heart_rate_bpm(original, rate_hz))
    known = error[np.isfinite(error)]
    mean = float(known.mean()) if known.size else None
    return HeartRateError(mean, known.size, error.size - known.size)


def _refined(row: npt.NDArray[np.float64], peaks: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Tops of the parabolas through each peak and its neighbours, in samples."""
    before, top, after = row[peaks - 1], row[peaks], row[peaks + 1]
    bend = before - 2.0 * top + after
    # A plateau of equal samples has no bend.
    shift = np.divide(0.5 * (before - after), bend, out=np.zeros_like(bend), where=bend < 0)
    return peaks.astype(np.float64) + shift


def _onsets(row: npt.NDArray[np.float64], peaks: npt.NDArray[np.intp], rate_hz: float) -> npt.NDArray[np.float64]:
    """Onsets of the pulses of ``row`` ``[T]`` with tops at ``peaks``, in samples."""
    slope = np.gradient(row)
    found = []
    for peak in peaks.tolist():
        first = max(0, peak - round(_RISE_S * rate_hz))
        steepest = first + int(np.argmax(slope[first : peak + 1]))
        start = max(0, steepest - round(_FOOT_S * rate_hz))
        foot = start + int(np.argmin(row[start : steepest + 1]))
        # A foot at the frame's first sample may lie before it.
        if foot > 0 and slope[steepest] > 0:
            found.append(steepest - (row[steepest] - row[foot]) / slope[steepest])
    return np.array(found, np.float64)
