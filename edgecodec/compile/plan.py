"""The plan: which kernel runs when, and where every tensor lives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from edgecodec.codec.codec import Codec
from edgecodec.codec.graph import Graph, Layer, Tensor
from edgecodec.compile.arena import align, place
from edgecodec.compile.cascade import (
    LAYER_BYTES,
    LEAST_SHARE,
    Cascade,
    LayerCall,
    candidates,
    encoder_calls,
    slices,
    steps,
)
from edgecodec.compile.codebook_search import (
    Search,
    SortedCodebook,
    choose_search,
    frame_looks,
    sort_codebook,
)
from edgecodec.compile.kernels import Choice, Kernel, PackedLayer, choose_kernel
from edgecodec.compile.target import HOST_TARGET, Optimize, Target

ROW_BYTES = 4
"""Of ``edc_chain_rows``: how far a layer of a cascade is."""


@dataclass(frozen=True)
class Buffer:
    """A tensor's place in the arena, alive from ``first_step`` to ``last_step``.

    A step's output may lie over the part of its input that the kernel has read by then. Of a tensor within a cascade
    only some rows exist at a time.

    Step 0 is the normaliser, step n the n-th layer, the last one the quantiser.
    """

    tensor: str
    """Name of the tensor."""
    offset_bytes: int
    """Where it starts in the arena."""
    size_bytes: int
    """Bytes of the rows that exist at a time."""
    rows: int
    """Rows that exist at a time, at most."""
    is_whole: bool
    """Whether all rows exist at a time, as of all tensors but those within a cascade."""
    first_step: int
    """The step that makes it."""
    last_step: int
    """The last step that reads it."""


@dataclass(frozen=True)
class Step:
    """A layer, how it runs and where its data are."""

    choice: Choice
    """The kernel, why it is that one, and the layer as it wants it."""
    source: Buffer
    """The place of the layer's input."""
    target: Buffer
    """The place of the layer's output."""
    stripe: int | None
    """Positions at a time, at most, where the layer runs in stripes; None where it runs whole."""
    scratch_offset_bytes: int
    """Where the kernel's working memory starts within that of all kernels."""

    @property
    def packed(self) -> PackedLayer:
        """The layer as its kernel wants it."""
        return self.choice.packed

    @property
    def layer(self) -> Layer:
        """The layer as the bundle has it."""
        return self.packed.layer

    @property
    def kernel(self) -> Kernel:
        """The kernel; ``str`` of it is the C function's name."""
        return self.packed.kernel

    @property
    def table_bytes(self) -> int:
        """Flash of the layer's constants."""
        return self.packed.table_bytes


@dataclass(frozen=True)
class LongestCall:
    """The longest call of a kernel, which is a step of the encoder object."""

    layer: str
    """Name of the layer."""
    positions: int
    """Positions of the layer that it runs for."""
    instructions: int
    """Instructions that it takes, modelled: some tenths more or less."""


@dataclass(frozen=True)
class Plan:
    """Execution order, kernels and memory of a codec."""

    target: Target
    """What the plan was made for."""
    steps: tuple[Step, ...]
    """The layers in order."""
    buffers: tuple[Buffer, ...]
    """The tensors in order: the encoder's input, then the output of each layer."""
    arena_bytes: int
    """Memory that holds the tensors."""
    cascades: tuple[Cascade, ...]
    """Layers that run in stripes, in order."""
    residual_bytes: int
    """Memory of the codebook search."""
    scratch_bytes: int
    """Working memory of the kernels beside the arena, shared by all."""
    search: Search
    """The C function that searches the codebooks."""
    codebooks: tuple[SortedCodebook | None, ...]
    """Tables of the pruned search for each level; None where all codes are looked at."""
    looks: int
    """Distances of a frame that the pruned search may compute before it goes on as the full search."""

    @property
    def scratch_offset_bytes(self) -> int:
        """Where the kernels' working memory starts in the state, behind the arena."""
        return self.arena_bytes

    @property
    def residual_offset_bytes(self) -> int:
        """Where the search's memory starts in the state, behind the kernels'."""
        return self.scratch_offset_bytes + self.scratch_bytes

    @property
    def rows_offset_bytes(self) -> int:
        """Where the state keeps how far the layers in stripes are, behind the search's memory."""
        return align(self.residual_offset_bytes + self.residual_bytes)

    @property
    def state_bytes(self) -> int:
        """RAM of the codec: arena, the kernels' and the search's memory, and how far a cascade is."""
        return self.rows_offset_bytes + ROW_BYTES * max((len(each.layers) for each in self.cascades), default=0)

    @property
    def cascade(self) -> Cascade | None:
        """The layers between which tensors do not exist whole."""
        return next((each for each in self.cascades if len(each.layers) > 1), None)

    @property
    def calls(self) -> tuple[LayerCall, ...]:
        """All calls of kernels in the order in which they are made; layers in stripes come several times."""
        return tuple(encoder_calls([step.packed for step in self.steps], self.cascades))

    @property
    def longest_call(self) -> LongestCall | None:
        """The call of a kernel that takes the most instructions; None without layers."""
        call = max(self.calls, key=lambda call: call.instructions, default=None)
        if call is None:
            return None
        return LongestCall(self.steps[call.layer].layer.name, call.positions, round(call.instructions))


