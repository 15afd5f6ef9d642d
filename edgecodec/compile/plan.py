"""The plan: which kernel runs when, and where every tensor lives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from edgecodec.codec.codec import Codec
from edgecodec.codec.graph import Graph, Layer, Tensor
from edgecodec.compile.arena import align, lead_bytes, place
from edgecodec.compile.cascade import LAYER_BYTES, LEAST_SHARE, Chain, candidates
from edgecodec.compile.codebook_search import Search, SortedCodebook, choose_search, mve_entries, sort_codebook
from edgecodec.compile.kernels import (
    DEFAULT_TARGET,
    Choice,
    Kernel,
    Optimize,
    Target,
    choose_kernel,
    scratch_bytes,
    table_bytes,
    window_bytes,
)


@dataclass(frozen=True)
class Buffer:
    """A tensor's place in the arena, alive from ``first_step`` to ``last_step``.

    A step's output may lie over the part of its input that the kernel has read by then. Of a tensor within a chain
    only some rows exist at a time.

    Step 0 is the normaliser, step n the n-th layer, the last one the quantiser.
    """

    tensor: str
    offset_bytes: int
    size_bytes: int
    rows: int
    """At a time."""
    is_whole: bool
    """Whether it is no tensor within a chain."""
    first_step: int
    last_step: int


@dataclass(frozen=True)
class Step:
    """One call of a kernel."""

    layer: Layer
    choice: Choice
    source: Buffer
    target: Buffer
    chunk: int | None
    """Positions at a time where it is part of a chain; None where it runs whole."""
    scratch_offset_bytes: int
    """Where its working memory starts."""

    @property
    def kernel(self) -> Kernel:
        """The C function."""
        return self.choice.kernel

    @property
    def table_bytes(self) -> int:
        """Flash of its constants."""
        return table_bytes(self.layer, self.kernel)


@dataclass(frozen=True)
class Plan:
    """Execution order, kernels and memory of a codec."""

    target: Target
    steps: tuple[Step, ...]
    buffers: tuple[Buffer, ...]
    arena_bytes: int
    chain: Chain | None
    """Layers that run in chunks."""
    residual_bytes: int
    scratch_bytes: int
    """Working memory of the kernels beside the arena, shared by all."""
    search: Search
    codebooks: tuple[SortedCodebook | None, ...]
    """Tables of the pruned search for each level; None where all codes are looked at."""

    @property
    def state_bytes(self) -> int:
        """RAM of the generated ``edc_model_state``: arena, scratch, residual, padding to 4 bytes."""
        return align(self.arena_bytes + self.scratch_bytes + self.residual_bytes)

    @property
    def calls(self) -> tuple[int, ...]:
        """The layers in the order in which their kernels are called; those of a chain come several times."""
        layers = tuple(range(len(self.steps)))
        if self.chain is None:
            return layers
        first, last = self.chain.first, self.chain.last
        return (*layers[:first], *(first + call.layer for call in self.chain.calls), *layers[last + 1 :])


def make_plan(codec: Codec, target: Target = DEFAULT_TARGET, chain: Chain | Literal["auto"] | None = "auto") -> Plan:
    """Plan a codec for ``target``.

    The layers of ``chain`` run in chunks, none do with None, and ``"auto"`` chains them where that saves enough.
    """
    graph, rvq = codec.graph, codec.rvq
    choices = [choose_kernel(layer, target) for layer in graph.layers]
    kernels = [choice.kernel for choice in choices]
    if chain == "auto":
        chain = _choose_chain(graph, kernels)
    buffers, arena_bytes = _place(graph, kernels, chain)
    scratch, scratch_size = _place_scratch(graph, kernels, chain)
    chunks = {} if chain is None else dict(zip(chain.layers, chain.chunks, strict=True))
    steps = [
        Step(layer, choice, source, written, chunks.get(index), scratch[index])
        for index, (layer, choice, (source, written)) in enumerate(
            zip(graph.layers, choices, pairwise(buffers), strict=True)
        )
    ]
    pruned = target.optimize is not Optimize.FLASH
    search = choose_search(rvq, vectors=target.vectors)
    dimension = rvq.dimension
    return Plan(
        target,
        tuple(steps),
        buffers,
        arena_bytes,
        chain,
        residual_bytes=2 * (mve_entries(dimension) if search is Search.MVE else dimension),
        scratch_bytes=scratch_size,
        search=search,
        codebooks=tuple(sort_codebook(rvq, level) if pruned else None for level in range(rvq.levels)),
    )


def _choose_chain(graph: Graph, kernels: Sequence[Kernel]) -> Chain | None:
    """The chain of the least arena and scratch memory, where it saves enough to be worth its code."""

    def memory_bytes(chain: Chain | None) -> int:
        return _place(graph, kernels, chain)[1] + _place_scratch(graph, kernels, chain)[1]

    best = min(candidates(graph.layers, kernels), key=memory_bytes, default=None)
    if best is None:
        return None
    whole_bytes = memory_bytes(None)
    least_saved = max(LEAST_SHARE * whole_bytes, LAYER_BYTES * len(best.layers))
    return best if whole_bytes - memory_bytes(best) >= least_saved else None


def _place(graph: Graph, kernels: Sequence[Kernel], chain: Chain | None) -> tuple[tuple[Buffer, ...], int]:
    """Place the tensors: each at one offset, the arena as small as the kernels' order allows.

    A chain is one step, whose buffers lie at the arena's end.
    """
    tensors = [graph.input, *(layer.output for layer in graph.layers)]
    leads = [lead_bytes(layer, kernel) for layer, kernel in zip(graph.layers, kernels, strict=True)]
    works = [0] * len(leads)
    inner: list[int] = []
    rows = [tensor.width for tensor in tensors]
    if chain is not None:
        inner = list(chain.layers)[1:]
        for index, count in zip(inner, chain.rows, strict=True):
            rows[index] = count
        leads[chain.first : chain.last + 1] = [chain.lead_bytes]
        works[chain.first : chain.last + 1] = [sum(_bytes(tensors[index], rows[index]) for index in inner)]
    whole = [index for index in range(len(tensors)) if index not in inner]
    offsets, arena_bytes = place([_bytes(tensors[index], rows[index]) for index in whole], leads, works)
    places = dict(zip(whole, offsets, strict=True))
    end = arena_bytes
    for index in inner:
        end -= _bytes(tensors[index], rows[index])
        places[index] = end
    # Step n makes tensor n of the one before; of a chain all steps go on together.
    spans = [(index, index + 1) for index in range(len(tensors))]
    if chain is not None:
        together = (chain.first + 1, chain.last + 1)
        spans[chain.first] = (chain.first, together[1])
        spans[chain.last + 1] = (together[0], chain.last + 2)
        for index in inner:
            spans[index] = together
    buffers = tuple(
        Buffer(tensor.name, places[index], count * tensor.channels, count, index not in inner, *span)
        for index, (tensor, count, span) in enumerate(zip(tensors, rows, spans, strict=True))
    )
    return buffers, arena_bytes


def _place_scratch(graph: Graph, kernels: Sequence[Kernel], chain: Chain | None) -> tuple[list[int], int]:
    """Offsets of the kernels' working memory, and the size of all: shared, but for the paired ones of a chain.

    These keep what is behind their windows from one chunk to the next, so the one with the largest window lets the
    others use that.
    """
    sizes = [align(scratch_bytes(layer, kernel)) for layer, kernel in zip(graph.layers, kernels, strict=True)]
    paired = [] if chain is None else [index for index in chain.layers if kernels[index].is_paired]
    windows = {index: window_bytes(graph.layers[index], kernels[index]) for index in paired}
    offsets = [0] * len(sizes)
    end = max((size for index, size in enumerate(sizes) if index not in windows), default=0)
    for turn, index in enumerate(sorted(windows, key=lambda index: -windows[index])):
        offsets[index] = max(end - windows[index], 0) if turn == 0 else end
        end = offsets[index] + sizes[index]
    return offsets, end


def _bytes(tensor: Tensor, rows: int) -> int:
    """What so many rows take of the arena."""
    return align(rows * tensor.channels)
