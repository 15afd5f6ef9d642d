"""The quantiser layers against values worked out by hand."""

import math

import numpy as np
import pytest

from tests.tools import require

require_module = "module:tensorflow"


@pytest.fixture(scope="module")
def nn():
    require(require_module)
    import edgecodec.nn

    return edgecodec.nn


def _metrics(layer):
    return {metric.name: float(metric.result()) for metric in layer.metrics}


# One dimension, two levels: level 1 has codes 0 and 4, level 2 has codes 0 and 1.
BOOKS = [np.array([[0.0], [4.0]], np.float32), np.array([[0.0], [1.0]], np.float32)]
LATENTS = np.array([[[1.0], [3.0], [5.0], [-1.0]]], np.float32)
# Level 1 chooses 0, 1, 1, 0 and leaves 1, -1, 1, -1; level 2 chooses 1, 0, 1, 0 and leaves 0, -1, 0, -1.
INDICES = [[0, 1, 1, 0], [1, 0, 1, 0]]
QUANTIZED = [1.0, 4.0, 5.0, 0.0]


@pytest.fixture(params=["ResidualVectorQuantizer", "EmaResidualVectorQuantizer"])
def layer(nn, request):
    made = getattr(nn, request.param)(2, 2, 1, beta=0.25)
    made.build((None, 4, 1))
    made.set_codebooks(BOOKS)
    return made


def test_call_encode_and_decode_agree_with_hand(layer):
    y, indices = layer(LATENTS, return_indices=True)
    assert np.asarray(y).ravel().tolist() == QUANTIZED
    assert [np.asarray(index).tolist() for index in indices] == INDICES
    assert [np.asarray(index).tolist() for index in layer.encode(LATENTS)] == INDICES
    assert np.asarray(layer.decode(indices, LATENTS.shape)).ravel().tolist() == QUANTIZED
    assert np.asarray(layer(LATENTS)).shape == LATENTS.shape


def test_losses(nn):
    # Level 1: mean of squared residual-to-code distances is 1; level 2: (0 + 1 + 0 + 1) / 4.
    for name, expected in (
        ("ResidualVectorQuantizer", [1.25 * 1.0, 1.25 * 0.5]),
        ("EmaResidualVectorQuantizer", [0.25 * 1.0, 0.25 * 0.5]),
    ):
        made = getattr(nn, name)(2, 2, 1, beta=0.25)
        made.build((None, 4, 1))
        made.set_codebooks(BOOKS)
        made(LATENTS)
        assert [float(loss) for loss in made.losses] == pytest.approx(expected)


def test_metrics(layer):
    layer(np.array([[1.0], [3.0], [5.0], [3.5]], np.float32))
    # Level 1 chooses 0, 1, 1, 1; level 2 chooses 1, 0, 1, 0.
    entropy = -(0.25 * math.log2(0.25) + 0.75 * math.log2(0.75))
    found = _metrics(layer)
    assert found == pytest.approx(
        {
            "rvq_l1_perplexity": 2**entropy,
            "rvq_l2_perplexity": 2.0,
            "rvq_l1_usage": 1.0,
            "rvq_l2_usage": 1.0,
            "rvq_l1_bits_per_index": entropy,
            "rvq_l2_bits_per_index": 1.0,
            "rvq_perplexity_mean": (2**entropy + 2) / 2,
            "rvq_usage_mean": 1.0,
            "rvq_bits_per_index_sum": entropy + 1,
        },
        abs=1e-6,
    )


def test_unused_codes_lower_the_usage(layer):
    layer(np.array([[0.0], [0.1]], np.float32))
    assert _metrics(layer)["rvq_l1_usage"] == 0.5
    assert _metrics(layer)["rvq_l1_perplexity"] == pytest.approx(1.0)


def test_ties_go_to_the_lowest_index(layer):
    assert np.asarray(layer.encode(np.array([[2.0]], np.float32))[0]).tolist() == [0]


def test_gradient_passes_straight_through(layer):
    import tensorflow as tf

    x = tf.constant(LATENTS)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(layer(x) * [[[1.0], [2.0], [3.0], [4.0]]])
    assert tape.gradient(y, x).numpy().ravel().tolist() == [1.0, 2.0, 3.0, 4.0]


def test_ema_update_follows_the_formula(nn):
    made = nn.EmaResidualVectorQuantizer(1, 2, 1, ema_decay=0.5, epsilon=0.25)
    made.build((None, 1))
    made.set_codebooks([BOOKS[0]])
    made(np.array([[1.0], [3.0], [5.0]], np.float32), training=True)
    # n = [1, 2], sums [1, 8]; N = 0.5 [1, 1] + 0.5 n = [1, 1.5]; W = 0.5 [0, 4] + 0.5 [1, 8] = [0.5, 6].
    # N' = (N + 0.25) / (2.5 + 0.5) * 2.5
    smoothed = (np.array([1.0, 1.5]) + 0.25) / 3.0 * 2.5
    assert made.codebooks[0].ravel() == pytest.approx(np.array([0.5, 6.0]) / smoothed)


