"""Orthonormal transforms of normalised frames, and what they take on a Cortex-M4."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edgecodec.errors import InputError
from edgecodec.evaluation.opponents.base import check_frames
from edgecodec.signal.normalize import EPSILON, normalize

Coefficients = npt.NDArray[np.float64]
"""Coefficients ``[N, T - 1]`` of normalised frames, the mean's left out, which is known."""

_PER_BUTTERFLY = 6
"""Instructions a multiplication of a fast DCT: two loads, it, two additions, a store of one of the two results."""
_PER_SAMPLE = 47
"""Of the normaliser, measured (DESIGN.md)."""
_PER_PRODUCT = 11 / 16
"""Of a matrix of int16, two products an instruction: what ``edc_pointwise`` takes."""


class Transform(Protocol):
    """An orthonormal transform."""

    def __call__(self, frames: npt.NDArray[np.number], name: str) -> Coefficients:
        """Coefficients of ADC counts ``[N, T]``, called ``name`` in messages. Raises InputError for bad frames."""
        ...

    def instructions(self, samples: int, coefficients: int) -> int:
        """Estimated instructions a frame on a Cortex-M4, normaliser included, of the first ``coefficients``."""
        ...

    def flash_bytes(self, samples: int, coefficients: int) -> int:
        """Bytes of its constants on a device."""
        ...


class Dct:
    """The orthonormal DCT-II over the whole frame (Ahmed, Natarajan and Rao 1974, "Discrete cosine transform")."""

    def __call__(self, frames: npt.NDArray[np.number], name: str) -> Coefficients:
        """Coefficients 1.. of ADC counts ``[N, T]``."""
        from scipy.fft import dct

        check_frames(frames, name)
        transformed: Coefficients = dct(normalize(frames, EPSILON), type=2, norm="ortho", axis=1)[:, 1:]
        return transformed

    def instructions(self, samples: int, coefficients: int) -> int:
        """``T / 2 log2 T`` multiplications (Lee 1984, "A new algorithm to compute the discrete cosine transform").

        ``coefficients`` that are left out save nothing.
        """
        return round(samples * (_PER_SAMPLE + _PER_BUTTERFLY / 2 * math.log2(samples)))

    def flash_bytes(self, samples: int, coefficients: int) -> int:
        """A factor of 2 bytes a sample."""
        return 2 * samples


@dataclass(frozen=True)
class Klt:
    """The Karhunen-Loeve transform of training frames: the principal directions of normalised frames."""

    directions: npt.NDArray[np.float64]
    """``[T - 1, T - 1]``, of falling variance, of a frame's coefficients of :class:`Dct`, which leaves the mean out."""

    @classmethod
    def of(cls, train: npt.NDArray[np.number]) -> Klt:
        """The transform of ADC counts ``[M, T]``. Raises InputError for bad frames."""
        coefficients = Dct()(train, "training")
        _, directions = np.linalg.eigh(coefficients.T @ coefficients)
        return cls(np.ascontiguousarray(directions[:, ::-1]))

    def __call__(self, frames: npt.NDArray[np.number], name: str) -> Coefficients:
        """Coefficients of ADC counts ``[N, T]``, that of the largest variance first."""
        found: Coefficients = Dct()(frames, name) @ self.directions
        return found

    def instructions(self, samples: int, coefficients: int) -> int:
        """A product of int16 for each sample and coefficient: transform and DCT are one matrix."""
        return round(samples * (_PER_SAMPLE + _PER_PRODUCT * coefficients))

    def flash_bytes(self, samples: int, coefficients: int) -> int:
        """The directions as int16."""
        return 2 * samples * coefficients


class TestCoefficients:
    """Coefficients of test frames, kept for as long as the same frames are asked for."""

    def __init__(self, transform: Transform, samples: int) -> None:
        self._transform, self._samples = transform, samples
        self._known: tuple[npt.NDArray[np.number], Coefficients] | None = None

    def of(self, frames: npt.NDArray[np.number]) -> Coefficients:
        """``[N, T - 1]`` of ADC counts ``[N, T]``. Raises InputError for bad frames and those of another length."""
        if self._known is None or self._known[0] is not frames:
            if frames.ndim == 2 and frames.shape[1] != self._samples:
                raise InputError(
                    f"training frames have {self._samples} samples; test frames have {frames.shape[1]}; "
                    "expected the same"
                )
            self._known = (frames, self._transform(frames, "test"))
        return self._known[1]
