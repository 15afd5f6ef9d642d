"""Consecutive layers run in stripes of positions, so that the tensors between them never exist whole.

Of each of those tensors a buffer holds the rows that the next stripes need. The kernels are called as they are, with a
layer that ends where the rows do; ``firmware/codec/edc_chain.c`` says what runs next, and this module runs the same
schedule to know how many rows each buffer must hold and how near the last output may come to the first input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from edgecodec.compile.arena import align
from edgecodec.compile.kernels import PackedLayer
from edgecodec.compile.kernels.base import sizes

LEAST_SHARE = 1 / 8
"""Share of arena and scratch memory that a cascade must save to be worth its code."""
LAYER_BYTES = 130
"""Bytes of arena and scratch memory that a cascade must save a layer: the flash that its layers take at ``-Os``."""
MOST_EXTRA = 0.03
"""Share of the encoder's instructions that a cascade may cost on top."""

_MOVED_INSTRUCTIONS = 1.2
"""Instructions to move a byte of the rows that are kept."""


@dataclass(frozen=True)
class Call:
    """One stripe of a layer."""

    layer: int
    """The layer, counted from 0 within the cascade."""
    positions: int
    """Positions of the stripe."""
    pauses: bool
    """Whether the layer has more."""
    moved_bytes: int
    """Bytes of the rows that are kept in its input's buffer."""


@dataclass(frozen=True)
class Cascade:
    """Layers ``first`` to ``last`` of a graph, run in stripes."""

    first: int
    """Index of its first layer in the graph."""
    last: int
    """Index of its last layer in the graph."""
    stripes: tuple[int, ...]
    """Positions at a time of each layer, at most."""
    calls: tuple[Call, ...]
    """All stripes in the order in which they run."""
    rows: tuple[int, ...]
    """Most rows at a time of each tensor between the layers."""
    memory_offset_bytes: int
    """How far the first layer's input must at least start behind the last one's output, a multiple of 4."""

    @property
    def layers(self) -> range:
        """Indices of its layers in the graph."""
        return range(self.first, self.last + 1)


def make_cascade(packed: Sequence[PackedLayer], first: int, last: int, stripes: Sequence[int]) -> Cascade:
    """The cascade of ``packed[first]`` to ``packed[last]``, worked through.

    Args:
        packed: all layers of the graph, as their kernels want them.
        first: the first layer of the cascade.
        last: the last one; with one layer alone, the kernel would write among the rows that it reads.
        stripes: positions at a time of each layer of the cascade, rounded up to what its kernel takes together.
    """
    assert first < last, f"a cascade of layers {first} to {last}; expected two at least"
    members = packed[first : last + 1]
    stripes = [_multiple(count, each.cadence.granularity) for count, each in zip(stripes, members, strict=True)]
    source, target = members[0].layer, members[-1].layer
    schedule = _Schedule(members, stripes)
    calls: list[Call] = []
    rows = [0] * (len(members) - 1)
    reach = 0
    while not calls or calls[-1].pauses or calls[-1].layer < len(members) - 1:
        call = schedule.run()
        calls.append(call)
        if call.layer < len(rows):
            rows[call.layer] = max(rows[call.layer], schedule.done(call.layer) - schedule.first[call.layer + 1])
        elif schedule.position[0] < source.output.width:
            # The first layer may read on from here.
            unread = max(schedule.next_row(0), 0) * source.input.channels
            reach = max(reach, schedule.done(call.layer) * target.output.channels - unread)
    memory_offset = min(align(reach), align(target.output.size_bytes))
    return Cascade(first, last, tuple(stripes), tuple(calls), tuple(rows), memory_offset)


