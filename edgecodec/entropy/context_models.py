"""Bits that codebook indices take: nominal, and under ideal static entropy models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.entropy.index_model import IndexModel
from edgecodec.errors import InputError

Indices = npt.NDArray[np.integer[Any]]
"""Codebook indices ``[N, P, L]``."""
Symbols = npt.NDArray[np.int64]
"""Indices or contexts of one level, as whole numbers."""
Probabilities = npt.NDArray[np.float64]
"""Probabilities, or ideal code lengths in bits, one an index."""

STRENGTHS = tuple(2.0**exponent for exponent in range(-3, 19))
"""Strengths of smoothing, in counts, that the held-out frames choose from."""
_CONTEXT_BITS = 17
"""Bits of one index plus one (:func:`_previous`) within a context of two."""
_HELD_OUT_SHARE = 5
"""One in so many training frames, the last ones, is held out to choose the strengths."""


@dataclass(frozen=True)
class LevelRate:
    """Bits of one level's indices."""

    codes: int
    """K, codes of the level's codebook."""
    nominal_bits: int
    """Bits of an index without any model, ``ceil(log2 K)``, at least 1."""
    order_0_bits: float
    """Mean bits of a test index under the static model without context."""
    order_1_bits: float
    """Mean bits of a test index under the static model with one context: the index at the previous position, or that
    of the level above."""
    conditional_bits: float
    """Mean bits of a test index under the static model with two contexts."""
    coded_bits: float | None
    """Mean bits of a test index under the model that packets are coded with; None without one."""
    perplexity: float
    """Codes that would, used alike, carry as many bits as the test indices do: ``2^H`` of their own distribution."""
    usage: float
    """Share of the codes that the test indices hold, 0 to 1."""


@dataclass(frozen=True)
class Rate:
    """Bits of a codec's indices, level by level and a frame."""

    positions: int
    """P, latent vectors of a frame."""
    levels: tuple[LevelRate, ...]
    """Rate of each level, first level first."""

    @property
    def bits_per_frame(self) -> dict[str, float]:
        """Mean bits of a frame by entropy model.

        Keys are ``nominal``, ``order_0``, ``order_1`` and ``conditional``, and ``coded`` if there is a
        model that packets are coded with.
        """
        totals = {
            "nominal": sum(float(level.nominal_bits) for level in self.levels),
            "order_0": sum(level.order_0_bits for level in self.levels),
            "order_1": sum(level.order_1_bits for level in self.levels),
            "conditional": sum(level.conditional_bits for level in self.levels),
        }
        coded = [level.coded_bits for level in self.levels if level.coded_bits is not None]
        if coded:
            totals["coded"] = sum(coded)
        return {model: self.positions * bits for model, bits in totals.items()}


def measure_rate(train: Indices, test: Indices, codebook_sizes: Sequence[int], model: IndexModel | None = None) -> Rate:
    """Rate of ``test`` indices ``[N, P, L]`` under static models estimated from ``train`` ``[M, P, L]`` alone.

    Every frame is coded by itself, position by position, level by level. The model of an index has a sequence
    of contexts, each narrower than the one before (the first position, with nothing before it, is a context of its
    own):

    - order 0: none;
    - order 1: for the first level its index at the previous position, for others the index one level up, here;
    - conditional: that and, for the first level, the second level's index at the previous position (with one
      level only, its own one position earlier); for the second level, the first level's index at the previous
      position; for further levels the index two levels up, here.

    A context's probabilities are its counts smoothed towards the wider context's, which end in the uniform
    distribution (hierarchical Dirichlet prior; MacKay and Peto, "A hierarchical Dirichlet language model", 1995)::

        p(x | c) = (n(c, x) + a p(x | wider c)) / (n(c) + a)

    so no index is impossible and a context never seen costs as much as the wider one. The strengths ``a`` are
    chosen one after the other, widest context first, from :data:`STRENGTHS`, to give the shortest code for the
    last fifth of the training frames under counts of the others; then all training frames are counted. With
    fewer than 5 training frames they are 1. Code lengths are ideal, ``-log2 p``: a range coder comes within a
    fraction of a percent, and tables cut down for a microcontroller cost more.

    ``model``, fitted beforehand to training frames, is the one that packets are coded with.

    Raises InputError for arrays of another rank or type, no frames, or indices outside their codebook.
    """
    train, test = _checked(train, "train", codebook_sizes), _checked(test, "test", codebook_sizes)
    if train.shape[1] != test.shape[1]:
        raise InputError(f"training frames have {train.shape[1]} positions; test frames have {test.shape[1]}")
    levels = []
    coded = None if model is None else model.code_lengths(test).mean(axis=(0, 1))
    for level, codes in enumerate(codebook_sizes):
        order_0, order_1, conditional = (float(bits.mean()) for bits in code_lengths(train, test, level, codes))
        perplexity, usage = perplexity_and_usage(test[..., level], codes)
        nominal = max(1, (codes - 1).bit_length())
        coded_bits = None if coded is None else float(coded[level])
        levels.append(LevelRate(codes, nominal, order_0, order_1, conditional, coded_bits, perplexity, usage))
    return Rate(test.shape[1], tuple(levels))


