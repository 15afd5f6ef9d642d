"""Fit what packets code indices with, and choose it by the flash and the instructions that a device has for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.entropy.causal_network import MOST_CODES, CausalNetwork
from edgecodec.entropy.context_tables import ContextTables, TableFitting
from edgecodec.errors import InputError
from edgecodec.training.causal_network import Indices, NetworkFitting, fit_causal_network

NETWORKS = (
    NetworkFitting(4, 12, 8, (1, 2, 4)),
    NetworkFitting(12, 16, 16, (1, 2, 4, 8)),
    NetworkFitting(12, 40, 32, (1, 2, 4, 8)),
)
"""Shapes of networks, smallest first: with two levels of 256 codes 12, 26 and 62 KiB."""
TABLE_SIZES = (4096, 8192, 16384, 32768)
"""Bytes of tables that the curve shows."""
_TABLE_INSTRUCTIONS = 60
_PER_PRODUCT, _PER_OUTPUT, _PER_DECISION = 1.33, 31, 89
"""Of a network on a Cortex-M4 at -O2, from the measured three of :data:`NETWORKS` (tools/packet_counts.py)."""


@dataclass(frozen=True)
class ModelBudget:
    """What a device has for the model of its indices. Raises InputError unless both are above 0."""

    flash_bytes: int = 16384
    """Bytes of tables or weights."""
    instructions: int = 100_000
    """Instructions a frame on a Cortex-M4."""

    def __post_init__(self) -> None:
        if self.flash_bytes < 1 or self.instructions < 1:
            raise InputError(
                f"a budget of {self.flash_bytes} bytes, {self.instructions} instructions; expected above 0"
            )


@dataclass(frozen=True)
class ModelPoint:
    """A model that was fitted, and what it is worth."""

    kind: str
    """``tables`` or ``network``."""
    flash_bytes: int
    """Bytes of tables or weights on a device."""
    instructions: int
    """Instructions a frame on a Cortex-M4, estimated."""
    bits_per_frame: float
    """Mean bits of a validation frame's payload under the model."""
    chosen: bool
    """Whether this one is kept: the fewest bits within the budget."""


Progress = Callable[[int, int, str], None]
"""``progress(done, total, what)`` with the steps of the network that is fitted."""


def fit_index_model(
    train: Indices,
    validation: Indices,
    codebooks: Sequence[npt.NDArray[Any]],
    budget: ModelBudget | None = None,
    steps: int | None = None,
    progress: Progress | None = None,
) -> tuple[ContextTables | CausalNetwork | None, tuple[ModelPoint, ...]]:
    """Fit tables of several sizes and the networks within ``budget``; return the best of them and the whole curve.

    Models are fitted to ``train`` indices ``[M, P, L]`` alone and judged on ``validation`` ``[N, P, L]``, of other
    people. Networks take minutes each, so those that would not fit are not fitted; ``steps`` replaces theirs. The
    model is None when nothing fits the budget, or a codebook ``[K, D]`` is too large for either kind. Raises InputError
    when either holds no frames or shapes differ.
    """
    budget = budget or ModelBudget()
    positions, sizes = train.shape[1], [len(book) for book in codebooks]
    for name, given in (("training", train), ("validation", validation)):
        if given.ndim != 3 or given.shape[1:] != (positions, len(sizes)) or given.size == 0:
            raise InputError(f"{name} indices are {given.shape}; expected [N, P, {len(sizes)}] with at least one frame")
    if max(sizes) > MOST_CODES:
        return None, ()
    models: list[ContextTables | CausalNetwork] = []
    fitting = TableFitting(train, sizes)
    for size in sorted({*TABLE_SIZES, budget.flash_bytes}):
        if size >= fitting.curve[0].flash_bytes:
            tables = fitting.fit(size)
            if not models or tables.flash_bytes > models[-1].flash_bytes:
                models.append(tables)
    for number, shape in enumerate(NETWORKS, 1):
        flash, instructions = network_costs(shape, positions, sizes)
        if flash <= budget.flash_bytes and instructions <= budget.instructions:
            what = f"network {number} of {len(NETWORKS)}"
            models.append(_fit_network(train, validation, codebooks, shape, steps, what, progress))
    points = [_point(model, validation) for model in models]
    within = [
        number
        for number, point in enumerate(points)
        if point.flash_bytes <= budget.flash_bytes and point.instructions <= budget.instructions
    ]
    if not within:
        return None, tuple(points)
    best = min(within, key=lambda number: points[number].bits_per_frame)
    points[best] = replace(points[best], chosen=True)
    return models[best], tuple(points)


def network_costs(shape: NetworkFitting, positions: int, sizes: Sequence[int]) -> tuple[int, int]:
    """Bytes and instructions a frame of a network of ``shape``, before it is fitted."""
    channels, hidden, levels = shape.channels, shape.hidden, len(sizes)
    blocks, inputs = len(shape.dilations), -(-levels * shape.embedding // 4) * 4
    products = channels * (inputs + 4 * blocks * channels + levels * hidden)
    outputs = channels * (1 + 2 * blocks) + levels * hidden
    above = sum(size * level for level, size in zip(range(levels - 1, -1, -1), sizes, strict=True)) * hidden
    rows = sum((size + 1) * shape.embedding + size + (size - 1) * (hidden + 2) for size in sizes)
    depth = sum((size - 1).bit_length() for size in sizes)
    work = _PER_PRODUCT * (products + depth * hidden) + _PER_OUTPUT * outputs + _PER_DECISION * depth
    return 512 + products + 4 * outputs + above + rows, round(positions * work)


def _fit_network(
    train: Indices,
    validation: Indices,
    codebooks: Sequence[npt.NDArray[Any]],
    shape: NetworkFitting,
    steps: int | None,
    what: str,
    progress: Progress | None,
) -> CausalNetwork:
    shape = shape if steps is None else replace(shape, steps=steps)

    def told(done: int, total: int, bits: float) -> None:
        del bits
        if progress is not None:
            progress(done, total, what)

    return fit_causal_network(train, validation, codebooks, shape, told)


def _point(model: ContextTables | CausalNetwork, validation: Indices) -> ModelPoint:
    bits = float(np.mean(model.code_lengths(validation).sum(axis=(1, 2))))
    positions, levels = validation.shape[1:]
    if isinstance(model, ContextTables):
        return ModelPoint("tables", model.flash_bytes, _TABLE_INSTRUCTIONS * positions * levels, bits, False)
    shape = NetworkFitting(
        model.levels[0].embedding.shape[1],
        model.channels,
        len(model.levels[0].hidden.weights),
        tuple(block.dilation for block in model.blocks),
    )
    instructions = network_costs(shape, positions, model.codebook_sizes)[1]
    return ModelPoint("network", model.flash_bytes, instructions, bits, False)
