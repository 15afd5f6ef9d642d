"""Packet formats and frames to test with: a model of indices, its frames, and their side information."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecodec.entropy.context_tables import TableFitting
from edgecodec.entropy.index_model import IndexModel
from edgecodec.entropy.packet import PacketFormat
from edgecodec.entropy.side_information import SideInformation

DIGEST = "5ec" + 61 * "0"
SIDE = SideInformation(320, 8, 8, 2048, 12, 3)


@dataclass(frozen=True)
class Frames:
    """Frames of indices uint16 ``[N, P, L]`` and what the normaliser said of them."""

    indices: npt.NDArray[np.uint16]
    offsets: list[int]
    spreads: list[int]


def walk(seed: int, count: int, positions: int, sizes: tuple[int, ...]) -> npt.NDArray[np.uint16]:
    """Indices ``[count, positions, L]`` that follow each other: each level drifts about what is above and before it."""
    rng = np.random.default_rng([seed, 70])
    found = np.zeros((count, positions, len(sizes)), np.uint16)
    before = rng.integers(0, sizes[0], count)
    for position in range(positions):
        above = before
        for level, codes in enumerate(sizes):
            above = (above + np.round(rng.laplace(0, 1 + codes / 16, count)).astype(int)) % codes
            found[:, position, level] = above
        before = found[:, position, 0].astype(int)
    return found


def tables(seed: int, positions: int, sizes: tuple[int, ...], flash_bytes: int = 8192) -> IndexModel:
    """Context tables of :func:`walk`."""
    return TableFitting(walk(seed, 200, positions, sizes), sizes).fit(flash_bytes)


def packet_format(
    seed: int, model: IndexModel | None, positions: int, sizes: tuple[int, ...], side: SideInformation | None = SIDE
) -> PacketFormat:
    """Packets of a codec of ``sizes`` codes a level."""
    return PacketFormat(sizes, positions, f"{seed & 0xFFF:03x}" + DIGEST[3:], side, model)


def frames(seed: int, count: int, positions: int, sizes: tuple[int, ...]) -> Frames:
    """Half of the frames as :func:`walk` has them, half of them of any indices, and side information of all kinds."""
    rng = np.random.default_rng([seed, 71])
    indices = walk(seed + 1, count, positions, sizes)
    for frame in indices[::2]:
        frame[:] = rng.integers(0, sizes, frame.shape)
    indices[0] = 0
    indices[-1] = np.asarray(sizes) - 1
    spreads = [int(2 ** rng.uniform(0, 58)) if rng.random() < 0.9 else 0 for _ in range(count)]
    offsets = [int(rng.integers(-(2**15), 2**15)) * 320 if s == 0 else int(rng.normal() * s**0.5) for s in spreads]
    limit = 2**29 - 1
    return Frames(indices, [max(-limit, min(limit, offset)) for offset in offsets], spreads)