def make_plan(
    codec: Codec, target: Target = HOST_TARGET, cascades: Sequence[Cascade] | Literal["auto"] = "auto"
) -> Plan:
    """Plan a codec for ``target``.

    The layers of ``cascades``, which are in order, run in stripes. ``"auto"`` takes a cascade where it saves enough,
    and runs in stripes what takes too long in one call.
    """
    graph, rvq = codec.graph, codec.rvq
    choices = [choose_kernel(layer, target) for layer in graph.layers]
    packed = [choice.packed for choice in choices]
    if cascades == "auto":
        cascades = _choose_cascades(graph, packed)
    buffers, arena_bytes = _place(graph, packed, cascades)
    scratch, scratch_size = _place_scratch(packed, cascades)
    stripes = {index: stripe for each in cascades for index, stripe in zip(each.layers, each.stripes, strict=True)}
    steps = [
        Step(choice, source, written, stripes.get(index), scratch[index])
        for index, (choice, (source, written)) in enumerate(zip(choices, pairwise(buffers), strict=True))
    ]
    search = choose_search(rvq.numerics, vectors=target.vectors)
    pruned = target.optimize is not Optimize.FLASH
    codebooks = tuple(sort_codebook(rvq, level) if pruned else None for level in range(rvq.levels))
    return Plan(
        target,
        tuple(steps),
        buffers,
        arena_bytes,
        tuple(cascades),
        residual_bytes=2 * search.row(rvq.dimension),
        scratch_bytes=scratch_size,
        search=search,
        codebooks=codebooks,
        looks=frame_looks(codec.positions, codebooks),
    )


def _choose_cascades(graph: Graph, packed: Sequence[PackedLayer]) -> tuple[Cascade, ...]:
    """Stripes for all layers whose calls would take too long.

    Among them the cascade of the least arena and scratch memory, where that saves enough to be worth its code.
    """

    def beside(cascade: Cascade) -> tuple[Cascade, ...]:
        outside = [index for index in range(len(packed)) if index not in cascade.layers]
        return tuple(sorted([cascade, *slices(packed, outside)], key=lambda each: each.first))

    def memory_bytes(cascades: Sequence[Cascade]) -> int:
        return _place(graph, packed, cascades)[1] + _place_scratch(packed, cascades)[1]

    alone = tuple(slices(packed, range(len(packed))))
    best = min(map(beside, candidates(packed)), key=memory_bytes, default=None)
    if best is None:
        return alone
    whole_bytes = memory_bytes(alone)
    members = max(len(each.layers) for each in best)
    least_saved = max(LEAST_SHARE * whole_bytes, LAYER_BYTES * members)
    return best if whole_bytes - memory_bytes(best) >= least_saved else alone


def _place(graph: Graph, packed: Sequence[PackedLayer], cascades: Sequence[Cascade]) -> tuple[tuple[Buffer, ...], int]:
    """Place the tensors: each at one offset, the arena as small as the kernels' order allows.

    A cascade is one step, whose buffers lie at the arena's end.
    """
    tensors = [graph.input, *(layer.output for layer in graph.layers)]
    rows = [tensor.width for tensor in tensors]
    for each in cascades:
        rows[each.first + 1 : each.last + 1] = each.rows
    sizes = [_bytes(tensor, count) for tensor, count in zip(tensors, rows, strict=True)]
    # Step n makes tensor n of the one before; of a cascade all steps go on together.
    spans = [(index, index + 1) for index in range(len(tensors))]
    whole, memory_offsets, works = [0], list[int](), list[int]()
    for first, cascade in steps(len(packed), cascades):
        inner = () if cascade is None else cascade.layers[1:]
        last = first if cascade is None else cascade.last
        whole.append(last + 1)
        memory_offsets.append((packed[first] if cascade is None else cascade).memory_offset_bytes)
        works.append(sum(sizes[index] for index in inner))
        spans[first] = (spans[first][0], last + 1)
        spans[last + 1] = (first + 1, last + 2)
        for index in inner:
            spans[index] = (first + 1, last + 1)
    offsets, arena_bytes = place([sizes[index] for index in whole], memory_offsets, works)
    places = dict(zip(whole, offsets, strict=True))
    for each in cascades:
        end = arena_bytes
        for index in each.layers[1:]:
            end -= sizes[index]
            places[index] = end
    buffers = tuple(
        Buffer(tensor.name, places[index], count * tensor.row_bytes, count, index in whole, *span)
        for index, (tensor, count, span) in enumerate(zip(tensors, rows, spans, strict=True))
    )
    return buffers, arena_bytes


def _place_scratch(packed: Sequence[PackedLayer], cascades: Sequence[Cascade]) -> tuple[list[int], int]:
    """Offsets of the kernels' working memory, and the size of all: shared, but for what a cascade's kernels keep there.

    These keep what is behind their windows from one stripe to the next, so the one with the largest window lets the
    others of the cascade use that.
    """
    sizes = [align(each.scratch_bytes) for each in packed]
    offsets = [0] * len(sizes)
    ends = list(sizes)
    for cascade in cascades:
        windows = {index: packed[index].window_bytes for index in cascade.layers if packed[index].keeps_scratch}
        end = max((sizes[index] for index in cascade.layers if index not in windows), default=0)
        for turn, index in enumerate(sorted(windows, key=lambda index: -windows[index])):
            offsets[index] = max(end - windows[index], 0) if turn == 0 else end
            end = offsets[index] + sizes[index]
        ends.append(end)
    return offsets, max(ends, default=0)


def _bytes(tensor: Tensor, rows: int) -> int:
    """What so many rows take of the arena."""
    return align(rows * tensor.row_bytes)
