"""Many packets read at once: what each says of its frame, or why it is of none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import numpy as np
import numpy.typing as npt

from edgecodec.entropy.packet import PacketFormat
from edgecodec.errors import PacketError


class Status(IntEnum):
    """What a packet is."""

    GOOD = 0
    SHORT = 1
    """Fewer bytes than any packet has."""
    OTHER_TAG = 2
    """Damaged, or of another bundle."""
    REFUSED = 3
    """Of another version, or of no frame of this codec: as a rule one whose damage the check does not see."""


@dataclass(frozen=True)
class Unpacked:
    """N packets, one a row; what a packet that is not good says is 0."""

    status: npt.NDArray[np.uint8]
    """:class:`Status` ``[N]``."""
    tag: npt.NDArray[np.uint16]
    """The tag that each implies, ``[N]``."""
    sequence: npt.NDArray[np.uint8]
    """Number of its frame modulo 256, ``[N]``."""
    levels: npt.NDArray[np.uint8]
    """Levels that were sent, the first ones, ``[N]``; 0 for a flat frame."""
    indices: npt.NDArray[np.uint16]
    """``[N, P, L]``, 0 where none were sent."""
    offset: npt.NDArray[np.int32]
    """As the normaliser's, requantised, ``[N]``."""
    spread: npt.NDArray[np.uint64]
    """As the normaliser's, requantised, ``[N]``."""
    clipped: npt.NDArray[np.bool_]
    """Whether the frame reached an end of the converter's range, ``[N]``."""
    gap: npt.NDArray[np.bool_]
    """Whether samples were lost before the frame, ``[N]``."""

    @classmethod
    def empty(cls, count: int, positions: int, levels: int) -> Unpacked:
        """Zeros of ``count`` packets."""
        return cls(
            np.zeros(count, np.uint8),
            np.zeros(count, np.uint16),
            np.zeros(count, np.uint8),
            np.zeros(count, np.uint8),
            np.zeros((count, positions, levels), np.uint16),
            np.zeros(count, np.int32),
            np.zeros(count, np.uint64),
            np.zeros(count, np.bool_),
            np.zeros(count, np.bool_),
        )


class Unpacker(Protocol):
    """Reads packets of one format."""

    def unpack(self, packets: Sequence[bytes]) -> Unpacked:
        """What each of ``packets`` says; damage is a status, never an error."""
        ...


class ReferenceUnpacker:
    """Reads packets one by one as :meth:`PacketFormat.decode` does, in Python."""

    def __init__(self, packets: PacketFormat) -> None:
        self._packets = packets

    def unpack(self, packets: Sequence[bytes]) -> Unpacked:
        """What each of ``packets`` says; damage is a status, never an error."""
        packet_format = self._packets
        found = Unpacked.empty(len(packets), packet_format.positions, len(packet_format.codebook_sizes))
        for row, data in enumerate(packets):
            try:
                tag = packet_format.implied_tag(data)
            except PacketError:
                found.status[row] = Status.SHORT
                continue
            found.tag[row] = tag
            if tag != packet_format.tag:
                found.status[row] = Status.OTHER_TAG
                continue
            try:
                packet = packet_format.decode(data)
            except PacketError:
                found.status[row] = Status.REFUSED
                continue
            if packet.indices is not None:
                found.levels[row] = levels = packet.indices.shape[1]
                found.indices[row, :, :levels] = packet.indices
            found.sequence[row], found.offset[row], found.spread[row] = packet.sequence, packet.offset, packet.spread
            found.clipped[row], found.gap[row] = packet.clipped, packet.gap
        return found
