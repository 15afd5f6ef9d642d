"""What a packet's coder asks of a model of codebook indices (SPEC.md 5.4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgecodec.entropy.range_coder import RangeDecoder

Indices = npt.NDArray[np.integer[Any]]
"""Codebook indices of a frame ``[P, L]``, or of frames ``[N, P, L]``."""


class IndexModel(Protocol):
    """A static model of a frame's indices, in integers alone: the same shares on every machine."""

    @property
    def codebook_sizes(self) -> Sequence[int]:
        """Codes of each level, K."""
        ...

    @property
    def flash_bytes(self) -> int:
        """Bytes of its tables on a device."""
        ...

    def intervals(self, indices: Indices) -> Iterator[tuple[int, int]]:
        """Start and size, of 2^24, of each decision that tells ``indices`` ``[P, l]``, ``1 <= l <= L``."""
        ...

    def decode(self, decoder: RangeDecoder, positions: int, levels: int) -> Indices:
        """Read indices uint16 ``[positions, levels]``. Raises PacketError when the payload is of no indices."""
        ...

    def code_lengths(self, indices: Indices) -> npt.NDArray[np.float64]:
        """Bits of each index of ``[N, P, L]`` under the shares that are coded with, float64 ``[N, P, L]``."""
        ...
