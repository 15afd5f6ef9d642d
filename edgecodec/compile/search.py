"""Codebooks sorted for the pruned search, which looks at few codes and finds the same index.

A code's four keys are its projections on the codebook's principal directions. The distance between the keys
of a residual and of a code bounds their true distance from below, so most codes are left out by their keys,
and, sorted by the first key, most are never looked at (Friedman, Baskett and Shustek 1975, "An algorithm for
finding nearest neighbors", with more than one projection).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecodec.rvq import IntegerRvq

KEYS = 4
KEY_SHIFT = 6
_LEAST_CODES = 32
"""Below this the full search is as quick."""
_LONGEST = 46340
"""Squares up to this fit int32."""
_MOST_SLACK = 128


@dataclass(frozen=True)
class SortedCodebook:
    """One level's codebook in the order of its first key."""

    order: npt.NDArray[np.uint16]
    """``[K]``, index of each code in the codebook."""
    codes: npt.NDArray[np.int16]
    """``[K, D]``"""
    norms: npt.NDArray[np.int32]
    """``[K]``, squared lengths."""
    keys: npt.NDArray[np.int16]
    """``[K, 4]``: ``floor(projection . code / 2^6)``."""
    projection: npt.NDArray[np.int8]
    """``[D, 4]``, 2^6 times nearly orthonormal columns."""
    slack: int
    """What the squared distance of keys may exceed the true one by, in 1/256 (and 132): see :func:`_slack`."""

    @property
    def extra_bytes(self) -> int:
        """Flash beside codes and norms, which the full search has too."""
        return int(self.order.nbytes + self.keys.nbytes + self.projection.nbytes)


def sort_codebook(rvq: IntegerRvq, level: int) -> SortedCodebook | None:
    """Sort a level's codebook, or None where the pruned search is not exact in 32 bits or does not pay."""
    book = rvq.codebooks[level].astype(np.int64)
    if len(book) < _LEAST_CODES:
        return None
    projection = _principal_directions(book)
    gram = projection @ projection.T
    # The largest eigenvalue bounds how much the projection lengthens; a hair more against rounding.
    stretch = float(np.linalg.eigvalsh(gram.astype(np.float64)).max()) / 4.0**KEY_SHIFT * (1 + 1e-9)
    residual = math.sqrt(float((rvq.residual_bounds[level].astype(np.float64) ** 2).sum()))
    code = math.sqrt(float((book * book).sum(axis=1).max()))
    slack = _slack(stretch)
    if math.sqrt(max(stretch, 1.0)) * (residual + code) + KEYS > _LONGEST or slack > _MOST_SLACK:
        return None
    keys = (book @ projection.T) >> KEY_SHIFT
    order = np.argsort(keys[:, 0], kind="stable")
    return SortedCodebook(
        order.astype(np.uint16),
        rvq.codebooks[level][order],
        rvq.norms(level)[order],
        keys[order].astype(np.int16),
        np.ascontiguousarray(projection.T.astype(np.int8)),
        slack,
    )


def _slack(stretch: float) -> int:
    """Smallest share, in 1/256, with which no nearer code is left out.

    Keys are rounded down, so two keys' difference is off by less than 1 and four of them by less than 2 in
    length: a code at squared distance D has keys within ``(sqrt(stretch D) + 2)^2``, which is at most
    ``stretch D (1 + 1/32) + 132``.
    """
    return math.ceil((stretch * (1 + 1 / 32) - 1) * 256)


def _principal_directions(book: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """``[4, D]``: the codes' principal directions times 2^6, rounded; zeros when there are fewer."""
    centred = book - book.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    rows = directions[:KEYS]
    # Either sign is as good, and LAPACK builds differ: take the one whose largest entry is positive.
    largest = np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1)
    projection = np.zeros((KEYS, book.shape[1]), np.int64)
    projection[: len(rows)] = np.round(rows * np.sign(largest) * 2**KEY_SHIFT)
    return projection
