"""The codebook search: the reference equal to a search in Python integers, the C equal to the reference."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from edgecodec.codec.numerics import INT8, INT16X8
from edgecodec.codec.reference import quantize_latent
from edgecodec.codec.rvq import IntegerRvq
from edgecodec.compile import codebook_search
from edgecodec.compile.codebook_search import Search, choose_search, frame_looks, pack_codebook, sort_codebook
from edgecodec.errors import PlanError
from tests.bitexact import c_kernels
from tests.tools import require


def _search(rvq: IntegerRvq, latent: npt.NDArray[np.int8]) -> list[list[list[int]]]:
    """SPEC.md 1.3 with Python integers, the full squared distance and the bias."""
    found = []
    for frame in latent.tolist():
        rows = []
        for vector in frame:
            residual = [(q - rvq.latent_zero_point) * 2**rvq.fraction_bits for q in vector]
            row = []
            for level, book in enumerate(rvq.codebooks):
                biases = [0] * len(book) if rvq.biases is None else rvq.biases[level].tolist()
                distances = [
                    sum((r - c) ** 2 for r, c in zip(residual, code, strict=True)) + bias
                    for code, bias in zip(book.tolist(), biases, strict=True)
                ]
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
    biases = None if seed % 2 else _biases(books, 10.0 ** (seed % 7), rng)
    rvq = IntegerRvq(tuple(books), bits, 0.05, int(rng.integers(-128, 128)), biases=biases)
    return rvq, rng.integers(-128, 128, (3, 5, dimension)).astype(np.int8)


def _biases(
    books: Sequence[npt.NDArray[np.int16]], spread: float, rng: np.random.Generator
) -> tuple[npt.NDArray[np.int32], ...]:
    """What codes cost, about ``spread`` more than the cheapest; half of them in steps, so that sums are equal."""
    found = []
    for book in books:
        bias = rng.exponential(spread, len(book)).astype(np.int32)
        bias[::2] &= ~np.int32(15)
        found.append(bias - bias.min())
    return tuple(found)


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
    """Codebooks large enough to be sorted, made of vectors like the residuals, ties, at every scale, biased."""
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
    # Biases of a hundredth of a code's squared length to ten times it.
    spread = float(np.mean(second.astype(float) ** 2)) * dimension * 10.0 ** (seed % 4 - 2)
    biases = _biases((first, second), spread, rng) if seed % 5 else None
    rvq = IntegerRvq((first, second), bits, 0.05, 0, biases=biases)
    assert all(sort_codebook(rvq, level) is not None for level in range(2))
    expected = quantize_latent(rvq, latent)
    np.testing.assert_array_equal(c_kernels.quantize_latent_mve(rvq, latent, pruned=True), expected)
    for simd in (False, True):
        np.testing.assert_array_equal(c_kernels.quantize_latent(rvq, latent, pruned=True, simd=simd), expected)


def _usual(size: int, seed: int, copies: int = 0) -> tuple[IntegerRvq, npt.NDArray[np.int8]]:
    """Two levels of ``size`` codes of 16 entries, and latents like them, far from all of them and between."""
    rng = np.random.default_rng([seed, size])
    mixing = rng.normal(0, 1, (16, 16)) * 2.0 ** (-np.arange(16) / 3)
    latent = np.clip(np.round(rng.normal(0, 25, (8, 12, 16)) @ mixing), -128, 127)
    corners = rng.choice([-128, 127], latent.shape)
    shares = np.array([0, 0, 0.2, 0.5, 0.8, 1, 1, 1])[:, None, None]
    latent = np.round(latent * (1 - shares) + corners * shares).astype(np.int8)
    latent[5] = 127
    first = np.clip(np.round(rng.normal(0, 25 * 4, (size, 16)) @ mixing), -500, 500).astype(np.int16)
    second = np.round(rng.normal(0, 20, (size, 16)) @ mixing).astype(np.int16)
    for book in (first, second):
        book[rng.integers(0, size, copies)] = book[rng.integers(0, size, copies)]
    biases = _biases((first, second), 2000, rng) if copies else None
    return IntegerRvq((first, second), 2, 0.05, -3, biases=biases), latent


@pytest.mark.parametrize("size", [1, 2, 31, 32, 33, 255, 256, 1024])
def test_search_that_runs_out_of_looks_finds_the_same(size: int) -> None:
    """After any number of looks, at codebooks with and without an odd code, some of which are copies of others."""
    require("cc", "Python.h")
    rvq, latent = _usual(size, 1, copies=size // 3)
    assert (sort_codebook(rvq, 0) is not None) == (size >= 32)
    expected = quantize_latent(rvq, latent)
    for looks in (0, 1, 2, 3, 7, 31, 32, 100, 255, 256, 257, 1000, 5000, c_kernels.MANY_LOOKS):
        for simd in (False, True):
            found = c_kernels.quantize_latent(rvq, latent, pruned=True, simd=simd, looks=looks)
            np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(c_kernels.quantize_latent_mve(rvq, latent, True, looks), expected)


def test_projections_that_rounding_takes_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearest code's projections are farther from the residual's than it is, by what 1/32 of the distance covers.

    Directions of halves of +-1 are exact and lengthen nothing. The projections of the residual 0 are exact,
    and each of the nearest code's, -127.5, is rounded away from them.
    """
    require("cc", "Python.h")
    directions = 32 * np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
    monkeypatch.setattr(codebook_search, "_principal_directions", lambda book: directions)
    nearest, second = np.array([-255, 0, 0, 0]), np.array([255, 3, 0, 0])
    far = np.arange(1000, 5000, 100)[:, None] * np.array([1, 1, -1, 1])
    book = np.concatenate([far, [second, nearest]]).astype(np.int16)
    projections, distance = (nearest @ directions.T) >> 6, second @ second
    assert projections.tolist() == [-128] * 4
    assert projections @ projections > distance + (distance >> 8) + 1 + 132, (
        "a slack for the projection alone would leave it out"
    )
    rvq = IntegerRvq((book,), 0, 1.0, 0)
    latent = np.zeros((1, 1, 4), np.int8)
    expected = [[[len(far) + 1]]]
    assert quantize_latent(rvq, latent).tolist() == expected
    for simd in (False, True):
        assert c_kernels.quantize_latent(rvq, latent, True, simd).tolist() == expected
    assert c_kernels.quantize_latent_mve(rvq, latent, True).tolist() == expected


