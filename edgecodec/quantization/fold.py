"""An encoder as a sequence of convolutions with folded norms, and rewrites that cost no float accuracy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.errors import QuantizationError
from edgecodec.nn.backend import import_keras
from edgecodec.quantization.convert import predict
from edgecodec.quantization.convolutions import Convolution, FloatArray
from edgecodec.quantization.keras_layers import Verdict, flat_layers, is_operation, read_layers, refusal

_SAME = 1e-3
"""Largest difference between the latents of the convolutions and of the model, as a share of the model's largest."""
_SAME_HALF = 2e-2
"""The same where the model computes with 11 bits or fewer (mixed precision)."""


def fold(model: Any) -> list[Convolution]:
    """The convolutions that a Keras encoder is made of, in the order in which they run.

    They map ``(1, T, C)`` to ``(1, P, D)`` whatever axes of size 1 the model's own input and output have. Raises
    QuantizationError, naming the layer and what to do about it, when the model is anything else than a sequence of the
    layers that :mod:`edgecodec.quantization.keras_layers` reads.
    """
    if not model.layers:
        raise QuantizationError("the encoder holds no convolution that could be seen")
    convolutions, rows = read_layers(model)
    for row in rows:
        if row.verdict is Verdict.REFUSED:
            raise refusal(row)
    if not convolutions:
        raise QuantizationError("the encoder holds no convolution")
    shape = tuple(int(size) for size in model.inputs[0].shape[1:])
    probe = np.random.default_rng(0).standard_normal((4, *shape)).astype(np.float32)
    expected = predict(model, probe)
    found = predict(keras_model(convolutions, (math.prod(shape[:-1]), shape[-1])), probe.reshape(4, 1, -1, shape[-1]))
    expected = expected.reshape(4, 1, -1, expected.shape[-1])
    exact = all(is_operation(layer) or layer.compute_dtype == "float32" for layer in flat_layers(model))
    limit = (_SAME if exact else _SAME_HALF) * (np.abs(expected).max() + 1e-9)
    if expected.shape != found.shape or np.abs(expected - found).max() > limit:
        raise QuantizationError("the encoder is no plain sequence of layers (a branch, or a layer used twice)")
    return convolutions


def keras_model(convolutions: Sequence[Convolution], input_shape: Sequence[int]) -> Any:
    """A Keras model of ``convolutions`` for inputs ``(1, *input_shape)``."""
    keras = import_keras()
    layers = keras.layers
    x = inputs = layers.Input((1, *input_shape), name="enc_in")
    for conv in convolutions:
        options = {"padding": conv.padding, "activation": conv.activation, "name": conv.name}
        taps = len(conv.kernel)
        if conv.pad != (0, 0):
            x = layers.ZeroPadding2D(((0, 0), conv.pad), name=f"{conv.name}_pad")(x)
        if conv.depthwise:
            # Unequal strides are refused by TensorFlow's depthwise kernel; the axis of size 1 takes any.
            size = (1, taps)
            strides = (conv.stride, conv.stride)
            x = layers.DepthwiseConv2D(size, strides, depth_multiplier=conv.kernel.shape[2], **options)(x)
        else:
            x = layers.Conv2D(conv.channels, (1, taps), (1, conv.stride), **options)(x)
    model = keras.Model(inputs, x, name="encoder")
    for conv in convolutions:
        model.get_layer(conv.name).set_weights([conv.kernel[None].astype(np.float32), conv.bias.astype(np.float32)])
    return model


def equalize(
    convolutions: Sequence[Convolution], peaks: Sequence[FloatArray], strength: float = 0.5
) -> list[Convolution]:
    """Bring the channels of each activation to like ranges, so that one int8 scale serves them all.

    ``peaks[l]`` is the largest absolute activation of each output channel of layer l. A channel divided by s
    meets weights multiplied by s in the next layer: the same function, since ReLU lets s through. Before a
    depthwise layer, whose weights have a scale for each channel, ranges become equal; before a full one s is
    ``(peak / mean)^strength``, for its weights share a scale over the channels they read.

    Source: Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction".
    """
    result = list(convolutions)
    for number in range(len(convolutions) - 1):
        conv, following = result[number], result[number + 1]
        if conv.activation == "relu6":
            continue
        peak = np.maximum(peaks[number], 1e-3 * peaks[number].max())
        if not np.all(peak > 0):
            continue
        factor = (peak / np.exp(np.log(peak).mean())) ** (1.0 if following.depthwise else strength)
        result[number] = conv.scaled(1 / factor)
        result[number + 1] = replace(following, kernel=following.kernel * factor[None, :, None])
    return result


def rotate(convolutions: Sequence[Convolution], rotation: FloatArray) -> list[Convolution]:
    """``convolutions`` with the latent multiplied by ``rotation [D, D]`` from the right.

    Raises QuantizationError when the last layer is not linear and full.
    """
    last = convolutions[-1]
    if last.depthwise or last.activation != "linear":
        raise QuantizationError(f"layer '{last.name}' is no linear Conv2D; its output cannot be rotated")
    return [*convolutions[:-1], replace(last, kernel=last.kernel @ rotation, bias=last.bias @ rotation)]


def spreading_rotation(latents: npt.NDArray[np.floating[Any]]) -> FloatArray:
    """Orthogonal ``[D, D]`` that gives every channel of ``latents [N, D]`` the same variance.

    Principal axes, then a discrete Hartley transform, whose entries are all of like size: the peaks of one
    channel are shared by all, and one int8 scale serves them better.
    """
    _, axes = np.linalg.eigh(np.cov(latents, rowvar=False).reshape(latents.shape[1], -1))
    # An eigenvector's sign is free; fixed, the same latents give the same rotation.
    signs = np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(len(axes))])
    angle = 2 * np.pi * np.outer(np.arange(len(axes)), np.arange(len(axes))) / len(axes)
    rotation: FloatArray = (axes * signs) @ ((np.cos(angle) + np.sin(angle)) / np.sqrt(len(axes)))
    return rotation


def rotated_decoder(decoder: Any, rotation: FloatArray) -> Any:
    """The Keras ``decoder`` for latents that were multiplied by ``rotation [D, D]`` from the right."""
    keras = import_keras()
    inputs = keras.layers.Input(decoder.input_shape[1:], name="rotated_latent")
    turn = keras.layers.Conv2D(len(rotation), 1, use_bias=False, name="rotate_back")
    model = keras.Model(inputs, decoder(turn(inputs)), name="rotated_decoder")
    turn.set_weights([rotation.T[None, None].astype(np.float32)])
    return model
