"""The codebook search: the reference equal to a search in Python integers, the C equal to the reference."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from edgecodec.codec.reference import quantize_latent
from edgecodec.codec.rvq import IntegerRvq
from edgecodec.compile.codebook_search import Search, choose_search, pack_codebook, sort_codebook
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
        np.testing.assert_array_equal(c_kernels.quantize_latent_mve(rvq, latent, pruned), expected)


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
    np.testing.assert_array_equal(c_kernels.quantize_latent_mve(rvq, latent, pruned=True), expected)
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
        assert choose_search(rvq, vectors=True) is Search.PLAIN  # a residual less a code leaves int16


def test_far_codes_on_vectors() -> None:
    """Codes all to one side, at both ends of what the vector search takes."""
    require("cc", "Python.h")
    rng = np.random.default_rng(4)
    book = np.zeros((300, 3), np.int16)
    book[:, 0] = np.linspace(-28671, 28671, 300)
    book[:, 1:] = rng.integers(-40, 40, (300, 2))
    latent = rng.integers(-128, 128, (4, 100, 3)).astype(np.int8)
    latent[0], latent[1] = -128, 127
    for end in (slice(0, 150), slice(150, 300), slice(0, 300)):
        rvq = IntegerRvq((book[end],), 4, 1.0, -1)
        assert choose_search(rvq, vectors=True) is Search.MVE
        assert sort_codebook(rvq, 0) is not None
        expected = quantize_latent(rvq, latent)
        np.testing.assert_array_equal(c_kernels.quantize_latent_mve(rvq, latent, pruned=True), expected)


def test_many_codes_on_vectors() -> None:
    """20,001 codes in 2,501 blocks, in both orders: the index is known without a search."""
    require("cc", "Python.h")
    book = np.arange(-10000, 10001, dtype=np.int16)[:, None]
    latent = np.arange(-128, 128, dtype=np.int8).reshape(1, 256, 1)
    residual = np.arange(-128, 128, dtype=int) * 16
    for step in (1, -1):
        rvq = IntegerRvq((book[::step],), 4, 1.0, 0)
        found = c_kernels.quantize_latent_mve(rvq, latent, pruned=True)
        assert found[0, :, 0].tolist() == (10000 + step * residual).tolist()
    # Without codes between -100 and 100: the nearest are at either end, and 0 is as far from both.
    gap = np.delete(book, np.arange(9901, 10100), axis=0)
    rvq = IntegerRvq((gap[::-1],), 4, 1.0, 0)
    found = c_kernels.quantize_latent_mve(rvq, latent, pruned=True)[0, 126:131, 0]
    assert gap[::-1][found, 0].tolist() == [-100, -100, 100, 100, 100]


def test_choice_of_the_search() -> None:
    def choice(code: int, dimension: int) -> Search:
        rvq = IntegerRvq((np.full((40, dimension), code, np.int16),), 4, 1.0, 0)  # residuals to 2,048
        assert choose_search(rvq, vectors=False) is Search.PLAIN
        return choose_search(rvq, vectors=True)

    assert choice(30719, 1) is Search.MVE
    assert choice(30720, 1) is Search.PLAIN  # a difference of 32,768
    assert choice(-30719, 2) is Search.MVE  # 2 * 32,767^2 < 2^31 - 1
    assert choice(24706, 3) is Search.MVE  # 3 * 26,754^2 = 2,147,329,548
    assert choice(24707, 3) is Search.PLAIN  # 3 * 26,755^2 = 2,147,490,075


def test_keys_that_leave_int16_are_not_pruned() -> None:
    """Codes (30,000, 30,000) and alike project to 42,000 on their direction."""
    line = np.linspace(-30000, 30000, 64).astype(np.int16)
    rvq = IntegerRvq((np.stack([line, line], axis=1),), 0, 1.0, 0)
    assert sort_codebook(rvq, 0) is None
    assert sort_codebook(IntegerRvq((np.stack([line // 2, line // 2], axis=1),), 0, 1.0, 0), 0) is not None


def test_blocks_by_hand() -> None:
    """35 codes of two entries make five blocks of eight, the last one filled with its last code."""
    book = np.stack([np.arange(35) * 10, np.arange(35) % 2], axis=1).astype(np.int16)[::-1]
    rvq = IntegerRvq((book,), 0, 1.0, 0)
    found = sort_codebook(rvq, 0)
    assert found is not None
    packed = pack_codebook(rvq, 0, found, Search.MVE)
    assert packed.array("codes").shape == (40, 8)
    assert packed.array("codes")[:35, 0].tolist() == [10 * code for code in range(35)]
    assert packed.array("codes")[34:].tolist() == [[340, 0, 0, 0, 0, 0, 0, 0]] * 6
    assert packed.array("order").tolist() == [*range(34, -1, -1), *[0] * 5]
    assert packed.array("projection").shape == (1, 4, 8)
    assert packed.array("projection")[0, 0].tolist() == [64, 0, 0, 0, 0, 0, 0, 0]
    assert len(packed.array("blocks")) == 5
    second = packed.array("blocks")[1]
    assert second["keys"][0].tolist() == [80, 90, 100, 110, 120, 130, 140, 150]
    assert second["norms"].tolist() == [100 * code**2 + code % 2 for code in range(8, 16)]
    # First keys 0, 80, 160, 240, 320: starts are 2^3 apart, so that 64 of them reach 320.
    assert packed.number("start_shift") == 3
    assert packed.array("starts").tolist() == [min(8 * start // 80, 4) for start in range(64)]
    assert packed.table_bytes == 40 * 16 + 5 * 96 + 40 * 2 + 32 + 64 * 2


def test_blocks_of_no_codes() -> None:
    rvq = IntegerRvq((np.ones((3, 9), np.int16),), 0, 1.0, 0)
    packed = pack_codebook(rvq, 0, None, Search.MVE)
    assert packed.array("codes").tolist() == [[1] * 9 + [0] * 7] * 3
    assert list(packed.fields) == ["codes", "size"]
    assert packed.table_bytes == 3 * 32


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
    np.testing.assert_array_equal(c_kernels.quantize_latent_mve(rvq, latent), [[[0], [1], [1], [0]]])


def test_largest_codebook_and_extremes() -> None:
    """65,536 codes of one entry, and codes at the edge of what the proof of int32 admits."""
    require("cc", "Python.h")
    rvq = IntegerRvq((np.arange(-32768, 32768).astype(np.int16)[:, None],), 4, 1.0, -128)
    latent = np.array([[[-128], [0], [127]]], np.int8)
    expected = [[[32768], [32768 + 128 * 16], [32768 + 255 * 16]]]
    assert quantize_latent(rvq, latent).tolist() == expected
    assert c_kernels.quantize_latent(rvq, latent).tolist() == expected
