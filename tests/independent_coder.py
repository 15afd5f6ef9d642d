"""The package ``constriction`` as an independent reader of payloads: its range decoder with its defaults."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from edgecodec.entropy.range_coder import TOTAL


def model_of(sizes: npt.NDArray[np.int64]) -> object:
    """A model of ``constriction`` with just these shares of 2^24.

    It gives each of n symbols one unit before it shares out the others by a cumulative distribution, which is chosen
    here so that the outcome is exact: float64 has 29 bits to spare.
    """
    import constriction

    starts = np.concatenate([[0], np.cumsum(sizes)])
    count, free = len(sizes), TOTAL - len(sizes)

    def cumulative(x: float) -> float:
        symbol = min(max(math.floor(x + 0.5), 0), count)
        return (int(starts[symbol]) - symbol + 0.5) / free

    def inverse(p: float) -> float:
        return float(min(max(int(np.searchsorted(starts, p * TOTAL, side="right")) - 1, 0), count - 1))

    return constriction.stream.model.CustomModel(cumulative, inverse, 0, count - 1)


def padded_words(payload: bytes) -> npt.NDArray[np.uint32]:
    """A payload as the decoder takes it: with zeros to whole words, and two words more."""
    return np.frombuffer(payload + bytes(-len(payload) % 4 + 8), ">u4").astype(np.uint32)


def reads(payload: bytes, intervals: list[tuple[int, int]]) -> bool:
    """Whether the decoder finds each interval's part of a model that has it, what lies before and what behind."""
    import constriction

    decoder = constriction.stream.queue.RangeDecoder(padded_words(payload))
    for start, size in intervals:
        sizes = np.array([start, size, TOTAL - start - size])
        chosen = int(np.sum(sizes[:1] > 0))
        if np.sum(sizes > 0) > 1 and decoder.decode(model_of(sizes[sizes > 0])) != chosen:
            return False
    return True
