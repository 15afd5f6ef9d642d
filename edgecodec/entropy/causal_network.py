"""A small causal network over a frame's indices, in integers to the bit (SPEC.md 5.6).

When an index is coded, all levels of the positions before it and the levels above it at its own are known. The network
sums an embedding of each, looks back with causal dilated convolutions, and says for each level how an index is reached
in a binary tree of the codes: a decision a node, each a dot product and a table of the logistic function. So a device
multiplies for the nodes on one path, 8 of 255, and shares sum up by construction.

Sources: van den Oord et al. 2017, "Neural Discrete Representation Learning" (a prior over codes), and 2016, "WaveNet"
(causal dilated convolutions); Morin and Bengio 2005, "Hierarchical probabilistic neural network language model" (the
tree); 8-bit weights and 16-bit activations with shifts alone, as fixed-point signal processing has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.entropy.index_model import Indices
from edgecodec.entropy.range_coder import PRECISION, RangeDecoder
from edgecodec.errors import InputError

TAPS = 3
"""Positions that a block looks at, ``dilation`` apart."""
LIKELIHOOD_BITS = 15
"""A decision's shares are whole multiples of 2^-15."""
LOGIT_STEPS = 32
"""Steps of a logit (natural logarithm of the odds) for each of which the table has an entry."""
MOST_CODES = 256
LANES = 4
"""Widths are multiples of it: channels, hidden channels, all levels' embeddings of a position."""
_SHARE = PRECISION - LIKELIHOOD_BITS
_PART = 256

Activations = npt.NDArray[np.int64]
"""int16 values, held wider."""


def _likelihoods() -> npt.NDArray[np.uint16]:
    """Share of 2^15 of the likelier outcome by ``|logit| LOGIT_STEPS``, at the middle of each step."""
    logits = (np.arange(256) + 0.5) / LOGIT_STEPS
    return np.round((1 << LIKELIHOOD_BITS) / (1 + np.exp(-logits))).astype(np.uint16)


LIKELIHOODS = _likelihoods()


@dataclass(frozen=True)
class Dense:
    """``saturate((bias + weights x + 2^(shift - 1)) >> shift)``, x and result int16.

    Raises InputError for arrays of other shapes or types, or when a sum could leave int32.
    """

    weights: npt.NDArray[np.int8]
    """``[O, I]``"""
    bias: npt.NDArray[np.int32]
    """``[O]``"""
    shift: int
    """Bits taken off a sum, 1..30."""

    def __post_init__(self) -> None:
        if (
            self.weights.dtype != np.int8
            or self.weights.ndim != 2
            or self.weights.size == 0
            or np.any(np.mod(self.weights.shape, LANES))
        ):
            raise InputError(
                f"weights are {self.weights.dtype} {self.weights.shape}; expected int8, multiples of {LANES}"
            )
        if self.bias.dtype != np.int32 or self.bias.shape != (len(self.weights),):
            raise InputError(f"bias is {self.bias.dtype} {self.bias.shape}; expected int32 [{len(self.weights)}]")
        if not 1 <= self.shift <= 30:
            raise InputError(f"shift is {self.shift}; expected 1..30")
        if self.bound >= 1 << 31:
            raise InputError(f"sums of a layer may reach {self.bound}, which int32 does not hold")

    @property
    def bound(self) -> int:
        """The largest magnitude that a sum, with its rounding, may have."""
        sums = np.abs(self.bias.astype(np.int64)) + (np.abs(self.weights.astype(np.int64)).sum(axis=1) << 15)
        return int(sums.max()) + (1 << (self.shift - 1))

    def sums(self, x: Activations) -> Activations:
        """``bias + weights x`` for ``x`` ``[..., I]``. Products of floats are exact here: sums stay below 2^53."""
        return (x.astype(np.float64) @ self.weights.T.astype(np.float64)).astype(np.int64) + self.bias

    def __call__(self, x: Activations) -> Activations:
        """``[..., I]`` to ``[..., O]``."""
        return self.rounded(self.sums(x))

    def rounded(self, sums: Activations) -> Activations:
        """Sums as int16."""
        return _saturated((sums + (1 << (self.shift - 1))) >> self.shift)


