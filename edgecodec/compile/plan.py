"""The plan: which kernel runs when, where every tensor lives, and the proof that nothing overflows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from edgecodec.compile.graph import Graph, Layer, Op
from edgecodec.compile.kernels import (
    DEFAULT_TARGET,
    Choice,
    Kernel,
    Optimize,
    Target,
    choose_kernel,
    is_narrow,
    scratch_bytes,
    table_bytes,
)
from edgecodec.compile.overlap import align, lead_bytes, place
from edgecodec.compile.search import Search, SortedCodebook, choose_search, mve_entries, sort_codebook
from edgecodec.errors import PlanError

if TYPE_CHECKING:
    from edgecodec.bundle import Bundle


@dataclass(frozen=True)
class Buffer:
    """A tensor's place in the arena, alive from ``first_step`` to ``last_step``.

    A step's output may lie over the part of its input that the kernel has read by then.

    Step 0 is the normaliser, step n the n-th layer, the last one the quantiser.
    """

    tensor: str
    offset_bytes: int
    size_bytes: int
    first_step: int
    last_step: int


@dataclass(frozen=True)
class Step:
    """One call of a kernel."""

    layer: Layer
    choice: Choice
    source: Buffer
    target: Buffer
    folded_bias: npt.NDArray[np.int32]
    """``[out]``: the bias with the input's zero point folded in."""
    accumulator_bound: int
    """No partial sum of the layer exceeds this."""
    narrow: bool
    """Whether the cheaper rounding is exact (``edc_requantize_narrow``)."""

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
    """Execution order, kernels and memory of a bundle's codec."""

    target: Target
    steps: tuple[Step, ...]
    buffers: tuple[Buffer, ...]
    arena_bytes: int
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


def make_plan(bundle: Bundle, target: Target = DEFAULT_TARGET) -> Plan:
    """Plan a bundle's codec. Raises PlanError when a layer cannot be executed exactly."""
    graph = bundle.graph
    folded = [fold_bias(layer) for layer in graph.layers]
    choices = [choose_kernel(layer, bound, target) for layer, (_, bound) in zip(graph.layers, folded, strict=True)]
    buffers, arena_bytes = _place(graph, [choice.kernel for choice in choices])
    steps = [
        Step(layer, choice, buffers[index], buffers[index + 1], bias, bound, is_narrow(layer, bound))
        for index, (layer, choice, (bias, bound)) in enumerate(zip(graph.layers, choices, folded, strict=True))
    ]
    pruned = target.optimize is not Optimize.FLASH
    search = choose_search(bundle.rvq, vectors=target.vectors)
    dimension = bundle.rvq.dimension
    return Plan(
        target,
        tuple(steps),
        buffers,
        arena_bytes,
        residual_bytes=2 * (mve_entries(dimension) if search is Search.MVE else dimension),
        scratch_bytes=max(align(scratch_bytes(step.layer, step.kernel)) for step in steps),
        search=search,
        codebooks=tuple(sort_codebook(bundle.rvq, level) if pruned else None for level in range(bundle.levels)),
    )


def fold_bias(layer: Layer) -> tuple[npt.NDArray[np.int32], int]:
    """Return ``bias - z_x sum(w)`` (int32 ``[out]``) and the bound on the accumulator (SPEC.md 1.2).

    Raises PlanError when a sum, shifted left as the channel asks, may leave int32.
    """
    axes = (1, 2) if layer.op is Op.CONV else (0,)
    weights = layer.weights.astype(np.int64)
    folded = layer.bias.astype(np.int64) - layer.input.zero_point * weights.sum(axis=axes)
    bound = np.abs(folded) + 128 * np.abs(weights).sum(axis=axes)
    # A channel of zeros keeps the bound 1, so that the shift itself stays below the word's width.
    shifted = np.maximum(bound, 1) * (1 << np.clip(layer.shift.astype(np.int64), 0, 31))
    if int(shifted.max()) >= 1 << 31:
        channel = int(shifted.argmax())
        raise PlanError(
            f"{layer.op} '{layer.name}': the accumulator of channel {channel} may reach {int(shifted[channel])}; "
            f"int32 holds {2**31 - 1} (retrain or quantise again with a larger output scale)"
        )
    return folded.astype(np.int32), int(bound.max())


def _place(graph: Graph, kernels: Sequence[Kernel]) -> tuple[tuple[Buffer, ...], int]:
    """Place a chain's tensors: each at one offset, the arena as small as the kernels' order allows."""
    tensors = [graph.input, *(layer.output for layer in graph.layers)]
    leads = [lead_bytes(layer, kernel) for layer, kernel in zip(graph.layers, kernels, strict=True)]
    offsets, arena_bytes = place([align(tensor.size_bytes) for tensor in tensors], leads)
    buffers = tuple(
        Buffer(tensor.name, offset, tensor.size_bytes, index, index + 1)
        for index, (tensor, offset) in enumerate(zip(tensors, offsets, strict=True))
    )
    return buffers, arena_bytes
