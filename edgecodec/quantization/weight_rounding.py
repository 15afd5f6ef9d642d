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
_DAMPING = 1e-4
"""Share of the mean power that is added to each weight's; without it errors are made good by weights out of bounds."""


def rounded_to_inputs(conv: Convolution, inputs: FloatArray) -> Convolution:
    """``conv`` with weights that int8 holds exactly, of least error on real ``inputs [N, W, in]``.

    Each output channel keeps its scale, the largest magnitude over 127. PPG varies slowly, so that rounding one tap up
    and its neighbour down costs next to nothing, where rounding each to the nearest adds their errors up.
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
    power = rows.T @ rows / max(len(rows), 1)
    mean = float(np.trace(power)) / len(power)
    if not mean > 0:
        return weights
    inverse = np.linalg.inv(power + _DAMPING * mean * np.eye(len(power))).astype(np.float64)
    return np.stack([_column(column, inverse) for column in weights.T], axis=1)


def _column(weights: FloatArray, inverse: FloatArray) -> FloatArray:
    """One output channel's ``weights [I]`` for inputs whose second moments have the ``inverse [I, I]``."""
    peak = float(np.abs(weights).max())
    if peak == 0:
        return weights
    scale = peak / _LIMIT
    # The largest weight first: it is a whole number of steps and has no error, so the scale stays.
    order = np.argsort(-np.abs(weights), kind="stable")
    # Row i says how an error of weight i is made good by those behind it.
    spread = np.linalg.cholesky(inverse[np.ix_(order, order)]).T
    left = weights[order]
    for number in range(len(left)):
        whole = np.clip(np.rint(left[number] / scale), -_LIMIT, _LIMIT) * scale
        left[number:] -= (left[number] - whole) / spread[number, number] * spread[number, number:]
        left[number] = whole
    result = np.empty_like(left)
    result[order] = left
    return result
