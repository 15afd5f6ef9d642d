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
    assert rvq.keys(0).tolist() == [2048, 2, 9]


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


def test_biases_by_hand() -> None:
    # A step is 1/32, so a bias of 1 is 1024 squared steps; halves are rounded up, then the least is taken off.
    biases = [np.array([-0.5, 1.0, 1.0 + 0.5 / 1024])]
    rvq = IntegerRvq.from_float([np.array([[1.0, -1.0], [0.5, 0.0], [0.0, 0.0]])], 0.5, 0, biases=biases)
    assert rvq.biases is not None
    assert [bias.tolist() for bias in rvq.biases] == [[0, 1536, 1537]]
    assert rvq.keys(0).tolist() == [2048, 256 + 1536, 1537]


def test_equal_biases_are_none() -> None:
    assert IntegerRvq.from_float([np.eye(2)], 0.5, 0, biases=[np.full(2, 0.25)]).biases is None


def test_proof_counts_the_bias() -> None:
    book = np.full((2, 2), 20000, np.int16)
    most = 2**31 - 1 - (2 * 20000**2 + 2 * 2 * (255 << 4) * 20000)
    IntegerRvq((book,), 4, 1.0, -128, biases=(np.array([0, most], np.int32),))
    with pytest.raises(PlanError, match="distance of level 0"):
        IntegerRvq((book,), 4, 1.0, -128, biases=(np.array([0, most + 1], np.int32),))
    # Fewer fraction bits make it fit.
    for bias, bits in ((2.0**22, 4), (2.0**24, 3), (2.0**30, 0)):
        assert IntegerRvq.from_float([np.eye(2)], 1.0, 0, biases=[np.array([0.0, bias])]).fraction_bits == bits


@pytest.mark.parametrize(
    ("biases", "error", "message"),
    [
        ([np.zeros(2, np.int32)] * 2, QuantizationError, "biases of 2 levels; the quantiser has 1"),
        ([np.zeros(3, np.int32)], QuantizationError, r"bias_0 has shape \(3,\); expected \[2\]"),
        ([np.zeros((2, 1), np.int32)], QuantizationError, r"bias_0 has shape \(2, 1\)"),
        ([np.zeros(2, np.int64)], PlanError, "bias_0 is int64; expected int32"),
        ([np.array([1, 2], np.int32)], PlanError, "bias_0: the least is 1; expected 0"),
        ([np.array([-1, 0], np.int32)], PlanError, "bias_0: the least is -1; expected 0"),
    ],
)
def test_refused_biases(biases: list[np.ndarray], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        IntegerRvq((np.eye(2, dtype=np.int16),), 4, 1.0, 0, biases=tuple(biases))


@pytest.mark.parametrize(
    ("bias", "message"),
    [([0.0, float("nan")], "bias_0 holds NaN"), ([0.0, 1e30], "a bias leaves int32"), ([0.0], "bias_0 has shape")],
)
def test_refused_float_biases(bias: list[float], message: str) -> None:
    with pytest.raises(QuantizationError, match=message):
        IntegerRvq.from_float([np.eye(2)], 1.0, 0, biases=[np.array(bias)])
