"""Layers run in stripes of positions: no call of a kernel takes long, and tensors between layers never exist whole.

Of each tensor between consecutive layers a buffer holds the rows that the next stripes need. The kernels are called as
they are, with a layer that ends where the rows do; ``firmware/codec/edc_chain.c`` says what runs next, and this module
runs the same schedule to know how many rows each buffer must hold and how near the last output may come to the first
input. A layer that takes too long in one call is a cascade of one, whose input and output exist whole.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from edgecodec.compile.arena import align
from edgecodec.compile.kernels import PackedLayer

LEAST_SHARE = 1 / 8
"""Share of arena and scratch memory that a cascade must save to be worth its code."""
LAYER_BYTES = 130
"""Bytes of arena and scratch memory that a cascade must save a layer: the flash that its layers take at ``-Os``."""
MOST_EXTRA = 0.03
"""Share of the encoder's instructions that a cascade may cost on top."""
MOST_LAYERS = 16
"""Layers of a cascade at most: of more, the rows between them take what the tensors would."""
MOST_STRIPES = 200_000
"""Stripes that are worked through to choose a cascade, at most, so that no file makes planning endless."""
CALL_INSTRUCTIONS = 40_000
"""Instructions that a call of a kernel shall take at most, modelled: below 50,000 with what padding takes and the model
misses. One of the fewest positions that the kernel takes may be longer."""

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
class LayerCall:
    """A call of a kernel."""

    layer: int
    """The layer, counted from 0 within the graph."""
    positions: int
    """Positions that it runs for."""
    instructions: float
    """What it takes, modelled."""


@dataclass(frozen=True)
class Cascade:
    """Layers ``first`` to ``last`` of a graph, run in stripes; one layer alone where both are the same."""

    first: int
    """Index of its first layer in the graph."""
    last: int
    """Index of its last layer in the graph."""
    stripes: tuple[int, ...]
    """Positions at a time of each layer, at most, those by which its outputs are behind counted in its last stripe."""
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
        last: the last one.
        stripes: positions at a time of each layer of the cascade, rounded up to what stripes must be a multiple of; of
            one layer alone, to what its kernel reads before it writes, as it has its memory offset from that.
    """
    members = packed[first : last + 1]
    multiples = [_group(members[0])] if first == last else [each.cadence.granularity for each in members]
    stripes = [_multiple(count, multiple) for count, multiple in zip(stripes, multiples, strict=True)]
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
            unread = max(schedule.next_row(0), 0) * source.input.row_bytes
            reach = max(reach, schedule.done(call.layer) * target.output.row_bytes - unread)
    if first == last:
        # Within a stripe its own kernel writes behind what it reads.
        reach = max(reach, members[0].memory_offset_bytes)
    memory_offset = min(align(reach), align(target.output.size_bytes))
    return Cascade(first, last, tuple(stripes), tuple(calls), tuple(rows), memory_offset)


def _group(packed: PackedLayer) -> int:
    """Positions of the smallest stripe that ends where a group does that the kernel computes together."""
    return packed.kernel.whole_groups(packed.cadence.granularity)


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
        "in_width": layer.input.width,
        "in_channels": layer.input.row_bytes,
        "out_width": layer.output.width,
        "out_channels": layer.output.row_bytes,
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
            moved = (there - self.first[index]) * self._members[index].layer.input.row_bytes
        return Call(index, count, count < left, moved)

    def _next(self) -> tuple[int, int, int]:
        """The last layer that has the rows of its next stripe, the positions of that and of all that are left."""
        lacking = self._stripes[-1]
        for index in reversed(range(len(self._members))):
            layer, cadence = self._members[index].layer, self._members[index].cadence
            left = layer.output.width - self.position[index]
            stripe, together = self._stripes[index], cadence.granularity
            count = min(_multiple(lacking + (0 if self.position[index] else cadence.latency), together), stripe)
            if count >= left:
                # The last one has the outputs that are behind, too.
                fits = left + cadence.latency <= stripe or left <= together
                count = left if fits else (left - 1) // together * together
            needed = min(self.next_row(index) + count * layer.stride + cadence.lookahead, layer.input.width)
            if count == left and cadence.latency:
                needed = layer.input.width
            lacking = needed - (self.done(index - 1) if index else layer.input.width)
            if lacking <= 0:
                return index, count, left
        raise AssertionError("the first layer has all its rows")


def slices(packed: Sequence[PackedLayer], layers: Collection[int]) -> list[Cascade]:
    """A cascade for each of ``layers``, of these, that takes too long in one call."""
    return [
        make_cascade(packed, index, index, [_most_positions(packed[index])])
        for index in layers
        if packed[index].instructions(packed[index].layer.output.width, pauses=False) > CALL_INSTRUCTIONS
    ]


def candidates(packed: Sequence[PackedLayer]) -> Iterator[Cascade]:
    """For each run of layers around the largest tensor the cascade of the smallest stripes that cost little enough.

    Runs are of at most :data:`MOST_LAYERS`, and all of them are worked through in at most :data:`MOST_STRIPES`.
    """
    largest = max(range(len(packed)), key=lambda index: packed[index].layer.output.size_bytes)
    alone = _alone(packed)
    left = MOST_STRIPES
    for first, last in product(range(largest + 1), range(largest + 1, len(packed))):
        if last - first >= MOST_LAYERS:
            continue
        for stripes in _possible_stripes(packed, first, last, alone):
            left -= sum(_fewest_calls(packed[first : last + 1], stripes))
            if left < 0:
                return
            cascade = make_cascade(packed, first, last, stripes)
            if _extra_share(packed, cascade, alone) <= MOST_EXTRA:
                yield cascade
                break


def _possible_stripes(
    packed: Sequence[PackedLayer], first: int, last: int, alone: Sequence[float]
) -> Iterator[list[int]]:
    """Positions at a time of layers ``first`` to ``last``, from the fewest, that may cost little enough."""
    members = packed[first : last + 1]
    positions = 1
    while positions < packed[last].layer.output.width:
        stripes = _stripes(members, positions)
        least = _least_instructions(members, stripes)
        if least - sum(alone[first : last + 1]) <= MOST_EXTRA * sum(alone):
            yield stripes
        positions += 1 + positions // 4


def _least_instructions(members: Sequence[PackedLayer], stripes: Sequence[int]) -> float:
    """What layers in such stripes take at least: positions that are needed, and calls for these, whatever is moved."""
    least = 0.0
    calls = _fewest_calls(members, stripes)
    for each, positions, count in zip(members, _needed_positions(members), calls, strict=True):
        least += each.cost.position * positions + each.cost.call * count
    return least


def _fewest_calls(members: Sequence[PackedLayer], stripes: Sequence[int]) -> list[int]:
    """Calls that each layer takes at least."""
    return [
        -(-positions // _multiple(stripe, each.cadence.granularity))
        for each, positions, stripe in zip(members, _needed_positions(members), stripes, strict=True)
    ]


def _needed_positions(members: Sequence[PackedLayer]) -> list[int]:
    """Positions of each layer that the last one's output needs: a stride may leave some out at the end."""
    needed = members[-1].layer.output.width
    found = [needed]
    for each in reversed(members[1:]):
        reached = needed * each.layer.stride - each.layer.pad_left + each.cadence.lookahead
        needed = max(min(reached, each.layer.input.width), 1)
        found.insert(0, needed)
    return found


