"""The causal network: the specification in plain integers, proofs when it is made, and what fitting makes of it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from edgecodec.entropy.causal_network import LIKELIHOODS, CausalNetwork, Dense, LevelHead
from edgecodec.entropy.context_models import measure_rate
from edgecodec.entropy.range_coder import RangeDecoder, RangeEncoder
from edgecodec.errors import InputError
from tests.packets import network, walk
from tests.tools import require


def _saturate(value: int) -> int:
    return max(-32768, min(32767, value))


def _layer(layer: Dense, x: list[int], extra: list[int] | None = None) -> list[int]:
    """A layer of SPEC.md 5.6 in Python's integers."""
    found = []
    for out, (row, bias) in enumerate(zip(layer.weights.tolist(), layer.bias.tolist(), strict=True)):
        total = bias + sum(w * v for w, v in zip(row, x, strict=True)) + (extra[out] if extra else 0)
        assert -(2**31) <= total < 2**31
        found.append(_saturate((total + (1 << (layer.shift - 1))) >> layer.shift))
    return found


def _decisions(model: CausalNetwork, frame: list[list[int]]) -> list[tuple[int, int]]:
    """SPEC.md 5.6 in Python's integers: start and size of each decision."""
    channels, found = model.channels, []
    rows: list[list[list[int]]] = [[] for _ in model.blocks]
    for t, indices in enumerate(frame):
        v = []
        for number, level in enumerate(model.levels):
            before = frame[t - 1][number] + 1 if t and number < len(indices) else 0
            v += level.embedding[before].tolist()
        x = _layer(model.input, v + [0] * (model.input.weights.shape[1] - len(v)))
        for block, history in zip(model.blocks, rows, strict=True):
            history.append(x)
            nothing = [0] * channels
            taps = [history[t - back] if t >= back else nothing for back in (2 * block.dilation, block.dilation, 0)]
            inner = [max(0, value) for value in _layer(block.taps, [*taps[0], *taps[1], *taps[2]])]
            x = [_saturate(a + b) for a, b in zip(x, _layer(block.mix, inner), strict=True)]
        for number, index in enumerate(indices):
            level = model.levels[number]
            extra = [0] * len(level.hidden.bias)
            for above, table in enumerate(level.above):
                extra = [a + (int(b) << level.above_shift) for a, b in zip(extra, table[indices[above]], strict=True)]
            h = [max(0, value) for value in _layer(level.hidden, x, extra)]
            first, end = 0, len(level.ranks)
            while end - first > 1:
                middle = first + (end - first + 1) // 2
                z = (int(level.node_bias[middle - 1]) << level.node_bias_shift) + sum(
                    w * value for w, value in zip(level.nodes[middle - 1].tolist(), h, strict=True)
                )
                p = int(LIKELIHOODS[min(abs(z) >> level.node_shift, 255)])
                p = p if z >= 0 else 2**15 - p
                if level.ranks[index] >= middle:
                    found.append(((2**15 - p) * 512, p * 512))
                    first = middle
                else:
                    found.append((0, (2**15 - p) * 512))
                    end = middle
    return found


@pytest.mark.parametrize(
    ("sizes", "shape"),
    [
        ((17, 5), {}),
        ((256,), {"channels": 4, "hidden": 4, "dilations": (16, 1)}),
        ((3, 1, 9), {"gain": 6, "embedding": 1}),
        ((40, 30), {"dilations": ()}),
    ],
)
def test_network_in_plain_integers(sizes: tuple[int, ...], shape: dict[str, int]) -> None:
    model = network(1, sizes, **shape)
    for frame in walk(2, 3, 12, sizes):
        for levels in range(1, len(sizes) + 1):
            sent = frame[:, :levels]
            intervals = list(model.intervals(sent))
            assert intervals == _decisions(model, sent.tolist())
            bits = -np.sum(np.log2([size / 2**24 for _, size in intervals]))
            assert bits == pytest.approx(model.code_lengths(sent[None]).sum())
            encoder = RangeEncoder(1000)
            for start, size in intervals:
                encoder.encode(start, size)
            payload = encoder.finish()
            assert payload is not None
            assert model.decode(RangeDecoder(payload), len(sent), levels).tolist() == sent.tolist()


def test_likelihoods() -> None:
    assert LIKELIHOODS.tolist() == [round(2**15 / (1 + math.exp(-(j + 0.5) / 32))) for j in range(256)]
    assert LIKELIHOODS.max() < 1 << 15


def test_probabilities_of_all_indices_are_all_in_all() -> None:
    model = network(3, (37, 3))
    frame = walk(4, 1, 5, (37, 3))
    every = np.repeat(frame, 37, axis=0)
    every[:, 4, 0] = np.arange(37)
    assert np.sum(2.0 ** -model.code_lengths(every)[:, 4, 0]) == pytest.approx(1)


