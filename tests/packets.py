"""Packet formats and frames to test with: a model of indices, its frames, and their side information."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecodec.entropy.causal_network import TAPS, Block, CausalNetwork, Dense, LevelHead
from edgecodec.entropy.context_tables import TableFitting
from edgecodec.entropy.index_model import IndexModel
from edgecodec.entropy.packet import PacketFormat
from edgecodec.entropy.range_coder import TOTAL, RangeDecoder
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


def network(
    seed: int,
    sizes: tuple[int, ...],
    channels: int = 8,
    hidden: int = 12,
    embedding: int = 3,
    dilations: tuple[int, ...] = (1, 2, 4),
    gain: int = 0,
) -> CausalNetwork:
    """A network of random weights; the larger ``gain``, the more of its activations saturate."""
    rng = np.random.default_rng([seed, 72])

    def ints(*shape: int) -> npt.NDArray[np.int8]:
        return rng.integers(-127, 128, shape).astype(np.int8)

    def dense(outputs: int, inputs: int) -> Dense:
        bias = rng.integers(-(1 << 18), 1 << 18, outputs).astype(np.int32)
        return Dense(ints(outputs, inputs), bias, int(rng.integers(7, 11)) - gain)

    inputs = -(-len(sizes) * embedding // 4) * 4
    first = Dense(ints(channels, inputs), rng.integers(-5000, 5000, channels).astype(np.int32), max(1, 4 - gain))
    blocks = tuple(Block(d, dense(channels, TAPS * channels), dense(channels, channels)) for d in dilations)
    levels = tuple(
        LevelHead(
            ints(codes + 1, embedding),
            dense(hidden, channels),
            tuple(ints(other, hidden) for other in sizes[:level]),
            int(rng.integers(0, 12)),
            rng.permutation(codes).astype(np.uint8),
            ints(codes - 1, hidden),
            rng.integers(-3000, 3000, codes - 1).astype(np.int16),
            int(rng.integers(0, 8)),
            int(rng.integers(9, 12)) - gain,
        )
        for level, codes in enumerate(sizes)
    )
    return CausalNetwork(first, blocks, levels)


def packet_format(
    seed: int, model: IndexModel | None, positions: int, sizes: tuple[int, ...], side: SideInformation | None = SIDE
) -> PacketFormat:
    """Packets of a codec of ``sizes`` codes a level."""
    return PacketFormat(sizes, positions, f"{seed & 0xFFF:03x}" + DIGEST[3:], side, model)


class Dice(RangeDecoder):
    """A decoder of no payload: every decision as likely as its model has it."""

    def __init__(self, rng: np.random.Generator) -> None:
        super().__init__(b"")
        self._rng = rng

    def target(self) -> int:
        return int(self._rng.integers(TOTAL))

    def advance(self, start: int, size: int) -> None:
        pass


def likely(model: IndexModel, seed: int, count: int, positions: int) -> npt.NDArray[np.uint16]:
    """Indices ``[count, positions, L]`` drawn from a model."""
    dice = Dice(np.random.default_rng([seed, 73]))
    levels = len(model.codebook_sizes)
    return np.stack([model.decode(dice, positions, levels) for _ in range(count)]).astype(np.uint16)


def frames(seed: int, count: int, positions: int, sizes: tuple[int, ...], model: IndexModel | None = None) -> Frames:
    """Half of the frames as a model has them, or :func:`walk`; half of any indices; side information of all kinds."""
    rng = np.random.default_rng([seed, 71])
    indices = walk(seed + 1, count, positions, sizes) if model is None else likely(model, seed, count, positions)
    for frame in indices[::2]:
        frame[:] = rng.integers(0, sizes, frame.shape)
    indices[0] = 0
    indices[-1] = np.asarray(sizes) - 1
    spreads = [int(2 ** rng.uniform(0, 58)) if rng.random() < 0.9 else 0 for _ in range(count)]
    offsets = [int(rng.integers(-(2**15), 2**15)) * 320 if s == 0 else int(rng.normal() * s**0.5) for s in spreads]
    limit = 2**29 - 1
    return Frames(indices, [max(-limit, min(limit, offset)) for offset in offsets], spreads)
