"""What is proven of a codec when it is made, held against every input of small ones."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from edgecodec.codec.graph import Op
from edgecodec.codec.reference import quantize_latent
from edgecodec.codec.rvq import IntegerRvq
from edgecodec.codec.tflite_reader import read_graph
from tests.tflite_builder import CONV, DEPTHWISE, LayerSpec, build_encoder


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("op", [CONV, DEPTHWISE])
def test_no_sum_of_any_input_leaves_the_accumulators_bound(op: str, seed: int) -> None:
    """A sum is linear in its inputs, so its largest value is at their ends: all of these, and every part of the sum."""
    spec = LayerSpec(op, 3 if op == CONV else 1, 5, weight_limit=127)
    (layer,) = read_graph(build_encoder([spec], 12, seed=seed)).layers
    weights = layer.weights.astype(np.int64)
    rows = weights.reshape(layer.output.channels, -1) if layer.op is Op.CONV else weights.T
    ends = np.array(list(itertools.product((-128, 127), repeat=rows.shape[1])))
    for row, bias in zip(rows, layer.folded_bias.tolist(), strict=True):
        parts = bias + np.cumsum(ends * row, axis=1)
        assert max(abs(bias), int(np.abs(parts).max())) <= layer.accumulator_bound
    assert layer.accumulator_bound < 2**31


@pytest.mark.parametrize("seed", range(8))
def test_no_residual_of_any_latent_leaves_its_bound(seed: int) -> None:
    """All latents of one entry, through three levels."""
    rng = np.random.default_rng([seed, 90])
    books = tuple(rng.integers(-(2500 >> level), 2501 >> level, (7, 1)).astype(np.int16) for level in range(3))
    rvq = IntegerRvq(books, int(rng.integers(0, 5)), 0.05, int(rng.integers(-128, 128)))
    latent = np.arange(-128, 128, dtype=np.int8).reshape(1, 256, 1)
    chosen = quantize_latent(rvq, latent)[0]
    residual = rvq.residual(latent[0])
    for level, (book, bound) in enumerate(zip(rvq.codebooks, rvq.residual_bounds, strict=True)):
        assert np.all(np.abs(residual).max(axis=0) <= bound)
        wide = book.astype(np.int64)
        distances = rvq.keys(level).astype(np.int64) - 2 * residual @ wide.T
        assert np.abs(distances).max() <= 2**31 - 1
        residual = residual - wide[chosen[:, level]]
