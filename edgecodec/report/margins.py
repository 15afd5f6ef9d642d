"""How near the codebook search's decisions are, and what it costs that one is another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecodec.codec.arrays import Activations, Frames, Indices
from edgecodec.codec.rvq import IntegerRvq
from edgecodec.codec.stages import Stages
from edgecodec.decoding.decoder import FrameDecoder
from edgecodec.report.documents import FlipCost, LevelMargins
from edgecodec.signal.quality import prdn

EDGES = (0.25, 1.0, 4.0, 16.0, 64.0, 256.0, 1024.0)
"""Upper ends of the bins of :attr:`LevelMargins.histogram`, in steps of the latent; the last bin has none."""
LOOKED_AT = 64
"""Frames whose decisions are looked at, at most."""
_FLIPPED = 8
"""Frames in which indices are flipped, at most."""
_FLIPS = 4
"""Flips of each kind in a frame and level, at most."""
_CHUNK_ELEMENTS = 1 << 21
"""Distances held at a time."""


@dataclass(frozen=True)
class Decisions:
    """The decisions of one codebook."""

    chosen: npt.NDArray[np.intp]
    """The codes chosen, ``[M]``."""
    next_best: npt.NDArray[np.intp]
    """The codes that come next, ``[M]``; the chosen ones of a codebook of one code."""
    margin: npt.NDArray[np.float64]
    """Distance of the residual from the boundary between both, in steps of the latent, ``[M]``; infinite where there is
    one code."""


def decide(rvq: IntegerRvq, residual: npt.NDArray[np.int64], level: int) -> Decisions:
    """Search ``level`` for residuals int64 ``[M, D]`` in steps of the codes, and say what nearly won.

    With costs ``c`` (squared distance and bias, SPEC.md 1.3) of the code chosen ``a`` and the next best ``b``, the
    boundary is a plane at ``(c_b - c_a) / (2 |b - a|)`` from the residual.
    """
    book = rvq.codebooks[level].astype(np.float64)
    keys = rvq.keys(level).astype(np.float64)
    chosen = np.zeros(len(residual), np.intp)
    following = np.zeros(len(residual), np.intp)
    margin = np.full(len(residual), np.inf)
    rows = max(1, _CHUNK_ELEMENTS // len(book))
    for start in range(0, len(residual), rows):
        part = slice(start, start + rows)
        costs = keys - 2.0 * (residual[part] @ book.T)
        every = np.arange(len(costs))
        chosen[part] = first = costs.argmin(axis=1)
        least = costs[every, first].copy()
        if len(book) == 1:
            continue
        costs[every, first] = np.inf
        following[part] = second = costs.argmin(axis=1)
        apart = np.linalg.norm(book[second] - book[first], axis=1)
        above = costs[every, second] - least
        margin[part] = np.divide(above, 2.0 * apart, out=np.zeros_like(above), where=apart > 0)
    return Decisions(chosen, following, margin / 2.0**rvq.fraction_bits)


def measure_margins(rvq: IntegerRvq, latent: Activations) -> tuple[LevelMargins, ...]:
    """The margins of latents ``[N, P, D]``, a codebook each; those of one code have none and are left out."""
    residual = rvq.residual(latent.reshape(-1, rvq.dimension))
    found = []
    for level, book in enumerate(rvq.codebooks):
        decisions = decide(rvq, residual, level)
        residual = residual - book[decisions.chosen]
        if len(book) == 1:
            continue
        margin = decisions.margin
        least, p01, median = (float(value) for value in np.percentile(margin, (0, 1, 50)))
        counts = np.bincount(np.searchsorted(EDGES, margin, side="right"), minlength=len(EDGES) + 1)
        ties = int(np.count_nonzero(margin == 0))
        found.append(LevelMargins(level, len(margin), ties, least, p01, median, tuple(counts.tolist())))
    return tuple(found)


def measure_flips(
    rvq: IntegerRvq, decoder: FrameDecoder, frames: Frames, reference: Stages
) -> tuple[FlipCost, ...] | None:
    """What a flipped index of ``frames`` int16 ``[N, T]`` costs, of which ``reference`` has the stages.

    None where all frames are constant, of which PRDN is not defined, or the decoder returns NaN or infinity.
    """
    moving = np.flatnonzero(np.any(frames != frames[:, :1], axis=1))
    if not len(moving):
        return None
    taken = moving[np.linspace(0, len(moving) - 1, min(_FLIPPED, len(moving))).astype(np.intp)]
    assert reference.latent is not None
    latent, indices = reference.latent[taken], reference.indices[taken].astype(np.intp)
    rng = np.random.default_rng(0)
    usual = _prdn(decoder, frames, reference, taken, indices)
    costs = []
    for level, size in enumerate(rvq.codebook_sizes):
        if size == 1:
            continue
        near, near_owner = _next_best(rvq, latent, indices, level)
        wild, wild_owner = _any(rng, indices, level, size)
        for name, flipped, owner in (("next best", near, near_owner), ("any", wild, wild_owner)):
            rise = _prdn(decoder, frames, reference, taken[owner], flipped) - usual[owner]
            if not np.isfinite(rise).all():
                return None
            costs.append(FlipCost(level, name, len(rise), float(rise.mean()), float(rise.max())))
    return tuple(costs)


def _next_best(
    rvq: IntegerRvq, latent: Activations, indices: npt.NDArray[np.intp], level: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Indices ``[M, P, L]`` of frames in which the nearest decision of ``level`` went the other way; whose each is."""
    flipped, owners = [], []
    for owner, (rows, before) in enumerate(zip(latent, indices, strict=True)):
        residual = rvq.residual(rows)
        for above in range(level):
            residual = residual - rvq.codebooks[above][before[:, above]]
        decisions = decide(rvq, residual, level)
        for position in np.argsort(decisions.margin, kind="stable")[:_FLIPS]:
            after = before.copy()
            after[position, level] = decisions.next_best[position]
            rest = residual[position : position + 1]
            for behind in range(level + 1, rvq.levels):
                rest = rest - rvq.codebooks[behind - 1][after[position : position + 1, behind - 1]]
                after[position, behind] = decide(rvq, rest, behind).chosen[0]
            flipped.append(after)
            owners.append(owner)
    return np.array(flipped), np.array(owners)


def _any(
    rng: np.random.Generator, indices: npt.NDArray[np.intp], level: int, size: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Indices ``[M, P, L]`` of frames with a random other code of ``level`` at a random position; whose each is."""
    owners = np.repeat(np.arange(len(indices)), _FLIPS)
    flipped = indices[owners]
    every, positions = np.arange(len(owners)), rng.integers(0, indices.shape[1], len(owners))
    old = flipped[every, positions, level]
    flipped[every, positions, level] = (old + rng.integers(1, size, len(owners))) % size
    return flipped, owners


def _prdn(
    decoder: FrameDecoder,
    frames: Frames,
    reference: Stages,
    numbers: npt.NDArray[np.intp],
    indices: npt.NDArray[np.intp],
) -> npt.NDArray[np.float64]:
    """PRDN ``[M]`` in percent of the frames of these numbers, decoded from ``indices`` ``[M, P, L]``."""
    assert reference.offset is not None
    assert reference.spread is not None
    chosen: Indices = indices.astype(np.uint16)
    decoded = decoder.decode(chosen, reference.offset[numbers], reference.spread[numbers])
    return prdn(frames[numbers], decoded)
