"""How an encoder's tensors share one arena: a kernel's output may lie over the part of its input that it has read.

The kernels go through the positions in order, so an output whose rows come no faster than input rows are done
with may start a little before its input and overwrite it. How little is a property of the kernel, the memory offset
between the two; the arena is then the least that holds every tensor at one place.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

ALIGNMENT_BYTES = 4
"""What offsets and sizes in the arena are multiples of."""


def align(size_bytes: int) -> int:
    """``size_bytes`` rounded up to the arena's alignment."""
    return -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES


def place(sizes: Sequence[int], memory_offsets: Sequence[int], works: Sequence[int]) -> tuple[list[int], int]:
    """Offsets of a line of tensors in the smallest arena, and its size; everything in bytes, multiples of 4.

    Args:
        sizes: of each tensor.
        memory_offsets: of each step from one tensor to the next, how far its input must at least start behind its
            output where they overlap.
        works: what each step wants for itself at the arena's end.
    """
    # Behind a tensor lies what the steps on either side of it want.
    rooms = [size + max(pair) for size, pair in zip(sizes, pairwise([0, *works, 0]), strict=True)]
    low = max(rooms)
    high = max(sum(pair) for pair in pairwise(rooms))
    while low < high:
        middle = align((low + high) // 2 - ALIGNMENT_BYTES + 1)
        if _offsets(middle, sizes, memory_offsets, rooms) is None:
            low = middle + ALIGNMENT_BYTES
        else:
            high = middle
    offsets = _offsets(high, sizes, memory_offsets, rooms)
    assert offsets is not None, "tensors at alternating ends fit the sum of the largest neighbours"
    return offsets, high


def _offsets(arena: int, sizes: Sequence[int], memory_offsets: Sequence[int], rooms: Sequence[int]) -> list[int] | None:
    """Places in an arena of that size, or None; a tensor takes ``rooms`` bytes before the arena's end.

    A tensor either starts at least the memory offset below the one that it is made from, or behind its end. So of all
    places that a tensor may have, the lowest and the highest are enough to know those of the next.
    """
    lowest, highest = [0], [arena - rooms[0]]
    for before, room, memory_offset in zip(sizes, rooms[1:], memory_offsets, strict=False):
        top = arena - room
        below, behind = min(highest[-1] - memory_offset, top), lowest[-1] + before
        if below < 0 and behind > top:
            return None
        lowest.append(0 if below >= 0 else behind)
        highest.append(top if behind <= top else below)
    offsets = [lowest[-1]]
    for index in reversed(range(len(memory_offsets))):
        fits_above = highest[index] >= offsets[0] + memory_offsets[index]
        offsets.insert(0, highest[index] if fits_above else lowest[index])
    return offsets
