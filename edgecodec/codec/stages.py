"""What an executor of a bundle returns: the three stages of SPEC.md 1, for many frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edgecodec.errors import InputError

Frames = npt.NDArray[np.int16]


@dataclass(frozen=True)
class Stages:
    """Results of N frames; a stage that an executor does not compute is None."""

    input: npt.NDArray[np.int8] | None
    """``[N, T]``, the normalised and quantised frame."""
    latent: npt.NDArray[np.int8] | None
    """``[N, P, D]``, the encoder's output."""
    indices: npt.NDArray[np.uint16]
    """``[N, P, L]``, codebook indices."""
    sum: npt.NDArray[np.int32] | None = None
    """``[N]``, S of SPEC.md 1.1."""
    variance: npt.NDArray[np.uint64] | None = None
    """``[N]``, V of SPEC.md 1.1."""


class Executor(Protocol):
    """Runs a bundle's codec over frames of ADC counts."""

    name: str
    """One of ``keras``, ``tflm``, ``tflite``, ``reference``, ``host``, ``board``, ``board-tflm``."""

    def stages(self, frames: Frames) -> Stages:
        """Encode int16 ``[N, T]`` and keep every stage that this executor computes."""
        ...

    def encode(self, frames: Frames) -> npt.NDArray[np.uint16]:
        """Encode int16 ``[N, T]`` into uint16 ``[N, P, L]``."""
        ...


def as_frames(frames: npt.ArrayLike, samples: int) -> Frames:
    """Return ``frames`` as C-contiguous int16 ``[N, samples]``; other integer types are converted when they fit.

    Raises InputError for another type, shape or frame length, or counts outside int16.
    """
    array = np.asarray(frames)
    if not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"frames are {array.dtype}; expected int16 ADC counts [N, {samples}]")
    if array.ndim != 2 or array.shape[1] != samples:
        raise InputError(f"frames have shape {array.shape}; expected [N, {samples}]")
    if array.dtype != np.int16 and array.size and (array.min() < -32768 or array.max() > 32767):
        raise InputError(f"frames range from {array.min()} to {array.max()}; expected int16 ADC counts")
    return np.ascontiguousarray(array, np.int16)
