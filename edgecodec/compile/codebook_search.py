"""Projections of codebooks for the pruned search, which looks at few codes and finds the same index.

A code has four projections on its codebook's principal directions. The distance between the projections of a residual
and of a code bounds their true distance from below, so most codes are left out by their projections, and, sorted by one
of them, most are never looked at (Friedman, Baskett and Shustek 1975, "An algorithm for finding nearest neighbors",
with more than one projection).

The root of a bias is one more entry of its code, of which residuals have 0: their squared distance then is the sum of
squared distance and bias, which is what the search makes smallest. So the bound knows of biases, and the device of
nothing new.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from edgecodec.codec.numerics import INT8, Numerics
from edgecodec.codec.rvq import IntegerRvq
from edgecodec.compile.tables import Constants, Table, rows_of, structure

PROJECTIONS = 4
"""Directions that a code is projected on."""
SHIFT = 6
"""Fraction bits of the directions; a projection is rounded down to a whole number."""
MVE_CODES = 8
"""Codes of a block of ``edc_rvq_mve.h``."""
MVE_LANES = 8
"""Entries of a code that ``edc_rvq_quantize_mve`` takes at a time."""
STARTS = 64
"""First projections for which there is a place to start from."""
_LEAST_CODES = 32
"""Codes of a codebook from which on the pruned search is quicker than the full one."""
_MOST_SLACK = 128
"""Slack, in 1/256, with which the pruned search still leaves out enough codes."""
_LOOKS = 16
"""Distances that a search may compute in the mean of a frame; trained codecs need 2 to 7."""
_SAMPLES = 256
"""Codes at which residuals are taken to lie."""
_OFTEN_CHOSEN = 8.0
"""How many times the share of the code without bias all shares add up to: see :func:`_likely_visits`."""
_ROUNDING = 132
"""What the projections' rounding adds to a squared distance, beside 1/32 of it: see :func:`_slack`."""
_INT16_MAX = 32767
_INT32_MAX = 2**31 - 1
_UINT32_MAX = 2**32 - 1
_BLOCK = structure(
    lengths=(np.int32, MVE_CODES),
    projections=(np.int16, (PROJECTIONS, MVE_CODES)),
    indices=(np.uint16, MVE_CODES),
)


class Search(StrEnum):
    """The C function that searches the codebooks."""

    PLAIN = "edc_rvq_quantize"
    MVE = "edc_rvq_quantize_mve"
    PLAIN16 = "edc_rvq_quantize16"
    MVE16 = "edc_rvq_quantize16_mve"

    @property
    def has_vectors(self) -> bool:
        """Whether it works with vectors, on tables of its own."""
        return self in (Search.MVE, Search.MVE16)

    @property
    def header(self) -> str:
        """Header that declares it."""
        return "edc_rvq_mve.h" if self.has_vectors else "edc_rvq.h"

    @property
    def struct(self) -> str:
        """C type of its constants."""
        return "edc_mve_rvq" if self.has_vectors else "edc_rvq"

    @property
    def codebook_struct(self) -> str:
        """C type of a level's constants."""
        return "edc_mve_codebook" if self.has_vectors else "edc_codebook"

    def row(self, dimension: int) -> int:
        """Entries of a code or residual in memory."""
        return mve_entries(dimension) if self.has_vectors else dimension

    def fields(self, rvq: IntegerRvq) -> dict[str, int]:
        """Members of its constants behind the codebooks, their number and the dimension."""
        row = {"row": self.row(rvq.dimension)} if self.has_vectors else {}
        return row | {"fraction_bits": rvq.fraction_bits, "zero_point": rvq.latent_zero_point}


@dataclass(frozen=True)
class SortedCodebook:
    """What the pruned search knows of one level's codebook."""

    order: npt.NDArray[np.uint16]
    """``[K]``, index of each code in the order of their first projections."""
    projections: npt.NDArray[np.int16]
    """``[K, 4]`` in that order: ``floor(directions . code / 2^6)``, a bias among the code's entries."""
    directions: npt.NDArray[np.int8]
    """``[4, D]``, 2^6 times nearly orthonormal rows; the first is the one that leaves the fewest codes to look at."""
    slack: int
    """Share by which the squared distance of projections may exceed the true one, in 1/256, beside 132: see
    :func:`_slack`."""


