"""Codebooks sorted for the pruned search, which looks at few codes and finds the same index.

A code's four keys are its projections on the codebook's principal directions. The distance between the keys
of a residual and of a code bounds their true distance from below, so most codes are left out by their keys,
and, sorted by the first key, most are never looked at (Friedman, Baskett and Shustek 1975, "An algorithm for
finding nearest neighbors", with more than one projection).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from edgecodec.codec.rvq import IntegerRvq

KEYS = 4
KEY_SHIFT = 6
MVE_CODES = 8
"""Codes of a block of ``edc_rvq_mve.h``."""
MVE_LANES = 8
"""Entries of a code that it takes at a time."""
MVE_STARTS = 64
"""First keys for which it has the block to start from."""
_LEAST_CODES = 32
"""Below this the full search is as quick."""
_MOST_SLACK = 128
_ROUNDING = 132
"""What keys' rounding adds to a squared distance, beside 1/32 of it: see :func:`_slack`."""
_INT16_MAX = 32767
_INT32_MAX = 2**31 - 1


class Search(StrEnum):
    """The C function that searches the codebooks."""

    PLAIN = "edc_rvq_quantize"
    MVE = "edc_rvq_quantize_mve"


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
    keys = (book @ projection.T) >> KEY_SHIFT
    longest = math.sqrt(max(stretch, 1.0)) * (residual + code) + KEYS
    if slack > _MOST_SLACK or longest**2 * (1 + slack / 256) + slack + _ROUNDING > _INT32_MAX:
        return None
    if keys.min() < -_INT16_MAX - 1 or keys.max() > _INT16_MAX:
        return None
    order = np.argsort(keys[:, 0], kind="stable")
    return SortedCodebook(
        order.astype(np.uint16),
        rvq.codebooks[level][order],
        rvq.norms(level)[order],
        keys[order].astype(np.int16),
        np.ascontiguousarray(projection.T.astype(np.int8)),
        slack,
    )


@dataclass(frozen=True)
class MveCodebook:
    """One level's codebook as ``edc_rvq_mve.h`` wants it. Without blocks it is in its own order and searched whole."""

    codes: npt.NDArray[np.int16]
    """``[K, row]``: zeros behind the dimension; with blocks K is a multiple of 8, the last code repeated."""
    blocks: tuple[MveBlock, ...] = ()
    """``[K / 8]``"""
    order: npt.NDArray[np.uint16] | None = None
    """``[K]``, index of each code in the codebook."""
    projection: npt.NDArray[np.int8] | None = None
    """``[row / 8, 4, 8]``"""
    starts: npt.NDArray[np.uint16] | None = None
    """``[64]``: the last block whose first key is not above ``least_key + i 2^start_shift``, or 0."""
    slack: int = 0
    least_key: int = 0
    start_shift: int = 0

    @property
    def table_bytes(self) -> int:
        """Flash of its tables."""
        blocks = sum(int(block.norms.nbytes + block.keys.nbytes) for block in self.blocks)
        others = (self.codes, self.order, self.projection, self.starts)
        return blocks + sum(int(table.nbytes) for table in others if table is not None)


@dataclass(frozen=True)
class MveBlock:
    """Keys of eight codes, key by key."""

    norms: npt.NDArray[np.int32]
    """``[8]``, squared lengths of the codes' keys."""
    keys: npt.NDArray[np.int16]
    """``[4, 8]``"""


def mve_entries(dimension: int) -> int:
    """Entries of a code or residual of ``edc_rvq_mve.h``: whole vectors."""
    return dimension + -dimension % MVE_LANES


def choose_search(rvq: IntegerRvq, *, vectors: bool) -> Search:
    """The search for a core with or without vectors.

    ``edc_rvq_quantize_mve`` squares the residual less a code, so that must fit 16 bits and its length 32.
    """
    for book, residual in zip(rvq.codebooks, rvq.residual_bounds, strict=True):
        reach = np.abs(book.astype(np.int64)).max(axis=0) + residual
        vectors = vectors and int(reach.max()) <= _INT16_MAX and int((reach * reach).sum()) < _INT32_MAX
    return Search.MVE if vectors else Search.PLAIN


def mve_codebook(rvq: IntegerRvq, level: int, found: SortedCodebook | None) -> MveCodebook:
    """The tables of a level, sorted as :func:`sort_codebook` has ``found``."""
    behind = mve_entries(rvq.dimension) - rvq.dimension
    if found is None:
        return MveCodebook(np.pad(rvq.codebooks[level], ((0, 0), (0, behind))))
    rest = -len(found.codes) % MVE_CODES
    codes = np.pad(np.pad(found.codes, ((0, 0), (0, behind))), ((0, rest), (0, 0)), mode="edge")
    keys = np.pad(found.keys, ((0, rest), (0, 0)), mode="edge").reshape(-1, MVE_CODES, KEYS)
    norms = (keys.astype(np.int64) ** 2).sum(axis=2).astype(np.int32)
    projection = np.pad(found.projection, ((0, behind), (0, 0))).reshape(-1, MVE_LANES, KEYS)
    first = keys[:, 0, 0].astype(np.int64)
    shift = max(int(first[-1] - first[0]) // MVE_STARTS, 0).bit_length()
    starts = np.searchsorted(first, first[0] + (np.arange(MVE_STARTS) << shift), side="right") - 1
    return MveCodebook(
        codes,
        tuple(MveBlock(norm, key.T) for norm, key in zip(norms, keys, strict=True)),
        np.pad(found.order, (0, rest), mode="edge"),
        np.ascontiguousarray(projection.transpose(0, 2, 1)),
        starts.astype(np.uint16),
        found.slack,
        int(first[0]),
        shift,
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
