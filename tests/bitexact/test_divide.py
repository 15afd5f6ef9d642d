"""The division of 64 bits by 32, every kind of number whose quotient fits 32, and the square root."""

from __future__ import annotations

import numpy as np

from tests.bitexact import c_kernels
from tests.tools import require


def test_quotients() -> None:
    require("cc", "Python.h")
    rng = np.random.default_rng(1)
    divisors = [1, 2, 3, 0x7FFFFFFF, 0x80000000, 0x80000001, 0xFFFFFFFF]
    divisors += [value >> shift | 1 for shift, value in enumerate(rng.integers(1 << 32, size=32).tolist())]
    for divisor in divisors:
        top = (divisor << 32) - 1
        numbers = {0, 1, divisor - 1, divisor, divisor + 1, top, top - divisor, top // 2}
        numbers |= {int(share * top) for share in rng.random(20)}
        for number in sorted(min(number, top) for number in numbers):
            assert c_kernels.divide(number, divisor) == number // divisor, (number, divisor)


def test_square_roots() -> None:
    """Each root from its square on and up to the next one's, among them the least and the largest."""
    require("cc", "Python.h")
    rng = np.random.default_rng(2)
    roots = {1 << 31, (1 << 31) + 1, (1 << 32) - 2, (1 << 32) - 1, *rng.integers(1 << 31, 1 << 32, size=400).tolist()}
    for root in sorted(roots):
        for value in {root * root, root * root + 1, root * root + root, (root + 1) ** 2 - 1}:
            assert c_kernels.square_root(value) == root, value
    assert c_kernels.square_root((1 << 64) - 1) == (1 << 32) - 1
