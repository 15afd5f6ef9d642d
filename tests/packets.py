"""Packet formats and frames to test with: a model of indices, its frames, and their side information."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecodec.bundle import OPTIONAL, PACKETS, Bundle, write_bundle
from edgecodec.codec.reference import ReferenceExecutor
from edgecodec.entropy.causal_network import TAPS, Block, CausalNetwork, Dense, LevelHead
from edgecodec.entropy.context_tables import TableFitting
from edgecodec.entropy.index_model import IndexModel
from edgecodec.entropy.packet import PacketFormat
from edgecodec.entropy.packet_file import PacketConstants
from edgecodec.entropy.range_coder import TOTAL, RangeDecoder
from edgecodec.entropy.side_information import SideInformation, fit_side_information
from tests.tflite_builder import ppg_frames

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


def fitted_network(indices: npt.NDArray[np.uint16], sizes: tuple[int, ...]) -> CausalNetwork:
    """A network that has each index as often as ``indices`` ``[N, P, L]`` have it, what was coded before aside.

    Its layers are random and move a decision by less than one logit.
    """
    random = network(1, sizes)
    levels = []
    for level, head in enumerate(random.levels):
        counts = np.zeros(sizes[level])
        np.add.at(counts, head.ranks[indices[:, :, level]], 1)
        before = np.append(0, np.cumsum(counts + 0.02))
        bias = np.zeros(sizes[level] - 1)
        pending = [(0, sizes[level])]
        while pending:
            first, end = pending.pop()
            if end - first > 1:
                middle = first + (end - first + 1) // 2
                bias[middle - 1] = np.log((before[end] - before[middle]) / (before[middle] - before[first]))
                pending += [(first, middle), (middle, end)]
        bias = np.clip(np.round(32 * bias), -255, 255).astype(np.int16)
        levels.append(
            replace(head, nodes=np.sign(head.nodes).astype(np.int8), node_bias=bias, node_bias_shift=14, node_shift=14)
        )
    return CausalNetwork(random.input, random.blocks, tuple(levels))


def bundle_with_packets(bundle: Bundle, path: Path, kind: str, frames: npt.NDArray[np.int16] | None = None) -> Bundle:
    """``bundle`` with packets whose indices are coded ``plain``, with ``tables`` or by a ``network``.

    They are fitted to ``frames`` ``[N, T]``, by default of PPG.
    """
    sizes = tuple(bundle.codec.rvq.codebook_sizes)
    fitted_to = ppg_frames(60, bundle.codec.samples, seed=9) if frames is None else frames
    like = ReferenceExecutor(bundle.codec).stages(fitted_to)
    assert like.offset is not None
    assert like.spread is not None
    model: IndexModel | None = None
    if kind != "plain":
        fitted = {"tables": lambda: TableFitting(like.indices, sizes).fit(4096)}
        fitted["network"] = lambda: fitted_network(like.indices, sizes)
        model = fitted[kind]()
    side = fit_side_information(5.0, bundle.codec.samples, like.offset, like.spread)
    kept = {name: file.read_bytes() for name in OPTIONAL if (file := bundle.file(name)) is not None}
    return write_bundle(
        path,
        encoder=bundle.encoder_bytes,
        rvq=bundle.codec.rvq,
        name=f"{bundle.name} with {kind} packets",
        rate_hz=bundle.rate_hz,
        optional=kept | {PACKETS: PacketConstants(side, model).to_npz()},
        force=True,
    )


def kinds_of_frames(samples: int, count: int = 4) -> npt.NDArray[np.int16]:
    """``count`` frames of PPG; flat ones, in int16 or of the largest counts; the largest steps there are; noise."""
    rng = np.random.default_rng(3)
    flat = np.full((3, samples), 7, np.int16)
    flat[1:] = [[32767], [-32768]]
    steps = np.where(np.arange(samples) % 2, 32767, -32768).astype(np.int16)
    one = np.zeros(samples, np.int16)
    one[samples // 2] = 1
    noise = rng.integers(-32768, 32768, (2, samples)).astype(np.int16)
    return np.concatenate([ppg_frames(count, samples, seed=4), flat, steps[None], one[None], noise])


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
