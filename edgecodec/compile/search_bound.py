"""The most that the codebook search of a frame takes, whatever the latent is.

*Proven*, by the C's own count: a frame's pruned searches compute at most ``Plan.looks`` distances in all, and the full
search compares each code of a search once, whatever came before.

*Measured*: what each of these costs in instructions, on emulated boards (QEMU, GCC 12.2), by frames that differ in what
is looked at. Another compiler may take more or less. ``tests/emulated/test_search_bound.py`` compares the sum with
latents that reach it: it is never below, and at most a ninth above what they take.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from edgecodec.codec.codec import Codec
from edgecodec.compile.plan import Plan
from edgecodec.compile.target import Optimize

LONG_DIMENSION, SHORT_DIMENSION, TINY_DIMENSION = 16, 8, 4
"""Dimensions for which the full search has kernels of their own; vectors have whole ones of 8."""


@dataclass(frozen=True)
class SearchBound:
    """The most that the codebook search of a frame takes."""

    looks: int
    """Distances that pruned searches compute before all others look at all codes; 0 where all do from the start."""
    codes: int
    """Codes that are compared where all searches look at all codes."""
    instructions: int | None
    """Instructions of a frame; null where no core is named."""


class _Core(Enum):
    """Cores by what the search makes of them."""

    VECTORS = "Cortex-M55"
    SIMD = "Cortex-M4, M7, M33"
    LONG_MULTIPLY = "Cortex-M3"
    PLAIN = "Cortex-M0, M0+, M23"

    @classmethod
    def of(cls, plan: Plan) -> _Core:
        if plan.search.has_vectors:
            return cls.VECTORS
        if plan.target.simd:
            return cls.SIMD
        return cls.LONG_MULTIPLY if plan.target.long_multiply else cls.PLAIN


@dataclass(frozen=True)
class _Costs:
    """Instructions of the search's parts, rounded up. Costs of a dimension D are ``a + b D``."""

    position: tuple[float, float]
    """Of a position, beside its searches."""
    search: tuple[float, float]
    """Of a full search, beside its codes."""
    kernels: tuple[float, ...]
    """Of a code of 16, 8 and 4 entries in the full search."""
    other_code: tuple[float, float, float]
    """Of a code in the full search at another dimension: once, for each eight entries, and for each one over."""
    few: tuple[float, float]
    """Of a pruned search, beside what it looks at."""
    projection: float
    """Of a code's projections."""
    look: float
    """Of a distance to a code of 16 entries in the pruned search."""

    def full(self, codes: int, dimension: int) -> float:
        """A search that looks at all codes."""
        kernels = dict(zip((LONG_DIMENSION, SHORT_DIMENSION, TINY_DIMENSION), self.kernels, strict=False))
        each = kernels.get(dimension, self._other(dimension))
        return self.search[0] + self.search[1] * dimension + codes * each

    def pruned(self, codes: int, dimension: int) -> float:
        """A search that looks at the projections of all codes, without the distances."""
        return self.few[0] + self.few[1] * dimension + (codes + -codes % _BLOCK_CODES) * self.projection

    def distance(self, dimension: int) -> float:
        """A distance in the pruned search."""
        return self.look + self._other(dimension) - self._other(LONG_DIMENSION)

    def _other(self, dimension: int) -> float:
        once, eight, one = self.other_code
        return once + eight * (dimension // 8) + one * (dimension % 8)


_SPEED, _BALANCED, _FLASH = Optimize.SPEED, Optimize.BALANCED, Optimize.FLASH
_COSTS = {
    # Where a code that is nearer than all before costs more, each is taken to be.
    _Core.VECTORS: {
        _SPEED: _Costs((52, 1), (60, 0.75), (15.1, 11.1), (15, 4.1, 0), (102, 7), 7, 40),
        _BALANCED: _Costs((52, 1), (60, 0.75), (15.1, 11.1), (15, 4.1, 0), (102, 7), 7, 40),
        _FLASH: _Costs((42, 0.9), (157, 0.9), (16.1, 12.1), (17, 5, 0), (102, 7), 7, 40),
    },
    _Core.SIMD: {
        _SPEED: _Costs((74, 7), (58, 3), (19.5, 12, 10), (22, 16, 8), (95, 11), 10.5, 90),
        _BALANCED: _Costs((66, 7), (62, 3), (19.5, 12, 10), (24, 16, 8), (102, 11), 10.5, 90),
        _FLASH: _Costs((47, 8), (64, 4), (19.5, 12, 10), (32, 20, 8), (102, 11), 10.5, 90),
    },
    _Core.LONG_MULTIPLY: {
        _SPEED: _Costs((69, 4), (62, 9), (55.1, 31.1, 19.1), (24, 28, 8), (95, 19), 17, 132),
        _BALANCED: _Costs((58, 4), (60, 11.5), (55.1, 31.1, 19.1), (26, 29, 8), (104, 19), 29, 152),
        _FLASH: _Costs((41, 5), (60, 12.8), (61.1, 37.1, 23.1), (33, 32, 8.5), (104, 19), 29, 152),
    },
    _Core.PLAIN: {
        _SPEED: _Costs((118, 1.1), (110, 12.6), (102.1, 54.1, 30.1), (41, 53, 17), (126, 35), 30, 218),
        _BALANCED: _Costs((86, 2.5), (133, 16), (102.1, 54.1, 30.1), (44, 53, 23), (130, 32), 49, 253),
        _FLASH: _Costs((46, 6.4), (142, 19.3), (93.1, 53.1, 33.1), (44, 53, 23), (130, 32), 49, 253),
    },
}
_BLOCK_CODES = 8
"""Codes whose projections are looked at together, on vectors."""


def bound_search(codec: Codec, plan: Plan, *, is_for_core: bool = True) -> SearchBound:
    """The most that the search of a frame of ``codec`` takes by ``plan``.

    Instructions are those of the core that the plan was made for; without one (``is_for_core``) they are not known.
    """
    sizes, dimension = codec.rvq.codebook_sizes, plan.search.row(codec.rvq.dimension)
    costs = _COSTS[_Core.of(plan)][plan.target.optimize]
    searches, beginning = 0.0, 0.0
    for size, found in zip(sizes, plan.codebooks, strict=True):
        full = costs.full(size, dimension)
        # A pruned search that has the looks it needs takes them and less than a full one, or little more.
        pruned = costs.pruned(size, dimension) if found is not None else 0.0
        searches += max(full, pruned)
        beginning = max(beginning, pruned)  # of the one search that begins with looks and ends without
    position = costs.position[0] + costs.position[1] * dimension
    instructions = codec.positions * (position + searches) + beginning + plan.looks * costs.distance(dimension)
    return SearchBound(plan.looks, codec.positions * sum(sizes), math.ceil(instructions) if is_for_core else None)
