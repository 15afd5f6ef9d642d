"""What a board measured of itself, and how the link to it behaved."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Costs:
    """Mean cost of a frame."""

    unit: str
    """What the costs count: ``"instructions"`` on emulated boards, ``"cycles"`` on real ones."""
    normalize: float
    """Mean cost of the normaliser, in :attr:`unit`."""
    encoder: float
    """Mean cost of the encoder, in :attr:`unit`."""
    rvq: float
    """Mean cost of the search in the codebooks, in :attr:`unit`."""
    packet: float | None
    """Mean cost of making the packet, entropy coding included, in :attr:`unit`; None when none was asked for."""

    @property
    def total(self) -> float:
        """Mean cost of normaliser, encoder, RVQ and packet together, in :attr:`unit`."""
        return self.normalize + self.encoder + self.rvq + (self.packet or 0.0)


@dataclass(frozen=True)
class LayerCosts:
    """Cost of a frame part by part, or the mean of several, without what it costs to read the counter."""

    unit: str
    """What the costs count: ``"instructions"`` on emulated boards, ``"cycles"`` on real ones."""
    normalize: float
    """Cost of the normaliser, in :attr:`unit`."""
    layers: tuple[float, ...]
    """Cost of each layer of the encoder, in its order and in :attr:`unit`."""
    rvq: float
    """Cost of the search in the codebooks, in :attr:`unit`."""
    packet: float | None
    """Cost of making the packet, entropy coding included, in :attr:`unit`; None when none was asked for."""
    reply: float
    """Cost of putting together the reply that carries the indices, CRC included, in :attr:`unit`."""

    @property
    def parts(self) -> tuple[float, ...]:
        """Costs of normaliser, layers, search, packet if any and reply, in the order in which they run."""
        packet = () if self.packet is None else (self.packet,)
        return (self.normalize, *self.layers, self.rvq, *packet, self.reply)


@dataclass
class LinkStatistics:
    """How the link behaved since the port was opened."""

    frames: int = 0
    """Frames encoded, each counted once."""
    retries: int = 0
    """Requests sent again, because their answer was damaged, lost or late."""
    bad_messages: int = 0
    """Messages that came damaged, and errors that the device answered to damaged requests."""