@dataclass(frozen=True)
class Block:
    """``x_t += mix(relu(taps([x_(t - 2 d), x_(t - d), x_t])))``, x being 0 before the first position."""

    dilation: int
    """d, a power of two."""
    taps: Dense
    """``[C, 3 C]``, the oldest tap first."""
    mix: Dense
    """``[C, C]``"""


@dataclass(frozen=True)
class LevelHead:
    """How a level's indices follow from the state of their position and the levels above."""

    embedding: npt.NDArray[np.int8]
    """``[K + 1, R]``: row 0 stands for no index, row i + 1 for index i at the previous position."""
    hidden: Dense
    """``[H, C]``"""
    above: tuple[npt.NDArray[np.int8], ...]
    """``[K_j, H]`` of each level j above, added to the sums of ``hidden``, shifted left by ``above_shift``."""
    above_shift: int
    """0..16"""
    ranks: npt.NDArray[np.uint8]
    """Leaf of each index, ``[K]``."""
    nodes: npt.NDArray[np.int8]
    """``[K - 1, H]``: node n parts leaves up to n from those behind."""
    node_bias: npt.NDArray[np.int16]
    """``[K - 1]``, added to a node's sum, shifted left by ``node_bias_shift``."""
    node_bias_shift: int
    """0..15"""
    node_shift: int
    """Bits taken off a node's sum to have it in steps of ``1 / LOGIT_STEPS``; 0..30."""

    def __post_init__(self) -> None:
        codes, width = len(self.ranks), len(self.hidden.weights)
        if not 1 <= codes <= MOST_CODES:
            raise InputError(f"a level has {codes} codes; a causal network takes 1..{MOST_CODES}")
        shapes: dict[str, tuple[npt.NDArray[Any], type[np.generic], tuple[int, ...]]] = {
            "embedding": (self.embedding, np.int8, (codes + 1, self.embedding.shape[-1])),
            "ranks": (self.ranks, np.uint8, (codes,)),
            "nodes": (self.nodes, np.int8, (codes - 1, width)),
            "node_bias": (self.node_bias, np.int16, (codes - 1,)),
        }
        for name, (array, dtype, shape) in shapes.items():
            if array.dtype != dtype or array.shape != shape:
                raise InputError(f"{name} is {array.dtype} {array.shape}; expected {np.dtype(dtype)} {shape}")
        if sorted(self.ranks.tolist()) != list(range(codes)) or width % LANES:
            raise InputError(f"ranks are no order of the codes, or {width} hidden channels no multiple of {LANES}")
        for name, most in (("above_shift", 16), ("node_bias_shift", 15), ("node_shift", 30)):
            if not 0 <= getattr(self, name) <= most:
                raise InputError(f"{name} is {getattr(self, name)}; expected 0..{most}")
        reach = self.hidden.bound + (len(self.above) << (7 + self.above_shift))
        nodes = (np.abs(self.nodes.astype(np.int64)).sum(axis=1) << 15) + (1 << (15 + self.node_bias_shift))
        if reach >= 1 << 31 or (codes > 1 and int(nodes.max()) >= 1 << 31):
            raise InputError("sums of a level may leave int32")

    @cached_property
    def paths(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Nodes to each index ``[K, depth]``, whether it lies behind each, and which of them there are."""
        codes = len(self.ranks)
        depth = max(0, (codes - 1).bit_length())
        nodes, behind = np.zeros((codes, depth), np.int64), np.zeros((codes, depth), bool)
        used = np.zeros((codes, depth), bool)
        for index, rank in enumerate(self.ranks.tolist()):
            for step, (node, after) in enumerate(path(rank, codes)):
                nodes[index, step], behind[index, step], used[index, step] = node, after, True
        return nodes, behind, used

    def likelihood(self, node: npt.NDArray[np.int64], h: Activations) -> npt.NDArray[np.int64]:
        """Share of 2^15 of the leaves behind each node ``[...]`` for hidden channels ``[..., H]``."""
        products = np.einsum("...h,...h->...", self.nodes[node].astype(np.int64), h)
        sums = products + (self.node_bias[node].astype(np.int64) << self.node_bias_shift)
        likely = LIKELIHOODS[np.minimum(np.abs(sums) >> self.node_shift, 255)].astype(np.int64)
        return np.asarray(np.where(sums >= 0, likely, (1 << LIKELIHOOD_BITS) - likely), np.int64)


@dataclass(frozen=True)
class CausalNetwork:
    """The network of a codec. Raises InputError when its parts do not fit each other."""

    input: Dense
    """``[C, L R]``, padded with zero columns to a multiple of 4."""
    blocks: tuple[Block, ...]
    """In the order in which they run."""
    levels: tuple[LevelHead, ...]
    """First level first."""

    def __post_init__(self) -> None:
        channels = self.channels
        for block in self.blocks:
            taps, mix = block.taps.weights.shape, block.mix.weights.shape
            if taps != (channels, TAPS * channels) or mix != (channels, channels):
                raise InputError(f"a block has weights {taps} and {mix}; the network has {channels} channels")
            if block.dilation < 1 or block.dilation & (block.dilation - 1):
                raise InputError(f"a block's dilation is {block.dilation}; expected a power of two")
        size = self.levels[0].embedding.shape[1] if self.levels else 0
        if not self.levels or self.input.weights.shape[1] != -(-len(self.levels) * size // LANES) * LANES:
            raise InputError(
                f"the input layer is {self.input.weights.shape}; {len(self.levels)} embeddings have {size}"
            )
        for number, level in enumerate(self.levels):
            above = tuple(table.shape for table in level.above)
            width = len(level.hidden.weights)
            if (
                level.hidden.weights.shape[1] != channels
                or level.embedding.shape[1] != size
                or width != len(self.levels[0].hidden.weights)
                or above != tuple((len(other.ranks), width) for other in self.levels[:number])
            ):
                raise InputError(f"level {number} of a causal network does not fit the others")

    @property
    def channels(self) -> int:
        """Width of a position's state, C."""
        return len(self.input.weights)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Codes of each level, K."""
        return tuple(len(level.ranks) for level in self.levels)

    @property
    def flash_bytes(self) -> int:
        """Bytes of weights, tables and the table of likelihoods on a device."""
        dense = [self.input, *(layer for block in self.blocks for layer in (block.taps, block.mix))]
        arrays: list[npt.NDArray[Any]] = [LIKELIHOODS]
        for level in self.levels:
            dense.append(level.hidden)
            arrays += [level.embedding, *level.above, level.ranks, level.nodes, level.node_bias]
        return sum(array.nbytes for array in arrays) + sum(d.weights.nbytes + d.bias.nbytes for d in dense)

    @property
    def state_bytes(self) -> int:
        """Bytes that a device keeps from position to position, and works in."""
        history = sum(2 * block.dilation for block in self.blocks) * self.channels
        inputs, hidden = int(self.input.weights.shape[1]), len(self.levels[0].hidden.weights)
        return 4 + 2 * (history + inputs + 2 * self.channels + hidden)

    def multiplications(self, positions: int) -> int:
        """Multiply-accumulates of a frame on a device."""
        dense = [self.input, *(layer for block in self.blocks for layer in (block.taps, block.mix))]
        dense += [level.hidden for level in self.levels]
        tree = sum(int(level.paths[0].size // len(level.ranks)) * int(level.nodes.shape[1]) for level in self.levels)
        return positions * (sum(int(layer.weights.size) for layer in dense) + tree)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Its arrays by name; numbers of blocks and levels stand behind the names, those of levels above after them."""
        arrays: dict[str, npt.NDArray[Any]] = _dense_arrays("input", self.input)
        for number, block in enumerate(self.blocks):
            arrays |= _dense_arrays(f"taps_{number}", block.taps) | _dense_arrays(f"mix_{number}", block.mix)
            arrays[f"dilation_{number}"] = np.array(block.dilation, np.int32)
        for number, level in enumerate(self.levels):
            arrays |= _dense_arrays(f"hidden_{number}", level.hidden)
            arrays |= {f"above_{number}_{other}": table for other, table in enumerate(level.above)}
            arrays |= {f"{name}_{number}": getattr(level, name) for name in _LEVEL_ARRAYS}
            arrays |= {f"{name}_{number}": np.array(getattr(level, name), np.int32) for name in _LEVEL_SHIFTS}
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> CausalNetwork:
        """A network of what :meth:`to_arrays` returned. Raises InputError when something is missing or does not fit."""
        try:
            levels, blocks = (sum(name.startswith(first) for name in arrays) for first in ("ranks_", "dilation_"))
            found = cls(
                _dense_of("input", arrays),
                tuple(
                    Block(int(arrays[f"dilation_{n}"]), _dense_of(f"taps_{n}", arrays), _dense_of(f"mix_{n}", arrays))
                    for n in range(blocks)
                ),
                tuple(
                    LevelHead(
                        arrays[f"embedding_{n}"],
                        _dense_of(f"hidden_{n}", arrays),
                        tuple(arrays[f"above_{n}_{other}"] for other in range(n)),
                        int(arrays[f"above_shift_{n}"]),
                        arrays[f"ranks_{n}"],
                        arrays[f"nodes_{n}"],
                        arrays[f"node_bias_{n}"],
                        int(arrays[f"node_bias_shift_{n}"]),
                        int(arrays[f"node_shift_{n}"]),
                    )
                    for n in range(levels)
                ),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"arrays of a causal network are missing or of other types ({error})") from error
        unknown = sorted(arrays.keys() - found.to_arrays().keys())
        if unknown:
            raise InputError(f"array {unknown[0]} is unknown in a causal network")
        return found

    def intervals(self, indices: Indices) -> Iterator[tuple[int, int]]:
        """Start and size, of 2^24, of each decision on the way to each index of ``[P, l]``."""
        decisions = [self._decisions(indices[None], level) for level in range(indices.shape[1])]
        for position in range(len(indices)):
            for behind, share, used in decisions:
                for after, size, there in zip(behind[0, position], share[0, position], used[0, position], strict=True):
                    if there:
                        yield interval(bool(after), int(size))

    def decode(self, decoder: RangeDecoder, positions: int, levels: int) -> Indices:
        """Read indices uint16 ``[positions, levels]``. Raises PacketError when the payload is of no indices."""
        found = np.zeros((positions, levels), np.uint16)
        history = [np.zeros((2 * block.dilation, self.channels), np.int64) for block in self.blocks]
        for position in range(positions):
            x = self.input(self._embedded(found[None, : position + 1])[0, -1])
            for block, rows in zip(self.blocks, history, strict=True):
                slot = position % len(rows)
                window = np.concatenate([rows[slot], rows[(position + block.dilation) % len(rows)], x])
                rows[slot] = x
                x = _saturated(x + block.mix(np.maximum(block.taps(window), 0)))
            for number in range(levels):
                level = self.levels[number]
                h = self._hidden(x, found[position], number)
                first, end = 0, len(level.ranks)
                while end - first > 1:
                    middle = split(first, end)
                    share = int(level.likelihood(np.asarray(middle - 1), h))
                    after = decoder.target() >= interval(True, share)[0]
                    decoder.advance(*interval(after, share))
                    first, end = (middle, end) if after else (first, middle)
                found[position, number] = np.flatnonzero(level.ranks == first)[0]
        return found

    def code_lengths(self, indices: Indices) -> npt.NDArray[np.float64]:
        """Bits of each index of ``[N, P, L]``, float64 ``[N, P, L]``."""
        parts = []
        for start in range(0, len(indices), _PART):
            part, lengths = indices[start : start + _PART], []
            for level in range(indices.shape[2]):
                behind, share, used = self._decisions(part, level)
                size = np.where(behind, share, (1 << LIKELIHOOD_BITS) - share)
                lengths.append(np.where(used, LIKELIHOOD_BITS - np.log2(size), 0).sum(axis=-1))
            parts.append(np.stack(lengths, axis=-1))
        return np.concatenate(parts)

    def _decisions(
        self, indices: Indices, level: int
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """On the way to each index of ``[N, P, l]``: is it behind a node, the share that is, and is there a node."""
        head = self.levels[level]
        nodes, behind, used = head.paths
        nodes, behind, used = nodes[indices[..., level]], behind[indices[..., level]], used[indices[..., level]]
        h = self._hidden(self._states(indices), indices, level)
        return behind, head.likelihood(nodes, h[..., None, :]) if nodes.shape[-1] else nodes, used

    def _states(self, indices: Indices) -> Activations:
        """The state x of every position, ``[N, P, C]``."""
        x = self.input(self._embedded(indices))
        for block in self.blocks:
            taps = [_delayed(x, tap * block.dilation) for tap in range(TAPS - 1, -1, -1)]
            x = _saturated(x + block.mix(np.maximum(block.taps(np.concatenate(taps, axis=-1)), 0)))
        return x

    def _embedded(self, indices: Indices) -> Activations:
        """Embeddings of what is at the previous position, ``[N, P, padded L R]``."""
        size = self.levels[0].embedding.shape[1]
        found = np.zeros((*indices.shape[:2], self.input.weights.shape[1]), np.int64)
        for number, level in enumerate(self.levels):
            before = np.zeros(indices.shape[:2], np.int64)
            if number < indices.shape[2]:
                before[:, 1:] = indices[:, :-1, number].astype(np.int64) + 1
            found[..., number * size : (number + 1) * size] = level.embedding[before]
        return found

    def _hidden(self, x: Activations, indices: Indices, level: int) -> Activations:
        """The hidden channels of ``x`` ``[..., C]`` and what is above of ``indices`` ``[..., L]``, ``[..., H]``."""
        head = self.levels[level]
        sums = head.hidden.sums(x)
        for number, table in enumerate(head.above):
            sums = sums + (table[indices[..., number]].astype(np.int64) << head.above_shift)
        return np.maximum(head.hidden.rounded(sums), 0)


_LEVEL_ARRAYS = ("embedding", "ranks", "nodes", "node_bias")
_LEVEL_SHIFTS = ("above_shift", "node_bias_shift", "node_shift")


def _dense_arrays(name: str, layer: Dense) -> dict[str, npt.NDArray[Any]]:
    shift = np.array(layer.shift, np.int32)
    return {f"{name}_weights": layer.weights, f"{name}_bias": layer.bias, f"{name}_shift": shift}


def _dense_of(name: str, arrays: Mapping[str, npt.NDArray[Any]]) -> Dense:
    return Dense(arrays[f"{name}_weights"], arrays[f"{name}_bias"], int(arrays[f"{name}_shift"]))


def split(first: int, end: int) -> int:
    """Where leaves ``first .. end - 1`` are parted: the first one of the second half."""
    return first + (end - first + 1) // 2


def path(rank: int, codes: int) -> Iterator[tuple[int, bool]]:
    """Nodes from the root to a leaf, and whether it lies behind each."""
    first, end = 0, codes
    while end - first > 1:
        middle = split(first, end)
        yield middle - 1, rank >= middle
        first, end = (middle, end) if rank >= middle else (first, middle)


def interval(behind: bool, share: int) -> tuple[int, int]:
    """Start and size of a decision, ``share`` of 2^15 being that of the leaves behind the node."""
    rest = (1 << LIKELIHOOD_BITS) - share
    return (rest << _SHARE, share << _SHARE) if behind else (0, rest << _SHARE)


def _delayed(x: Activations, positions: int) -> Activations:
    """``x`` ``[N, P, C]`` of so many positions before, 0 before the first."""
    found = np.zeros_like(x)
    found[:, positions:] = x[:, : x.shape[1] - positions] if positions < x.shape[1] else 0
    return found


def _saturated(values: Activations) -> Activations:
    return np.clip(values, -32768, 32767)
