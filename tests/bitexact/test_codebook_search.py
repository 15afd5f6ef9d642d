"""The codebook search: the reference equal to a search in Python integers, the C equal to the reference."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from edgecodec.compile.search import sort_codebook
from edgecodec.host.reference import quantize_latent
from edgecodec.rvq import IntegerRvq
from tests.bitexact import c_kernels
from tests.tools import require


def _search(rvq: IntegerRvq, latent: npt.NDArray[np.int8]) -> list[list[list[int]]]:
    """SPEC.md 1.3 with Python integers and the full squared distance."""
    found = []
    for frame in latent.tolist():
        rows = []
        for vector in frame:
            residual = [(q - rvq.latent_zero_point) * 2**rvq.fraction_bits for q in vector]
            row = []
            for book in rvq.codebooks:
                distances = [sum((r - c) ** 2 for r, c in zip(residual, code, strict=True)) for code in book.tolist()]
                best = distances.index(min(distances))
                row.append(best)
                residual = [r - c for r, c in zip(residual, book[best].tolist(), strict=True)]
            rows.append(row)
        found.append(rows)
    return found


def _random(seed: int) -> tuple[IntegerRvq, npt.NDArray[np.int8]]:
    rng = np.random.default_rng([seed, 50])
    dimension, levels = int(rng.integers(1, 20)), int(rng.integers(1, 5))
    sizes = rng.integers(1, 70, levels)
    spread = 400 if dimension > 8 else 700
    books = [rng.normal(0, spread / 2.5**level, (size, dimension)).astype(np.int16) for level, size in enumerate(sizes)]
    for book in books:
        # Copies of codes, so that ties are certain.
        book[rng.integers(len(book))] = book[rng.integers(len(book))]
    bits = int(rng.integers(0, 5))
    rvq = IntegerRvq(tuple(books), bits, 0.05, int(rng.integers(-128, 128)))
    return rvq, rng.integers(-128, 128, (3, 5, dimension)).astype(np.int8)


@pytest.mark.parametrize("seed", range(40))
def test_reference_is_the_exhaustive_search(seed: int) -> None:
    rvq, latent = _random(seed)
    assert quantize_latent(rvq, latent).tolist() == _search(rvq, latent)


@pytest.mark.parametrize("seed", range(40))
def test_c_equals_the_reference(seed: int) -> None:
    require("cc", "Python.h")
    rvq, latent = _random(seed)
    expected = quantize_latent(rvq, latent)
    for pruned in (False, True):
        for simd in (False, True):
            np.testing.assert_array_equal(c_kernels.quantize_latent(rvq, latent, pruned, simd), expected)


@pytest.mark.parametrize("seed", range(30))
def test_pruned_search_finds_the_same(seed: int) -> None:
    """Codebooks large enough to be sorted, made of vectors like the residuals, with ties, at every scale."""
    require("cc", "Python.h")
    rng = np.random.default_rng([seed, 60])
    dimension, size = int(rng.integers(1, 20)), int(rng.integers(32, 300))
    bits = int(rng.integers(0, 5))
    mixing = rng.normal(0, 1, (dimension, dimension)) * 2.0 ** -np.arange(dimension)
    latent = np.clip(np.round(rng.normal(0, 40, (6, 50, dimension)) @ mixing), -128, 127).astype(np.int8)
    first = latent.reshape(-1, dimension)[rng.integers(0, 300, size)].astype(np.int16) << bits
    second = np.round(rng.normal(0, 6 * 2**bits, (size, dimension)) @ mixing).astype(np.int16)
    for book in (first, second):
        book[rng.integers(0, size, size // 4)] = book[rng.integers(0, size, size // 4)]
    rvq = IntegerRvq((first, second), bits, 0.05, 0)
    assert all(sort_codebook(rvq, level) is not None for level in range(2))
    expected = quantize_latent(rvq, latent)
    for simd in (False, True):
        np.testing.assert_array_equal(c_kernels.quantize_latent(rvq, latent, pruned=True, simd=simd), expected)


def test_keys_farther_apart_than_16_bits() -> None:
    """Differences of keys leave int16, where 16-bit SIMD saturates them."""
    require("cc", "Python.h")
    rng = np.random.default_rng(3)
    book = np.zeros((300, 2), np.int16)
    book[:, 0] = np.linspace(-32768, 32767, 300)
    book[:, 1] = rng.integers(-40, 40, 300)
    latent = rng.integers(-128, 128, (4, 100, 2)).astype(np.int8)
    latent[0] = -128
    latent[1] = 127
    for end in (slice(0, 150), slice(150, 300)):
        # All codes to one side, so that the far ends are compared.
        rvq = IntegerRvq((book[end],), 4, 1.0, 0)
        found = sort_codebook(rvq, 0)
        assert found is not None
        assert np.abs(found.keys[:, 0].astype(int)).max() + 128 * 16 > 32767
        expected = quantize_latent(rvq, latent)
        for simd in (False, True):
            np.testing.assert_array_equal(c_kernels.quantize_latent(rvq, latent, True, simd), expected)


def test_pruned_search_looks_at_few_codes_only_where_it_is_exact() -> None:
    book = np.arange(64, dtype=np.int16)[:, None] * np.ones((1, 16), np.int16)
    assert sort_codebook(IntegerRvq((book[:31],), 0, 1.0, 0), 0) is None  # too few to pay
    assert sort_codebook(IntegerRvq((book,), 4, 1.0, 0), 0) is not None
    # Residuals of 8 levels may be so long that squared keys leave 32 bits: those levels search all codes.
    tall = IntegerRvq(tuple(book * 40 for _ in range(8)), 4, 1.0, 0)
    assert sort_codebook(tall, 0) is not None
    assert sort_codebook(tall, 7) is None


def test_sorted_codebook_keeps_every_code() -> None:
    rng = np.random.default_rng(7)
    rvq = IntegerRvq((rng.normal(0, 300, (100, 5)).astype(np.int16),), 2, 0.1, 3)
    found = sort_codebook(rvq, 0)
    assert found is not None
    assert sorted(found.order.tolist()) == list(range(100))
    np.testing.assert_array_equal(found.codes, rvq.codebooks[0][found.order])
    np.testing.assert_array_equal(found.norms, rvq.norms(0)[found.order])
    assert np.all(np.diff(found.keys[:, 0].astype(int)) >= 0)
    np.testing.assert_array_equal(found.keys, (found.codes.astype(np.int64) @ found.projection.astype(np.int64)) >> 6)


def test_ties_take_the_lowest_index() -> None:
    require("cc", "Python.h")
    # 5 is as far from 3 as from 7; codes 1 and 3 are the same, and so are 0 and 2.
    rvq = IntegerRvq((np.array([[7], [3], [7], [3]], np.int16),), 0, 1.0, 0)
    latent = np.array([[[5], [3], [2], [8]]], np.int8)
    assert quantize_latent(rvq, latent).tolist() == [[[0], [1], [1], [0]]]
    np.testing.assert_array_equal(c_kernels.quantize_latent(rvq, latent), [[[0], [1], [1], [0]]])


def test_largest_codebook_and_extremes() -> None:
    """65,536 codes of one entry, and codes at the edge of what the proof of int32 admits."""
    require("cc", "Python.h")
    rvq = IntegerRvq((np.arange(-32768, 32768).astype(np.int16)[:, None],), 4, 1.0, -128)
    latent = np.array([[[-128], [0], [127]]], np.int8)
    expected = [[[32768], [32768 + 128 * 16], [32768 + 255 * 16]]]
    assert quantize_latent(rvq, latent).tolist() == expected
    assert c_kernels.quantize_latent(rvq, latent).tolist() == expected
