"""What a board measured of itself, and how the link to it behaved."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Costs:
    """Mean cost of a frame."""

    unit: str
    """``"instructions"`` on emulated boards, ``"cycles"`` on real ones."""
    normalize: float
    encoder: float
    rvq: float

    @property
    def total(self) -> float:
        """All three stages."""
        return self.normalize + self.encoder + self.rvq


@dataclass(frozen=True)
class LayerCosts:
    """Mean cost of a frame part by part, without what it costs to read the counter."""

    unit: str
    """As :attr:`Costs.unit`."""
    normalize: float
    layers: tuple[float, ...]
    """Of each layer of the encoder."""
    rvq: float
    packet: float
    """Putting together the reply that carries the indices, CRC included."""


@dataclass
class LinkStatistics:
    """How the link behaved since the port was opened."""

    frames: int = 0
    retries: int = 0
    bad_messages: int = 0
