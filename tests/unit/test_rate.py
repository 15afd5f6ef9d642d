import numpy as np
import pytest

from edgecodec.entropy.context_models import code_lengths, measure_rate, perplexity_and_usage
from edgecodec.errors import InputError


def frames(*rows):
    """Indices of one level, ``[N, P, 1]``."""
    return np.array(rows, np.uint16)[..., None]


def test_by_hand():
    # One training frame, so every strength is 1. Counts: 0 three times, 1 once.
    # Order 0: p(0) = (3 + 1/2) / 5 = 0.7, p(1) = 0.3.
    # Order 1: start -> 0 once; 0 -> 0 and 1 once each; 1 -> 0 once.
    #   p(0 | start) = (1 + 0.7) / 2 = 0.85, p(1 | 0) = (1 + 0.3) / 3, p(1 | 1) = (0 + 0.3) / 2 = 0.15.
    # Two before as well: (start) -> 0; (0, start) -> 0 once; (1, 0) -> 0 once; (1, 1) never seen.
    #   p(0 | start) = (1 + 0.85) / 2, p(1 | 0, start) = (0 + 1.3 / 3) / 2, p(1 | 1, 0) = 0.15 / 2,
    #   p(1 | 1, 1) = 0.15.
    order_0, order_1, conditional = code_lengths(frames([0, 0, 1, 0]), frames([0, 1, 1, 1]), 0, 2)
    assert 2.0**-order_0 == pytest.approx(np.array([[0.7, 0.3, 0.3, 0.3]]))
    assert 2.0**-order_1 == pytest.approx(np.array([[0.85, 1.3 / 3, 0.15, 0.15]]))
    assert 2.0**-conditional == pytest.approx(np.array([[0.925, 1.3 / 6, 0.075, 0.15]]))


def test_contexts_of_two_levels():
    # Level 2 follows level 1 here, and level 1 follows level 2 of the position before.
    rng = np.random.default_rng(0)
    train, test = (_coupled(rng, count) for count in (400, 100))
    rate = measure_rate(train, test, (4, 8))
    first, second = rate.levels
    assert first.order_0_bits == pytest.approx(2.0, abs=0.02)
    # 2 bits at the first of 6 positions; after it level 1 alone knows one of two, with level 2 both.
    assert first.order_1_bits == pytest.approx(7 / 6, abs=0.03)
    assert first.conditional_bits == pytest.approx(2 / 6, abs=0.03)
    assert second.order_0_bits == pytest.approx(3.0, abs=0.02)
    assert second.order_1_bits == pytest.approx(1.0, abs=0.02)


def _coupled(rng, count):
    """Second = 2 first + a random bit; the next first = second mod 4."""
    indices = np.empty((count, 6, 2), np.uint16)
    first = rng.integers(0, 4, count)
    for position in range(6):
        second = 2 * first + rng.integers(0, 2, count)
        indices[:, position, 0], indices[:, position, 1] = first, second
        first = second % 4
    return indices


def test_deterministic_chain_costs_its_first_index():
    def chains(count, seed):
        rows = [np.random.default_rng(seed).integers(0, 16, count)]
        for _ in range(19):
            rows.append((5 * rows[-1] + 3) % 16)
        return np.stack(rows, axis=1)[..., None].astype(np.uint16)

    rate = measure_rate(chains(300, 0), chains(100, 1), (16,))
    assert rate.bits_per_frame["nominal"] == 80
    assert rate.bits_per_frame["order_0"] == pytest.approx(80, rel=0.01)
    assert rate.bits_per_frame["conditional"] == pytest.approx(4, abs=0.4)


def test_independent_indices_gain_nothing_and_lose_little():
    rng = np.random.default_rng(3)
    train, test = (rng.integers(0, 256, (300, 40, 2)).astype(np.uint16) for _ in range(2))
    for level in measure_rate(train, test, (256, 256)).levels:
        assert (level.codes, level.nominal_bits) == (256, 8)
        for bits in (level.order_0_bits, level.order_1_bits, level.conditional_bits):
            assert 7.98 < bits < 8.1, "contexts too rare to trust are left alone"


@pytest.mark.parametrize("level", [0, 1, 2])
def test_probabilities_of_a_context_add_up_to_one(level):
    sizes = (3, 4, 5)
    rng = np.random.default_rng(level)
    train = np.stack([rng.integers(0, size, (30, 6)) for size in sizes], axis=-1)
    test = np.repeat(train[:1], sizes[level], axis=0)
    test[:, 3, level] = np.arange(sizes[level])
    for bits in code_lengths(train, test, level, sizes[level]):
        assert np.sum(2.0 ** -bits[:, 3]) == pytest.approx(1.0)


def test_cross_entropy_is_no_less_than_entropy():
    rng = np.random.default_rng(4)
    train, test = (rng.binomial(15, 0.3, (200, 10, 1)).astype(np.uint16) for _ in range(2))
    level = measure_rate(train, test, (16,)).levels[0]
    assert level.order_0_bits >= np.log2(level.perplexity)
    assert level.order_0_bits == pytest.approx(np.log2(level.perplexity), abs=0.02)


def test_indices_never_trained_on_cost_bits_but_finitely_many():
    rate = measure_rate(frames(*[[0, 0]] * 50), frames([7, 7]), (8,))
    assert 3 < rate.levels[0].order_0_bits < 20
    assert np.isfinite(rate.bits_per_frame["conditional"])


def test_large_codebooks_do_not_collide():
    # 65535 is the largest index; 65536 stands for it at the previous position.
    train = np.array([[[65535, 0], [0, 65535]]] * 10, np.uint16)
    rate = measure_rate(train, train, (65536, 65536))
    assert rate.levels[0].nominal_bits == 16
    assert rate.bits_per_frame["conditional"] < 10


@pytest.mark.parametrize(("codes", "bits"), [(1, 1), (2, 1), (3, 2), (29, 5), (256, 8), (257, 9)])
def test_nominal_bits(codes, bits):
    assert measure_rate(frames([0, 0, 0]), frames([0, 0, 0]), (codes,)).bits_per_frame["nominal"] == 3 * bits


def test_perplexity_and_usage_by_hand():
    assert perplexity_and_usage(np.array([0, 0, 3, 3]), 8) == (pytest.approx(2.0), 0.25)
    # H = 3/4 log2 4/3 + 1/4 log2 4 = 0.811278 bits.
    assert perplexity_and_usage(np.array([[0, 0], [0, 1]]), 2) == (pytest.approx(2**0.811278, abs=1e-5), 1.0)


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (np.zeros((2, 3)), np.zeros((2, 3, 1), int), r"train indices are float64 \(2, 3\).*\[N, P, 1\]"),
        (np.zeros((2, 3, 1), int), np.zeros((0, 3, 1), int), "no test indices"),
        (np.zeros((2, 3, 1), int), np.full((2, 3, 1), 4), "test index 4 at level 0; the codebook has 4 codes"),
        (np.full((2, 3, 1), -1), np.zeros((2, 3, 1), int), "train index -1"),
        (np.zeros((2, 3, 1), int), np.zeros((2, 4, 1), int), "3 positions; test frames have 4"),
        (np.zeros((2, 3, 2), int), np.zeros((2, 3, 1), int), r"\[N, P, 1\]"),
    ],
)
def test_bad_indices(train, test, message):
    with pytest.raises(InputError, match=message):
        measure_rate(train, test, (4,))
