"""Consecutive layers run in chunks of positions, so that the tensors between them never exist whole.

Of each of those tensors a buffer holds the rows that the next chunks need. The kernels are called as they are, with a
layer that ends where the rows do; ``firmware/codec/edc_chain.c`` says what runs next, and this module runs the same
schedule to know how many rows each buffer must hold and how near the last output may come to the first input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from edgecodec.codec.graph import Layer
from edgecodec.compile.arena import align
from edgecodec.compile.kernels import MVE_POSITIONS, POINTWISE_POSITIONS, Kernel, Pace, pace

LEAST_SHARE = 1 / 8
"""Of arena and scratch memory: what a chain must save to be worth its code."""
LAYER_BYTES = 130
"""Flash that a chain takes for each of its layers at ``-Os``, which it must save of that memory."""
MOST_EXTRA = 0.03
"""Instructions that a chain may cost, of the encoder's."""

_INSTRUCTIONS_PER_MAC = {
    Kernel.CONV: 7.0,
    Kernel.DEPTHWISE: 20.0,
    Kernel.CONV_PAIRED: 0.7,
    Kernel.CONV_WINOGRAD: 0.55,
    Kernel.DEPTHWISE_PAIRED: 4.5,
    Kernel.CONV_TWIN: 3.5,
    Kernel.POINTWISE: 1.2,
    Kernel.CONV_MVE: 0.16,
    Kernel.DEPTHWISE_MVE: 1.3,
}
"""Measured on emulated boards, roughly: they weigh one layer against another."""
_POSITIONS_TOGETHER = {
    Kernel.CONV_PAIRED: 2,
    Kernel.CONV_WINOGRAD: 4,
    Kernel.DEPTHWISE_PAIRED: 2,
    Kernel.POINTWISE: POINTWISE_POSITIONS,
    Kernel.CONV_MVE: MVE_POSITIONS,
    Kernel.DEPTHWISE_MVE: MVE_POSITIONS,
}
_LAGS = {Kernel.CONV_PAIRED: 1, Kernel.CONV_WINOGRAD: 2, Kernel.DEPTHWISE_PAIRED: 1}
"""Positions by which outputs lag behind."""
_CALL_INSTRUCTIONS = {
    Kernel.CONV: 450,
    Kernel.DEPTHWISE: 450,
    Kernel.CONV_PAIRED: 600,
    Kernel.CONV_WINOGRAD: 600,
    Kernel.DEPTHWISE_PAIRED: 600,
    Kernel.CONV_TWIN: 600,
    Kernel.POINTWISE: 200,
    Kernel.CONV_MVE: 200,
    Kernel.DEPTHWISE_MVE: 200,
}
"""To find a chunk, to call its kernel and to fill the window of a paired one."""
_MOVED_INSTRUCTIONS = 1.2
"""For each byte of the rows that are kept."""


@dataclass(frozen=True)
class Call:
    """One chunk of a layer."""

    layer: int
    """Of the chain, from 0."""
    positions: int
    pauses: bool
    """Whether the layer has more."""
    moved_bytes: int
    """Of the rows that are kept in its input's buffer."""


@dataclass(frozen=True)
class Chain:
    """Layers ``first`` to ``last`` of a graph, run in chunks."""

    first: int
    last: int
    chunks: tuple[int, ...]
    """Positions at a time of each layer, at most."""
    paces: tuple[Pace, ...]
    calls: tuple[Call, ...]
    """In the order in which they run."""
    rows: tuple[int, ...]
    """Most rows at a time of each tensor between the layers."""
    lead_bytes: int
    """How far the first layer's input must at least start behind the last one's output, a multiple of 4."""

    @property
    def layers(self) -> range:
        """Indices of its layers in the graph."""
        return range(self.first, self.last + 1)


