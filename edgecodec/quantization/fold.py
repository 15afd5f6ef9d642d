"""An encoder as a sequence of convolutions with folded norms, and rewrites that cost no float accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.errors import QuantizationError
from edgecodec.nn.backend import import_keras
from edgecodec.quantization.convert import predict
from edgecodec.quantization.keras_files import flat_layers

FloatArray = npt.NDArray[np.float64]
_SAME = 1e-3
"""Largest difference between the latents of the convolutions and of the model, as a share of the model's largest."""


@dataclass(frozen=True)
class Convolution:
    """One convolution along the second axis of ``(1, T, C)``, with the norm that followed it folded in."""

    name: str
    """Name of its Keras layer."""
    depthwise: bool
    """Whether each input channel is convolved by itself."""
    kernel: FloatArray
    """Weights ``[taps, in, out]``, of a depthwise convolution ``[taps, in, multiplier]``."""
    bias: FloatArray
    """Biases ``[out]``."""
    stride: int
    """Input positions from one output position to the next."""
    padding: str
    """``"same"`` or ``"valid"``, as Keras defines them."""
    activation: str
    """``"linear"``, ``"relu"`` or ``"relu6"``."""

    @property
    def channels(self) -> int:
        """Output channels."""
        return len(self.bias)


def fold(model: Any) -> list[Convolution]:
    """The convolutions that a Keras encoder is made of, in the order in which they run.

    Raises QuantizationError, naming the layer, when the model is anything else than Conv2D, DepthwiseConv2D,
    BatchNormalization, ReLU and layers that do nothing in inference, one after the other.
    """
    convolutions: list[Convolution] = []
    for layer in flat_layers(model):
        kind = type(layer).__name__
        if kind in ("InputLayer", "Dropout", "Identity", "GaussianNoise", "SpatialDropout2D"):
            continue
        if kind in ("Conv2D", "DepthwiseConv2D"):
            convolutions.append(_convolution(layer, kind == "DepthwiseConv2D"))
        elif convolutions and kind == "BatchNormalization" and convolutions[-1].activation == "linear":
            convolutions[-1] = _with_norm(convolutions[-1], layer)
        elif convolutions and kind in ("ReLU", "Activation"):
            convolutions[-1] = replace(convolutions[-1], activation=_joined(convolutions[-1].activation, layer))
        else:
            raise _not_foldable(layer)
    if not convolutions:
        raise QuantizationError("the encoder holds no convolution")
    samples = int(model.input_shape[2])
    probe = np.random.default_rng(0).standard_normal((4, 1, samples, int(model.input_shape[3]))).astype(np.float32)
    expected, found = predict(model, probe), predict(keras_model(convolutions, probe.shape[2:]), probe)
    if expected.shape != found.shape or np.abs(expected - found).max() > _SAME * (np.abs(expected).max() + 1e-9):
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
        result[number] = _scaled(conv, 1 / factor)
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


def _convolution(layer: Any, depthwise: bool) -> Convolution:
    kernel, *rest = [np.asarray(weight, np.float64) for weight in layer.get_weights()]
    if kernel.shape[0] != 1 or tuple(layer.dilation_rate) != (1, 1) or getattr(layer, "groups", 1) != 1:
        raise _not_foldable(layer)
    kernel = kernel[0]
    channels = kernel.shape[1] * kernel.shape[2] if depthwise else kernel.shape[2]
    bias = rest[0] if rest else np.zeros(channels)
    return Convolution(
        layer.name, depthwise, kernel, bias, int(layer.strides[1]), layer.padding, _activation_name(layer)
    )


def _with_norm(conv: Convolution, norm: Any) -> Convolution:
    """Fold inference's ``gamma (x - mean) / sqrt(variance + eps) + beta``."""
    mean, variance = np.asarray(norm.moving_mean, np.float64), np.asarray(norm.moving_variance, np.float64)
    gain = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        gain = gain * np.asarray(norm.gamma, np.float64)
    scaled = _scaled(replace(conv, bias=conv.bias - mean), gain)
    return replace(scaled, bias=scaled.bias + np.asarray(norm.beta, np.float64)) if norm.center else scaled


def _scaled(conv: Convolution, gain: FloatArray) -> Convolution:
    """The convolution with output channel i multiplied by ``gain[i]``."""
    shape = conv.kernel.shape[1:] if conv.depthwise else (1, conv.channels)
    return replace(conv, kernel=conv.kernel * gain.reshape(shape), bias=conv.bias * gain)


def _joined(before: str, layer: Any) -> str:
    after = _activation_name(layer)
    if "linear" in (before, after):
        return after if before == "linear" else before
    return "relu6" if "relu6" in (before, after) else "relu"


def _activation_name(layer: Any) -> str:
    if type(layer).__name__ == "ReLU":
        limits = {None: "relu", 6.0: "relu6"}
        limit = None if layer.max_value is None else float(layer.max_value)
        if limit not in limits or layer.negative_slope or layer.threshold:
            raise _not_foldable(layer)
        return limits[limit]
    name = getattr(layer.activation, "__name__", "")
    if name not in ("linear", "relu", "relu6"):
        raise _not_foldable(layer)
    return str(name)


def _not_foldable(layer: Any) -> QuantizationError:
    return QuantizationError(
        f"encoder layer '{layer.name}' ({type(layer).__name__}) cannot be folded into a sequence of convolutions"
    )
