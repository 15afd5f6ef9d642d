"""The bound of a frame's codebook search, where it does not need a board."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgecodec.bundle import Bundle
from edgecodec.compile.codebook_search import frame_looks
from edgecodec.compile.plan import make_plan
from edgecodec.compile.search_bound import bound_search
from edgecodec.compile.target import Optimize, Target
from tests.linear_codec import CODEBOOK_SIZES, linear_codec

CORES = ("cortex-m0", "cortex-m3", "cortex-m4", "cortex-m55")


@pytest.fixture(scope="module")
def pruned(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """8 positions, codebooks of 64 and 32 codes of 8 entries."""
    return linear_codec(tmp_path_factory.mktemp("pruned"))[0]


def test_small_codebooks_are_compared_in_full(bundle: Bundle) -> None:
    """8 positions, codebooks of 29 and 13 codes: too few to prune."""
    bound = bound_search(bundle.codec, make_plan(bundle.codec))
    assert (bound.looks, bound.codes) == (0, 8 * (29 + 13))


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("optimize", Optimize)
def test_every_core_and_goal_has_a_bound(pruned: Bundle, core: str, optimize: Optimize) -> None:
    codec, plan = pruned.codec, make_plan(pruned.codec, Target.of_core(core, optimize))
    bound = bound_search(codec, plan)
    assert bound.codes == codec.positions * sum(CODEBOOK_SIZES)
    assert bound.looks == (0 if optimize is Optimize.FLASH else frame_looks(codec.positions, plan.codebooks))
    assert bound.instructions is not None
    # A code takes at least a load, eight products two at a time (sixteen at a time on vectors) and a comparison.
    assert bound.instructions > bound.codes * 6
    assert bound_search(codec, plan, is_for_core=False) == replace(bound, instructions=None)


def test_looks_come_on_top_of_the_full_search(pruned: Bundle) -> None:
    codec, plan = pruned.codec, make_plan(pruned.codec, Target.of_core("cortex-m4"))
    few, more, most = (bound_search(codec, replace(plan, looks=looks)).instructions for looks in (100, 200, 300))
    assert few is not None
    assert more is not None
    assert most is not None
    assert 0 < more - few == pytest.approx(most - more, abs=1)
