"""The codebook search on emulated boards, of latents that make pruning useless: its indices, and its printed bound."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgecodec.boards.load import load_board
from edgecodec.bundle import FRAMES, Bundle, write_bundle
from edgecodec.codec.arrays import Activations
from edgecodec.codec.numerics import INT8, INT16X8
from edgecodec.codec.reference import ReferenceExecutor, quantize_latent
from edgecodec.codec.tflite_reader import read_graph
from edgecodec.compile.plan import Plan
from edgecodec.compile.search_bound import bound_search
from edgecodec.files.atomic import npz_bytes
from edgecodec.firmware.project import plan_for
from tests.emulated.search_boards import search_on_board
from tests.tflite_builder import CONV, LayerSpec, build_encoder, fitted_rvq, ppg_frames

pytestmark = pytest.mark.emulated
BOARDS = ("microbit", "mps2-an385", "mps2-an386", "mps3-an547")
"""One for each way to search."""


def latents_of(bundle: Bundle) -> Activations:
    """Latents of frames, corners of their type far from all codes, and what lies between: ``[N, P, D]``."""
    frames = bundle.frames()
    assert frames is not None
    real = ReferenceExecutor(bundle.codec).stages(frames[:4]).latent
    assert real is not None
    rng = np.random.default_rng(0)
    ends = np.iinfo(real.dtype)
    corners = rng.choice([ends.min, ends.max], real.shape)
    corners[0] = ends.max
    corners[1] = ends.min
    return np.concatenate([real, (real.astype(int) + corners) // 2, corners]).astype(real.dtype)


@pytest.mark.parametrize("optimize", ["speed", "balanced", "flash"])
@pytest.mark.parametrize("board", BOARDS)
def test_bound_holds_and_is_reached(codec: Bundle, board: str, optimize: str) -> None:
    latents = latents_of(codec)
    found = search_on_board(codec, board, latents, optimize=optimize)
    np.testing.assert_array_equal(found.indices, quantize_latent(codec.codec.rvq, latents))
    bound = bound_search(codec.codec, plan_for(codec, load_board(board), optimize)).instructions
    assert bound is not None
    assert 0.9 * bound <= found.instructions.max() <= bound


@pytest.mark.parametrize("board", ["mps2-an500", "mps2-an505"])
def test_bound_holds_on_cores_of_the_same_kind(codec: Bundle, board: str) -> None:
    found = search_on_board(codec, board, latents_of(codec))
    bound = bound_search(codec.codec, plan_for(codec, load_board(board))).instructions
    assert bound is not None
    assert 0.9 * bound <= found.instructions.max() <= bound


@pytest.fixture(
    scope="module",
    params=[(16, (255, 64), INT8), (9, (33, 40), INT8), (8, (255, 64), INT16X8), (4, (255, 64), INT16X8)],
    ids=["16 entries", "9 entries", "8 entries of 16 bits", "4 entries of 16 bits"],
)
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Eight positions, and codebooks in which every code has copies, not side by side; of 16 bits with biases."""
    dimension, sizes, numerics = request.param
    zero_points = (3, -3) if numerics == INT8 else (0, 0)
    layer = LayerSpec(CONV, dimension, 5, 8, zero_point=zero_points[0])
    encoder = build_encoder((layer,), 64, seed=1, input_zero_point=zero_points[1], numerics=numerics)
    rvq = fitted_rvq(read_graph(encoder), sizes, 0)
    rng = np.random.default_rng(dimension)
    books = tuple(book[rng.permutation(np.arange(len(book)) // 2)] for book in rvq.codebooks)
    biases = None
    if numerics == INT16X8:
        # About as large as the squared lengths of the second level's codes.
        spread = int((books[1].astype(int) ** 2).sum(axis=1).mean())
        biases = tuple(rng.integers(0, spread, len(book)).astype(np.int32) for book in books)
        biases = tuple(bias - bias.min() for bias in biases)
    return write_bundle(
        tmp_path_factory.mktemp("small") / "bundle",
        encoder=encoder,
        rvq=replace(rvq, codebooks=books, biases=biases),
        name="codes that come twice",
        optional={FRAMES: npz_bytes({"frames": ppg_frames(4, 64, 1)})},
    )


@pytest.mark.parametrize("looks", [0, 1, 60, 2**31 - 1])
@pytest.mark.parametrize("board", BOARDS)
def test_ties_and_odd_codebooks(small: Bundle, board: str, looks: int) -> None:
    def change(plan: Plan) -> Plan:
        assert all(found is not None for found in plan.codebooks)
        return replace(plan, looks=looks)

    latents = latents_of(small)
    found = search_on_board(small, board, latents, change=change)
    np.testing.assert_array_equal(found.indices, quantize_latent(small.codec.rvq, latents))
    bound = bound_search(small.codec, change(plan_for(small, load_board(board)))).instructions
    assert bound is not None
    assert looks > 60 or found.instructions.max() <= bound
