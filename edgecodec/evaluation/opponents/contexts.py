"""A transform whose coefficients are coded with contexts of magnitudes, and quantised with the rate in mind.

The codec, in full:

1. Coefficients 0 .. K - 1 of the transform, K so that of no coefficient behind them more than a thousandth of the
   training levels, rounded, is other than 0. The others are 0.
2. *Contexts.* What a magnitude ``a = |q|`` is likely to be is told by those of the :data:`NEIGHBOURS` coefficients
   before it, by a linear prediction of its own for each coefficient, in integers::

       s_k = (b_k + sum_j w_kj f(a_(k-j)) + 2^13) >> 14,  f(a) = round(16 sqrt(min(a, 255)))

   fitted by least squares to ``f(a_k)``, weights and bias rounded to 2^-12. ``s_k`` falls into one of
   :data:`CLASSES` classes, of bounds in a geometric series.
3. *Coding.* Each class has a table of the symbols of magnitudes (:mod:`edgecodec.evaluation.opponents.levels`), shares
   whole multiples of 2^-16, counted over training frames and smoothed by a geometric distribution of the class's
   mean; a sign takes a bit. So a range coder in integers codes just these lengths.
4. *Rate-distortion optimised quantisation* (Ramchandran and Vetterli 1994; as in the encoders of HEVC): of
   ``round(|x| / step)`` and one less, the one with the smaller ``(|x| / step - a)^2 + lambda bits(a)``, coefficient by
   coefficient with the contexts that come of it. Lambda is in squared steps.
5. Contexts and tables are fitted to the levels of plain rounding first, then twice to those that step 4 chooses.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from edgecodec.evaluation.opponents.base import Opponent, OpponentPoint, check_frames, check_step, mean_prdn
from edgecodec.evaluation.opponents.levels import Levels, bits_behind, first_magnitudes, symbols_of
from edgecodec.evaluation.opponents.transforms import Dct, Klt, TestCoefficients, Transform

NEIGHBOURS = 16
"""Coefficients that a context looks back at: on clinical recordings 2 take 1.3 % more bits, 32 as many."""
CLASSES = 48
"""Classes of contexts."""
LAMBDA = 0.12
"""Weight of a bit in squared steps. Of 0, 0.1, 0.12, 0.15 and 0.18 the best at equal PRDN on clinical recordings, where
0.1 to 0.18 are within 0.2 %; at high rates theory has ln 2 / 6 = 0.116."""
FITTED_FRAMES = 8192
"""Training frames, evenly spaced, that contexts and tables are fitted to at most."""
_RARE = 1e-3
_SHARE_BITS = 16
_WEIGHT_BITS = 12
_ROUNDS = 2
_SMOOTHING = 16
_LEAST_BOUND = 8
"""Upper bound of the first class, in 64ths of a feature's unit; each further one is a constant factor above."""
_SCORE_BITS = 6
_ROOTS = np.round(16 * np.sqrt(np.arange(256))).astype(np.int64)
"""Features of magnitudes."""
_PER_SYMBOL = 60
"""Instructions of a symbol of the packets' tables, measured on a Cortex-M4 (``python -m tools.packet_counts``)."""
CONTEXT_INSTRUCTIONS = 1.33 * NEIGHBOURS + 40
"""Instructions of a coefficient's context and choice of a level: products as the packets' network takes them, measured
on a Cortex-M4, and 40 for class, feature and the two costs."""