@pytest.mark.parametrize("looks", [0, 1, 3, 40, 200])
def test_search_that_runs_out_of_looks_keeps_ties(looks: int) -> None:
    """All codes on a sphere around the latent, in an order that the projections' is not."""
    require("cc", "Python.h")
    rng = np.random.default_rng(9)
    base = np.array([8, 6, 5, 3, 2, 1, 1, 0] * 2)
    codes = np.array([rng.permutation(base) * rng.choice([-1, 1], 16) for _ in range(120)])
    book = np.concatenate([codes, codes])[rng.permutation(240)].astype(np.int16)
    rvq = IntegerRvq((book, book), 2, 0.05, 0)
    assert sort_codebook(rvq, 0) is not None
    latent = np.zeros((2, 6, 16), np.int8)
    latent[1] = rng.integers(-2, 3, (6, 16))
    expected = quantize_latent(rvq, latent)
    assert np.all(expected[0, :, 0] == 0)
    for simd in (False, True):
        np.testing.assert_array_equal(c_kernels.quantize_latent(rvq, latent, True, simd, looks), expected)
    np.testing.assert_array_equal(c_kernels.quantize_latent_mve(rvq, latent, True, looks), expected)


@pytest.mark.parametrize(("simd", "vectors"), [(False, False), (True, False), (False, True)])
def test_a_frame_takes_its_looks_and_not_one_more(simd: bool, vectors: bool) -> None:
    """The search that needs one look more compares all codes, as all behind it do; with just enough none does."""
    require("cc", "Python.h")
    rvq, latent = _usual(100, 3)
    for frame in (latent[:1], latent[3:4], latent[5:6]):
        searches = frame.shape[1] * rvq.levels
        needed = c_kernels.count_search(rvq, frame, c_kernels.MANY_LOOKS, simd, vectors).looks
        assert c_kernels.count_search(rvq, frame, 0, simd, vectors) == c_kernels.Counts(0, searches * 100)
        before = searches * 100
        for looks in (1, 2, needed // 3, needed // 2, needed - 1):
            found = c_kernels.count_search(rvq, frame, looks, simd, vectors)
            assert found.looks == looks
            assert 100 <= found.codes <= before
            before = found.codes
        for looks in (needed, needed + 1):
            assert c_kernels.count_search(rvq, frame, looks, simd, vectors) == c_kernels.Counts(needed, 0)


def test_full_search_of_the_usual_dimension() -> None:
    """Each code in turn is the nearest, at odd and even counts, the first of equal ones the answer."""
    require("cc", "Python.h")
    for size in (1, 2, 3, 8, 255):
        book = np.zeros((size, 16), np.int16)
        book[:, 7] = np.arange(size) - size // 2
        rvq = IntegerRvq((np.concatenate([book, book]),), 0, 1.0, 0)
        latent = np.zeros((1, size, 16), np.int8)
        latent[0, :, 7] = book[:, 7]
        expected = np.arange(size)[None, :, None]
        assert quantize_latent(rvq, latent).tolist() == expected.tolist()
        for simd in (False, True):
            np.testing.assert_array_equal(c_kernels.quantize_latent(rvq, latent, simd=simd), expected)
        np.testing.assert_array_equal(c_kernels.quantize_latent_mve(rvq, latent), expected)


def test_frame_has_looks_for_pruned_levels_alone() -> None:
    rvq, _ = _usual(64, 2)
    found = sort_codebook(rvq, 0)
    assert frame_looks(40, (found, None, found)) == 2 * frame_looks(40, (found,)) > 0
    assert frame_looks(40, (None,)) == 0


def test_projections_farther_apart_than_16_bits() -> None:
    """Differences of projections leave int16, where 16-bit SIMD saturates them."""
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
        assert np.abs(found.projections[:, 0].astype(int)).max() + 128 * 16 > 32767
        expected = quantize_latent(rvq, latent)
        for simd in (False, True):
            np.testing.assert_array_equal(c_kernels.quantize_latent(rvq, latent, True, simd), expected)
        np.testing.assert_array_equal(c_kernels.quantize_latent_mve(rvq, latent, True), expected)


def test_far_codes_on_vectors() -> None:
    """Codes all to one side, and three entries."""
    require("cc", "Python.h")
    rng = np.random.default_rng(4)
    book = np.zeros((300, 3), np.int16)
    book[:, 0] = np.linspace(-28671, 28671, 300)
    book[:, 1:] = rng.integers(-40, 40, (300, 2))
    latent = rng.integers(-128, 128, (4, 100, 3)).astype(np.int8)
    latent[0], latent[1] = -128, 127
    for end in (slice(0, 150), slice(150, 300), slice(0, 300)):
        rvq = IntegerRvq((book[end],), 4, 1.0, -1)
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
    assert [choose_search(INT8, vectors=vectors) for vectors in (False, True)] == [Search.PLAIN, Search.MVE]
    assert [choose_search(INT16X8, vectors=vectors) for vectors in (False, True)] == [Search.PLAIN16, Search.MVE16]


def test_projections_that_leave_int16_are_not_pruned() -> None:
    """Codes (30,000, 30,000) and alike project to 42,000 on their direction."""
    line = np.linspace(-30000, 30000, 64).astype(np.int16)
    rvq = IntegerRvq((np.stack([line, line], axis=1),), 0, 1.0, 0)
    assert sort_codebook(rvq, 0) is None
    assert sort_codebook(IntegerRvq((np.stack([line // 2, line // 2], axis=1),), 0, 1.0, 0), 0) is not None


def test_distances_that_leave_int32_are_not_pruned() -> None:
    """Residuals are up to 16,768: 32,513^2 and twice the product are below 2^31, not with the projection's rounding."""
    for longest, pruned in ((32_400, True), (32_513, False)):
        line = np.linspace(-longest, longest, 64).astype(np.int16)[:, None]
        assert (sort_codebook(IntegerRvq((line,), 7, 1.0, 3), 0) is not None) == pruned


def test_long_codes_are_pruned_where_residuals_are_not_long_along_them() -> None:
    """Residuals of up to 32,768, of 16 entries of up to 8,192; of codes of 25,000 along one of them."""
    require("cc", "Python.h")
    line = np.zeros((64, 16), np.int16)
    line[:, 0] = np.linspace(-25_000, 25_000, 64)
    rvq = IntegerRvq((line,), 6, 1.0, 0)
    assert sort_codebook(rvq, 0) is not None
    latent = np.random.default_rng(1).choice(np.array([-128, -127, 0, 127], np.int8), (4, 50, 16))
    latent[..., 0] = np.arange(-100, 100, dtype=np.int8).reshape(4, 50)
    expected = quantize_latent(rvq, latent)
    for search in (c_kernels.quantize_latent, c_kernels.quantize_latent_mve):
        np.testing.assert_array_equal(search(rvq, latent, pruned=True), expected)


def test_blocks_by_hand() -> None:
    """35 codes of two entries make five blocks of eight, the last one filled with its last code."""
    book = np.stack([np.arange(35) * 10, np.arange(35) % 2], axis=1).astype(np.int16)[::-1]
    rvq = IntegerRvq((book,), 0, 1.0, 0)
    found = sort_codebook(rvq, 0)
    assert found is not None
    packed = pack_codebook(rvq, 0, found, Search.MVE)
    assert packed.array("codes").shape == (35, 8)
    assert packed.array("codes")[:, 0].tolist() == [10 * code for code in range(34, -1, -1)]
    assert packed.array("codes")[34].tolist() == [0] * 8
    assert packed.array("blocks")["indices"].reshape(-1).tolist() == [*range(34, -1, -1), *[0] * 5]
    assert packed.array("directions").shape == (1, 4, 8)
    assert packed.array("directions")[0, 0].tolist() == [64, 0, 0, 0, 0, 0, 0, 0]
    assert len(packed.array("blocks")) == 5
    second = packed.array("blocks")[1]
    assert second["projections"][0].tolist() == [80, 90, 100, 110, 120, 130, 140, 150]
    assert second["lengths"].tolist() == [100 * code**2 + code % 2 for code in range(8, 16)]
    # First projections 0, 80, 160, 240, 320: starts are 2^3 apart, so that 64 of them reach 320.
    assert packed.number("start_shift") == 3
    assert packed.array("starts").tolist() == [min(8 * start // 80, 4) for start in range(64)]
    assert packed.table_bytes == 35 * (16 + 4) + 5 * 112 + 32 + 64 * 2


def test_blocks_of_no_codes() -> None:
    rvq = IntegerRvq((np.ones((3, 9), np.int16),), 0, 1.0, 0)
    packed = pack_codebook(rvq, 0, None, Search.MVE)
    assert packed.array("codes").tolist() == [[1] * 9 + [0] * 7] * 3
    assert packed.array("keys").tolist() == [9] * 3
    assert list(packed.fields) == ["codes", "keys", "size"]
    assert packed.table_bytes == 3 * (32 + 4)


def test_pruned_search_looks_at_few_codes_only_where_it_is_exact() -> None:
    book = np.arange(64, dtype=np.int16)[:, None] * np.ones((1, 16), np.int16)
    assert sort_codebook(IntegerRvq((book[:31],), 0, 1.0, 0), 0) is None  # too few to pay
    assert sort_codebook(IntegerRvq((book,), 4, 1.0, 0), 0) is not None
    # Residuals of 6 levels may be so long that their squares leave 32 bits: those levels search all codes.
    tall = IntegerRvq(tuple((book[:33] + 48) * 40 for _ in range(6)), 4, 1.0, 0)
    assert sort_codebook(tall, 4) is not None
    assert sort_codebook(tall, 5) is None
    # With a code of zeros none is longer than the latent.
    assert sort_codebook(IntegerRvq(tuple(book[:33] * 40 for _ in range(6)), 4, 1.0, 0), 5) is not None


def test_sorted_codebook_keeps_every_code() -> None:
    rng = np.random.default_rng(7)
    rvq = IntegerRvq((rng.normal(0, 300, (100, 5)).astype(np.int16),), 2, 0.1, 3)
    found = sort_codebook(rvq, 0)
    assert found is not None
    assert sorted(found.order.tolist()) == list(range(100))
    assert np.all(np.diff(found.projections[:, 0].astype(int)) >= 0)
    codes = rvq.codebooks[0][found.order].astype(np.int64)
    np.testing.assert_array_equal(found.projections, (codes @ found.directions.astype(np.int64).T) >> 6)


def test_pruning_knows_of_the_bias() -> None:
    """The projection of a code's bias is its root: a dear code where the residual is looks as far away as that."""
    rng = np.random.default_rng(3)
    book = rng.integers(-20, 21, (64, 4)).astype(np.int16)
    bias = (np.arange(64, dtype=np.int32) % 2) * 1_000_000
    rvq = IntegerRvq((book,), 0, 1.0, 0, biases=(bias,))
    found = sort_codebook(rvq, 0)
    assert found is not None
    assert found.directions.shape == (4, 4)
    away = np.abs(found.projections.astype(int)).max(axis=1)
    assert away[bias[found.order] > 0].min() > 900 > 100 > away[bias[found.order] == 0].max()


def test_few_cheap_codes_are_found_first() -> None:
    """Eight codes are chosen, 248 hardly ever: these are sorted behind those, and no search starts at one."""
    rng = np.random.default_rng(3)
    book = rng.integers(-20, 21, (256, 3))
    book[:, 0] = rng.integers(-2000, 2001, 256)
    book[:8, 0] = np.linspace(-1750, 1750, 8)
    bias = np.where(np.arange(256) < 8, 0, 90_000).astype(np.int32)
    rvq = IntegerRvq((book.astype(np.int16),), 0, 1.0, 0, biases=(bias,))
    found = sort_codebook(rvq, 0)
    assert found is not None
    dear = bias[found.order] > 0
    assert dear.tolist() == [False] * 8 + [True] * 248
    starts = pack_codebook(rvq, 0, found, Search.PLAIN).array("starts")
    # The last ones are for residuals that have a bias themselves, and there is none.
    assert not dear[starts[:32]].any()
    # Without biases the longest direction is the first.
    plain = sort_codebook(IntegerRvq((book.astype(np.int16),), 0, 1.0, 0), 0)
    assert plain is not None
    assert np.abs(plain.directions[0]).argmax() == 0


def test_no_look_is_spent_on_codes_that_nothing_chooses() -> None:
    """200 of 256 codes are about 0 and too dear to be chosen; residuals lie about the eight that are chosen most."""
    require("cc", "Python.h")
    rng = np.random.default_rng(5)
    book = rng.integers(-3, 4, (256, 4)).astype(np.int16)
    book[:56] = rng.normal(0, 25, (56, 4)).astype(np.int16)
    bias = np.where(np.arange(256) < 56, np.arange(256) * 50, 5000).astype(np.int32)
    rvq = IntegerRvq((book,), 0, 1.0, 0, biases=(bias,))
    latent = (book[rng.integers(0, 8, (40, 20))] + rng.integers(-9, 10, (40, 20, 4))).clip(-128, 127).astype(np.int8)
    expected = quantize_latent(rvq, latent)
    assert expected.max() < 56
    np.testing.assert_array_equal(c_kernels.quantize_latent(rvq, latent, pruned=True), expected)
    taken = c_kernels.count_search(rvq, latent.reshape(1, -1, 4), c_kernels.MANY_LOOKS)
    assert taken.codes == 0
    assert taken.looks < 3 * latent[..., 0].size


def _hostile_rvq(rng: np.random.Generator) -> IntegerRvq | None:
    """Codes in heaps, on a line, far to one side or the same; biases of any size, most of them the dearest."""
    dimension, scale = int(rng.choice([1, 2, 3, 4, 5, 8, 12, 16])), float(rng.choice([3, 30, 300, 3000]))
    books, biases = [], []
    for _ in range(rng.integers(1, 4)):
        size = int(rng.choice([32, 33, 64, 100, 256, 300]))
        book = rng.normal(0, scale, (size, dimension)) * rng.choice([1, 0.1, 0.01], dimension)
        kind = rng.integers(5)
        if kind == 0:
            book[rng.random(size) < 0.6] = 0
        elif kind == 1:
            book = book[rng.integers(0, size // 8, size)]
        elif kind == 2:
            book[:, 1:] = 0
        elif kind == 3:
            book += rng.normal(0, 2 * scale, dimension)
        bias = np.floor(rng.exponential(1, size) * scale**2 * rng.choice([0, 1e-3, 0.1, 1, 4]))
        bias[rng.random(size) < rng.choice([0, 0.7])] = bias.max()
        books.append(book.round().clip(-32768, 32767).astype(np.int16))
        biases.append((bias - bias.min()).astype(np.int32))
        scale *= float(rng.choice([0.1, 0.3, 1]))
    wide = rng.random() < 0.5
    fraction_bits = int(rng.integers(-8, 1)) if wide else int(rng.integers(0, 5))
    zero_point = 0 if wide else int(rng.integers(-20, 20))
    numerics = INT16X8 if wide else INT8
    try:
        return IntegerRvq(tuple(books), fraction_bits, 1.0, zero_point, numerics=numerics, biases=tuple(biases))
    except PlanError:
        return None


@pytest.mark.parametrize("seed", range(4))
def test_hostile_codebooks(seed: int) -> None:
    """Any latents, and such that lie at codes of the first level; with looks enough and with few."""
    require("cc", "Python.h")
    rng, pruned = np.random.default_rng(seed), 0
    for _ in range(30):
        rvq = _hostile_rvq(rng)
        if rvq is None:
            continue
        pruned += sum(sort_codebook(rvq, level) is not None for level in range(rvq.levels))
        ends = np.iinfo(rvq.numerics.activation)
        at_codes = rvq.codebooks[0][rng.integers(0, len(rvq.codebooks[0]), (3, 12))] / 2.0**rvq.fraction_bits
        anywhere = rng.integers(ends.min, ends.max + 1, (3, 12, rvq.dimension))
        corners = rng.choice([ends.min, ends.max, 0], (1, 12, rvq.dimension))
        latent = np.concatenate([at_codes + rvq.latent_zero_point, anywhere, corners])
        latent = latent.clip(ends.min, ends.max).astype(ends.dtype)
        expected = quantize_latent(rvq, latent)
        for looks in (c_kernels.MANY_LOOKS, int(rng.integers(0, 60))):
            for simd in (False, True):
                found = c_kernels.quantize_latent(rvq, latent, pruned=True, simd=simd, looks=looks)
                np.testing.assert_array_equal(found, expected)
            found = c_kernels.quantize_latent_mve(rvq, latent, pruned=True, looks=looks)
            np.testing.assert_array_equal(found, expected)
    assert pruned > 30


def test_no_projection_is_longer_than_its_bias() -> None:
    """64 equal codes that biases alone tell apart, and their direction with them: roots are rounded down."""
    bias = np.concatenate([[0], np.arange(2, 65) ** 2 - 1]).astype(np.int32)
    found = sort_codebook(IntegerRvq((np.zeros((64, 2), np.int16),), 0, 1.0, 0, biases=(bias,)), 0)
    assert found is not None
    assert found.order.tolist() == list(range(64))
    assert found.projections[:, 0].tolist() == list(range(64))


def test_a_bias_by_hand() -> None:
    """From the residual 5 the codes 3 and 7 are at 4 and 4, 8 at 9; equal sums take the lowest index."""
    require("cc", "Python.h")
    book = np.array([[7], [8], [3]], np.int16)
    latent = np.array([[[5]]], np.int8)
    for bias, expected in (([6, 0, 5], 1), ([5, 0, 5], 0), ([6, 1, 5], 2), ([1, 9, 0], 2)):
        rvq = IntegerRvq((book,), 0, 1.0, 0, biases=(np.array(bias, np.int32) - min(bias),))
        assert quantize_latent(rvq, latent).tolist() == [[[expected]]]
        assert c_kernels.quantize_latent(rvq, latent).tolist() == [[[expected]]]
        assert c_kernels.quantize_latent_mve(rvq, latent).tolist() == [[[expected]]]


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


@pytest.mark.parametrize("seed", range(12))
def test_bound_covers_the_rounding_of_projections(seed: int) -> None:
    """Residuals along the direction that the projections lengthen most, with every rounding of the last bit."""
    rng = np.random.default_rng([seed, 80])
    dimension, count = int(rng.integers(3, 9)), 40_000
    book = np.round(rng.normal(0, 120, (64, dimension))).astype(np.int16)
    found = sort_codebook(IntegerRvq((book,), 2, 0.05, 0), 0)
    assert found is not None
    directions = found.directions.astype(np.int64)
    codes = book[found.order].astype(np.int64)[rng.integers(0, 64, count)]
    longest = directions.T @ np.linalg.eigh((directions @ directions.T).astype(float))[1][:, -1]
    steps = rng.uniform(40, 180, (count, 1)) * rng.choice([-1, 1], (count, 1)) / np.linalg.norm(longest)
    residuals = np.round(codes + longest * steps + rng.normal(0, 1, codes.shape)).astype(np.int64)
    true = ((residuals - codes) ** 2).sum(axis=1)
    projected = (((residuals @ directions.T >> 6) - (codes @ directions.T >> 6)) ** 2).sum(axis=1)
    # No code at its true distance is left out by edc_rvq.c: its limit for a best code that is as far.
    assert np.all(projected <= true + (true >> 8) * found.slack + found.slack + 132)