def sort_codebook(rvq: IntegerRvq, level: int) -> SortedCodebook | None:
    """Sort a level's codebook, or None where the pruned search is not exact in 32 bits or does not pay."""
    book = rvq.codebooks[level].astype(np.int64)
    if len(book) < _LEAST_CODES:
        return None
    bias = rvq.bias(level)
    if bias.any():
        # Rounded down, so that the square is at most the bias: the bound stays one.
        book = np.column_stack([book, [math.isqrt(each) for each in bias.tolist()]])
    directions = _principal_directions(book)
    visits = _likely_visits(book, rvq.dimension, bias, directions)
    first = int(np.argmin(visits.round(3)))
    directions = directions[[first, *(row for row in range(PROJECTIONS) if row != first)]]
    gram = directions @ directions.T
    # The largest eigenvalue bounds how much the projection lengthens; a hair more against rounding.
    stretch = float(np.linalg.eigvalsh(gram.astype(np.float64)).max()) / 4.0**SHIFT * (1 + 1e-9)
    residual = _longest_residual(rvq, level)
    code = math.sqrt(float(rvq.keys(level).max()))
    slack = _slack(stretch)
    projections = (book @ directions.T) >> SHIFT
    # A residual and a code, or their projections.
    residual, code = (math.sqrt(max(stretch, 1.0)) * length + PROJECTIONS for length in (residual, code))
    if slack > _MOST_SLACK or (residual + code) ** 2 * (1 + slack / 256) + slack + _ROUNDING > _UINT32_MAX:
        return None
    on_residuals = directions[:, : rvq.dimension]
    farthest = _farthest(projections, on_residuals, rvq.residual_bounds[level], residual)
    if max(residual**2, farthest) > _INT32_MAX:
        return None
    if projections.min() < -_INT16_MAX - 1 or projections.max() > _INT16_MAX:
        return None
    order = np.argsort(projections[:, 0], kind="stable")
    return SortedCodebook(
        order.astype(np.uint16),
        projections[order].astype(np.int16),
        on_residuals.astype(np.int8),
        slack,
    )


