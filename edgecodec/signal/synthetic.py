"""Synthetic PPG whose beats are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecodec.errors import InputError
from edgecodec.signal.sources import Recording

_ADC_MAX = 4095
_ADC_MIDDLE = 2048.0
_MAX_SAMPLES = 100_000_000
_EARLY, _PAUSE, _WEAK = 0.65, 1.35, 0.55
"""An ectopic beat comes after 65 % of an interval with 55 % of its pulse; the next waits 135 %."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SyntheticPpg:
    """A PPG and the truth about it."""

    samples: npt.NDArray[np.int16]
    """12-bit ADC counts, int16 ``[M]``, 0 to 4095."""
    beat_times_s: FloatArray
    """Times in seconds at which the systolic peaks were put, float64 ``[B]``, rising, within the recording."""
    ectopic: npt.NDArray[np.bool_]
    """For each beat, ``[B]``, True when it came early."""
    rate_hz: float
    """Sampling rate in Hz."""


def synthetic_ppg(
    seconds: float,
    rate_hz: float = 64.0,
    *,
    seed: int,
    heart_rate_bpm: float | None = None,
    respiration: float = 1.0,
    wander: float = 0.3,
    motion: float = 0.0,
    ectopic: float = 0.0,
    noise: float = 0.01,
    irregular: float = 0.02,
) -> SyntheticPpg:
    """Make ``seconds`` of PPG of one person, drawn by ``seed``; the same arguments give the same samples.

    Each beat is a systolic wave and a weaker diastolic one. ``respiration`` scales its effects on beat
    intervals, pulse heights and baseline; ``wander`` is the amplitude of slower baseline changes and ``noise``
    of the sensor's, both in pulse heights. ``motion`` is bursts a minute of 1 to 4 s, ``ectopic`` the share of
    beats that come early, ``irregular`` the standard deviation of intervals as a share of the mean one, up to 0.3, some
    0.2 in atrial fibrillation. The heart rate is drawn from 50 to 110 a minute unless given.

    Raises InputError when the recording is empty, too long or a number is out of range.
    """
    count = _sample_count(seconds, rate_hz)
    for name, value in {"respiration": respiration, "wander": wander, "motion": motion, "noise": noise}.items():
        if not 0 <= value < np.inf:
            raise InputError(f"synthetic PPG: {name} is {value}; expected 0 or more")
    if not 0 <= ectopic <= 0.5:
        raise InputError(f"synthetic PPG: ectopic is {ectopic}; expected a share of 0 to 0.5")
    if not 0 <= irregular <= 0.3:
        raise InputError(f"synthetic PPG: irregular is {irregular}; expected a share of 0 to 0.3")
    if heart_rate_bpm is not None and not 20 <= heart_rate_bpm <= 300:
        raise InputError(f"synthetic PPG: heart_rate_bpm is {heart_rate_bpm}; expected 20 to 300")
    rng = np.random.default_rng(seed)
    interval_s = 60.0 / (rng.uniform(50.0, 110.0) if heart_rate_bpm is None else heart_rate_bpm)
    breath_hz, breath_phase = rng.uniform(0.15, 0.35), rng.uniform(0.0, 2 * np.pi)
    at = np.arange(count) / rate_hz

    def breath(time_s: FloatArray | float) -> FloatArray:
        return np.asarray(respiration * np.sin(2 * np.pi * breath_hz * time_s + breath_phase))

    times, early = _beats(seconds, interval_s, ectopic, irregular, breath, rng)
    heights = (1.0 + 0.1 * breath(times)) * rng.normal(1.0, 0.04, len(times)) * np.where(early, _WEAK, 1.0)
    wave = _pulses(at, times, heights, interval_s, rng)
    wave += 0.12 * breath(at) + wander * _slow_waves(at, rng)
    wave += _motion(at, motion, rate_hz, rng) + noise * rng.standard_normal(count)
    counts = rng.uniform(-300.0, 300.0) + _ADC_MIDDLE + rng.uniform(200.0, 700.0) * wave
    inside = (times >= 0) & (times < seconds)
    samples = np.clip(np.rint(counts), 0, _ADC_MAX).astype(np.int16)
    return SyntheticPpg(samples, times[inside], early[inside], rate_hz)


