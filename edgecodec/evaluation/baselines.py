"""The classical codec to compare with: a DCT of each frame, one uniform step, a static entropy code.

The codec, in full:

1. Each frame is normalised, ``(x - mean) / sqrt(var + epsilon)``; mean and variance are side information, as
   they are for the learned codec, and are not counted for either.
2. Orthonormal DCT-II over the whole frame. Coefficient 0 is the mean, which is known, and is not coded.
3. ``q = round(coefficient / step)``, one ``step`` for all coefficients; the decoder returns ``q step``.
4. Coefficient k is coded on its own, under fixed probabilities estimated from training frames alone::

       p_k(q) = (n_k(q) + 16 e_k(q)) / (N + 16)

   ``n_k(q)`` counts ``q`` among the N training frames. ``e_k`` is the escape, a distribution over all whole
   numbers, so that no value is impossible: 15/16 of it the two-sided geometric distribution
   ``(1 - t) / (1 + t) t^|q|`` whose mean absolute value is that of the N training values and one of 1, so that
   ``t > 0``; 1/16 the code that writes ``|q| + 1`` in Elias gamma and then a sign, so that an outlier costs bits
   in proportion to its logarithm. With thousands of training frames the escape changes nothing (0.1 %); with
   a hundred it is what keeps the baseline strong.
5. Rate is ideal code length, ``-log2 p``: what an arithmetic coder approaches. Nothing adapts to the frame.

The transform is orthonormal, so errors are measured on the coefficients (Parseval).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecodec.errors import InputError
from edgecodec.signal.normalize import EPSILON, normalize

Coefficients = npt.NDArray[np.float64]
"""DCT coefficients ``[N, T - 1]`` of normalised frames."""
Levels = npt.NDArray[np.int64]
"""Quantised values of one coefficient, ``[N]``."""
_FINEST_STEP = 1e-3
"""Smallest step that is tried, in units of a coefficient."""
_ESCAPE_COUNT = 16
_GAMMA_SHARE = 1 / 16
_HALVINGS = 18
"""How often the interval of log(step) is halved: enough that no figure changes with the next."""


@dataclass(frozen=True)
class DctPoint:
    """The classical codec at one step, mean over the test frames."""

    step: float
    """Quantiser step, in units of the normalised frame's DCT coefficients."""
    bits_per_frame: float
    """Mean ideal code length of a frame, in bits."""
    prdn: float
    """Mean PRDN, in percent."""


class DctBaseline:
    """The classical codec, trained on ``train`` and measured on ``test``."""

    def __init__(self, train: npt.NDArray[np.number], test: npt.NDArray[np.number], epsilon: float = EPSILON) -> None:
        """Transform frames of ADC counts ``[M, T]`` and ``[N, T]``.

        Raises InputError unless both hold frames of one length of at least 2, none of them constant.
        """
        self._train = _coefficients(train, epsilon, "training")
        self._test = _coefficients(test, epsilon, "test")
        if self._train.shape[1] != self._test.shape[1]:
            raise InputError(
                f"training frames have {train.shape[1]} samples; test frames have {test.shape[1]}; expected the same"
            )
        self._power = np.sum(self._test**2, axis=1)

    def measure(self, step: float) -> DctPoint:
        """Rate and distortion at ``step`` (in units of the normalised frame). Raises InputError unless above 0."""
        if not (np.isfinite(step) and step > 0):
            raise InputError(f"step is {step}; expected a finite value above 0")
        return DctPoint(step, self._bits(step), self._prdn(step))

    def curve(self, steps: Iterable[float]) -> tuple[DctPoint, ...]:
        """The rate-distortion curve over ``steps``."""
        return tuple(self.measure(step) for step in steps)

    def at_prdn(self, prdn: float) -> DctPoint | None:
        """Measure at the step whose mean PRDN is ``prdn`` percent; None when no step reaches it."""
        return self._solve(lambda step: self._prdn(step) - prdn)

    def at_bits(self, bits_per_frame: float) -> DctPoint | None:
        """Measure at the step whose mean rate is ``bits_per_frame``; None when no step reaches it."""
        return self._solve(lambda step: bits_per_frame - self._bits(step))

    def _prdn(self, step: float) -> float:
        error = np.sum((self._test - np.rint(self._test / step) * step) ** 2, axis=1)
        return float(np.mean(100.0 * np.sqrt(error / self._power)))

    def _bits(self, step: float) -> float:
        train, test = (np.rint(part / step).astype(np.int64) for part in (self._train, self._test))
        total = sum(float(code_lengths(train[:, k], test[:, k]).sum()) for k in range(train.shape[1]))
        return total / len(test)

    def _solve(self, excess: Callable[[float], float]) -> DctPoint | None:
        """Halve the interval of log(step) in which ``excess``, which grows with the step, changes its sign."""
        # A coefficient is at most sqrt(T), the norm of a normalised frame: the coarsest step leaves nothing.
        low, high = np.log(_FINEST_STEP), np.log(4.0 * np.sqrt(self._test.shape[1] + 1))
        if excess(np.exp(low)) > 0 or excess(np.exp(high)) < 0:
            return None
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            if excess(float(np.exp(middle))) > 0:
                high = middle
            else:
                low = middle
        return self.measure(float(np.exp(low)))


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


def _coefficients(frames: npt.NDArray[np.number], epsilon: float, name: str) -> Coefficients:
    """Coefficients 1.. of the orthonormal DCT-II of the normalised frames, ``[N, T - 1]``."""
    from scipy.fft import dct

    if frames.ndim != 2 or frames.shape[0] < 1 or frames.shape[1] < 2:
        raise InputError(f"{name} frames have shape {frames.shape}; expected [N, T] with at least 1 frame of 2 samples")
    if np.any(np.all(frames == frames[:, :1], axis=1)):
        raise InputError(f"{name} frames hold a constant frame, whose PRDN is undefined", hint="leave such frames out")
    transformed: Coefficients = dct(normalize(frames, epsilon), type=2, norm="ortho", axis=1)[:, 1:]
    return transformed
