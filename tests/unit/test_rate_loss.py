import numpy as np
import pytest

from edgecodec.nn.backend import import_tensorflow
from edgecodec.nn.rate_loss import RateLoss

CODES = np.array([[0.0, 0.0], [1.0, 0.0]], np.float32)


@pytest.fixture(scope="module")
def tf():
    return import_tensorflow()


def loss_with_bias(bias, **options):
    """A rate loss whose prior gives code 1 the logit ``bias`` and code 0 the logit 0, everywhere."""
    loss = RateLoss(2, [2], channels=2, **options)
    for variable in loss.variables:
        variable.assign(np.zeros(variable.shape, np.float32))
        if variable.name.startswith("logits_bias_0"):
            variable.assign([0.0, bias])
    return loss


def test_by_hand(tf):
    loss = loss_with_bias(np.log(3.0), softness=2.0)
    latent = tf.constant([[[[0.25, 0.0], [0.75, 0.5]]]], tf.float32)
    terms = loss(latent, [tf.constant([0, 1])], [CODES])
    # p = (1/4, 3/4): the indices 0 and 1 cost 2 bits and log2(4/3).
    lengths = np.array([2.0, np.log2(4 / 3)])
    assert float(terms.prior) == pytest.approx(lengths.sum(), rel=1e-5)
    # Squared distances (1/16, 9/16) and (13/16, 5/16); nearest on average 3/16; softness times it 3/8.
    distance = np.array([[1, 9], [13, 5]]) / 16
    weights = np.exp(-distance / 0.375)
    expected = (weights / weights.sum(axis=1, keepdims=True)) @ lengths
    assert float(terms.codec) == pytest.approx(expected.sum(), rel=1e-5)


def test_gradients_reach_their_own(tf):
    loss = loss_with_bias(np.log(3.0))
    latent = tf.Variable([[[[0.45, 0.0], [0.45, 0.0]]]], dtype=tf.float32)
    book = tf.Variable(CODES)
    with tf.GradientTape(persistent=True) as tape:
        terms = loss(latent, [tf.constant([0, 0])], [book])
    pull = tape.gradient(terms.codec, latent).numpy()
    # The likelier code lies at larger x: going there lowers the rate.
    assert np.all(pull[..., 0] < 0)
    assert tape.gradient(terms.codec, book) is None
    assert all(tape.gradient(terms.codec, variable) is None for variable in loss.variables)
    assert tape.gradient(terms.prior, latent) is None
    assert any(np.any(tape.gradient(terms.prior, variable) != 0) for variable in loss.variables)


def test_second_level_sees_the_residual(tf):
    books = [CODES, np.array([[0.0, 0.0], [0.0, 0.2]], np.float32)]
    loss = RateLoss(1, [2, 2], channels=2)
    near = loss(tf.constant([[[[1.0, 0.2]]]]), [tf.constant([1]), tf.constant([1])], books)
    far = loss(tf.constant([[[[1.0, 0.2]]]]), [tf.constant([0]), tf.constant([1])], books)
    assert np.isfinite(float(near.codec))
    assert float(near.codec) != pytest.approx(float(far.codec), rel=1e-4)
