"""Figures of quality of a reconstructed signal."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def prdn(original: npt.NDArray[np.number], decoded: npt.NDArray[np.number]) -> npt.NDArray[np.float64]:
    """Normalised percentage root-mean-square difference of each frame, float64 ``[N]``, in percent.

    ``100 sqrt(sum (x - y)^2 / sum (x - mean x)^2)`` over the last axis of ``[N, T]``. A constant frame
    gives 0 when it is decoded exactly and infinity otherwise. Raises ValueError when the shapes differ.

    Source: M. Blanco-Velasco et al., "On the use of PRD and CR parameters for ECG compression", Medical Engineering &
    Physics 27 (2005), 798-802.
    """
    if original.shape != decoded.shape:
        raise ValueError(f"original has shape {original.shape}; decoded has {decoded.shape}")
    x = np.asarray(original, np.float64)
    error = np.sum((x - np.asarray(decoded, np.float64)) ** 2, axis=-1)
    power = np.sum((x - x.mean(axis=-1, keepdims=True)) ** 2, axis=-1)
    ratio = np.divide(error, power, out=np.full_like(error, np.inf), where=power > 0)
    return 100.0 * np.sqrt(np.where(error == 0, 0.0, ratio))
