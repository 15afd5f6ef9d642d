"""Augmentation of normalised frames: what one sensor on one day does not show."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgecodec.signal.normalize import normalize

Frames = npt.NDArray[np.float64]
_WANDER_HZ = (0.05, 0.4)


def add_noise(
    frames: npt.NDArray[np.floating], low: float, high: float, rng: np.random.Generator
) -> npt.NDArray[np.floating]:
    """``frames [N, T]`` with Gaussian noise whose standard deviation is uniform in ``low..high`` per frame."""
    level = rng.uniform(low, high, (len(frames), 1))
    noisy: npt.NDArray[np.floating] = frames + level * rng.standard_normal(frames.shape)
    return noisy


def warp_positions(count: int, samples: int, share: float, rng: np.random.Generator) -> Frames:
    """Positions ``[count, samples]`` to read frames at, stretched or squeezed by up to ``share``."""
    warp = rng.uniform(1 - share, 1 + share, (count, 1))
    positions: Frames = np.arange(samples, dtype=np.float64) * warp
    return positions


def mix_frames(frames: Frames, others: Frames, mixed: npt.NDArray[np.bool_], share: Frames) -> Frames:
    """Blend ``share [N, 1]`` (0 to 0.5) of ``others`` into ``frames [N, T]`` where ``mixed [N, 1]``; normalised."""
    part = np.where(mixed, share, 0.0)
    return normalize((1 - part) * frames + part * others, 0.0)


def scale_beats(frames: Frames, share: float, rate_hz: float, rng: np.random.Generator) -> Frames:
    """Normalised ``frames [N, T]`` with a gain of ``1 +- share`` that drifts from one second to the next."""
    samples = frames.shape[1]
    seconds = samples / rate_hz
    knots = rng.uniform(1 - share, 1 + share, (len(frames), int(np.ceil(seconds)) + 1))
    at = np.arange(samples) / rate_hz
    before = at.astype(np.intp)
    after = np.minimum(before + 1, knots.shape[1] - 1)
    gain = knots[:, before] + (at - before) * (knots[:, after] - knots[:, before])
    return normalize(frames * gain, 0.0)


def add_wander(frames: Frames, amplitude: float, rate_hz: float, rng: np.random.Generator) -> Frames:
    """Normalised ``frames [N, T]`` with a slow wave (0.05 to 0.4 Hz) of up to ``amplitude`` deviations."""
    height = rng.uniform(0.0, amplitude, (len(frames), 1))
    frequency_hz = rng.uniform(*_WANDER_HZ, (len(frames), 1))
    phase = rng.uniform(0.0, 2 * np.pi, (len(frames), 1))
    at = np.arange(frames.shape[1]) / rate_hz
    return normalize(frames + height * np.sin(2 * np.pi * frequency_hz * at + phase), 0.0)
