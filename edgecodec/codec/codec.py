"""The codec: normaliser, encoder and quantiser that fit each other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from edgecodec.codec.graph import Graph
from edgecodec.codec.normalizer import Normalizer
from edgecodec.codec.numerics import INT8, Numerics
from edgecodec.codec.rvq import IntegerRvq
from edgecodec.codec.stages import Shape
from edgecodec.errors import PlanError, UnsupportedOpError


@dataclass(frozen=True)
class Codec:
    """All that SPEC.md 1 needs to turn ADC counts into codebook indices.

    Each part has proven when it was made that its integers cannot overflow. Raises PlanError when the parts are not
    of one codec, UnsupportedOpError when the encoder takes more than one channel.
    """

    normalizer: Normalizer
    graph: Graph
    rvq: IntegerRvq

    def __post_init__(self) -> None:
        source, latent = self.graph.input, self.graph.latent
        if source.channels != 1:
            raise UnsupportedOpError(f"the encoder takes {source.channels} channels; expected 1, frames (1, T, 1)")
        if self.rvq.dimension != latent.channels:
            raise PlanError(f"codes have {self.rvq.dimension} entries; the latent has {latent.channels} channels")
        fits = {
            "frame length": (self.normalizer.samples, source.width),
            "input scale": (self.normalizer.scale, source.scale),
            "input zero point": (self.normalizer.zero_point, source.zero_point),
            "normaliser's numerics": (self.normalizer.numerics.name, source.numerics.name),
            "latent scale": (self.rvq.latent_scale, latent.scale),
            "latent zero point": (self.rvq.latent_zero_point, latent.zero_point),
            "quantiser's numerics": (self.rvq.numerics.name, latent.numerics.name),
        }
        for what, (found, expected) in fits.items():
            if found != expected:
                raise PlanError(f"{what} is {found}; the encoder's is {expected}")

    @property
    def numerics(self) -> Numerics:
        """The integers of all its tensors."""
        return self.graph.input.numerics

    def refuse_wide(self, who: str) -> None:
        """Raise PlanError when the numerics are not int8's, all that ``who``, a subject with its verb, knows."""
        if self.numerics != INT8:
            raise PlanError(
                f"{who} {INT8.name} alone; the bundle's numerics are {self.numerics.name}",
                hint="the generated C runs them, here (`edgecodec verify-host`) and on boards",
            )

    @property
    def samples(self) -> int:
        """T, ADC counts of a frame."""
        return self.graph.input.width

    @property
    def positions(self) -> int:
        """P, latent vectors of a frame."""
        return self.graph.latent.width

    @property
    def levels(self) -> int:
        """L, codebooks."""
        return self.rvq.levels

    @property
    def shape(self) -> Shape:
        """The sizes of its stages."""
        return Shape(self.samples, self.positions, self.levels, self.rvq.dimension)

    @cached_property
    def bits_per_frame(self) -> int:
        """Nominal bits of a frame: ``P sum ceil(log2 K)``."""
        return self.positions * sum(max(1, (k - 1).bit_length()) for k in self.rvq.codebook_sizes)

    def __repr__(self) -> str:
        codes = "/".join(map(str, self.rvq.codebook_sizes))
        return (
            f"Codec({self.samples} samples to {self.positions} x {self.levels} indices of {codes} codes, "
            f"{len(self.graph.layers)} layers, {self.numerics.name})"
        )
