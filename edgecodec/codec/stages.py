"""What an executor of a codec returns: the stages of SPEC.md 1 and the packet of SPEC.md 5, for many frames.

:data:`STAGES` is the one list of them. The link's replies, the comparison and all that joins or allocates results
follow from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgecodec.codec.arrays import Activations, Frames, Indices
from edgecodec.codec.numerics import INT8, Numerics

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Shape:
    """Sizes of a codec."""

    samples: int
    """T, ADC counts of a frame."""
    positions: int
    """P, latent vectors of a frame."""
    levels: int
    """L, codebooks."""
    latent_channels: int
    """D, entries of a latent vector."""


@dataclass(frozen=True)
class Stage:
    """One result of a frame."""

    name: str
    sizes: tuple[str, ...]
    """Shape of a frame's array, as fields of :class:`Shape`; empty for one number a frame."""
    axes: tuple[str, ...]
    """What an index along each axis is called when a value differs: ``position``, ``channel`` or ``level``."""
    dtype: np.dtype[Any] | None
    """None for the activation type of the codec's numerics."""

    @property
    def varies(self) -> bool:
        """Whether frames have different numbers of bytes: its array is of Python's ``bytes``, one a frame."""
        return self.dtype == np.object_

    @property
    def is_statistic(self) -> bool:
        """Whether it is one number a frame, which travels with the indices."""
        return not self.sizes and not self.varies

    def shape(self, shape: Shape) -> tuple[int, ...]:
        """Shape of one frame's array in a codec of ``shape``."""
        return tuple(int(getattr(shape, size)) for size in self.sizes)

    def type_in(self, numerics: Numerics) -> np.dtype[Any]:
        """Type of its values in a codec of ``numerics``."""
        return numerics.activation if self.dtype is None else self.dtype


STAGES = (
    Stage("offset", (), (), np.dtype(np.int32)),
    Stage("spread", (), (), np.dtype(np.uint64)),
    Stage("input", ("samples",), ("position",), None),
    Stage("latent", ("positions", "latent_channels"), ("position", "channel"), None),
    Stage("indices", ("positions", "levels"), ("position", "level"), np.dtype(np.uint16)),
    Stage("packet", (), ("position",), np.dtype(np.object_)),
)
"""In the order in which a codec computes them."""
STAGE_NAMES = tuple(stage.name for stage in STAGES)
CODEC_STAGES = tuple(stage.name for stage in STAGES if not stage.varies)
"""Stages of the codec itself; a packet is made of what they give."""


class Stages:
    """Results of N frames, an array a stage; a stage that an executor does not compute is None.

    ``input`` is int8 ``[N, T]``, the normalised and quantised frame; ``latent`` int8 ``[N, P, D]``, the encoder's
    output; ``indices`` uint16 ``[N, P, L]``, the codebook indices; ``offset`` int32 ``[N]`` and ``spread`` uint64
    ``[N]`` are what the normaliser removed (SPEC.md 1.1). Input and latent are of the activation type of other
    numerics than int8. ``packet`` is ``[N]`` of Python's ``bytes``, so nothing lies behind a packet's end.
    """

    def __init__(self, **arrays: Array | None) -> None:
        """Take ``[N, ...]`` arrays by the names of :data:`STAGES`. Raises TypeError for another name."""
        unknown = arrays.keys() - set(STAGE_NAMES)
        if unknown:
            raise TypeError(f"{', '.join(sorted(unknown))}: no such stage; expected {', '.join(STAGE_NAMES)}")
        self._arrays = {name: array for name in STAGE_NAMES if (array := arrays.get(name)) is not None}

    @classmethod
    def empty(cls, count: int, shape: Shape, names: Sequence[str] = CODEC_STAGES, numerics: Numerics = INT8) -> Stages:
        """Arrays of the stages ``names`` for ``count`` frames, to be filled."""
        wanted = [stage for stage in STAGES if stage.name in names]
        return cls(**{stage.name: np.empty((count, *stage.shape(shape)), stage.type_in(numerics)) for stage in wanted})

    @classmethod
    def join(cls, parts: Sequence[Stages]) -> Stages:
        """The frames of ``parts``, one part after the other; the stages that the first has."""
        return cls(**{name: np.concatenate([part[name] for part in parts]) for name in parts[0].names})

    @property
    def names(self) -> tuple[str, ...]:
        """The stages that there are."""
        return tuple(self._arrays)

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]

    def get(self, name: str) -> Array | None:
        """The array of a stage, or None."""
        return self._arrays.get(name)

    def changed(self, **arrays: Array | None) -> Stages:
        """These results with some stages replaced, or left out where the value is None."""
        return Stages(**{**self._arrays, **arrays})

    @property
    def input(self) -> Activations | None:
        """``[N, T]``"""
        return self.get("input")

    @property
    def latent(self) -> Activations | None:
        """``[N, P, D]``"""
        return self.get("latent")

    @property
    def indices(self) -> Indices:
        """``[N, P, L]``; every executor has them."""
        return self["indices"]

    @property
    def offset(self) -> npt.NDArray[np.int32] | None:
        """``[N]``"""
        return self.get("offset")

    @property
    def spread(self) -> npt.NDArray[np.uint64] | None:
        """``[N]``"""
        return self.get("spread")

    @property
    def packet(self) -> npt.NDArray[np.object_] | None:
        """``[N]`` of ``bytes``"""
        return self.get("packet")

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in self._arrays.items())
        return f"Stages({shapes})"


class Executor(Protocol):
    """Runs a codec over frames of ADC counts."""

    @property
    def name(self) -> str:
        """Short name, as comparisons and reports have it."""
        ...

    def stages(self, frames: Frames) -> Stages:
        """Encode int16 ``[N, T]`` and keep every stage that this executor computes."""
        ...

    def encode(self, frames: Frames) -> Indices:
        """Encode int16 ``[N, T]`` into uint16 ``[N, P, L]``."""
        ...
