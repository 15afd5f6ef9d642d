"""Round weights so that the errors cancel on what the layer really reads.

Source: Frantar et al. 2022, "GPTQ" (weights in turn, each error made good by those still to be rounded), after Hassibi
and Stork 1993, "Second Order Derivatives for Network Pruning".
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgecodec.quantization.convolutions import Convolution, FloatArray

_LIMIT = 127
"""Largest magnitude of an int8 weight."""
_DAMPINGS = (1e-4, 1e-5, 1e-6)
"""Shares of the mean power that are added to each weight's: the less, the more an error is made good by weights far
away, or already at their limit. Which does best depends on the layer."""
_SCALES = np.concatenate([np.linspace(0.8, 1.02, 128), [1.0]])
"""Tried as the scale, in parts of the largest magnitude over 127."""


def rounded_to_inputs(conv: Convolution, inputs: FloatArray) -> Convolution:
    """``conv`` with weights that int8 holds exactly, of least error on real ``inputs [N, W, in]``.

    PPG varies slowly, so that rounding one tap up and its neighbour down costs next to nothing, where rounding each to
    the nearest adds their errors up. Each output channel has the scale that does best of those tried: the last weights
    in turn have nobody to make their errors good, and how large these are is a matter of luck. A scale below the
    largest magnitude over 127 shortens the largest weight, for which its neighbours make up.
    """
    windows = _windows(conv, inputs)
    kernel = conv.kernel.copy()
    taps, channels, outputs = kernel.shape
    if conv.depthwise:
        for channel in range(channels):
            kernel[:, channel] = _rounded(kernel[:, channel], windows[:, :, channel])
    else:
        flat = windows.reshape(len(windows), taps * channels)
        kernel = _rounded(kernel.reshape(taps * channels, outputs), flat).reshape(kernel.shape)
    return replace(conv, kernel=kernel)


def _windows(conv: Convolution, inputs: FloatArray) -> FloatArray:
    """What the taps read at each output position: ``[N P, taps, in]``."""
    taps, width = len(conv.kernel), inputs.shape[1] + sum(conv.pad)
    left, right = conv.pad
    if conv.padding == "same":
        total = max(0, (-(-width // conv.stride) - 1) * conv.stride + taps - width)
        left, right = left + total // 2, right + total - total // 2
    padded = np.pad(inputs, ((0, 0), (left, right), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, taps, axis=1)[:, :: conv.stride]
    return windows.transpose(0, 1, 3, 2).reshape(-1, taps, inputs.shape[2])


def _rounded(weights: FloatArray, rows: FloatArray) -> FloatArray:
    """``weights [I, O]`` as multiples of each column's scale, rounded in turn against ``rows [N, I]``."""
    power = (rows.T @ rows / max(len(rows), 1)).astype(np.float64)
    if not float(np.trace(power)) > 0:
        return weights
    return np.stack([_column(column, power) for column in weights.T], axis=1)


def _column(weights: FloatArray, power: FloatArray) -> FloatArray:
    """One output channel's ``weights [I]`` for inputs whose second moments are ``power [I, I]``."""
    peak = float(np.abs(weights).max())
    if peak == 0:
        return weights
    # The largest weight first: it is 127 steps, so that a converter finds the scale again.
    order = np.argsort(-np.abs(weights), kind="stable")
    wanted, ordered = weights[order], power[np.ix_(order, order)]
    scales = peak / _LIMIT * _SCALES
    mean = float(np.trace(power)) / len(power)
    tried = [_in_turn(wanted, scales, ordered + share * mean * np.eye(len(ordered))) for share in _DAMPINGS]
    found = np.concatenate(tried)
    errors = found - wanted
    result = np.empty_like(wanted)
    result[order] = found[np.argmin(np.einsum("si,ij,sj->s", errors, ordered, errors, optimize=True))]
    return result


def _in_turn(weights: FloatArray, scales: FloatArray, power: FloatArray) -> FloatArray:
    """``weights [I]``, the largest first, rounded to each of ``scales [S]``: ``[S, I]``."""
    # Row i says how an error of weight i is made good by those behind it.
    spread = np.linalg.cholesky(np.linalg.inv(power)).T
    left = np.tile(weights, (len(scales), 1))
    for number in range(len(weights)):
        steps = np.clip(np.rint(left[:, number] / scales), -_LIMIT, _LIMIT)
        if number == 0:
            steps = np.copysign(_LIMIT, steps)
        whole = steps * scales
        left[:, number:] -= np.outer((left[:, number] - whole) / spread[number, number], spread[number, number:])
        left[:, number] = whole
    return left
