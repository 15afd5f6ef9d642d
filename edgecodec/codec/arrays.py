"""The arrays that go into and come out of a codec."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgecodec.errors import InputError

Frames = npt.NDArray[np.int16]
"""ADC counts ``[N, T]``."""
Indices = npt.NDArray[np.uint16]
"""Codebook indices ``[N, P, L]``."""
Activations = npt.NDArray[np.signedinteger]
"""Values of the activation type of some :class:`~edgecodec.codec.numerics.Numerics`."""
Int8Array = npt.NDArray[np.int8]
Int16Array = npt.NDArray[np.int16]
Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]


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