def code_lengths(train: Indices, test: Indices, level: int, codes: int) -> list[Probabilities]:
    """Ideal code lengths in bits of ``test[..., level]``, float64 ``[N, P]``, one array a context, widest first.

    ``test`` holds indices ``[N, P, L]`` of codebooks with ``codes`` codes at ``level``. The models are those of
    :func:`measure_rate`, estimated from indices ``train`` ``[M, P, L]``.
    """
    strengths = _choose_strengths(train, level, codes)
    every_context = _probabilities(train, test, level, codes, strengths)
    return [-np.log2(probabilities).reshape(test.shape[:2]) for probabilities in every_context]


def perplexity_and_usage(indices: Indices, codes: int) -> tuple[float, float]:
    """``2^H`` of the own distribution of ``indices`` of any shape, and the share of ``codes`` codes among them."""
    counts = np.bincount(indices.reshape(-1), minlength=codes)
    shares = counts[counts > 0] / counts.sum()
    return float(2.0 ** -np.sum(shares * np.log2(shares))), float(np.count_nonzero(counts)) / codes


def _choose_strengths(train: Indices, level: int, codes: int) -> list[float]:
    """Strengths of smoothing, one a context, widest first, by the code length of the last fifth of ``train``."""
    held_out = len(train) // _HELD_OUT_SHARE
    contexts = _contexts(train, level)
    if held_out == 0:
        return [1.0] * len(contexts)
    counted, judge = train[:-held_out], train[-held_out:]
    symbols = judge[..., level].reshape(-1).astype(np.int64)
    wider = np.full(len(symbols), 1.0 / codes)
    strengths = []
    for order in range(len(contexts)):
        hits, totals = _count(counted, judge, level, codes, order)
        options = [(hits + a * wider) / (totals + a) for a in STRENGTHS]
        best = int(np.argmin([-np.sum(np.log2(option)) for option in options]))
        strengths.append(STRENGTHS[best])
        wider = options[best]
    return strengths


def _probabilities(
    train: Indices, test: Indices, level: int, codes: int, strengths: Sequence[float]
) -> list[Probabilities]:
    """Probability of each test index ``[N P]`` under every context, widest first."""
    wider = np.full(test.shape[0] * test.shape[1], 1.0 / codes)
    found = []
    for order, strength in enumerate(strengths):
        hits, totals = _count(train, test, level, codes, order)
        wider = (hits + strength * wider) / (totals + strength)
        found.append(wider)
    return found


def _count(
    train: Indices, test: Indices, level: int, codes: int, order: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """How often ``train`` holds each test index in its context, and that context at all, both ``[N P]``."""
    seen, asked = _contexts(train, level)[order], _contexts(test, level)[order]
    seen_pairs = seen * codes + train[..., level].reshape(-1)
    asked_pairs = asked * codes + test[..., level].reshape(-1)
    return _occurrences(seen_pairs, asked_pairs), _occurrences(seen, asked)


def _occurrences(among: Symbols, wanted: Symbols) -> npt.NDArray[np.int64]:
    """How often each of ``wanted`` ``[N]`` is in ``among`` ``[M]``, int64 ``[N]``."""
    values, counts = np.unique(among, return_counts=True)
    at = np.minimum(np.searchsorted(values, wanted), len(values) - 1)
    found: npt.NDArray[np.int64] = np.where(values[at] == wanted, counts[at], 0)
    return found


def _contexts(indices: Indices, level: int) -> list[Symbols]:
    """The contexts of each index of ``level``, each int64 ``[N P]``, widest first."""
    wide = indices.astype(np.int64)
    if level == 0:
        near = _previous(wide[..., 0])
        further = _previous(wide[..., 1]) if wide.shape[2] > 1 else _previous(near)
    else:
        near = wide[..., level - 1]
        further = _previous(wide[..., 0]) if level == 1 else wide[..., level - 2]
    contexts = (np.zeros_like(near), near, (near << _CONTEXT_BITS) | further)
    return [context.reshape(-1) for context in contexts]


def _previous(symbols: Symbols) -> Symbols:
    """What ``symbols`` ``[N, P]`` hold at the previous position, plus one; 0 at the first."""
    shifted = np.zeros_like(symbols)
    shifted[:, 1:] = symbols[:, :-1] + 1
    return shifted


def _checked(indices: Indices, name: str, codebook_sizes: Sequence[int]) -> Indices:
    levels = len(codebook_sizes)
    if indices.ndim != 3 or indices.shape[2] != levels or indices.dtype.kind not in "iu":
        raise InputError(f"{name} indices are {indices.dtype} {indices.shape}; expected whole numbers [N, P, {levels}]")
    if indices.size == 0:
        raise InputError(f"there are no {name} indices; expected at least one frame")
    for level, codes in enumerate(codebook_sizes):
        chosen = indices[..., level]
        low, high = int(chosen.min()), int(chosen.max())
        if low < 0 or high >= codes:
            raise InputError(
                f"{name} index {low if low < 0 else high} at level {level}; the codebook has {codes} codes"
            )
    return indices