@dataclass(frozen=True)
class ContextModel:
    """Contexts and tables for levels of one step."""

    weights: npt.NDArray[np.int64]
    """``[K, NEIGHBOURS]`` of 2^-12, that of the coefficient just before first."""
    bias: npt.NDArray[np.int64]
    """``[K]`` of 2^-12."""
    bounds: npt.NDArray[np.int64]
    """Upper bounds of the classes' scores, ``[CLASSES - 1]``."""
    shares: npt.NDArray[np.int64]
    """``[CLASSES, symbols]``, of 2^16."""
    bits: npt.NDArray[np.float64]
    """Bits of each magnitude in each class, sign included, ``[CLASSES, magnitudes]``."""

    @classmethod
    def fit(cls, levels: Levels, most: int) -> ContextModel:
        """The model of training levels ``[M, K]``, for magnitudes up to ``most``."""
        features = _features(np.abs(levels))
        count, coefficients = levels.shape
        weights = np.zeros((coefficients, NEIGHBOURS), np.int64)
        bias = np.zeros(coefficients, np.int64)
        for k in range(coefficients):
            near = min(NEIGHBOURS, k)
            before = features[:, k - near : k][:, ::-1].astype(np.float64)
            wanted = features[:, k].astype(np.float64)
            centre, middle = before.mean(axis=0), float(wanted.mean())
            centred = before - centre
            # A ridge of a unit a frame keeps neighbours that are nearly always 0 from weights without end.
            found = np.linalg.solve(centred.T @ centred + count * np.eye(near), centred.T @ (wanted - middle))
            weights[k, :near] = np.rint(found * (1 << _WEIGHT_BITS))
            bias[k] = round((middle - float(centre @ found)) * (1 << _WEIGHT_BITS))
        scores = np.stack([_score(features, weights, bias, k) for k in range(coefficients)], axis=1)
        last = max(float(np.max(scores)), 2.0 * _LEAST_BOUND)
        bounds = np.rint(np.geomspace(_LEAST_BOUND, last, CLASSES - 1)).astype(np.int64)
        shares = _shares(np.searchsorted(bounds, scores), np.abs(levels), most)
        every = np.arange(most + 1)
        lengths = _SHARE_BITS - np.log2(shares[:, symbols_of(every)]) + bits_behind(every) + (every > 0)
        return cls(weights, bias, bounds, shares, np.asarray(lengths, np.float64))

    def quantize(self, scaled: npt.NDArray[np.float64], weight: float) -> tuple[Levels, npt.NDArray[np.float64]]:
        """Levels of coefficients in steps ``[N, K]``, and bits of each frame ``[N]``; ``weight`` is lambda."""
        count, coefficients = scaled.shape
        levels, features = np.zeros((2, count, coefficients), np.int64)
        bits = np.zeros(count)
        for k in range(coefficients):
            x = np.abs(scaled[:, k])
            table = np.searchsorted(self.bounds, _score(features, self.weights, self.bias, k))
            nearest = np.rint(x).astype(np.int64)
            lower = np.maximum(nearest - 1, 0)
            cost, cost_lower = self.bits[table, nearest], self.bits[table, lower]
            less = (x - lower) ** 2 + weight * cost_lower < (x - nearest) ** 2 + weight * cost
            chosen = np.where(less, lower, nearest)
            bits += np.where(less, cost_lower, cost)
            levels[:, k] = np.where(scaled[:, k] < 0, -chosen, chosen)
            features[:, k] = _features(chosen)
        return levels, bits

    @property
    def flash_bytes(self) -> int:
        """Weights, biases, bounds, features and shares, two bytes each but for the features."""
        return 2 * (self.weights.size + self.bias.size + self.bounds.size + self.shares.size) + _ROOTS.size


@dataclass(frozen=True)
class Quantized:
    """Levels of training and test frames at one step, and what they are coded with."""

    model: ContextModel
    """Fitted to the training frames."""
    train: Levels
    """``[M, K]``"""
    test: Levels
    """``[N, K]``"""
    bits: npt.NDArray[np.float64]
    """Of each test frame, ``[N]``."""
    prdn: float
    """Mean over the test frames, in percent."""