def _stripes(members: Sequence[PackedLayer], positions: int) -> list[int]:
    """Positions at a time of each layer, such that ``positions`` of the last need about one stripe of the others.

    Or several, where one would take too long.
    """
    stripes: list[int] = []
    for packed in reversed(members):
        positions = packed.kernel.whole_groups(positions)
        stripes.insert(0, min(positions, _most_positions(packed)))
        positions *= packed.layer.stride
    return stripes


def _most_positions(packed: PackedLayer) -> int:
    """Positions that a call may compute, in whole groups; those of one group however long it takes."""
    group = _group(packed)
    most = (CALL_INSTRUCTIONS - packed.cost.call) / packed.cost.position
    return max(int(most) // group, 1) * group


def encoder_calls(packed: Sequence[PackedLayer], cascades: Iterable[Cascade]) -> Iterator[LayerCall]:
    """All calls of kernels of the encoder ``packed`` in the order in which they are made."""
    for first, cascade in steps(len(packed), cascades):
        if cascade is None:
            width = packed[first].layer.output.width
            yield LayerCall(first, width, packed[first].instructions(width, pauses=False))
            continue
        yield from _cascade_calls(packed[first : cascade.last + 1], cascade)


def _cascade_calls(members: Sequence[PackedLayer], cascade: Cascade) -> Iterator[LayerCall]:
    """The calls of ``cascade``, whose layers are ``members``."""
    for call in cascade.calls:
        instructions = members[call.layer].instructions(call.positions, pauses=call.pauses)
        moved = _MOVED_INSTRUCTIONS * call.moved_bytes
        yield LayerCall(cascade.first + call.layer, call.positions, instructions + moved)


def steps(layers: int, cascades: Iterable[Cascade]) -> Iterator[tuple[int, Cascade | None]]:
    """What runs one after the other: each layer outside of ``cascades``, and each of these, by its first layer."""
    starting = {each.first: each for each in cascades}
    inner = {index for each in starting.values() for index in each.layers[1:]}
    return ((index, starting.get(index)) for index in range(layers) if index not in inner)


def _alone(packed: Sequence[PackedLayer]) -> list[float]:
    """Instructions of each layer, one after the other, in calls that do not take too long; modelled."""
    taken = [0.0] * len(packed)
    for call in encoder_calls(packed, slices(packed, range(len(packed)))):
        taken[call.layer] += call.instructions
    return taken


def extra_share(packed: Sequence[PackedLayer], cascade: Cascade) -> float:
    """Instructions that ``cascade`` adds to those of the encoder ``packed``, of these; modelled.

    Beside those of the encoder whose layers run one after the other, in calls that do not take too long.
    """
    return _extra_share(packed, cascade, _alone(packed))


def _extra_share(packed: Sequence[PackedLayer], cascade: Cascade, alone: Sequence[float]) -> float:
    """:func:`extra_share`, of which ``alone`` is known."""
    members = packed[cascade.first : cascade.last + 1]
    taken = sum(call.instructions for call in _cascade_calls(members, cascade))
    return (taken - sum(alone[cascade.first : cascade.last + 1])) / sum(alone)
