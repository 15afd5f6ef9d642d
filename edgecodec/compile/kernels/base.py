"""What a kernel is: a C function, the layers that it runs exactly, and how it wants their constants."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from edgecodec.codec.graph import Layer, Op
from edgecodec.codec.numerics import INT8, Numerics
from edgecodec.compile.arena import align
from edgecodec.compile.tables import Constants
from edgecodec.compile.target import Optimize, Target
from edgecodec.errors import PlanError

BLOCK_CHANNELS = 4
"""Output channels that all kernels but the plain ones compute together."""


@dataclass(frozen=True)
class Cadence:
    """How a kernel goes through the positions of a layer, for the schedule of a cascade (``edc_chain.h``)."""

    granularity: int
    """Positions that a stripe is a multiple of, unless it is the layer's last: 1, 2 or 4."""
    latency: int
    """Positions by which outputs are behind until the layer's last stripe."""
    lookahead: int
    """Rows beyond the stride: ``n`` positions look at ``n stride + lookahead`` rows, so it may be negative."""


@dataclass(frozen=True)
class Cost:
    """Instructions of a layer, roughly, fitted to those counted on emulated boards: to weigh and to divide layers."""

    position: float
    """A position that is computed."""
    call: float
    """A call of the kernel: to find the stripe, and to fill the window."""


@dataclass(frozen=True, kw_only=True)
class PackedLayer(Constants):
    """A layer as a kernel wants it: all that planning, rendering and tests need to know of it."""

    kernel: Kernel
    """The kernel that runs it."""
    layer: Layer
    """The layer that it was made from."""
    cadence: Cadence
    """How the kernel goes through its positions."""
    cost: Cost
    """Instructions, modelled."""
    memory_offset_bytes: int
    """How far its input must at least start behind its output where they overlap in memory, a multiple of 4."""
    scratch_bytes: int = 0
    """Working memory beside input and output."""
    window_bytes: int = 0
    """The start of the working memory that each stripe fills anew, so that others may use it between stripes."""

    @property
    def keeps_scratch(self) -> bool:
        """Whether outputs that are begun lie in its working memory, behind the window, from stripe to stripe."""
        return self.cadence.latency > 0

    def instructions(self, positions: int, *, pauses: bool) -> float:
        """Instructions of a call, modelled.

        ``positions`` are rounded up to what the kernel computes anyhow; a call that does not pause, the layer's last,
        has the work of the outputs that were behind, too.
        """
        computed = self.kernel.whole_groups(positions + (0 if pauses else self.cadence.latency))
        return self.cost.position * computed + self.cost.call


