"""Integer codebooks: rounding, proofs, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from edgecodec.codec.rvq import IntegerRvq
from edgecodec.errors import PlanError, QuantizationError


def test_rounding_by_hand() -> None:
    # scale 0.5 and 4 fraction bits: one step is 1/32; halves round away from zero
    rvq = IntegerRvq.from_float([np.array([[1.0, -1.0], [1 / 64, -1 / 64], [0.0, 3 / 32]])], 0.5, 0)
    assert rvq.fraction_bits == 4
    assert rvq.codebooks[0].tolist() == [[32, -32], [1, -1], [0, 3]]
    assert rvq.norms(0).tolist() == [2048, 2, 9]


def test_dequantize_sums_the_levels() -> None:
    rvq = IntegerRvq((np.array([[16, 0], [0, 32]], np.int16), np.array([[1, -1]], np.int16)), 4, 0.5, 3)
    np.testing.assert_array_equal(
        rvq.dequantize(np.array([[0, 0], [1, 0]], np.uint16)),
        np.array([[17 / 32, -1 / 32], [1 / 32, 31 / 32]], np.float32),
    )
    with pytest.raises(QuantizationError, match="index 1 at level 1; the codebook has 1 codes"):
        rvq.dequantize(np.array([[0, 1]], np.uint16))
    with pytest.raises(QuantizationError, match="3 levels; expected 2"):
        rvq.dequantize(np.zeros((1, 3), np.uint16))


def test_fraction_bits_fall_until_the_proof_holds() -> None:
    # A code of 500 steps: 500 * 16 + 255 * 16 fits, the next level's residual of 3 such codes does not.
    codes = [np.full((1, 4), 500.0) for _ in range(4)]
    rvq = IntegerRvq.from_float(codes, 1.0, -128)
    assert rvq.fraction_bits == 4
    assert IntegerRvq.from_float(codes * 3, 1.0, -128).fraction_bits == 2


def test_distance_proof_at_its_limit() -> None:
    book = np.full((1, 2), 20000, np.int16)
    residual = 255 << 4
    assert 2 * 20000**2 + 2 * 2 * residual * 20000 < 2**31
    IntegerRvq((book,), 4, 1.0, -128)
    with pytest.raises(PlanError, match="distance of level 0"):
        IntegerRvq((np.full((1, 2), 30000, np.int16),), 4, 1.0, -128)


@pytest.mark.parametrize(
    ("books", "message"),
    [
        ([], "no codebooks"),
        ([np.zeros(3)], r"shape \(3,\)"),
        ([np.zeros((0, 3))], "expected"),
        ([np.zeros((2, 3)), np.zeros((2, 4))], "dimension 4; level_0 has 3"),
        ([np.array([[np.nan]])], "NaN or infinity"),
        ([np.array([[np.inf]])], "NaN or infinity"),
        ([np.array([[1e9]])], "cannot be held in int16"),
        ([np.zeros((65537, 1))], "at most 65536"),
        # A step at 4 fraction bits is 0.1 / 16: 0.003 rounds to none of it.
        ([np.eye(2), np.eye(2) * 0.003], r"level_1: all 2 codes round to the same .* 0\.003, .* 0\.00625\)"),
        ([np.eye(2), np.full((1, 2), 1e9)], r"level_1 reaches 1e\+09, so a code leaves int16"),
    ],
)
def test_refused_codebooks(books: list[np.ndarray], message: str) -> None:
    with pytest.raises(QuantizationError, match=message):
        IntegerRvq.from_float(books, 0.1, 0)


def test_a_level_of_one_code_may_be_zero() -> None:
    assert IntegerRvq.from_float([np.eye(2), np.zeros((1, 2))], 0.1, 0).codebooks[1].tolist() == [[0, 0]]


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_refused_scale(scale: float) -> None:
    with pytest.raises(QuantizationError, match="latent scale"):
        IntegerRvq.from_float([np.zeros((2, 2))], scale, 0)


def test_codebooks_must_be_int16() -> None:
    with pytest.raises(PlanError, match="int64"):
        IntegerRvq((np.zeros((2, 2), np.int64),), 4, 1.0, 0)  # type: ignore[arg-type]
