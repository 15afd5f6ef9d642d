"""Context tables: exact shares, as short a code as the flash they are given allows, and proven when made."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgecodec.entropy.context_models import measure_rate
from edgecodec.entropy.context_tables import ContextTables, TableFitting, frequencies
from edgecodec.errors import InputError
from tests.packets import tables, walk

SIZES = (64, 64)


@pytest.fixture(scope="module")
def fitting() -> TableFitting:
    return TableFitting(walk(1, 2000, 20, SIZES), SIZES)


def test_shares_of_every_context_are_all_in_all(fitting: TableFitting) -> None:
    model = fitting.fit(4096)
    for level, tables_of_level in enumerate(model.levels):
        for context in range(SIZES[0] + 1):
            chosen = tables_of_level.classes[context]
            sizes = (
                tables_of_level.group_sizes[chosen, tables_of_level.groups]
                * tables_of_level.member_sizes[tables_of_level.ranks]
            )
            assert sizes.min() >= 1
            assert sizes.sum() == 1 << 24, level


def test_intervals_are_what_code_lengths_say(fitting: TableFitting) -> None:
    model = fitting.fit(4096)
    indices = walk(2, 5, 20, SIZES)
    for frame in indices:
        bits = [24 - np.log2(size) for _, size in model.intervals(frame)]
        np.testing.assert_allclose(bits, model.code_lengths(frame[None]).reshape(-1))


def test_more_flash_takes_fewer_bits_and_near_the_unlimited(fitting: TableFitting) -> None:
    """The walk's indices follow one context each, which is what the unlimited model of order 1 knows."""
    train, test = walk(1, 2000, 20, SIZES), walk(3, 500, 20, SIZES)
    unlimited = measure_rate(train, test, SIZES).bits_per_frame
    bits = []
    for flash in (800, 1500, 3000, 6000):
        model = fitting.fit(flash)
        assert model.flash_bytes <= flash
        bits.append(model.code_lengths(test).sum(axis=(1, 2)).mean())
    assert bits == sorted(bits, reverse=True)
    assert bits[-1] < 1.04 * unlimited["order_1"]
    assert bits[0] < unlimited["order_0"]


def test_curve(fitting: TableFitting) -> None:
    sizes = [point.flash_bytes for point in fitting.curve]
    bits = [point.bits for point in fitting.curve]
    assert sizes == sorted(set(sizes))
    assert bits == sorted(bits, reverse=True)
    with pytest.raises(InputError, match="the smallest take"):
        fitting.fit(sizes[0] - 1)


def test_frequencies_by_hand() -> None:
    """0.6, 0.39, 0.01 of 16: 9, 6 and at least 1."""
    assert frequencies(np.array([[0.6, 0.39, 0.01]]), 16).tolist() == [[9, 6, 1]]
    assert frequencies(np.array([[1.0, 0.0, 0.0]]), 16).tolist() == [[14, 1, 1]]


@pytest.mark.parametrize("seed", range(5))
def test_frequencies_are_whole_and_sum_up(seed: int) -> None:
    rng = np.random.default_rng(seed)
    wanted = rng.dirichlet(np.full(200, 0.05), 20)
    shares = frequencies(wanted)
    assert np.all(shares >= 1)
    assert np.all(shares.sum(axis=1) == 1 << 16)


def test_arrays_there_and_back() -> None:
    model = tables(4, 10, (9, 1, 7), 2048)
    assert isinstance(model, ContextTables)
    again = ContextTables.from_arrays(model.to_arrays())
    for name, array in again.to_arrays().items():
        np.testing.assert_array_equal(array, model.to_arrays()[name])
    arrays = model.to_arrays()
    del arrays["ranks_1"]
    with pytest.raises(InputError, match="ranks_1 is missing"):
        ContextTables.from_arrays(arrays)


def test_refuses_tables_of_no_codec() -> None:
    level = tables(4, 10, (9, 7), 2048).levels[0]
    with pytest.raises(InputError, match="do not fit each other"):
        replace(level, ranks=level.ranks[::-1].copy())
    with pytest.raises(InputError, match="not all at least 1"):
        replace(level, group_starts=np.zeros_like(level.group_starts))
    with pytest.raises(InputError, match="at most 256"):
        TableFitting(np.zeros((4, 3, 1), int), (257,))
    with pytest.raises(InputError, match="at least 2"):
        TableFitting(np.zeros((1, 3, 1), int), (5,))