def synthetic_recording(
    person: int, seconds: float, rate_hz: float, *, seed: int, motion: float, ectopic: float
) -> Recording:
    """Recording of synthetic person number ``person``; each has a heart of their own.

    Raises InputError when the recording is empty, too long or a number is out of range.
    """
    drawn = int(np.random.SeedSequence([seed, person]).generate_state(1)[0])
    made = synthetic_ppg(seconds, rate_hz, seed=drawn, motion=motion, ectopic=ectopic)
    name = f"synthetic{person}"
    return Recording(name, made.samples, np.ones(len(made.samples), bool), rate_hz, name)


def _sample_count(seconds: float, rate_hz: float) -> int:
    if not (0 < rate_hz < np.inf and 0 < seconds < np.inf and 1 <= seconds * rate_hz <= _MAX_SAMPLES):
        raise InputError(
            f"synthetic PPG: {seconds:g} s at {rate_hz:g} Hz; expected between 1 and {_MAX_SAMPLES:,} samples"
        )
    return round(seconds * rate_hz)


def _beats(
    seconds: float,
    interval_s: float,
    ectopic: float,
    irregular: float,
    breath: Callable[[FloatArray | float], FloatArray],
    rng: np.random.Generator,
) -> tuple[FloatArray, npt.NDArray[np.bool_]]:
    """Times of the beats, from before the start to after the end, and which of them came early."""
    times, early = [-2 * interval_s + rng.uniform(0.0, interval_s)], [False]
    while times[-1] < seconds + 2 * interval_s:
        step = interval_s * max(0.4, float(1.0 + 0.04 * breath(times[-1]) + irregular * rng.standard_normal()))
        comes_early = not early[-1] and bool(rng.random() < ectopic)
        times.append(times[-1] + step * (_EARLY if comes_early else _PAUSE if early[-1] else 1.0))
        early.append(comes_early)
    return np.array(times), np.array(early)


def _pulses(
    at: FloatArray, times: FloatArray, heights: FloatArray, interval_s: float, rng: np.random.Generator
) -> FloatArray:
    """Sum over beats of a systolic wave at the beat and a diastolic one after it."""
    # Pulses get shorter with the interval, less than in proportion.
    stretch = np.sqrt(interval_s)
    rise_s, fall_s = rng.uniform(0.07, 0.09) * stretch, rng.uniform(0.12, 0.16) * stretch
    echo, delay_s, echo_s = rng.uniform(0.15, 0.45), rng.uniform(0.28, 0.36) * stretch, 0.12 * stretch
    wave = np.zeros(len(at))
    step = at[1] if len(at) > 1 else 1.0
    for time_s, height in zip(times, heights, strict=True):
        first, last = np.searchsorted(at, [time_s - 5 * rise_s, time_s + delay_s + 6 * fall_s + step])
        near = at[first:last] - time_s
        width_s = np.where(near < 0, rise_s, fall_s)
        systole = np.exp(-0.5 * (near / width_s) ** 2)
        wave[first:last] += height * (systole + echo * np.exp(-0.5 * ((near - delay_s) / echo_s) ** 2))
    return wave


def _slow_waves(at: FloatArray, rng: np.random.Generator) -> FloatArray:
    frequency_hz, phase = rng.uniform(0.02, 0.12, (3, 1)), rng.uniform(0.0, 2 * np.pi, (3, 1))
    waves: FloatArray = np.sin(2 * np.pi * frequency_hz * at + phase).mean(axis=0)
    return waves


def _motion(at: FloatArray, bursts_per_minute: float, rate_hz: float, rng: np.random.Generator) -> FloatArray:
    """Bursts of a few waves of 0.5 to 4 Hz, each under a Hann window."""
    wave = np.zeros(len(at))
    for _ in range(rng.poisson(bursts_per_minute * len(at) / rate_hz / 60.0)):
        length = round(rng.uniform(1.0, 4.0) * rate_hz)
        start = rng.integers(0, len(at))
        part = at[start : start + length]
        frequency_hz, phase = rng.uniform(0.5, 4.0, (4, 1)), rng.uniform(0.0, 2 * np.pi, (4, 1))
        burst = rng.uniform(0.5, 2.0) * np.sin(2 * np.pi * frequency_hz * part + phase).mean(axis=0)
        wave[start : start + length] += burst * np.hanning(length)[: len(part)]
    return wave
