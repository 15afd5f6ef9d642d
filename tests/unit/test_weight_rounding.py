"""Weights rounded in turn against what a layer reads."""

import numpy as np
import pytest

from edgecodec.quantization import weight_rounding
from edgecodec.quantization.convolutions import Convolution
from edgecodec.quantization.weight_rounding import rounded_to_inputs


def _nearest(kernel, axes):
    scale = np.abs(kernel).max(axis=axes, keepdims=True) / 127
    return np.rint(kernel / scale) * scale


def _output(conv, kernel, inputs):
    """``conv`` with ``kernel`` of ``inputs [N, W, in]``, straight from its definition, without bias."""
    taps, width = len(kernel), inputs.shape[1] + sum(conv.pad)
    left, right = conv.pad
    if conv.padding == "same":
        total = max(0, (-(-width // conv.stride) - 1) * conv.stride + taps - width)
        left, right = left + total // 2, right + total - total // 2
    padded = np.pad(inputs, ((0, 0), (left, right), (0, 0)))
    parts = []
    for start in range(0, padded.shape[1] - taps + 1, conv.stride):
        window = padded[:, start : start + taps]
        how = "nkc,kcm->ncm" if conv.depthwise else "nkc,kco->no"
        parts.append(np.einsum(how, window, kernel).reshape(len(inputs), -1))
    return np.stack(parts, axis=1)


@pytest.mark.parametrize(
    ("shape", "depthwise", "stride", "padding", "pad"),
    [
        ((31, 1, 3), False, 8, "same", (0, 0)),
        ((7, 4, 5), False, 2, "valid", (2, 3)),
        ((9, 8, 1), True, 2, "same", (0, 0)),
        ((9, 8, 2), True, 1, "valid", (0, 0)),
    ],
)
def test_error_on_slow_signals_falls(shape, depthwise, stride, padding, pad):
    rng = np.random.default_rng(3)
    outputs = shape[1] * shape[2] if depthwise else shape[2]
    conv = Convolution("one", depthwise, rng.normal(size=shape), np.zeros(outputs), stride, padding, "linear", pad)
    slow = np.cumsum(rng.normal(size=(20, 64, 1)), axis=1) + 0.1 * np.cumsum(
        rng.normal(size=(20, 64, shape[1])), axis=1
    )
    inputs = slow - slow.mean(axis=1, keepdims=True) + 0.05 * rng.normal(size=(20, 64, 1))
    rounded = rounded_to_inputs(conv, inputs)
    axes = 0 if depthwise else (0, 1)
    # A converter finds the scale again.
    scale = np.abs(rounded.kernel).max(axis=axes, keepdims=True) / 127
    assert np.array_equal(np.rint(rounded.kernel / scale) * scale, rounded.kernel)
    given = np.abs(conv.kernel).max(axis=axes, keepdims=True) / 127
    assert ((scale / given > 0.79) & (scale / given < 1.03)).all()
    wanted = _output(conv, conv.kernel, inputs)
    errors = [np.mean((_output(conv, k, inputs) - wanted) ** 2) for k in (rounded.kernel, _nearest(conv.kernel, axes))]
    assert errors[0] < 0.7 * errors[1]


def test_scale_that_does_best_is_chosen(monkeypatch):
    rng = np.random.default_rng(5)
    conv = Convolution("one", False, rng.normal(size=(31, 1, 4)), np.zeros(4), 8, "same", "linear")
    inputs = np.cumsum(rng.normal(size=(40, 64, 1)), axis=1)
    wanted = _output(conv, conv.kernel, inputs)

    def errors():
        return np.mean((_output(conv, rounded_to_inputs(conv, inputs).kernel, inputs) - wanted) ** 2, axis=(0, 1))

    chosen = errors()
    monkeypatch.setattr(weight_rounding, "_SCALES", np.ones(1))
    largest = errors()
    assert (chosen <= largest).all()
    assert chosen.mean() < 0.6 * largest.mean()


def test_inputs_and_weights_of_zero_stay():
    rng = np.random.default_rng(0)
    conv = Convolution("one", False, rng.normal(size=(3, 2, 2)), np.zeros(2), 1, "valid", "linear")
    assert np.array_equal(rounded_to_inputs(conv, np.zeros((4, 8, 2))).kernel, conv.kernel)
    conv.kernel[..., 1] = 0
    assert not rounded_to_inputs(conv, rng.normal(size=(4, 8, 2))).kernel[..., 1].any()
