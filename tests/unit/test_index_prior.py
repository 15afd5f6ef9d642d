import numpy as np
import pytest

from edgecodec.entropy.causal_prior import IndexPrior, array_shapes, blocks_for
from edgecodec.entropy.context_models import measure_rate
from edgecodec.errors import InputError
from edgecodec.files.atomic import npz_bytes
from edgecodec.nn.causal_prior import IndexPriorNetwork
from edgecodec.training.causal_prior import PriorFitting, fit_index_prior

FAST = PriorFitting(channels=8, steps=150, batch_size=32, learning_rate=2e-2)


def random_prior(sizes, positions, channels=4, seed=0):
    rng = np.random.default_rng(seed)
    shapes = array_shapes(sizes, blocks_for(positions), channels)
    return IndexPrior(tuple(sizes), {key: rng.normal(size=shape).astype(np.float32) for key, shape in shapes.items()})


def random_indices(sizes, frames, positions, seed=1):
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, size, (frames, positions)) for size in sizes], axis=-1).astype(np.uint16)


@pytest.mark.parametrize(("positions", "blocks"), [(1, 1), (6, 1), (7, 2), (20, 3), (40, 4), (80, 5)])
def test_blocks(positions, blocks):
    assert blocks_for(positions) == blocks


def test_by_hand():
    # One channel, one block. After index 1 comes E = 2; the tap on the position itself is 1, two others 0.
    arrays = {
        "embedding_0": [[0], [1], [2]],
        "taps_0": [[[0]], [[0]], [[1]]],
        "taps_bias_0": [-1],
        "mix_0": [[3]],
        "mix_bias_0": [0.5],
        "hidden_0": [[1]],
        "hidden_bias_0": [0],
        "logits_0": [[0, 0.25]],
        "logits_bias_0": [0, 0],
    }
    prior = IndexPrior((2,), {key: np.array(value, np.float32) for key, value in arrays.items()})
    # x: 0 at the start, then 2 after index 1. x + 3 relu(x - 1) + 0.5 = 0.5 and 5.5; logits 0 and a quarter of it.
    bits = prior.code_lengths(np.array([[[1], [0]]], np.uint16))
    expected = [np.log2(1 + np.exp(-0.125)), np.log2(1 + np.exp(1.375))]
    assert bits[0, :, 0] == pytest.approx(expected, rel=1e-6)


def test_probabilities_sum_to_one_over_all_frames():
    # Two positions of levels with 3 and 2 codes: 36 frames, the code lengths of a complete code.
    every = np.stack(np.meshgrid(*[np.arange(k) for k in (3, 2, 3, 2)], indexing="ij"), axis=-1).reshape(-1, 2, 2)
    lengths = random_prior((3, 2), 2).code_lengths(every)
    assert np.sum(2.0 ** -lengths.sum(axis=(1, 2))) == pytest.approx(1.0, rel=1e-5)


def test_network_and_numpy_agree():
    indices = random_indices((5, 7, 3), 4, 12)
    network = IndexPriorNetwork(12, (5, 7, 3), 6, seed=3)
    bits = float(network.bits_per_frame(indices.astype(np.int32)))
    assert network.export().code_lengths(indices).sum(axis=(1, 2)).mean() == pytest.approx(bits, rel=1e-5)


def test_learns_what_tables_cannot_see():
    # Each index repeats the one five positions before; the tables look two back.
    rng = np.random.default_rng(2)
    frames = np.tile(rng.integers(0, 4, (600, 5, 1)), (1, 4, 1)).astype(np.uint16)
    train, validation, test = frames[:400], frames[400:500], frames[500:]
    prior = fit_index_prior(train, validation, [4], FAST)
    rate = measure_rate(train, test, [4], prior)
    assert rate.levels[0].conditional_bits > 1.8
    # 5 of 20 positions are news, 2 bits each.
    assert rate.levels[0].causal_bits == pytest.approx(0.5, abs=0.1)
    assert rate.bits_per_frame["causal"] == pytest.approx(20 * rate.levels[0].causal_bits)


def test_level_below_sees_level_above():
    rng = np.random.default_rng(4)
    above = rng.integers(0, 8, (300, 6))
    frames = np.stack([above, above ^ 5], axis=-1).astype(np.uint16)
    prior = fit_index_prior(frames[:200], frames[200:250], [8, 8], FAST)
    bits = prior.code_lengths(frames[250:]).mean(axis=(0, 1))
    assert bits[0] == pytest.approx(3, abs=0.2)
    assert bits[1] < 0.3


def test_keeps_the_weights_that_do_best_on_others():
    train, validation = random_indices((4,), 8, 6, seed=5), random_indices((4,), 64, 6, seed=6)
    seen = []
    prior = fit_index_prior(train, validation, [4], FAST, lambda done, total, bits: seen.append(bits))
    # Eight frames are learnt by heart, which costs other frames more and more.
    assert seen[-1] > min(seen) + 0.5
    assert prior.code_lengths(validation).sum(axis=(1, 2)).mean() == pytest.approx(min(seen))


def test_same_seed_same_prior():
    train = random_indices((4, 4), 40, 6)
    again = [fit_index_prior(train, train, [4, 4], FAST).to_npz() for _ in range(2)]
    assert again[0] == again[1]


def test_file_round_trip():
    prior = random_prior((6, 3), 9)
    read = IndexPrior.from_npz(prior.to_npz(), (6, 3))
    indices = random_indices((6, 3), 3, 9)
    assert np.array_equal(read.code_lengths(indices), prior.code_lengths(indices))
    assert read.parameters == sum(array.size for array in prior.arrays.values())


def test_damaged_files_are_refused():
    prior = random_prior((6, 3), 9)
    data = prior.to_npz()
    for broken in (b"", data[:100], b"PK\x03\x04" + bytes(60)):
        with pytest.raises(InputError, match="not a readable"):
            IndexPrior.from_npz(broken, (6, 3))
    changed = {
        "array mix_0 is missing": {key: value for key, value in prior.arrays.items() if key != "mix_0"},
        "array other is unknown": {**prior.arrays, "other": np.zeros(3, np.float32)},
        "array logits_1 is float64": {**prior.arrays, "logits_1": prior.arrays["logits_1"].astype(np.float64)},
        "NaN or infinity": {**prior.arrays, "mix_0": np.full_like(prior.arrays["mix_0"], np.nan)},
        "holds no index prior": {},
    }
    for message, arrays in changed.items():
        with pytest.raises(InputError, match=message):
            IndexPrior.from_npz(npz_bytes(dict(arrays)), (6, 3))
    with pytest.raises(InputError, match=r"embedding_0 is float32 \(7, 4\); expected float32 \(9, 4\)"):
        IndexPrior.from_npz(data, (8, 3))


@pytest.mark.parametrize("wrong", [{"channels": 0}, {"steps": 0}, {"batch_size": -1}, {"learning_rate": 0.0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match=rf"index prior {next(iter(wrong))} is .*; expected"):
        PriorFitting(**wrong)


def test_wrong_indices_are_refused():
    prior = random_prior((6, 3), 9)
    for indices in (np.zeros((2, 9), np.uint16), np.zeros((2, 9, 2)), np.full((1, 9, 2), 5, np.uint16)):
        with pytest.raises(InputError, match=r"expected whole numbers|outside its codebook"):
            prior.code_lengths(indices)
    with pytest.raises(InputError, match="validation indices are"):
        fit_index_prior(np.zeros((4, 9, 2), int), np.zeros((0, 9, 2), int), (6, 3), FAST)
