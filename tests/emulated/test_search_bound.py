"""The codebook search on emulated boards, of latents that make pruning useless: its indices, and its printed bound."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from edgecodec.boards.load import load_board
from edgecodec.bundle import FRAMES, Bundle, write_bundle
from edgecodec.codec.reference import ReferenceExecutor, quantize_latent
from edgecodec.codec.rvq import IntegerRvq
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


def latents_of(bundle: Bundle) -> npt.NDArray[np.int8]:
    """Latents of frames, corners of int8 far from all codes, and what lies between: ``[N, P, D]``."""
    frames = bundle.frames()
    assert frames is not None
    real = ReferenceExecutor(bundle.codec).stages(frames[:4]).latent
    assert real is not None
    rng = np.random.default_rng(0)
    corners = rng.choice([-128, 127], real.shape)
    corners[0] = 127
    corners[1] = -128
    return np.concatenate([real, (real.astype(int) + corners) // 2, corners]).astype(np.int8)


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


@pytest.fixture(scope="module", params=[(16, (255, 64)), (9, (33, 40))], ids=["16 entries", "9 entries"])
def small(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Eight positions, and codebooks in which every code has copies, not side by side."""
    dimension, sizes = request.param
    encoder = build_encoder((LayerSpec(CONV, dimension, 5, 8, zero_point=3),), 64, seed=1, input_zero_point=-3)
    rvq = fitted_rvq(read_graph(encoder), sizes, 0)
    rng = np.random.default_rng(dimension)
    books = tuple(book[rng.permutation(np.arange(len(book)) // 2)] for book in rvq.codebooks)
    return write_bundle(
        tmp_path_factory.mktemp("small") / "bundle",
        encoder=encoder,
        rvq=IntegerRvq(books, rvq.fraction_bits, rvq.latent_scale, rvq.latent_zero_point),
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
