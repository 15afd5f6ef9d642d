"""A DCT of each frame, one uniform step, a static entropy code of each coefficient on its own.

The codec, in full:

1. Orthonormal DCT-II over the whole normalised frame. Coefficient 0 is the mean, which is known, and is not coded.
2. ``q = round(coefficient / step)``, one ``step`` for all coefficients; the decoder returns ``q step``.
3. Coefficient k is coded on its own, under fixed probabilities estimated from training frames alone::

       p_k(q) = (n_k(q) + 16 e_k(q)) / (N + 16)

   ``n_k(q)`` counts ``q`` among the N training frames. ``e_k`` is the escape, a distribution over all whole
   numbers, so that no value is impossible: 15/16 of it the two-sided geometric distribution
   ``(1 - t) / (1 + t) t^|q|`` whose mean absolute value is that of the N training values and one of 1, so that
   ``t > 0``; 1/16 the code that writes ``|q| + 1`` in Elias gamma and then a sign, so that an outlier costs bits
   in proportion to its logarithm. With thousands of training frames the escape changes nothing (0.1 %); with
   a hundred it is what keeps the opponent strong.
4. Rate is ideal code length, ``-log2 p``: what an arithmetic coder approaches. Nothing adapts to the frame.

The transform is orthonormal, so errors are measured on the coefficients (Parseval).
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from edgecodec.evaluation.opponents.base import Opponent, OpponentPoint, check_step, mean_prdn
from edgecodec.evaluation.opponents.levels import Levels
from edgecodec.evaluation.opponents.transforms import Dct, TestCoefficients

_ESCAPE_COUNT = 16
_GAMMA_SHARE = 1 / 16
_PER_SYMBOL = 60
"""Instructions a coefficient, as a symbol of the packets' tables takes on a Cortex-M4 (tools/packet_counts.py)."""


class StaticDct(Opponent):
    """The DCT with one step and static tables."""

    name: ClassVar[str] = "dct"
    title: ClassVar[str] = "DCT, static tables"

    def fit(self, train: npt.NDArray[np.number]) -> None:
        """Take the training frames, all of them."""
        self._train, self._samples = Dct()(train, "training"), int(train.shape[1])
        self._test = TestCoefficients(Dct(), self._samples)

    def measure(self, frames: npt.NDArray[np.number], step: float) -> OpponentPoint:
        """Rate and distortion of frames ``[N, T]`` at ``step``."""
        check_step(step)
        train, test = (np.rint(part / step).astype(np.int64) for part in (self._train, self._test.of(frames)))
        total = sum(float(code_lengths(train[:, k], test[:, k]).sum()) for k in range(train.shape[1]))
        entries = int(np.sum(train.max(axis=0) - train.min(axis=0) + 1))
        instructions = Dct().instructions(self._samples, train.shape[1]) + _PER_SYMBOL * train.shape[1]
        flash = Dct().flash_bytes(self._samples, train.shape[1]) + 2 * entries
        return OpponentPoint(step, total / len(test), self.distortion(frames, step), instructions, flash)

    def distortion(self, frames: npt.NDArray[np.number], step: float) -> float:
        """Mean PRDN at ``step``, in percent."""
        test = self._test.of(frames)
        return mean_prdn(test, np.rint(test / step) * step)


def code_lengths(train: Levels, test: Levels) -> npt.NDArray[np.float64]:
    """Ideal code lengths in bits of one coefficient's ``test`` values ``[N]``, from ``train`` ``[M]`` (step 4)."""
    low, high = int(train.min()), int(train.max())
    counts = np.bincount(train - low, minlength=high - low + 1)
    inside = (test >= low) & (test <= high)
    seen = np.where(inside, counts[np.clip(test - low, 0, high - low)], 0)
    weight = seen + _ESCAPE_COUNT * _escape(train, test)
    bits: npt.NDArray[np.float64] = np.log2(len(train) + _ESCAPE_COUNT) - np.log2(weight)
    return bits


def _escape(train: Levels, test: Levels) -> npt.NDArray[np.float64]:
    size = np.abs(test)
    mean = (float(np.abs(train).sum()) + 1.0) / (len(train) + 1.0)
    # The two-sided geometric distribution has the mean absolute value 2 t / (1 - t^2).
    ratio = (np.sqrt(1.0 + mean * mean) - 1.0) / mean
    geometric = (1.0 - ratio) / (1.0 + ratio) * ratio**size
    gamma_bits = 2 * np.floor(np.log2(size + 1)) + 1 + (size > 0)
    shared: npt.NDArray[np.float64] = (1 - _GAMMA_SHARE) * geometric + _GAMMA_SHARE * 2.0**-gamma_bits
    return shared