def make_chain(
    layers: Sequence[Layer], kernels: Sequence[Kernel], first: int, last: int, chunks: Sequence[int]
) -> Chain:
    """The chain of ``layers[first]`` to ``layers[last]`` with so many positions of each at a time, worked through.

    The positions are rounded up to what each kernel takes together. A chain has at least two layers: with one alone,
    the kernel would write among the rows that it reads.
    """
    assert first < last, f"a chain of layers {first} to {last}; expected two at least"
    members = layers[first : last + 1]
    paces = [pace(layer, kernel) for layer, kernel in zip(members, kernels[first : last + 1], strict=True)]
    chunks = [-(-count // each.group) * each.group for count, each in zip(chunks, paces, strict=True)]
    schedule = _Schedule(members, paces, chunks)
    calls: list[Call] = []
    rows = [0] * (len(members) - 1)
    reach = 0
    while not calls or calls[-1].pauses or calls[-1].layer < len(members) - 1:
        call = schedule.run()
        calls.append(call)
        if call.layer < len(rows):
            rows[call.layer] = max(rows[call.layer], schedule.done(call.layer) - schedule.first[call.layer + 1])
        elif schedule.position[0] < members[0].output.width:
            # The first layer may read on from here.
            unread = max(schedule.next_row(0), 0) * members[0].input.channels
            reach = max(reach, schedule.done(call.layer) * members[-1].output.channels - unread)
    lead = min(align(reach), align(members[-1].output.size_bytes))
    return Chain(first, last, tuple(chunks), tuple(paces), tuple(calls), tuple(rows), lead)


class _Schedule:
    """What ``edc_chain.c`` does, without the data."""

    def __init__(self, members: Sequence[Layer], paces: Sequence[Pace], chunks: Sequence[int]) -> None:
        self._members, self._paces, self._chunks = members, paces, chunks
        self.position = [0] * len(members)
        """To run next, of each layer."""
        self.first = [0] * len(members)
        """Row that its input's buffer starts with."""

    def done(self, index: int) -> int:
        """Rows that a layer has put out."""
        position = self.position[index]
        whole = position in (0, self._members[index].output.width)
        return position if whole else position - self._paces[index].lag

    def next_row(self, index: int) -> int:
        """Input row under tap 0 of a layer's next position, negative inside the left padding."""
        return self.position[index] * self._members[index].stride - self._members[index].pad_left

    def run(self) -> Call:
        """The next chunk."""
        index, count, left = self._next()
        layer = self._members[index]
        self.position[index] += count
        moved = 0
        if index > 0:
            there = self.done(index - 1)
            self.first[index] = max(min(self.next_row(index), there), 0)
            moved = (there - self.first[index]) * layer.input.channels
        return Call(index, count, count < left, moved)

    def _next(self) -> tuple[int, int, int]:
        """The last layer that has the rows of its next chunk, the positions of that and of all that are left."""
        lacking = self._chunks[-1]
        for index in reversed(range(len(self._members))):
            layer, pace_, chunk = self._members[index], self._paces[index], self._chunks[index]
            left = layer.output.width - self.position[index]
            count = lacking + (0 if self.position[index] else pace_.lag)
            count = min(-(-count // pace_.group) * pace_.group, chunk, left)
            needed = min(self.next_row(index) + count * layer.stride + pace_.tail, layer.input.width)
            if count == left and pace_.lag:
                needed = layer.input.width
            lacking = needed - (self.done(index - 1) if index else layer.input.width)
            if lacking <= 0:
                return index, count, left
        raise AssertionError("the first layer has all its rows")


def candidates(layers: Sequence[Layer], kernels: Sequence[Kernel]) -> Iterator[Chain]:
    """For each run of layers around the largest tensor the chain of the smallest chunks that cost little enough."""
    largest = max(range(len(layers)), key=lambda index: layers[index].output.size_bytes)
    for first, last in product(range(largest + 1), range(largest + 1, len(layers))):
        chain = _smallest(layers, kernels, first, last)
        if chain is not None:
            yield chain


def _smallest(layers: Sequence[Layer], kernels: Sequence[Kernel], first: int, last: int) -> Chain | None:
    positions = 1
    while positions < layers[last].output.width:
        chain = make_chain(layers, kernels, first, last, _chunks(layers, kernels, first, last, positions))
        if extra_share(layers, kernels, chain) <= MOST_EXTRA:
            return chain
        positions += 1 + positions // 4
    return None


def _chunks(layers: Sequence[Layer], kernels: Sequence[Kernel], first: int, last: int, positions: int) -> list[int]:
    """Positions at a time of each layer, such that ``positions`` of the last need about one chunk of the others."""
    chunks: list[int] = []
    for index in reversed(range(first, last + 1)):
        chunks.insert(0, _whole_groups(kernels[index], positions))
        positions = chunks[0] * layers[index].stride
    return chunks


def _whole_groups(kernel: Kernel, positions: int) -> int:
    """``positions`` rounded up to what a kernel computes anyhow."""
    together = _POSITIONS_TOGETHER.get(kernel, 1)
    return -(-positions // together) * together


def _computed(kernel: Kernel, positions: int, *, pauses: bool) -> int:
    """Positions that a call of a kernel has the work of: where outputs lag behind, the last call has more."""
    return _whole_groups(kernel, positions + (0 if pauses else _LAGS.get(kernel, 0)))


def extra_share(layers: Sequence[Layer], kernels: Sequence[Kernel], chain: Chain) -> float:
    """Instructions that ``chain`` adds to those of the encoder, of these; modelled."""
    each = [
        layer.macs / layer.output.width * _INSTRUCTIONS_PER_MAC[kernel]
        for layer, kernel in zip(layers, kernels, strict=True)
    ]
    whole = [
        per_position * _computed(kernel, layer.output.width, pauses=False)
        for layer, kernel, per_position in zip(layers, kernels, each, strict=True)
    ]
    chunked = 0.0
    for call in chain.calls:
        index = chain.first + call.layer
        chunked += each[index] * _computed(kernels[index], call.positions, pauses=call.pauses)
        chunked += _CALL_INSTRUCTIONS[kernels[index]] + _MOVED_INSTRUCTIONS * call.moved_bytes
    return (chunked - sum(whole[index] for index in chain.layers)) / sum(whole)