def _multiple(count: int, of: int) -> int:
    """``count`` rounded up to a multiple of ``of``."""
    return -(-count // of) * of


def schedule_fields(packed: PackedLayer, offset_bytes: int, stripe: int) -> dict[str, int]:
    """Members of ``edc_chain_layer``: the input starts at ``offset_bytes``, and ``stripe`` positions run at a time.

    They are in the order of the structure's initialiser.
    """
    layer, cadence = packed.layer, packed.cadence
    return {
        "in": offset_bytes,
        **sizes(layer),
        "stride": layer.stride,
        "pad_left": layer.pad_left,
        "tail": cadence.lookahead,
        "chunk": stripe,
        "mask": cadence.granularity - 1,
        "lag": cadence.latency,
    }


class _Schedule:
    """What ``edc_chain.c`` does, without the data."""

    def __init__(self, members: Sequence[PackedLayer], stripes: Sequence[int]) -> None:
        self._members, self._stripes = members, stripes
        self.position = [0] * len(members)
        """Position to run next, of each layer."""
        self.first = [0] * len(members)
        """Row that each layer's input buffer starts with."""

    def done(self, index: int) -> int:
        """Rows that a layer has put out."""
        position, packed = self.position[index], self._members[index]
        whole = position in (0, packed.layer.output.width)
        return position if whole else position - packed.cadence.latency

    def next_row(self, index: int) -> int:
        """Input row under tap 0 of a layer's next position, negative inside the left padding."""
        layer = self._members[index].layer
        return self.position[index] * layer.stride - layer.pad_left

    def run(self) -> Call:
        """The next stripe."""
        index, count, left = self._next()
        self.position[index] += count
        moved = 0
        if index > 0:
            there = self.done(index - 1)
            self.first[index] = max(min(self.next_row(index), there), 0)
            moved = (there - self.first[index]) * self._members[index].layer.input.channels
        return Call(index, count, count < left, moved)

    def _next(self) -> tuple[int, int, int]:
        """The last layer that has the rows of its next stripe, the positions of that and of all that are left."""
        lacking = self._stripes[-1]
        for index in reversed(range(len(self._members))):
            layer, cadence = self._members[index].layer, self._members[index].cadence
            left = layer.output.width - self.position[index]
            count = lacking + (0 if self.position[index] else cadence.latency)
            count = min(_multiple(count, cadence.granularity), self._stripes[index], left)
            needed = min(self.next_row(index) + count * layer.stride + cadence.lookahead, layer.input.width)
            if count == left and cadence.latency:
                needed = layer.input.width
            lacking = needed - (self.done(index - 1) if index else layer.input.width)
            if lacking <= 0:
                return index, count, left
        raise AssertionError("the first layer has all its rows")


def candidates(packed: Sequence[PackedLayer]) -> Iterator[Cascade]:
    """For each run of layers around the largest tensor the cascade of the smallest stripes that cost little enough."""
    largest = max(range(len(packed)), key=lambda index: packed[index].layer.output.size_bytes)
    for first, last in product(range(largest + 1), range(largest + 1, len(packed))):
        cascade = _smallest(packed, first, last)
        if cascade is not None:
            yield cascade


def _smallest(packed: Sequence[PackedLayer], first: int, last: int) -> Cascade | None:
    positions = 1
    while positions < packed[last].layer.output.width:
        cascade = make_cascade(packed, first, last, _stripes(packed[first : last + 1], positions))
        if extra_share(packed, cascade) <= MOST_EXTRA:
            return cascade
        positions += 1 + positions // 4
    return None


def _stripes(members: Sequence[PackedLayer], positions: int) -> list[int]:
    """Positions at a time of each layer, such that ``positions`` of the last need about one stripe of the others."""
    stripes: list[int] = []
    for packed in reversed(members):
        stripes.insert(0, packed.kernel.whole_groups(positions))
        positions = stripes[0] * packed.layer.stride
    return stripes


def extra_share(packed: Sequence[PackedLayer], cascade: Cascade) -> float:
    """Instructions that ``cascade`` adds to those of the encoder ``packed``, of these; modelled."""
    whole = [each.instructions(each.layer.output.width, pauses=False) for each in packed]
    striped = 0.0
    for call in cascade.calls:
        member = packed[cascade.first + call.layer]
        striped += member.instructions(call.positions, pauses=call.pauses)
        striped += member.kernel.instructions_per_call + _MOVED_INSTRUCTIONS * call.moved_bytes
    return (striped - sum(whole[index] for index in cascade.layers)) / sum(whole)
