"""Per-frame normalisation in floating point: the target of the integer normaliser (SPEC.md 1.1)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

EPSILON = 1e-3
"""What is added to the variance, in squared ADC counts, so that a constant frame gives zeros."""


def normalize(frames: npt.NDArray[np.number], epsilon: float = EPSILON) -> npt.NDArray[np.float64]:
    """``(x - mean) / sqrt(var + epsilon)`` of each frame: ADC counts ``[N, T]`` to float64 ``[N, T]``."""
    counts = np.asarray(frames, np.float64)
    mean = counts.mean(axis=-1, keepdims=True)
    variance = counts.var(axis=-1, keepdims=True)
    normalized: npt.NDArray[np.float64] = (counts - mean) / np.sqrt(variance + epsilon)
    return normalized


def denormalize(
    normalized: npt.NDArray[np.floating],
    total: npt.NDArray[np.int32],
    variance: npt.NDArray[np.uint64],
    epsilon: float = EPSILON,
) -> npt.NDArray[np.float64]:
    """Return ADC counts ``S/T + y sqrt(V/T^2 + epsilon)`` of frames ``y [N, T]`` with ``S``, ``V`` ``[N]``."""
    samples = normalized.shape[-1]
    mean = np.asarray(total, np.float64) / samples
    deviation = np.sqrt(np.asarray(variance, np.float64) / samples**2 + epsilon)
    counts: npt.NDArray[np.float64] = mean[..., None] + np.asarray(normalized, np.float64) * deviation[..., None]
    return counts
