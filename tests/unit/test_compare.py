"""Comparison of two executors: what differs first, by how much, and what may be called equal."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from edgecodec.codec.rvq import IntegerRvq
from edgecodec.codec.stages import Shape, Stages
from edgecodec.documents import to_json
from edgecodec.errors import InputError
from edgecodec.verify.compare import Comparison, NamedStages, Pair, Verdict, compare, merge, verdict_of

FRAMES, SAMPLES, POSITIONS, CHANNELS, LEVELS = 5, 8, 2, 3, 2


def _stages() -> Stages:
    rng = np.random.default_rng(7)
    return Stages(
        input=rng.integers(-128, 128, (FRAMES, SAMPLES)).astype(np.int8),
        latent=rng.integers(-128, 128, (FRAMES, POSITIONS, CHANNELS)).astype(np.int8),
        indices=rng.integers(0, 50, (FRAMES, POSITIONS, LEVELS)).astype(np.uint16),
        offset=rng.integers(-(2**31), 2**31, FRAMES).astype(np.int32),
        spread=np.full(FRAMES, 2**64 - 1, np.uint64),
    )


def _packets(*packets: bytes) -> Stages:
    """Frames of which the packets are known, and the same of all else."""
    indices = np.zeros((len(packets), POSITIONS, LEVELS), np.uint16)
    return Stages(indices=indices, packet=np.array(packets, np.object_))


def _changed(stages: Stages, stage: str, place: tuple[int, ...], value: int) -> Stages:
    array = stages[stage].copy()
    array[place] = value
    return stages.changed(**{stage: array})


def _compare(a: Stages, b: Stages, **arguments: Any) -> Comparison:
    return compare(NamedStages("host", a), NamedStages("board", b), **arguments)


def test_equal() -> None:
    result = _compare(_stages(), _stages())
    assert result.verdict is Verdict.EQUAL
    assert result.first_divergence is None
    assert result.pairs == (
        Pair("host", "board", "input", FRAMES * SAMPLES, 0),
        Pair("host", "board", "latent", FRAMES * POSITIONS * CHANNELS, 0),
        Pair("host", "board", "indices", FRAMES * POSITIONS * LEVELS, 0),
    )
    assert result.statistics == (Pair("host", "board", "statistics", 2 * FRAMES, 0),)
    assert result.indices_compared == FRAMES * POSITIONS * LEVELS


@pytest.mark.parametrize(
    ("stage", "place", "position", "channel", "level"),
    [
        ("input", (3, 7), 7, None, None),
        ("latent", (3, 1, 2), 1, 2, None),
        ("indices", (3, 1, 0), 1, None, 0),
    ],
)
def test_one_wrong_value_is_named(
    stage: str, place: tuple[int, ...], position: int, channel: int | None, level: int | None
) -> None:
    expected = int(getattr(_stages(), stage)[place])
    result = _compare(_stages(), _changed(_stages(), stage, place, 77))
    assert result.verdict is Verdict.DIFFERENT
    assert {pair.stage: pair.mismatches for pair in result.pairs if pair.mismatches} == {stage: 1}
    found = result.first_divergence
    assert found is not None
    assert (found.a, found.b, found.frame, found.stage) == ("host", "board", 3, stage)
    assert (found.position, found.channel, found.level) == (position, channel, level)
    assert (found.expected, found.received) == (expected, 77)
    assert f"frame 3, {stage}, position {position}" in found.describe()


@pytest.mark.parametrize("name", ["offset", "spread"])
def test_wrong_statistics_are_a_difference(name: str) -> None:
    result = _compare(_stages(), _changed(_stages(), name, (2,), 1))
    assert result.verdict is Verdict.DIFFERENT
    assert result.statistics[0].mismatches == 1
    found = result.first_divergence
    assert found is not None
    assert (found.frame, found.stage, found.position) == (2, "statistics", None)
    assert (found.expected, found.received) == (int(getattr(_stages(), name)[2]), 1)


@pytest.mark.parametrize(
    ("received", "wrong", "position", "values"),
    [
        (b"a\0c\0", 1, 1, (98, 0)),
        (b"abc", 1, 3, (0, -1)),
        (b"abc\0\0", 1, 4, (-1, 0)),
        (b"abc\0\xff\xff", 2, 4, (-1, 255)),
        (b"", 4, 0, (97, -1)),
        (b"Xb", 3, 0, (97, 88)),
    ],
)
def test_first_wrong_byte_of_a_packet_is_named(
    received: bytes, wrong: int, position: int, values: tuple[int, int]
) -> None:
    """Also one that only one packet has, whatever it is."""
    result = _compare(_packets(b"longest", b"abc\0"), _packets(b"longest", received))
    assert result.verdict is Verdict.DIFFERENT
    compared = 7 + max(4, len(received))
    assert result.pairs[-1] == Pair("host", "board", "packet", compared, wrong)
    found = result.first_divergence
    assert found is not None
    assert (found.frame, found.stage, found.position, found.channel, found.level) == (1, "packet", position, None, None)
    assert (found.expected, found.received) == values


def test_equal_packets() -> None:
    result = _compare(_packets(b"abc\0", b"", b"\0\0"), _packets(b"abc\0", b"", b"\0\0"))
    assert result.verdict is Verdict.EQUAL
    assert result.pairs[-1] == Pair("host", "board", "packet", 6, 0)


def test_a_packet_that_was_never_written_is_never_equal() -> None:
    shape = Shape(SAMPLES, POSITIONS, LEVELS, CHANNELS)
    unwritten = Stages.empty(2, shape, ("packet",))
    with pytest.raises(TypeError):
        _compare(unwritten, unwritten)


def test_earliest_frame_then_earliest_stage() -> None:
    wrong = _changed(_changed(_stages(), "input", (4, 0), 99), "indices", (1, 0, 0), 99)
    wrong = _changed(_changed(wrong, "latent", (1, 1, 1), 99), "latent", (1, 0, 2), 99)
    found = _compare(_stages(), wrong).first_divergence
    assert found is not None
    assert (found.frame, found.stage, found.position, found.channel) == (1, "latent", 0, 2)


def test_stage_that_one_side_lacks_is_left_out() -> None:
    oracle = _stages().changed(input=None, offset=None, spread=None)
    result = _compare(oracle, _stages())
    assert [pair.stage for pair in result.pairs] == ["latent", "indices"]
    assert result.statistics == ()
    assert result.verdict is Verdict.EQUAL


def test_nothing_compared_is_undecided() -> None:
    empty = Stages(indices=np.zeros((0, POSITIONS, LEVELS), np.uint16))
    assert _compare(empty, empty).verdict is Verdict.UNDECIDED
    assert verdict_of([]) is Verdict.UNDECIDED
    assert merge([]).verdict is Verdict.UNDECIDED
    assert merge([_compare(_stages(), _stages()), _compare(empty, empty)]).verdict is Verdict.UNDECIDED


def test_different_wins_over_undecided() -> None:
    pairs = [Pair("a", "b", "indices", 0, 0), Pair("a", "c", "indices", 10, 1)]
    assert verdict_of(pairs) is Verdict.DIFFERENT


def test_lost_frames_are_refused() -> None:
    fewer = _stages().changed(input=None, latent=None, indices=_stages().indices[:-1], offset=None, spread=None)
    with pytest.raises(InputError, match=r"host gives shape \(5, 2, 2\) and board \(4, 2, 2\)"):
        _compare(_stages(), fewer)


def test_merge_keeps_the_earliest_divergence() -> None:
    late = _compare(_stages(), _changed(_stages(), "input", (4, 0), 99))
    early = compare(NamedStages("tflm", _stages()), NamedStages("board", _changed(_stages(), "indices", (2, 0, 0), 99)))
    merged = merge([late, early])
    assert merged.verdict is Verdict.DIFFERENT
    assert len(merged.pairs) == 6
    assert merged.first_divergence is not None
    assert (merged.first_divergence.a, merged.first_divergence.frame) == ("tflm", 2)


def test_margin_by_hand() -> None:
    # k = 1: the latent (3, 4) is the residual (6, 8) - 2 (1, 1) = (4, 6). Level 0 chooses (4, 4), leaving (0, 2).
    books = (np.array([[0, 0], [4, 4]], np.int16), np.array([[0, 1], [0, 5], [3, 2]], np.int16))
    rvq = IntegerRvq(books, 1, 0.1, 1)
    a = Stages(latent=np.array([[[3, 4]]], np.int8), indices=np.array([[[1, 0]]], np.uint16))
    # Level 1: codes at squared distances 1, 9 and 9 from (0, 2).
    result = _compare(a, a.changed(indices=np.array([[[1, 2]]], np.uint16)), rvq=rvq)
    assert result.first_divergence is not None
    assert (result.first_divergence.level, result.first_divergence.margin) == (1, 8)
    # Level 0: (4, 6) is at 52 from (0, 0) and at 4 from (4, 4).
    result = _compare(a, a.changed(indices=np.array([[[0, 0]]], np.uint16)), rvq=rvq)
    assert result.first_divergence is not None
    assert (result.first_divergence.level, result.first_divergence.margin) == (0, 48)
    assert "decision margin 48" in result.first_divergence.describe()
    # An index outside the codebook, as a damaged reply may hold, has no margin.
    result = _compare(a, a.changed(indices=np.array([[[1, 3]]], np.uint16)), rvq=rvq)
    assert result.first_divergence is not None
    assert result.first_divergence.margin is None


def test_margin_counts_the_bias() -> None:
    biases = (np.array([10, 0], np.int32),)
    rvq = IntegerRvq((np.array([[0, 0], [4, 4]], np.int16),), 1, 0.1, 1, biases=biases)
    a = Stages(latent=np.array([[[3, 4]]], np.int8), indices=np.array([[[1]]], np.uint16))
    result = _compare(a, a.changed(indices=np.array([[[0]]], np.uint16)), rvq=rvq)
    assert result.first_divergence is not None
    assert result.first_divergence.margin == 52 + 10 - 4


def test_json() -> None:
    found = _compare(_stages(), _changed(_stages(), "latent", (0, 1, 2), 7))
    pairs, first = to_json(found.pairs), to_json(found.first_divergence)
    assert pairs[1] == {"a": "host", "b": "board", "stage": "latent", "compared": 30, "mismatches": 1}
    assert (first["frame"], first["level"]) == (0, None)
    assert set(first) >= {"frame", "stage", "position", "level", "expected", "received"}
    assert json.loads(json.dumps([pairs, first])) == [pairs, first]
    assert _compare(_stages(), _stages()).first_divergence is None