def test_ema_learns_only_in_training_and_not_by_gradient(nn):
    made = nn.EmaResidualVectorQuantizer(2, 2, 1)
    made.build((None, 1))
    made.set_codebooks(BOOKS)
    made(LATENTS)
    assert [book.tolist() for book in made.codebooks] == [book.tolist() for book in BOOKS]
    assert made.trainable_weights == []
    names = [weight.name for weight in made.weights if "codebook" in weight.name or "ema" in weight.name]
    assert names == ["codebook_l1", "ema_count_l1", "ema_weight_l1", "codebook_l2", "ema_count_l2", "ema_weight_l2"]


def test_second_level_learns_from_residuals_before_subtraction(nn):
    made = nn.EmaResidualVectorQuantizer(2, 2, 1, ema_decay=0.0, epsilon=1e-9)
    made.build((None, 1))
    made.set_codebooks(BOOKS)
    made(LATENTS, training=True)
    # Level 1 codes become the means of {1, -1} and {3, 5}; level 2 of {-1, -1} and {1, 1}.
    assert made.codebooks[0].ravel() == pytest.approx([0.0, 4.0], abs=1e-6)
    assert made.codebooks[1].ravel() == pytest.approx([-1.0, 1.0], abs=1e-6)


def test_codebooks_start_uniform_and_trainable(nn):
    made = nn.ResidualVectorQuantizer(2, [8, 16], 3)
    made.build((None, 3))
    assert [book.shape for book in made.codebooks] == [(8, 3), (16, 3)]
    assert np.abs(made.codebooks[0]).max() <= 1 / 8
    assert np.abs(made.codebooks[1]).max() <= 1 / 16
    assert [weight.name for weight in made.trainable_weights] == ["codebook_l1", "codebook_l2"]


@pytest.mark.parametrize(
    "arguments",
    [(0, 4, 2), (1, 4, 0), (1, 4, 2, 0.0), (2, [4], 2), (1, 0, 2)],
    ids=["levels", "dimension", "beta", "sizes", "size"],
)
def test_bad_arguments(nn, arguments):
    for name in ("ResidualVectorQuantizer", "EmaResidualVectorQuantizer"):
        with pytest.raises(ValueError, match="expected"):
            getattr(nn, name)(*arguments)


def test_bad_ema_arguments(nn):
    with pytest.raises(ValueError, match="ema_decay"):
        nn.EmaResidualVectorQuantizer(1, 4, 2, ema_decay=1.0)
    with pytest.raises(ValueError, match="epsilon"):
        nn.EmaResidualVectorQuantizer(1, 4, 2, epsilon=0.0)


def test_bad_shapes(layer):
    with pytest.raises(ValueError, match="2 channels"):
        layer.build((None, 2))
    with pytest.raises(ValueError, match="shape"):
        layer.set_codebooks([BOOKS[0], np.zeros((3, 1))])
    with pytest.raises(ValueError, match="1 codebooks"):
        layer.set_codebooks(BOOKS[:1])
    with pytest.raises(ValueError, match="1 levels"):
        layer.decode([np.array([0])], (1, 1))


def test_config_round_trip(nn):
    made = nn.EmaResidualVectorQuantizer(2, [4, 8], 3, beta=0.5, ema_decay=0.9, epsilon=1e-3)
    copy = nn.EmaResidualVectorQuantizer.from_config(made.get_config())
    assert copy.get_config() == made.get_config()
    assert copy.codebook_sizes == [4, 8]


def test_float32_under_mixed_precision(nn, layer):
    import keras

    keras.config.set_dtype_policy("mixed_float16")
    try:
        made = type(layer)(1, 2, 1)
        made.build((None, 1))
        y = made(np.array([[1.0]], np.float16))
    finally:
        keras.config.set_dtype_policy("float32")
    assert made.codebooks[0].dtype == np.float32
    assert y.dtype.name == "float32"


def test_dead_codes_move_to_the_farthest_residuals(nn):
    # Decay 1/2, two codes in use and two dead; no smoothing worth counting.
    layer = nn.EmaResidualVectorQuantizer(1, 4, 1, ema_decay=0.5, epsilon=1e-12, revive_threshold=0.3)
    layer.build((None, 1))
    layer.set_codebooks([np.array([[0.0], [10.0], [100.0], [200.0]], np.float32)])
    x = np.array([[-1.0], [1.0], [3.0], [9.0], [12.0], [14.0]], np.float32)
    layer(x, training=True)
    # Counts 0.5 + 3/2 = 2 for the codes in use, 0.5 for the others; mean 1.25, and 0.5 is above 0.3 of it.
    assert layer.codebooks[0][2:, 0] == pytest.approx([100.0, 200.0])
    codes = layer.codebooks[0][:2, 0]
    # Sums 0.5 * 0 + 3/2 and 0.5 * 10 + 35/2, over counts of 2.
    assert codes == pytest.approx([0.75, 11.25])
    layer(x, training=True)
    # Counts 2.5, 2.5, 0.25, 0.25; mean 1.375, threshold 0.4125: both are dead. Farthest from their codes 0.75 and
    # 11.25 are 14 (2.75) and 3 (2.25; as far as 9, and first).
    assert layer.codebooks[0][2:, 0] == pytest.approx([14.0, 3.0])
    counts = next(weight for weight in layer.weights if weight.name == "ema_count_l1")
    assert np.asarray(counts) == pytest.approx([2.5, 2.5, 1.375, 1.375])


