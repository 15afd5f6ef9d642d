"""Projections of codebooks for the pruned search, which looks at few codes and finds the same index.

A code has four projections on its codebook's principal directions. The distance between the projections of a residual
and of a code bounds their true distance from below, so most codes are left out by their projections, and, sorted by the
first one, most are never looked at (Friedman, Baskett and Shustek 1975, "An algorithm for finding nearest neighbors",
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

from edgecodec.codec.numerics import INT8
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
MVE_STARTS = 64
"""First projections for which ``edc_rvq_mve.h`` has the block to start from."""
_LEAST_CODES = 32
"""Codes of a codebook from which on the pruned search is quicker than the full one."""
_MOST_SLACK = 128
"""Slack, in 1/256, with which the pruned search still leaves out enough codes."""
_LOOKS = 16
"""Distances that a search may compute in the mean of a frame; trained codecs need 4 to 9."""
_ROUNDING = 132
"""What the projections' rounding adds to a squared distance, beside 1/32 of it: see :func:`_slack`."""
_INT16_MAX = 32767
_INT32_MAX = 2**31 - 1
_BLOCK = structure(
    lengths=(np.int32, MVE_CODES),
    projections=(np.int16, (PROJECTIONS, MVE_CODES)),
    indices=(np.uint16, MVE_CODES),
)


class Search(StrEnum):
    """The C function that searches the codebooks."""

    PLAIN = "edc_rvq_quantize"
    MVE = "edc_rvq_quantize_mve"
    INT16 = "edc_rvq16_quantize"

    @property
    def header(self) -> str:
        """Header that declares it."""
        return {Search.PLAIN: "edc_rvq.h", Search.MVE: "edc_rvq_mve.h", Search.INT16: "edc_rvq16.h"}[self]

    @property
    def struct(self) -> str:
        """C type of its constants."""
        return {Search.PLAIN: "edc_rvq", Search.MVE: "edc_mve_rvq", Search.INT16: "edc_rvq16"}[self]

    @property
    def codebook_struct(self) -> str:
        """C type of a level's constants."""
        return {Search.PLAIN: "edc_codebook", Search.MVE: "edc_mve_codebook", Search.INT16: "edc_codebook16"}[self]

    @property
    def can_prune(self) -> bool:
        """Whether it looks at few of the codes where it is given sorted codebooks."""
        return self is not Search.INT16

    def fields(self, rvq: IntegerRvq) -> dict[str, int]:
        """Members of its constants behind the codebooks, their number and the dimension."""
        if self is Search.INT16:
            return {"down": -rvq.fraction_bits}
        row = {"row": mve_entries(rvq.dimension)} if self is Search.MVE else {}
        return row | {"fraction_bits": rvq.fraction_bits, "zero_point": rvq.latent_zero_point}


@dataclass(frozen=True)
class SortedCodebook:
    """What the pruned search knows of one level's codebook."""

    order: npt.NDArray[np.uint16]
    """``[K]``, index of each code in the order of their first projections."""
    projections: npt.NDArray[np.int16]
    """``[K, 4]`` in that order: ``floor(directions . code / 2^6)``, a bias among the code's entries."""
    directions: npt.NDArray[np.int8]
    """``[D, 4]``, 2^6 times nearly orthonormal columns."""
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
    gram = directions @ directions.T
    # The largest eigenvalue bounds how much the projection lengthens; a hair more against rounding.
    stretch = float(np.linalg.eigvalsh(gram.astype(np.float64)).max()) / 4.0**SHIFT * (1 + 1e-9)
    residual = math.sqrt(float((rvq.residual_bounds[level].astype(np.float64) ** 2).sum()))
    code = math.sqrt(float(rvq.keys(level).max()))
    slack = _slack(stretch)
    projections = (book @ directions.T) >> SHIFT
    longest = math.sqrt(max(stretch, 1.0)) * (residual + code) + PROJECTIONS
    if slack > _MOST_SLACK or longest**2 * (1 + slack / 256) + slack + _ROUNDING > _INT32_MAX:
        return None
    if projections.min() < -_INT16_MAX - 1 or projections.max() > _INT16_MAX:
        return None
    order = np.argsort(projections[:, 0], kind="stable")
    return SortedCodebook(
        order.astype(np.uint16),
        projections[order].astype(np.int16),
        np.ascontiguousarray(directions.T[: rvq.dimension].astype(np.int8)),
        slack,
    )


def frame_looks(positions: int, codebooks: Sequence[SortedCodebook | None]) -> int:
    """Distances of a frame that its pruned searches may compute before they go on as the full search."""
    return _LOOKS * positions * sum(found is not None for found in codebooks)


def mve_entries(dimension: int) -> int:
    """Entries of a code or residual of ``edc_rvq_mve.h``: whole vectors."""
    return dimension + -dimension % MVE_LANES


def choose_search(rvq: IntegerRvq, *, vectors: bool) -> Search:
    """The search for the quantiser's numerics and a core with or without vectors."""
    if rvq.numerics != INT8:
        return Search.INT16
    return Search.MVE if vectors else Search.PLAIN


def pack_codebook(rvq: IntegerRvq, level: int, found: SortedCodebook | None, search: Search) -> Constants:
    """The constants of a level for ``search``: sorted as ``found`` is, or as they are where it is None."""
    pack = _pack_for_mve if search is Search.MVE else _pack_plain
    return pack(rvq, level, found)


def _pack_plain(rvq: IntegerRvq, level: int, found: SortedCodebook | None) -> Constants:
    """``edc_codebook``, or ``edc_codebook16``, which is never sorted."""
    codes = rvq.codebooks[level]
    tables = [
        Table("codes", codes, f"[code][dimension] {list(codes.shape)}"),
        Table("keys", rvq.keys(level), "[code], squared length and bias"),
    ]
    figures = {}
    if found is not None:
        tables += [
            Table("order", found.order, "[place], index of the code"),
            Table("projections", found.projections, "[place][4], of the code"),
            Table("directions", found.directions, "[dimension][4]"),
        ]
        figures = {"slack": found.slack}
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
    padded = np.pad(found.directions, ((0, behind), (0, 0))).reshape(-1, MVE_LANES, PROJECTIONS)
    directions = padded.transpose(0, 2, 1)
    # Of each start the last block whose first projection is not above ``least_first + i 2^start_shift``, or 0.
    first = projections[:, 0, 0].astype(np.int64)
    shift = max(int(first[-1] - first[0]) // MVE_STARTS, 0).bit_length()
    starts = np.searchsorted(first, first[0] + (np.arange(MVE_STARTS) << shift), side="right") - 1
    of_blocks = "[place / 8]: squared lengths of the projections of eight codes, these, and the codes' indices"
    tables += [
        Table("blocks", blocks, of_blocks, struct="edc_code_block"),
        Table("directions", directions, f"[row / 8][4][8] {list(directions.shape)}"),
        Table("starts", starts.astype(np.uint16), "blocks to start from"),
    ]
    figures = {"slack": found.slack, "least_first": int(first[0]), "start_shift": shift, "size": len(codes)}
    return _constants(tables, figures)


def _constants(tables: Sequence[Table], figures: Mapping[str, int]) -> Constants:
    return Constants(tables=tuple(tables), fields={table.name: table for table in tables} | dict(figures))


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
