"""The plan: which kernel runs when, and where every tensor lives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from edgecodec.codec.codec import Codec
from edgecodec.codec.graph import Graph, Layer, Tensor
from edgecodec.compile.arena import align, place
from edgecodec.compile.cascade import LAYER_BYTES, LEAST_SHARE, Cascade, candidates
from edgecodec.compile.codebook_search import (
    Search,
    SortedCodebook,
    choose_search,
    frame_looks,
    mve_entries,
    sort_codebook,
)
from edgecodec.compile.kernels import Choice, Kernel, PackedLayer, choose_kernel
from edgecodec.compile.target import DEFAULT_TARGET, Optimize, Target


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
    """Positions at a time where the layer is part of a cascade; None where it runs whole."""
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
    cascade: Cascade | None
    """Layers that run in stripes."""
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
    def state_bytes(self) -> int:
        """RAM of the generated ``edc_model_state``: arena, scratch, residual, padding to 4 bytes."""
        return align(self.arena_bytes + self.scratch_bytes + self.residual_bytes)

    @property
    def calls(self) -> tuple[int, ...]:
        """The layers in the order in which their kernels are called; those of a cascade come several times."""
        layers = tuple(range(len(self.steps)))
        if self.cascade is None:
            return layers
        first, last = self.cascade.first, self.cascade.last
        return (*layers[:first], *(first + call.layer for call in self.cascade.calls), *layers[last + 1 :])


def make_plan(
    codec: Codec, target: Target = DEFAULT_TARGET, cascade: Cascade | Literal["auto"] | None = "auto"
) -> Plan:
    """Plan a codec for ``target``.

    The layers of ``cascade`` run in stripes, none do with None, and ``"auto"`` takes a cascade where it saves enough.
    """
    graph, rvq = codec.graph, codec.rvq
    choices = [choose_kernel(layer, target) for layer in graph.layers]
    packed = [choice.packed for choice in choices]
    if cascade == "auto":
        cascade = _choose_cascade(graph, packed)
    buffers, arena_bytes = _place(graph, packed, cascade)
    scratch, scratch_size = _place_scratch(packed, cascade)
    stripes = {} if cascade is None else dict(zip(cascade.layers, cascade.stripes, strict=True))
    steps = [
        Step(choice, source, written, stripes.get(index), scratch[index])
        for index, (choice, (source, written)) in enumerate(zip(choices, pairwise(buffers), strict=True))
    ]
    pruned = target.optimize is not Optimize.FLASH
    search = choose_search(rvq, vectors=target.vectors)
    dimension = rvq.dimension
    codebooks = tuple(sort_codebook(rvq, level) if pruned else None for level in range(rvq.levels))
    return Plan(
        target,
        tuple(steps),
        buffers,
        arena_bytes,
        cascade,
        residual_bytes=2 * (mve_entries(dimension) if search is Search.MVE else dimension),
        scratch_bytes=scratch_size,
        search=search,
        codebooks=codebooks,
        looks=frame_looks(codec.positions, codebooks),
    )


def _choose_cascade(graph: Graph, packed: Sequence[PackedLayer]) -> Cascade | None:
    """The cascade of the least arena and scratch memory, where it saves enough to be worth its code."""

    def memory_bytes(cascade: Cascade | None) -> int:
        return _place(graph, packed, cascade)[1] + _place_scratch(packed, cascade)[1]

    best = min(candidates(packed), key=memory_bytes, default=None)
    if best is None:
        return None
    whole_bytes = memory_bytes(None)
    least_saved = max(LEAST_SHARE * whole_bytes, LAYER_BYTES * len(best.layers))
    return best if whole_bytes - memory_bytes(best) >= least_saved else None


def _place(graph: Graph, packed: Sequence[PackedLayer], cascade: Cascade | None) -> tuple[tuple[Buffer, ...], int]:
    """Place the tensors: each at one offset, the arena as small as the kernels' order allows.

    A cascade is one step, whose buffers lie at the arena's end.
    """
    tensors = [graph.input, *(layer.output for layer in graph.layers)]
    memory_offsets = [each.memory_offset_bytes for each in packed]
    works = [0] * len(packed)
    inner: list[int] = []
    rows = [tensor.width for tensor in tensors]
    if cascade is not None:
        inner = list(cascade.layers)[1:]
        for index, count in zip(inner, cascade.rows, strict=True):
            rows[index] = count
        together = slice(cascade.first, cascade.last + 1)
        memory_offsets[together] = [cascade.memory_offset_bytes]
        works[together] = [sum(_bytes(tensors[index], rows[index]) for index in inner)]
    whole = [index for index in range(len(tensors)) if index not in inner]
    offsets, arena_bytes = place([_bytes(tensors[index], rows[index]) for index in whole], memory_offsets, works)
    places = dict(zip(whole, offsets, strict=True))
    end = arena_bytes
    for index in inner:
        end -= _bytes(tensors[index], rows[index])
        places[index] = end
    # Step n makes tensor n of the one before; of a cascade all steps go on together.
    spans = [(index, index + 1) for index in range(len(tensors))]
    if cascade is not None:
        first_step, last_step = cascade.first + 1, cascade.last + 1
        spans[cascade.first] = (cascade.first, last_step)
        spans[last_step] = (first_step, last_step + 1)
        for index in inner:
            spans[index] = (first_step, last_step)
    buffers = tuple(
        Buffer(tensor.name, places[index], count * tensor.channels, count, index not in inner, *span)
        for index, (tensor, count, span) in enumerate(zip(tensors, rows, spans, strict=True))
    )
    return buffers, arena_bytes


def _place_scratch(packed: Sequence[PackedLayer], cascade: Cascade | None) -> tuple[list[int], int]:
    """Offsets of the kernels' working memory, and the size of all: shared, but for what a cascade's kernels keep there.

    These keep what is behind their windows from one stripe to the next, so the one with the largest window lets the
    others use that.
    """
    sizes = [align(each.scratch_bytes) for each in packed]
    striped = () if cascade is None else cascade.layers
    windows = {index: packed[index].window_bytes for index in striped if packed[index].keeps_scratch}
    offsets = [0] * len(sizes)
    end = max((size for index, size in enumerate(sizes) if index not in windows), default=0)
    for turn, index in enumerate(sorted(windows, key=lambda index: -windows[index])):
        offsets[index] = max(end - windows[index], 0) if turn == 0 else end
        end = offsets[index] + sizes[index]
    return offsets, end


def _bytes(tensor: Tensor, rows: int) -> int:
    """What so many rows take of the arena."""
    return align(rows * tensor.channels)