class Kernel(ABC):
    """A C function that runs a layer. ``str`` of a kernel is the function's name.

    A subclass sets the attributes, says which layers it cannot run exactly and packs the others; nothing else in
    edgecodec knows it but the row in :data:`edgecodec.compile.kernels.KERNELS`.
    """

    function: ClassVar[str]
    """Name of the C function; ``<function>_run`` is the ``edc_layer_function`` that models point to."""
    struct: ClassVar[str]
    """C type of the structure with a layer's constants."""
    header: ClassVar[str]
    """Header in ``firmware/codec`` that declares both."""
    reason: ClassVar[str]
    """Why it is taken, as ``inspect`` and the generated code say."""
    numerics: ClassVar[Numerics] = INT8
    """Numerics of the layers that it is considered for; it refuses all others."""
    ops: ClassVar[tuple[Op, ...]]
    """Ops of the layers that it is considered for; it refuses all others."""
    goals: ClassVar[tuple[Optimize, ...]] = (Optimize.SPEED, Optimize.BALANCED)
    """Goals that it serves. One that serves ``flash`` has tables hardly larger than the plain kernel's."""
    bytes_per_weight: ClassVar[int] = 1
    """Flash that a weight takes in its tables, less what fills them up."""
    positions_together: ClassVar[int] = 1
    """Positions that it computes together, whether or not all are wanted."""
    instructions_per_mac: ClassVar[float]
    """Instructions a multiply-accumulate, roughly, measured on emulated boards: to weigh layers against each other."""
    instructions_per_output: ClassVar[float]
    """Instructions an output beside those of its multiply-accumulates, likewise."""
    instructions_per_call: ClassVar[int]
    """Instructions to find a stripe and to call the kernel, likewise."""

    @abstractmethod
    def runs_on(self, target: Target) -> bool:
        """Whether it is made for what the core of ``target`` can do."""

    def refusal(self, layer: Layer) -> str | None:
        """Why it cannot run ``layer`` exactly, or None when it can."""
        if layer.numerics != self.numerics:
            return f"it runs {self.numerics.name} alone"
        if layer.op not in self.ops:
            return f"it runs {' and '.join(self.ops)} alone"
        return next((found for found in self._refusals(layer) if found is not None), None)

    @abstractmethod
    def _refusals(self, layer: Layer) -> Iterator[str | None]:
        """What is in the way of a layer of :attr:`ops`: None for each thing that is not. The first that is counts."""

    @abstractmethod
    def _pack(self, layer: Layer) -> PackedLayer:
        """Pack a layer that it can run."""

    def pack(self, layer: Layer) -> PackedLayer:
        """Pack ``layer``. Raises PlanError with the refusal when it cannot run it exactly."""
        refusal = self.refusal(layer)
        if refusal is not None:
            raise PlanError(f"{layer.op} '{layer.name}': {self} cannot run it: {refusal}")
        return self._pack(layer)

    def pays(self, layer: Layer, pack: Callable[[Kernel], PackedLayer]) -> bool:
        """Whether it is worth taking for a ``layer`` that it can run. ``pack`` packs the layer for any kernel, once."""
        return True

    def _cost(self, layer: Layer) -> Cost:
        """What ``layer`` costs by the figures above."""
        products, outputs = layer.macs / layer.output.width, layer.output.channels
        return Cost(
            products * self.instructions_per_mac + outputs * self.instructions_per_output, self.instructions_per_call
        )

    def whole_groups(self, positions: int) -> int:
        """``positions`` rounded up to what it computes together."""
        return -(-positions // self.positions_together) * self.positions_together

    def __str__(self) -> str:
        return self.function

    def __repr__(self) -> str:
        return f"<kernel {self.function}>"


def sizes(layer: Layer) -> dict[str, int]:
    """Widths and channels of input and output, as all structures have them."""
    return {
        "in_width": layer.input.width,
        "in_channels": layer.input.channels,
        "out_width": layer.output.width,
        "out_channels": layer.output.channels,
    }


def zero_points(layer: Layer) -> dict[str, int]:
    """Zero points of input and output."""
    return {"in_zero_point": layer.input.zero_point, "out_zero_point": layer.output.zero_point}


def plain_cadence(layer: Layer, granularity: int = 1) -> Cadence:
    """The cadence of a kernel whose outputs are written when the rows under their taps are there."""
    return Cadence(granularity, 0, layer.kernel - layer.stride)


def memory_offset(
    layer: Layer, written: npt.NDArray[np.int_], first_read: npt.NDArray[np.int_], *, channel_by_channel: bool = False
) -> int:
    """The least number of bytes, a multiple of 4, that a layer's input must start behind its output; or all of it.

    Args:
        layer: what runs.
        written: output rows ``[steps]`` that have been written at some point of time, the most before the next read.
        first_read: the first input row ``[steps]`` still to be read then; inside the left padding it is negative.
        channel_by_channel: whether of that row the channels are read as those of the last written row are written.
    """
    done = np.maximum(first_read, 0) + int(channel_by_channel)
    ahead = written * layer.output.row_bytes - done * layer.input.row_bytes
    most = int(ahead[first_read < layer.input.width].max(initial=0))
    return align(min(most, align(layer.output.size_bytes)))


def memory_offset_of_groups(layer: Layer, together: int) -> int:
    """:func:`memory_offset` of a kernel that reads all samples of ``together`` positions before it writes the first."""
    written = np.arange(together, layer.output.width, together)
    return memory_offset(layer, written, written * layer.stride - layer.pad_left)


def depth_multiplier_refusal(layer: Layer) -> str | None:
    """The refusal of a depthwise layer with more output channels than input channels."""
    return None if layer.depth_multiplier == 1 else f"depth multiplier {layer.depth_multiplier} is not 1"


def channels_refusal(layer: Layer) -> str | None:
    """The refusal of output channels that make no whole blocks."""
    rest = layer.output.channels % BLOCK_CHANNELS
    return f"{layer.output.channels} output channels are no multiple of {BLOCK_CHANNELS}" if rest else None


def rounding_refusal(layer: Layer) -> str | None:
    """The refusal of a layer that wants the rounding of any shift (``edc_requantize``) or a clamp of its own."""
    if layer.is_narrow:
        return None
    return "a left shift, a large accumulator or a tight activation wants the general rounding"