def test_arrays_there_and_back() -> None:
    model = network(5, (9, 1, 7))
    arrays = model.to_arrays()
    again = CausalNetwork.from_arrays(arrays).to_arrays()
    assert arrays.keys() == again.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(array, again[name])
    with pytest.raises(InputError, match="mix_1_bias"):
        CausalNetwork.from_arrays({name: array for name, array in arrays.items() if name != "mix_1_bias"})
    with pytest.raises(InputError, match="extra is unknown"):
        CausalNetwork.from_arrays(arrays | {"extra": np.zeros(1)})


def test_refuses_what_is_not_proven() -> None:
    model = network(6, (9, 7))
    full = np.full((8, 640), 127, np.int8)
    with pytest.raises(InputError, match="int32 does not hold"):
        Dense(full, np.zeros(8, np.int32), 8)
    with pytest.raises(InputError, match="multiples of 4"):
        Dense(full[:, :3], np.zeros(8, np.int32), 8)
    with pytest.raises(InputError, match="power of two"):
        replace(model, blocks=(replace(model.blocks[0], dilation=3),))
    with pytest.raises(InputError, match="no order of the codes"):
        replace(model.levels[0], ranks=np.zeros(9, np.uint8))
    with pytest.raises(InputError, match="does not fit the others"):
        replace(model, levels=model.levels[::-1])
    with pytest.raises(InputError, match="may leave int32"):
        replace(model.levels[1], above_shift=16, above=(np.zeros((9, 12), np.int8),) * 300)
    assert isinstance(model.levels[0], LevelHead)


@pytest.fixture(scope="module")
def fitted() -> CausalNetwork:
    require("module:tensorflow")
    from edgecodec.training.causal_network import NetworkFitting, fit_causal_network

    books = [np.arange(16.0)[:, None], np.arange(16.0)[:, None]]
    fitting = NetworkFitting(4, 8, 8, (1, 2), steps=300, batch_size=32, learning_rate=1e-2)
    return fit_causal_network(walk(1, 1000, 12, (16, 16)), walk(2, 100, 12, (16, 16)), books, fitting)


def test_integers_learn_what_tables_know(fitted: CausalNetwork) -> None:
    test = walk(3, 300, 12, (16, 16))
    bits = fitted.code_lengths(test).sum(axis=(1, 2)).mean()
    known = measure_rate(walk(1, 1000, 12, (16, 16)), test, (16, 16)).bits_per_frame
    assert bits < 1.05 * known["order_1"] < known["order_0"]


def test_same_seed_same_network(fitted: CausalNetwork) -> None:
    from edgecodec.training.causal_network import NetworkFitting, fit_causal_network

    books = [np.arange(4.0)[:, None]]
    given = walk(4, 50, 6, (4,))
    fitting = NetworkFitting(1, 4, 4, (1,), steps=5, batch_size=8)
    first, second = (fit_causal_network(given, given, books, fitting).to_arrays() for _ in range(2))
    for name, array in first.items():
        np.testing.assert_array_equal(array, second[name])


def test_trainer_rounds_as_the_integers_do(fitted: CausalNetwork) -> None:
    """The float network with rounded weights and the integers give nearly the same code lengths."""
    import tensorflow as tf

    from edgecodec.nn.causal_network import CausalNetworkTrainer

    rng = np.random.default_rng(0)
    starts = [rng.uniform(-1, 1, (16, 3)).astype(np.float32) for _ in range(2)]
    trainer = CausalNetworkTrainer([level.ranks for level in fitted.levels], starts, (8, 8), (1, 4), 1)
    given = walk(5, 200, 12, (16, 16))
    expected = trainer.export().code_lengths(given).sum(axis=(1, 2)).mean()
    assert float(trainer.bits_per_frame(tf.constant(given.astype(np.int32)), True)) == pytest.approx(expected, rel=5e-3)


def test_known_levels_take_no_bits() -> None:
    require("module:tensorflow")
    from edgecodec.nn.causal_network import CausalNetworkTrainer

    ranks = [np.arange(8, dtype=np.uint8), np.arange(5, dtype=np.uint8)]
    starts = [np.ones((len(rank), 4), np.float32) for rank in ranks]
    indices = np.random.default_rng(0).integers(0, 5, (6, 7, 2)).astype(np.int32)
    bits = [
        float(CausalNetworkTrainer(ranks, starts, (8, 8), (1,), 3, known).bits_per_frame(indices, rounded=False))
        for known in (0, 1, 2)
    ]
    assert bits[0] > bits[1] > bits[2] == 0
    counted = (
        CausalNetworkTrainer(ranks, starts, (8, 8), (1,), 3).export().code_lengths(indices).sum(axis=1).mean(axis=0)
    )
    assert bits[1] == pytest.approx(counted[1], rel=0.03)
    assert bits[0] - bits[1] == pytest.approx(counted[0], rel=0.03)
