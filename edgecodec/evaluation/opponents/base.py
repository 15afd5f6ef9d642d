"""What all opponents have in common: a codec that is fitted to training frames and measured at a step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from edgecodec.errors import InputError

_FINEST_STEP = 1e-3
"""Smallest step that is tried, in units of a coefficient."""
_CLOSE = 1e-3
"""Share by which a point may miss what is asked for."""
_TRIES = 40


@dataclass(frozen=True)
class OpponentPoint:
    """An opponent at one step, mean over the test frames."""

    step: float
    """Quantiser step, in units of the normalised frame's coefficients."""
    bits_per_frame: float
    """Mean code length of a frame's coefficients, in bits."""
    prdn: float
    """Mean PRDN, in percent."""
    instructions: int
    """Instructions a frame on a Cortex-M4, transform and entropy coder, estimated from the operations."""
    flash_bytes: int
    """Bytes of the tables and weights of transform and entropy coder on a device."""


class Opponent(ABC):
    """A classical codec to compare with.

    Frames are normalised, ``(x - mean) / sqrt(var + epsilon)``, transformed, quantised with one step and coded with a
    static model. Transform and model come from the training frames alone. Mean and variance are side information, the
    same for every opponent and the learned codec.
    """

    name: ClassVar[str]
    """What it is called in options and documents."""
    title: ClassVar[str]
    """What it is called in texts."""
    has_curve: ClassVar[bool] = True
    """Whether it is measured at further steps, which takes as long again for each, and at equal bits."""

    @abstractmethod
    def fit(self, train: npt.NDArray[np.number]) -> None:
        """Take the training frames, ADC counts ``[M, T]``.

        Raises InputError unless they are at least 1 frame of at least 2 samples, none of them constant.
        """

    @abstractmethod
    def measure(self, frames: npt.NDArray[np.number], step: float) -> OpponentPoint:
        """Rate and distortion on test frames ``[N, T]`` at ``step`` (in units of a coefficient).

        Raises InputError unless ``step`` is above 0 and the frames are as long as those of :meth:`fit`, none constant.
        """

    def distortion(self, frames: npt.NDArray[np.number], step: float) -> float:
        """Mean PRDN at ``step``, in percent, where that is known in less time than :meth:`measure` takes."""
        return self.measure(frames, step).prdn

    def curve(self, frames: npt.NDArray[np.number], steps: Iterable[float]) -> tuple[OpponentPoint, ...]:
        """The rate-distortion curve over ``steps``."""
        return tuple(self.measure(frames, step) for step in steps)

    def at_prdn(self, frames: npt.NDArray[np.number], prdn: float) -> OpponentPoint | None:
        """Measure at the step whose mean PRDN is ``prdn`` percent; None when no step reaches it."""
        if prdn <= 0:
            return None
        # Errors are about uniform in a step, and less where a coefficient becomes 0.
        step = _solve(lambda step: np.log(max(self.distortion(frames, step), 1e-9) / prdn), frames, prdn / 25)
        return None if step is None else self.measure(frames, step)

    def at_bits(self, frames: npt.NDArray[np.number], bits_per_frame: float) -> OpponentPoint | None:
        """Measure at the step whose mean rate is ``bits_per_frame``; None when no step reaches it."""
        if bits_per_frame <= 0:
            return None
        step = _solve(
            lambda step: np.log(bits_per_frame / max(self.measure(frames, step).bits_per_frame, 1e-9)), frames, 0.1
        )
        return None if step is None else self.measure(frames, step)


def check_frames(frames: npt.NDArray[np.number], name: str) -> None:
    """Raise InputError unless ``frames`` are ``[N, T]``, at least 1 of at least 2 samples, none constant."""
    if frames.ndim != 2 or frames.shape[0] < 1 or frames.shape[1] < 2:
        raise InputError(f"{name} frames have shape {frames.shape}; expected [N, T] with at least 1 frame of 2 samples")
    if np.any(np.all(frames == frames[:, :1], axis=1)):
        raise InputError(f"{name} frames hold a constant frame, whose PRDN is undefined", hint="leave such frames out")


def check_step(step: float) -> None:
    """Raise InputError unless ``step`` is finite and above 0."""
    if not (np.isfinite(step) and step > 0):
        raise InputError(f"step is {step}; expected a finite value above 0")


def mean_prdn(coefficients: npt.NDArray[np.float64], decoded: npt.NDArray[np.float64]) -> float:
    """Mean PRDN in percent of coefficients ``[N, K]`` of an orthonormal transform (Parseval)."""
    error = np.sum((coefficients - decoded) ** 2, axis=1)
    return float(np.mean(100.0 * np.sqrt(error / np.sum(coefficients**2, axis=1))))


def _solve(excess: Callable[[float], float], frames: npt.NDArray[np.number], guess: float) -> float | None:
    """The step at which ``excess``, which grows with the step, is 0 within :data:`_CLOSE`; None when there is none.

    Regula falsi in log(step), with halving of the value at an end that stays (the Illinois algorithm; Dowell and
    Jarratt 1971, "A modified regula falsi method").
    """
    # A coefficient is at most sqrt(T), the norm of a normalised frame: the coarsest step leaves nothing.
    least, most = np.log(_FINEST_STEP), np.log(4.0 * np.sqrt(frames.shape[1]))
    start = float(np.clip(np.log(max(guess, 1e-9)), least + 0.7, most - 0.7))
    low, high = start - 0.35, start + 0.35
    at_low, at_high = excess(float(np.exp(low))), excess(float(np.exp(high)))
    while at_low > 0 and low > least:
        high, at_high = low, at_low
        low = max(least, low - 0.7)
        at_low = excess(float(np.exp(low)))
    while at_high < 0 and high < most:
        low, at_low = high, at_high
        high = min(most, high + 0.7)
        at_high = excess(float(np.exp(high)))
    if at_low > 0 or at_high < 0:
        return None
    for _ in range(_TRIES):
        middle = low + (high - low) * (at_low / (at_low - at_high) if at_low != at_high else 0.5)
        found = excess(float(np.exp(middle)))
        if abs(found) < _CLOSE:
            break
        if found > 0:
            high, at_high, at_low = middle, found, at_low / 2
        else:
            low, at_low, at_high = middle, found, at_high / 2
    return float(np.exp(middle))
