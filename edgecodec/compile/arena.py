"""How a chain's tensors share one arena: a kernel's output may lie over the part of its input that it has read.

The kernels go through the positions in order, so an output whose rows come no faster than input rows are done
with may start a little before its input and overwrite it. How little is a property of the kernel (``lead``);
the arena is then the least that holds every tensor at one place.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from edgecodec.codec.graph import Layer
from edgecodec.compile.kernels import MVE_POSITIONS, POINTWISE_POSITIONS, Kernel, pair_weights

ALIGNMENT_BYTES = 4
_POSITIONS_TOGETHER = {
    Kernel.CONV_TWIN: 1,
    Kernel.CONV_MVE: MVE_POSITIONS,
    Kernel.DEPTHWISE_MVE: MVE_POSITIONS,
    Kernel.POINTWISE: POINTWISE_POSITIONS,
}


def align(size_bytes: int) -> int:
    """``size_bytes`` rounded up to the arena's alignment."""
    return -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def lead_bytes(layer: Layer, kernel: Kernel) -> int:
    """The least number of bytes, a multiple of 4, that a kernel's input must start behind its output.

    At most as many as the output has.
    """
    whole = align(layer.output.size_bytes)
    rows_done = 0
    if kernel in (Kernel.CONV, Kernel.DEPTHWISE):
        # A row is written while the samples under its taps are read: all of them for each output channel, but
        # by a depthwise kernel one input channel after the other.
        position = np.arange(layer.output.width)
        written, first_read = position + 1, position * layer.stride - layer.pad_left
        rows_done = int(kernel is not Kernel.CONV)
    elif kernel in _POSITIONS_TOGETHER:
        # All samples of a position, or of some together, are read before the first of their rows is written.
        together = _POSITIONS_TOGETHER[kernel]
        written = np.arange(together, layer.output.width, together)
        first_read = written * layer.stride - layer.pad_left
    elif kernel is Kernel.CONV_PAIRED:
        # Pair after pair: the samples are in the window before the outputs up to the pair's even one are written.
        pair = np.arange(layer.output.width // 2 + 1)
        written = np.minimum(2 * pair + 1, layer.output.width)
        first_read = 2 * (pair + pair_weights(layer, kernel).tap_pairs) * layer.stride - layer.pad_left
    elif kernel is Kernel.CONV_WINOGRAD:
        # Two pairs together; the first sample of the next is looked at before, and read again.
        quad = np.arange((layer.output.width + 5) // 4)
        written = np.minimum(4 * quad + 2, layer.output.width)
        first_read = 4 * (quad + pair_weights(layer, kernel).tap_pairs) * layer.stride - layer.pad_left
    else:
        # Pair after pair, channel by channel: an output is written when its channel's samples are read.
        pair = np.arange(layer.output.width // 2 + 1)
        written = np.minimum(2 * pair + 1, layer.output.width)
        first_read = 2 * (pair + pair_weights(layer, kernel).tap_pairs - 1) * layer.stride - layer.pad_left
        rows_done = 1
    reads = first_read < layer.input.width
    ahead = written * layer.output.channels - (np.maximum(first_read, 0) + rows_done) * layer.input.channels
    return align(min(max(int(ahead[reads].max(initial=0)), 0), whole))


def place(sizes: Sequence[int], leads: Sequence[int], works: Sequence[int]) -> tuple[list[int], int]:
    """Offsets of a line of tensors in the smallest arena, and its size; everything in bytes, multiples of 4.

    Args:
        sizes: of each tensor.
        leads: of each step from one tensor to the next, :func:`lead_bytes`.
        works: what each step wants for itself at the arena's end.
    """
    # Behind a tensor lies what the steps on either side of it want.
    rooms = [size + max(pair) for size, pair in zip(sizes, pairwise([0, *works, 0]), strict=True)]
    low = max(rooms)
    high = max(sum(pair) for pair in pairwise(rooms))
    while low < high:
        middle = align((low + high) // 2 - ALIGNMENT_BYTES + 1)
        if _offsets(middle, sizes, leads, rooms) is None:
            low = middle + ALIGNMENT_BYTES
        else:
            high = middle
    offsets = _offsets(high, sizes, leads, rooms)
    assert offsets is not None, "tensors at alternating ends fit the sum of the largest neighbours"
    return offsets, high


def _offsets(arena: int, sizes: Sequence[int], leads: Sequence[int], rooms: Sequence[int]) -> list[int] | None:
    """Places in an arena of that size, or None; a tensor takes ``rooms`` bytes before the arena's end.

    A tensor either starts at least ``lead`` below the one that it is made from, or behind its end. So of all
    places that a tensor may have, the lowest and the highest are enough to know those of the next.
    """
    lowest, highest = [0], [arena - rooms[0]]
    for before, room, lead in zip(sizes, rooms[1:], leads, strict=False):
        top = arena - room
        below, behind = min(highest[-1] - lead, top), lowest[-1] + before
        if below < 0 and behind > top:
            return None
        lowest.append(0 if below >= 0 else behind)
        highest.append(top if behind <= top else below)
    offsets = [lowest[-1]]
    for index in reversed(range(len(leads))):
        fits_above = highest[index] >= offsets[0] + leads[index]
        offsets.insert(0, highest[index] if fits_above else lowest[index])
    return offsets