class TransformCoder(Opponent):
    """A transform with contexts of magnitudes and rate-distortion optimised quantisation."""

    def __init__(self, weight: float = LAMBDA) -> None:
        self._weight = weight

    @abstractmethod
    def transform_of(self, train: npt.NDArray[np.number]) -> Transform:
        """The transform, of training frames ``[M, T]`` where it depends on them."""

    def fit(self, train: npt.NDArray[np.number]) -> None:
        """Take the training frames; of very many as many, evenly spaced, as :data:`FITTED_FRAMES`."""
        check_frames(train, "training")
        self._transform = self.transform_of(train)
        self._samples = int(train.shape[1])
        at = np.linspace(0, len(train) - 1, min(len(train), FITTED_FRAMES)).astype(int)
        self._train = self._transform(train[at], "training")
        self._test = TestCoefficients(self._transform, self._samples)

    def measure(self, frames: npt.NDArray[np.number], step: float) -> OpponentPoint:
        """Rate and distortion of frames ``[N, T]`` at ``step``."""
        found = self.quantized(frames, step)
        kept = found.test.shape[1]
        flash = self._transform.flash_bytes(self._samples, kept) + found.model.flash_bytes
        coding = kept * (CONTEXT_INSTRUCTIONS + _PER_SYMBOL)
        instructions = self._transform.instructions(self._samples, kept) + round(coding)
        return OpponentPoint(step, float(found.bits.mean()), found.prdn, instructions, flash)

    def distortion(self, frames: npt.NDArray[np.number], step: float) -> float:
        """Mean PRDN at ``step``, in percent."""
        return self.quantized(frames, step).prdn

    def _most(self, step: float) -> int:
        """The largest magnitude there can be: a coefficient is at most sqrt(T), the norm of a normalised frame."""
        return int(np.sqrt(self._samples) / step) + 1

    def quantized(self, frames: npt.NDArray[np.number], step: float) -> Quantized:
        """Levels of the training frames and of ``frames`` ``[N, T]``. Raises InputError for bad frames and steps."""
        check_step(step)
        test = self._test.of(frames)
        train = self._train / step
        common = np.flatnonzero(np.mean(np.abs(train) > 0.5, axis=0) > _RARE)
        kept = int(common[-1]) + 1 if common.size else 1
        train, scaled = train[:, :kept], test[:, :kept] / step
        most = self._most(step)
        levels = np.rint(train).astype(np.int64)
        model = ContextModel.fit(levels, most)
        for _ in range(_ROUNDS if self._weight > 0 else 0):
            levels, _ = model.quantize(train, self._weight)
            model = ContextModel.fit(levels, most)
        found, bits = model.quantize(scaled, self._weight)
        decoded = np.zeros_like(test)
        decoded[:, :kept] = found * step
        return Quantized(model, levels, found, bits, mean_prdn(test, decoded))


class DctRdoq(TransformCoder):
    """The DCT with contexts of magnitudes and rate-distortion optimised quantisation."""

    name: ClassVar[str] = "dct-rdoq"
    title: ClassVar[str] = "DCT, contexts, RDOQ"

    def transform_of(self, train: npt.NDArray[np.number]) -> Transform:
        """The same for all frames."""
        return Dct()


class KltRdoq(TransformCoder):
    """The KLT of the training frames with contexts of magnitudes and rate-distortion optimised quantisation."""

    name: ClassVar[str] = "klt-rdoq"
    title: ClassVar[str] = "KLT, contexts, RDOQ"

    def transform_of(self, train: npt.NDArray[np.number]) -> Transform:
        """That of all training frames."""
        return Klt.of(train)


def _features(magnitudes: Levels) -> Levels:
    return np.asarray(_ROOTS[np.minimum(magnitudes, len(_ROOTS) - 1)], np.int64)


def _score(
    features: Levels, weights: npt.NDArray[np.int64], bias: npt.NDArray[np.int64], coefficient: int
) -> npt.NDArray[np.int64]:
    """Predicted feature of a coefficient, in 64ths, ``[N]``, of the features ``[N, K]`` before it."""
    near = min(NEIGHBOURS, coefficient)
    before = features[:, coefficient - near : coefficient][:, ::-1].astype(np.float64)
    # Products of floats are exact here: sums stay below 2^53.
    sums = (before @ weights[coefficient, :near].astype(np.float64)).astype(np.int64) + bias[coefficient]
    shift = _WEIGHT_BITS - _SCORE_BITS
    return np.asarray((sums + (1 << (shift - 1))) >> shift, np.int64)


def _shares(classes: Levels, magnitudes: Levels, most: int) -> npt.NDArray[np.int64]:
    """Shares of the symbols in each class, ``[CLASSES, symbols]``, each at least 1, of 2^16."""
    symbols = int(symbols_of(np.array(most))) + 1
    counts = np.zeros((CLASSES, symbols))
    np.add.at(counts, (classes, symbols_of(magnitudes)), 1)
    total = counts.sum(axis=1, keepdims=True)
    sums = np.bincount(classes.ravel(), magnitudes.ravel(), CLASSES)[:, None]
    mean = (sums + 0.5) / (total + 1)
    # Geometric: (1 - r) r^a, of which a symbol has what lies between its first magnitude and the next one's.
    powers = (mean / (1 + mean)) ** first_magnitudes(symbols)
    wanted = (counts + _SMOOTHING * -np.diff(powers, axis=1)) / (total + _SMOOTHING)
    shares: npt.NDArray[np.int64] = np.maximum(np.rint(wanted * (1 << _SHARE_BITS)), 1).astype(np.int64)
    shares[np.arange(CLASSES), shares.argmax(axis=1)] += (1 << _SHARE_BITS) - shares.sum(axis=1)
    return shares