def _likely_visits(
    book: npt.NDArray[np.int64], dimension: int, bias: npt.NDArray[np.int64], directions: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """For each of ``directions [4, D]``, how many codes a search sorted by it is likely to visit.

    Residuals are taken to lie at codes, as often as their biases say: a bias is lambda times the bits of a code's share
    (entropy-constrained vector quantisation), and lambda is found by saying how often the code without one is chosen.
    The nearest code then is about as far as the nearest border to another code's cell. Counted are codes whose first
    projection is within that. In eight trained codecs the direction of the least was the one that passed the fewest.
    """
    costs = bias.astype(np.float64)
    often = np.argsort(costs, kind="stable")[:_SAMPLES]
    shares = np.exp2(-costs[often] / _unit_of(costs))
    codes = book[:, :dimension].astype(np.float64)
    lengths = (codes**2).sum(axis=1)
    squared = lengths[often, None] + lengths - 2 * codes[often] @ codes.T
    apart = np.sqrt(squared, where=squared > 0, out=np.full(squared.shape, np.inf))
    border = ((apart + (costs - costs[often, None]) / apart) / 2).min(axis=1)
    limit = costs[often] + np.maximum(border, 0.0) ** 2
    counts = []
    for row in directions.astype(np.float64) / 2.0**SHIFT:
        away = (codes[often] @ row[:dimension])[:, None] - book @ row
        counts.append((away**2 <= limit[:, None]).sum(axis=1))
    visits: npt.NDArray[np.float64] = np.array(counts) @ shares / shares.sum()
    return visits


def _unit_of(costs: npt.NDArray[np.float64]) -> float:
    """What a bit is in ``costs``: the unit in which shares ``2^-costs`` add up to the chosen number."""
    least, most = 1e-3, 1e12
    for _ in range(100):
        unit = math.sqrt(least * most)
        least, most = (least, unit) if np.exp2(-costs / unit).sum() > _OFTEN_CHOSEN else (unit, most)
    return unit


def _farthest(
    projections: npt.NDArray[np.int64],
    directions: npt.NDArray[np.int64],
    bound: npt.NDArray[np.int64],
    longest: float,
) -> float:
    """The most that a code's squared distance of projections may be, less the residual's part.

    Of ``projections [K, 4]`` on ``directions [4, D]`` for residuals whose entries are at most ``bound [D]`` and whose
    projections are at most ``longest`` in length. The distances of the codes themselves fit int32 in every codec.
    """
    lengths = np.sqrt((projections.astype(np.float64) ** 2).sum(axis=1))
    # Each projection of a residual is rounded down, by less than 1.
    by_entries = np.abs(projections @ directions) @ bound / 2.0**SHIFT + np.abs(projections).sum(axis=1)
    return float((lengths**2 + 2 * np.minimum(lengths * longest, by_entries)).max())


def frame_looks(positions: int, codebooks: Sequence[SortedCodebook | None]) -> int:
    """Distances of a frame that its pruned searches may compute before they go on as the full search."""
    return _LOOKS * positions * sum(found is not None for found in codebooks)


def mve_entries(dimension: int) -> int:
    """Entries of a code or residual of ``edc_rvq_mve.h``: whole vectors."""
    return dimension + -dimension % MVE_LANES


def choose_search(numerics: Numerics, *, vectors: bool) -> Search:
    """The search for latents of ``numerics`` and a core with or without vectors."""
    if numerics == INT8:
        return Search.MVE if vectors else Search.PLAIN
    return Search.MVE16 if vectors else Search.PLAIN16


def pack_codebook(rvq: IntegerRvq, level: int, found: SortedCodebook | None, search: Search) -> Constants:
    """The constants of a level for ``search``: sorted as ``found`` is, or as they are where it is None."""
    pack = _pack_for_mve if search.has_vectors else _pack_plain
    return pack(rvq, level, found)


def _pack_plain(rvq: IntegerRvq, level: int, found: SortedCodebook | None) -> Constants:
    """``edc_codebook``."""
    codes = rvq.codebooks[level]
    tables = [
        Table("codes", codes, f"[code][dimension] {list(codes.shape)}"),
        Table("keys", rvq.keys(level), "[code], squared length and bias"),
    ]
    figures = {}
    if found is not None:
        padded = np.pad(found.directions.astype(np.int16), ((0, 0), (0, rvq.dimension % 2)))
        directions = padded.reshape(PROJECTIONS, -1, 2).transpose(1, 0, 2)
        first = found.projections[:, 0].astype(np.int64)
        shift = _start_shift(first)
        middles = first[0] + (np.arange(STARTS) << shift) + (1 << shift >> 1)
        # Near along the first direction, and often chosen: one that nothing chooses leaves no other out.
        starts = np.argmin((first - middles[:, None]) ** 2 + rvq.bias(level)[found.order], axis=1)
        tables += [
            Table("order", found.order, "[place], index of the code"),
            Table("projections", found.projections, "[place][4], of the code"),
            Table("directions", directions, f"[dimension / 2][4][2] {list(directions.shape)}"),
            Table("starts", starts.astype(np.uint16), "places to start from"),
        ]
        figures = {"slack": found.slack, "least_first": int(first[0]), "start_shift": shift}
    return _constants(tables, figures | {"size": len(codes)})


def _pack_for_mve(rvq: IntegerRvq, level: int, found: SortedCodebook | None) -> Constants:
    """``edc_mve_codebook``: zeros behind the dimension, and the last place repeated to whole blocks."""
    behind = mve_entries(rvq.dimension) - rvq.dimension
    codes = np.pad(rvq.codebooks[level], ((0, 0), (0, behind)))
    tables = [
        Table("codes", codes, f"[code][row] {list(codes.shape)}"),
        Table("keys", rvq.keys(level), "[code], squared length and bias"),
    ]
    if found is None:
        return _constants(tables, {"size": len(codes)})
    rest = -len(codes) % MVE_CODES
    projections = np.pad(found.projections, ((0, rest), (0, 0)), mode="edge").reshape(-1, MVE_CODES, PROJECTIONS)
    lengths = (projections.astype(np.int64) ** 2).sum(axis=2)
    indices = np.pad(found.order, (0, rest), mode="edge").reshape(-1, MVE_CODES)
    blocks = rows_of(_BLOCK, lengths=lengths, projections=projections.transpose(0, 2, 1), indices=indices)
    padded = np.pad(found.directions, ((0, 0), (0, behind))).reshape(PROJECTIONS, -1, MVE_LANES)
    directions = padded.transpose(1, 0, 2)
    # Of each start the last block whose first projection is not above ``least_first + i 2^start_shift``, or 0.
    first = projections[:, 0, 0].astype(np.int64)
    shift = _start_shift(first)
    starts = np.searchsorted(first, first[0] + (np.arange(STARTS) << shift), side="right") - 1
    of_blocks = "[place / 8]: squared lengths of the projections of eight codes, these, and the codes' indices"
    tables += [
        Table("blocks", blocks, of_blocks, struct="edc_code_block"),
        Table("directions", directions, f"[row / 8][4][8] {list(directions.shape)}"),
        Table("starts", starts.astype(np.uint16), "blocks to start from"),
    ]
    figures = {"slack": found.slack, "least_first": int(first[0]), "start_shift": shift, "size": len(codes)}
    return _constants(tables, figures)


def _start_shift(first: npt.NDArray[np.int64]) -> int:
    """Logarithm of the least power of two of which STARTS steps reach over first projections ``[K]``, in order."""
    return max(int(first[-1] - first[0]) // STARTS, 0).bit_length()


def _constants(tables: Sequence[Table], figures: Mapping[str, int]) -> Constants:
    return Constants(tables=tuple(tables), fields={table.name: table for table in tables} | dict(figures))


def _longest_residual(rvq: IntegerRvq, level: int) -> float:
    """Length that no residual of ``level`` exceeds, rounded up.

    The search takes the code of the smallest squared distance and bias, so what is left is no longer than the root of
    that sum for any other code, such as a short one.
    """
    bounds = [math.sqrt(float((bound.astype(np.float64) ** 2).sum())) for bound in rvq.residual_bounds]
    longest = bounds[0]
    for before in range(level):
        lengths = np.sqrt((rvq.codebooks[before].astype(np.float64) ** 2).sum(axis=1))
        nearest = float(np.sqrt((longest + lengths) ** 2 + rvq.bias(before)).min())
        longest = min(bounds[before + 1], nearest)
    return longest * (1 + 1e-9)


def _slack(stretch: float) -> int:
    """Smallest share, in 1/256, with which no nearer code is left out.

    Projections are rounded down, so two of them differ by less than 1 too much or too little, and four of them by less
    than 2 in length: a code at squared distance D has projections within ``(sqrt(stretch D) + 2)^2``, which is at most
    ``stretch D (1 + 1/32) + 132``.
    """
    return math.ceil((stretch * (1 + 1 / 32) - 1) * 256)


def _principal_directions(book: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """``[4, D]``: the codes' principal directions times 2^6, rounded; zeros when there are fewer."""
    centred = book - book.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    rows = directions[:PROJECTIONS]
    # Either sign is as good, and LAPACK builds differ: take the one whose largest entry is positive.
    largest = np.take_along_axis(rows, np.abs(rows).argmax(axis=1)[:, None], axis=1)
    rounded = np.zeros((PROJECTIONS, book.shape[1]), np.int64)
    rounded[: len(rows)] = np.round(rows * np.sign(largest) * 2**SHIFT)
    return rounded
