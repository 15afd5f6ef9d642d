"""The range coder: what it writes it reads, close to the ideal length; an independent coder reads it too."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecodec.entropy.range_coder import TOTAL, RangeDecoder, RangeEncoder
from edgecodec.errors import PacketError
from tests.independent_coder import model_of, padded_words
from tests.tools import require

Intervals = list[tuple[int, int]]


@st.composite
def decisions(draw: st.DrawFn) -> Intervals:
    """Intervals of any place and size, the smallest and the whole often among them."""
    found = []
    for _ in range(draw(st.integers(0, 120))):
        size = draw(st.one_of(st.sampled_from([1, 2, TOTAL - 1, TOTAL]), st.integers(1, TOTAL)))
        start = draw(st.one_of(st.sampled_from([0, TOTAL - size]), st.integers(0, TOTAL - size)))
        found.append((start, size))
    return found


def encode(intervals: Intervals, capacity: int = 1 << 20) -> bytes | None:
    encoder = RangeEncoder(capacity)
    for start, size in intervals:
        encoder.encode(start, size)
    return encoder.finish()


def reads_back(payload: bytes, intervals: Intervals) -> bool:
    decoder = RangeDecoder(payload)
    for start, size in intervals:
        if not start <= decoder.target() < start + size:
            return False
        decoder.advance(start, size)
    return True


@given(decisions())
@settings(max_examples=100)
def test_reads_what_it_wrote(intervals: Intervals) -> None:
    payload = encode(intervals)
    assert payload is not None
    assert reads_back(payload, intervals)
    ideal = sum(math.log2(TOTAL / size) for _, size in intervals)
    # At most a byte to name a number inside; 2^-8 of a bit and less for each rounding of the range.
    assert len(payload) * 8 <= ideal + 16 + 0.006 * len(intervals)
    assert not payload or payload[-1]


@given(decisions(), st.integers(0, 40))
@settings(max_examples=60)
def test_keeps_to_its_capacity(intervals: Intervals, capacity: int) -> None:
    free, bound = encode(intervals), encode(intervals, capacity)
    assert free is not None
    if bound is None:
        assert len(free) + 4 > capacity  # whole words are written, zeros at the end are taken off
    else:
        assert bound == free
        assert len(bound) <= capacity


@pytest.mark.parametrize("length", range(60))
def test_every_length_of_unlikely_and_of_likely_decisions(length: int) -> None:
    """Carries through many bytes: the ends of the interval, again and again."""
    for run in ([(TOTAL - 1, 1)], [(0, 1)], [(0, TOTAL - 1)], [(1, TOTAL - 1)], [(TOTAL - 1, 1), (0, 1)]):
        intervals = (run * length)[:length]
        payload = encode(intervals)
        assert payload is not None
        assert reads_back(payload, intervals)


def test_by_hand() -> None:
    """A half, then a quarter: 0.5 + 0.5 * 0.25 = 0.625 = 0xA0 / 256."""
    assert encode([(TOTAL // 2, TOTAL // 2), (TOTAL // 4, TOTAL // 4)]) == b"\xa0"
    assert encode([]) == b""
    assert encode([(0, TOTAL // 2)]) == b""


def test_payload_outside_every_interval_is_refused() -> None:
    """2^64 - 1 is not below 2^24 times the first unit, 2^40 - 1."""
    with pytest.raises(PacketError, match="outside every interval"):
        RangeDecoder(b"\xff" * 8).target()


@pytest.mark.parametrize("seed", range(8))
def test_an_independent_coder_reads_it(seed: int) -> None:
    """``constriction`` with its defaults reads payloads padded with zeros, and writes the same but for the zeros."""
    require("module:constriction")
    import constriction

    rng = np.random.default_rng(seed)
    models = []
    for _ in range(5):
        count = int(rng.integers(2, 65))
        shares = rng.dirichlet(np.full(count, 0.3))
        sizes = 1 + np.floor(shares * (TOTAL - count)).astype(np.int64)
        sizes[0] += TOTAL - sizes.sum()
        models.append((sizes, model_of(sizes)))
    chosen = rng.integers(0, len(models), int(rng.integers(1, 120)))
    # Half of them as the models have it, half any: unlikely ones.
    symbols = [
        int(rng.choice(len(models[m][0]), p=models[m][0] / TOTAL if rng.random() < 0.5 else None)) for m in chosen
    ]
    intervals = [
        (int(models[m][0][:symbol].sum()), int(models[m][0][symbol])) for m, symbol in zip(chosen, symbols, strict=True)
    ]
    payload = encode(intervals)
    assert payload is not None
    decoder = constriction.stream.queue.RangeDecoder(padded_words(payload))
    assert [int(decoder.decode(models[m][1])) for m in chosen] == symbols
    encoder = constriction.stream.queue.RangeEncoder()
    for m, symbol in zip(chosen, symbols, strict=True):
        encoder.encode(symbol, models[m][1])
    theirs = encoder.get_compressed().astype(">u4").tobytes()
    assert theirs[: len(payload) - 1] == payload[:-1]
    assert len(payload) <= len(theirs)