def test_revival_finds_a_use_for_every_code(nn):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(512, 2)).astype(np.float32)
    used = {}
    for threshold in (0.0, 0.05):
        layer = nn.EmaResidualVectorQuantizer(1, 32, 2, ema_decay=0.9, revive_threshold=threshold)
        layer.build((None, 2))
        layer.set_codebooks([np.concatenate([x[:4], np.full((28, 2), 50.0, np.float32)])])
        for _ in range(100):
            layer(x, training=True)
        used[threshold] = len(np.unique(np.asarray(layer.encode(x)[0])))
    assert used == {0.0: 4, 0.05: 32}


def test_revival_is_kept_by_the_configuration(nn):
    layer = nn.EmaResidualVectorQuantizer(1, 4, 2, revive_threshold=0.1)
    assert nn.EmaResidualVectorQuantizer.from_config(layer.get_config()).revive_threshold == 0.1
    for threshold in (-0.1, 1.0, float("nan")):
        with pytest.raises(ValueError, match="revive_threshold"):
            nn.EmaResidualVectorQuantizer(1, 4, 2, revive_threshold=threshold)


def test_rate_bias_follows_the_formula(nn):
    """Indices of each level are those of least ||c||^2 - 2 r.c - w P log2(share), worked out in float64."""
    rng = np.random.default_rng(5)
    books = [rng.normal(0, scale, (8, 2)).astype(np.float32) for scale in (1.0, 0.3)]
    weights = [0.3, 0.05]
    layer = nn.EmaResidualVectorQuantizer(2, 8, 2, ema_decay=0.5, rate_bias=weights)
    layer.build((None, 2))
    layer.set_codebooks(books)
    assert [bias.tolist() for bias in layer.biases] == [[0.0] * 8] * 2  # all codes are as likely at the start
    latents = rng.normal(0, 1.3, (500, 2)).astype(np.float32)
    for _ in range(3):
        layer(latents, training=True)
    counts = [np.asarray(layer.get_weights()[number], np.float64) for number in (1, 4)]
    # From the mean of the first level's codes, half of the way to that of the latents in each of the three steps.
    start, seen = (np.mean(np.sum(rows.astype(np.float64) ** 2, axis=1)) for rows in (books[0], latents))
    power = seen + (start - seen) / 8
    assert start != pytest.approx(seen, rel=0.1)
    residual = latents.astype(np.float64)
    nearest_differs = False
    for level, index in enumerate(layer.encode(latents)):
        book, cost = (
            layer.codebooks[level].astype(np.float64),
            -weights[level] * power * np.log2(counts[level] / counts[level].sum()),
        )
        assert layer.biases[level] == pytest.approx(cost - cost.min(), abs=1e-4)
        distance = ((residual[:, None] - book) ** 2).sum(axis=2)
        expected = np.argmin(distance + cost, axis=1)
        assert (np.asarray(index) == expected).mean() > 0.995  # float32 against float64
        nearest_differs |= bool((np.argmin(distance, axis=1) != expected).any())
        residual = residual - book[np.asarray(index)]
    assert nearest_differs


def test_rate_bias_knows_no_scale(nn):
    """A latent of another scale takes the same codes; 16 and its square are exact in float32."""
    rng = np.random.default_rng(6)
    books = [rng.normal(0, scale, (8, 2)).astype(np.float32) for scale in (1.0, 0.3)]
    latents = rng.normal(0, 1, (300, 2)).astype(np.float32)
    indices = []
    for scale in (np.float32(1), np.float32(16)):
        layer = nn.EmaResidualVectorQuantizer(2, 8, 2, ema_decay=0.5, rate_bias=0.1)
        layer.build((None, 2))
        layer.set_codebooks([book * scale for book in books])
        for _ in range(4):
            layer(latents * scale, training=True)
        indices.append([np.asarray(index).tolist() for index in layer.encode(latents * scale)])
    assert indices[0] == indices[1]


def test_rate_bias_in_the_configuration(nn):
    layer = nn.EmaResidualVectorQuantizer(2, 4, 2, rate_bias=0.1)
    assert nn.EmaResidualVectorQuantizer.from_config(layer.get_config()).rate_bias == [0.1, 0.1]
    plain = nn.EmaResidualVectorQuantizer(2, 4, 2)
    plain.build((None, 2))
    assert "rate_bias" not in plain.get_config()
    assert plain.biases is None
    for wrong in (-0.1, float("nan"), [0.1], [0.1, -1.0]):
        with pytest.raises(ValueError, match="rate_bias"):
            nn.EmaResidualVectorQuantizer(2, 4, 2, rate_bias=wrong)
