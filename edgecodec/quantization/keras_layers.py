"""The layers of a Keras encoder, each run, folded into another or refused with what to do instead."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import chain, count
from typing import Any

import numpy as np

from edgecodec.codec.tflite_reader import MAX_KERNEL
from edgecodec.errors import QuantizationError
from edgecodec.nn.backend import import_keras
from edgecodec.quantization.convolutions import Convolution, FloatArray, pointwise_affine
from edgecodec.quantization.keras_foreign import STAND_IN

_RELU = "train with ReLU or ReLU6"
_NORM = "it depends on the frame's own values: train with batch normalisation, which folds (norm 'batch' or 'none')"
_ATTENTION = "attention: a longer or dilated convolution looks as far"
_RECURRENT = "recurrent: a longer or dilated convolution, causal if need be, looks as far"
_POOLING = "train with a strided convolution in its place"
_BRANCH = "a skip connection or branch: layers must follow one another"
_SHAPE = "only axes of size 1 may come or go: let the encoder return (P, D) or (1, P, D)"
_QUANTIZER = "a quantiser: the encoder ends before it, and its codebooks are given with --codebooks"
_UNKNOWN = "the engine knows no such layer: use convolutions, batch norms and ReLU"
WAYS_OUT = {
    **dict.fromkeys(
        ("LayerNormalization", "GroupNormalization", "RMSNormalization", "UnitNormalization", "InstanceNormalization"),
        _NORM,
    ),
    **dict.fromkeys(("LeakyReLU", "PReLU", "ELU", "Softmax"), _RELU),
    **dict.fromkeys(("Attention", "AdditiveAttention", "MultiHeadAttention", "GroupQueryAttention"), _ATTENTION),
    **dict.fromkeys(("GRU", "LSTM", "SimpleRNN", "RNN", "Bidirectional", "ConvLSTM1D", "ConvLSTM2D"), _RECURRENT),
    **dict.fromkeys(
        (f"{kind}Pooling{rank}D" for kind in ("Max", "Average", "GlobalMax", "GlobalAverage") for rank in (1, 2)),
        _POOLING,
    ),
    **dict.fromkeys(("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot"), _BRANCH),
    **dict.fromkeys(("Flatten", "Permute", "RepeatVector", "Cropping1D", "Cropping2D"), _SHAPE),
    **dict.fromkeys(
        ("UpSampling1D", "UpSampling2D", "Conv1DTranspose", "Conv2DTranspose"),
        "it makes more positions: that is the decoder's part, which runs on the host",
    ),
    "Lambda": "what it computes cannot be seen: write it as layers of Keras",
    "SpectralNormalization": "save the layer that it wraps, with the weights that it has at the end of training",
}
"""What to do about a layer that the engine does not run, by the name of its Keras class."""
_SKIPPED = (
    "InputLayer",
    "Dropout",
    "Identity",
    "GaussianNoise",
    "GaussianDropout",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "ActivityRegularization",
)
_AFFINE = ("Add", "Subtract", "Multiply", "Divide", "TrueDivide", "Negative")
_OPERATIONS = {
    **dict.fromkeys(
        ("Silu", "Gelu", "Elu", "Selu", "Celu", "Tanh", "Sigmoid", "LeakyRelu", "Softplus", "Softmax", "HardSilu",
         "HardSigmoid", "Softsign", "LogSoftmax", "LogSigmoid", "HardTanh", "Glu", "Absolute", "Clip"),
        _RELU,
    ),
    **dict.fromkeys(("MaxPool", "AveragePool", "Mean", "Max"), _POOLING),
    **dict.fromkeys(("Transpose", "Flip", "Roll", "Slice", "GetItem"), _SHAPE),
}  # fmt: skip
"""What to do about functions of `keras.ops`, by the name of their class."""
INTO_THE_ONE_BEFORE = "into the convolution before it"
"""The note of a layer that TensorFlow's converter folds, too."""
NO_CODE = "its code is not here: save the encoder without it, or as a SavedModel (model.export), which holds the code"
"""What to do about a layer of which a file has the name alone."""
_RESIDUAL = "train with a residual vector quantiser, such as edgecodec.nn.ResidualVectorQuantizer"
_PADDED = (
    "give it as a residual one, which finds the same codes: a level for each group of channels, its codes put into "
    "[K, D] with zeros at the other groups' channels"
)
_OTHER_QUANTIZERS = (
    (re.compile(r"FSQ|FiniteScalar"), "a finite scalar quantiser", _RESIDUAL),
    (re.compile(r"LFQ|LookupFree|BSQ|BinarySpherical"), "a lookup-free quantiser", _RESIDUAL),
    (re.compile(r"Gumbel"), "a Gumbel-softmax quantiser, whose codes are chosen by logits", _RESIDUAL),
    (re.compile(r"PQ$|(Product|Group|MultiHead)\w*(Quanti[sz]|VQ$)"), "a product quantiser", _PADDED),
)
"""Quantisers that are no residual ones, by their classes: what they are, and the nearest thing that runs."""
_QUANTIZERS = re.compile(r"Quanti[sz]er|VectorQuant|VQ$")


class Verdict(StrEnum):
    """What becomes of a layer."""

    RUNS = "runs"
    """The engine runs it."""
    FOLDED = "folded"
    """It becomes part of another layer, exactly, or does nothing in inference."""
    REFUSED = "refused"
    """The engine does not run it."""


@dataclass(frozen=True)
class CheckedLayer:
    """A layer of a model that was brought here, and what becomes of it."""

    name: str
    """Name of the layer."""
    kind: str
    """Its Keras class, or its TFLite op."""
    verdict: Verdict
    """Whether it runs, is folded into another layer or is refused."""
    note: str
    """How it is folded, or what to change; empty where there is nothing to say."""


class Refused(Exception):
    """A layer cannot be a convolution, for the reason given."""


@dataclass(frozen=True)
class OtherQuantizer:
    """A quantiser whose codes are no residual ones."""

    what: str
    """What it is, with an article."""
    hint: str
    """The nearest thing that runs."""

    def refusal(self, name: str, kind: str) -> QuantizationError:
        """The error of the layer ``name`` of the class ``kind``."""
        return QuantizationError(f"layer '{name}' ({kind}) is {self.what}", hint=self.hint)


def other_quantizer(kind: str) -> OtherQuantizer | None:
    """How a layer of the class ``kind`` quantises, where that is not by vectors on what others left over."""
    found = ((what, hint) for pattern, what, hint in _OTHER_QUANTIZERS if pattern.search(kind))
    return next((OtherQuantizer(*each) for each in found), None)


def is_quantizer(kind: str) -> bool:
    """Whether a layer of the class ``kind`` quantises the latent."""
    return _QUANTIZERS.search(kind) is not None or other_quantizer(kind) is not None


class LayerReader:
    """Makes convolutions of layers that are given one after the other.

    Zeros before a convolution become its own padding. A norm, a scale or an offset joins the convolution before it, or
    the one behind it where no tap of that lies in padding; elsewhere it becomes a depthwise convolution of one tap.
    """

    def __init__(self, vertical: bool, channels: int) -> None:
        self.convolutions: list[Convolution] = []
        """What has been read so far."""
        self._vertical = vertical
        self._channels = channels
        self._names: set[str] = set()
        self._pad = (0, 0)
        self._affine: tuple[str, FloatArray, FloatArray] | None = None

    def read(self, layer: Any) -> CheckedLayer:
        """Take the next layer; one that is refused is passed over."""
        kind = type(layer).__name__
        try:
            verdict, note = self._take(layer, kind)
        except Refused as reason:
            return CheckedLayer(layer.name, kind, Verdict.REFUSED, str(reason))
        return CheckedLayer(layer.name, kind, verdict, note)

    def end(self) -> None:
        """Put what is pending into a layer of its own. Raises Refused for padding that no convolution follows."""
        if self._pad != (0, 0):
            raise Refused("padding that no convolution follows")
        self._flush()

    def _take(self, layer: Any, kind: str) -> tuple[Verdict, str]:
        other = other_quantizer(kind)
        if other is not None:
            raise Refused(f"{other.what}: {other.hint}")
        if is_quantizer(kind):
            raise Refused(_QUANTIZER)
        if getattr(layer, STAND_IN, False):
            raise Refused(NO_CODE)
        if is_operation(layer):
            return self._operation(layer, kind)
        if kind in _SKIPPED:
            return Verdict.FOLDED, "does nothing in inference"
        if kind in _READERS:
            return _READERS[kind](self, layer)
        raise Refused(WAYS_OUT.get(kind, _UNKNOWN))

    def _flush(self) -> None:
        if self._affine is not None:
            name, gain, shift = self._affine
            self.convolutions.append(pointwise_affine(self._unique(name), gain, shift))
            self._affine = None

    def _unique(self, name: str) -> str:
        """``name``, with a number where a model within the model has a layer of that name, too."""
        clean = name.replace("/", "_")
        found = next(each for each in chain([clean], (f"{clean}_{n}" for n in count(1))) if each not in self._names)
        self._names.add(found)
        return found

    def _conv(self, layer: Any) -> tuple[Verdict, str]:
        """Conv1D, Conv2D, DepthwiseConv1D and DepthwiseConv2D."""
        depthwise = "Depthwise" in type(layer).__name__
        kernel, *rest = [np.asarray(weight, np.float64) for weight in layer.get_weights()]
        verdict, note = self._add(layer, self._one_axis(layer, kernel), depthwise, rest[0] if rest else None)
        if kernel.ndim == 4 and min(kernel.shape[:2]) > 1:
            note = ", ".join(filter(None, ("the taps that meet samples", note)))
        return verdict, note

    def _separable(self, layer: Any) -> tuple[Verdict, str]:
        """SeparableConv1D and SeparableConv2D: a depthwise convolution, then one of one tap."""
        weights = [np.asarray(weight, np.float64) for weight in layer.get_weights()]
        self._add(layer, self._one_axis(layer, weights[0]), True, None, f"{layer.name}_depthwise", "linear")
        pointwise = weights[1].reshape(1, *weights[1].shape[-2:])
        bias = weights[2] if len(weights) == 3 else np.zeros(pointwise.shape[2])
        self._append(Convolution(layer.name, False, pointwise, bias, 1, "valid", _activation_name(layer)))
        return Verdict.RUNS, "as a depthwise convolution and one of one tap"

    def _dense(self, layer: Any) -> tuple[Verdict, str]:
        """Dense, on the last axis of (P, C) or (1, P, C)."""
        weights = [np.asarray(weight, np.float64) for weight in layer.get_weights()]
        if weights[0].shape[0] != self._channels:
            raise Refused("a dense layer over all positions: a convolution of one tap does the same at each position")
        bias = weights[1] if len(weights) == 2 else np.zeros(weights[0].shape[1])
        self._append(Convolution(layer.name, False, weights[0][None], bias, 1, "valid", _activation_name(layer)))
        return Verdict.RUNS, "as a convolution of one tap"

    def _one_axis(self, layer: Any, kernel: FloatArray) -> FloatArray:
        """Weights ``[taps, in, out]`` of ``[height, width, in, out]``: what meets samples on the unit axis."""
        if kernel.ndim == 3:
            return kernel
        across = 1 if self._vertical else 0
        size = kernel.shape[across]
        if size > 1 and layer.padding != "same":
            raise Refused(f"{size} taps on the axis of size 1; expected 1 there, or padding 'same'")
        # On an axis of size 1, SAME puts (size - 1) // 2 zeros before the only sample.
        row: FloatArray = np.take(kernel, (size - 1) // 2, axis=across)
        return row

    def _along(self, values: Any) -> int:
        """Of strides or dilations, the one along the positions."""
        return int(values[0] if len(values) == 1 or self._vertical else values[1])

    def _add(
        self,
        layer: Any,
        kernel: FloatArray,
        depthwise: bool,
        bias: FloatArray | None,
        name: str | None = None,
        activation: str | None = None,
    ) -> tuple[Verdict, str]:
        if getattr(layer, "groups", 1) != 1:
            raise Refused(f"{layer.groups} groups: one group or a depthwise convolution runs")
        if layer.data_format != "channels_last":
            raise Refused("channels first: train with channels last")
        channels = kernel.shape[1] * kernel.shape[2] if depthwise else kernel.shape[2]
        dilation, stride = self._along(layer.dilation_rate), self._along(layer.strides)
        notes = []
        if dilation > 1:
            spread = np.zeros(((len(kernel) - 1) * dilation + 1, *kernel.shape[1:]))
            spread[::dilation] = kernel
            kernel = spread
            notes.append(f"dilation {dilation} as taps of zero")
        padding, pad = layer.padding, (0, 0)
        if padding == "causal":
            padding, pad = "valid", (len(kernel) - 1, 0)
            notes.append("causal padding as its own")
        made = Convolution(
            name or layer.name,
            depthwise,
            kernel,
            np.zeros(channels) if bias is None else bias,
            stride,
            padding,
            activation or _activation_name(layer),
            pad,
        )
        self._append(made)
        return Verdict.RUNS, ", ".join(notes)

    def _append(self, conv: Convolution) -> None:
        """Add a convolution with the padding and the affine that are pending before it."""
        if not (np.all(np.isfinite(conv.kernel)) and np.all(np.isfinite(conv.bias))):
            raise Refused("its weights are not finite: train again, for the training diverged")
        if len(conv.kernel) > MAX_KERNEL:
            raise Refused(f"its taps reach over {len(conv.kernel)} positions; at most {MAX_KERNEL}")
        if conv.padding == "same" and self._pad != (0, 0) and len(conv.kernel) == 1:
            conv = replace(conv, padding="valid")
        conv = replace(conv, pad=(conv.pad[0] + self._pad[0], conv.pad[1] + self._pad[1]))
        if self._affine is not None:
            _, gain, shift = self._affine
            if conv.sees_zeros and np.any(shift):
                self._flush()
            else:
                conv, self._affine = conv.on_affine(gain, shift), None
        self._pad = (0, 0)
        self.convolutions.append(replace(conv, name=self._unique(conv.name)))
        self._channels = conv.channels

    def _padding(self, layer: Any) -> tuple[Verdict, str]:
        pads = np.asarray(layer.padding, int).reshape(-1, 2).tolist()
        if len(pads) == 2:
            across, along = pads if not self._vertical else pads[::-1]
            if any(across):
                raise Refused(f"pads the axis of size 1 by {tuple(across)}; expected 0 there")
        else:
            (along,) = pads
        return self._padded(*along)

    def _padded(self, before: int, behind: int) -> tuple[Verdict, str]:
        self._pad = (self._pad[0] + before, self._pad[1] + behind)
        if self._affine is not None and np.any(self._affine[2]):
            self._flush()
        return Verdict.FOLDED, "into the padding of the next convolution"

    def _norm(self, layer: Any) -> tuple[Verdict, str]:
        """Inference's ``gamma (x - mean) / sqrt(variance + eps) + beta``."""
        mean, variance = np.asarray(layer.moving_mean, np.float64), np.asarray(layer.moving_variance, np.float64)
        gain = 1 / np.sqrt(variance + layer.epsilon)
        if layer.scale:
            gain = gain * np.asarray(layer.gamma, np.float64)
        beta = np.asarray(layer.beta, np.float64) if layer.center else np.zeros_like(mean)
        return self._join(layer.name, gain, beta - mean * gain)

    def _rescaling(self, layer: Any) -> tuple[Verdict, str]:
        gain, shift = (np.asarray(value, np.float64) for value in (layer.scale, layer.offset))
        return self._join(
            layer.name, np.broadcast_to(gain, (self._channels,)), np.broadcast_to(shift, (self._channels,))
        )

    def _normalization(self, layer: Any) -> tuple[Verdict, str]:
        mean, deviation = (np.asarray(value, np.float64).ravel() for value in (layer.mean, np.sqrt(layer.variance)))
        deviation = np.maximum(deviation, 1e-7)  # as Keras has it, by its epsilon
        gain, shift = (deviation, mean) if layer.invert else (1 / deviation, -mean / deviation)
        if len(gain) not in (1, self._channels):
            raise Refused(f"normalises {len(gain)} values one by one; expected one mean a channel (axis=-1)")
        return self._join(
            layer.name, np.broadcast_to(gain, (self._channels,)), np.broadcast_to(shift, (self._channels,))
        )

    def _join(self, name: str, gain: FloatArray, shift: FloatArray) -> tuple[Verdict, str]:
        """``gain x + shift``, each ``[channels]``."""
        if not (np.all(np.isfinite(gain)) and np.all(np.isfinite(shift))):
            raise Refused("its statistics are not finite")
        if self._pad != (0, 0):
            if np.any(shift):
                raise Refused("padding between it and the convolution behind it; put the padding before it")
        elif self._affine is None and self.convolutions and self.convolutions[-1].activation == "linear":
            scaled = self.convolutions[-1].scaled(gain)
            self.convolutions[-1] = replace(scaled, bias=scaled.bias + shift)
            return Verdict.FOLDED, INTO_THE_ONE_BEFORE
        before = self._affine or (name, np.ones(self._channels), np.zeros(self._channels))
        self._affine = (name, before[1] * gain, before[2] * gain + shift)
        return Verdict.FOLDED, "into the next convolution, or a depthwise one of one tap where that pads"

    def _operation(self, layer: Any, kind: str) -> tuple[Verdict, str]:
        """A function of `keras.ops`, or an operator, on one tensor and constants."""
        if isinstance(layer.input, list):
            raise Refused(_BRANCH)
        if kind in ("Relu", "Relu6"):
            return self._activate(kind.lower())
        if kind in ("Squeeze", "ExpandDims", "Reshape"):
            return self._reshape(layer)
        if kind == "Pad":
            return self._pad_operation(layer)
        if kind in _AFFINE:
            return self._join(layer.name, *self._constants(layer))
        raise Refused(_OPERATIONS.get(kind, _UNKNOWN))

    def _constants(self, layer: Any) -> tuple[FloatArray, FloatArray]:
        """Gain and shift, each ``[channels]``, of an operation with a constant, told from zeros and ones."""
        zeros, ones = (self._made_of(layer, np.full(layer.input.shape[1:], value)) for value in (0.0, 1.0))
        if zeros.shape != (math.prod(layer.input.shape[1:-1]), self._channels):
            raise Refused(f"it makes {tuple(layer.output.shape[1:])} of {tuple(layer.input.shape[1:])}")
        if not all(
            np.array_equal(made, np.broadcast_to(made[0], made.shape), equal_nan=True) for made in (zeros, ones)
        ):
            raise Refused("constants of their own for each position; one for each channel folds")
        return ones[0] - zeros[0], zeros[0]

    def _pad_operation(self, layer: Any) -> tuple[Verdict, str]:
        """Zeros put before and behind the positions, told from what it makes of numbers that count."""
        given = np.arange(1.0, 1 + math.prod(layer.input.shape[1:])).reshape(-1, self._channels)
        made = self._made_of(layer, given.reshape(layer.input.shape[1:]))
        rows = np.flatnonzero(np.any(made != 0, axis=1))
        inner = made[rows[0] : rows[-1] + 1] if made.shape[1:] == given.shape[1:] else made[:0]
        if not np.array_equal(inner, given):
            raise Refused("only zeros before and behind the positions are folded")
        return self._padded(int(rows[0]), int(len(made) - 1 - rows[-1]))

    @staticmethod
    def _made_of(layer: Any, values: FloatArray) -> FloatArray:
        """What an operation makes of ``values``, as ``[positions, channels]``."""
        compute = import_keras().Model(layer.input, layer.output)
        made = np.asarray(compute(values[None].astype(np.float32)), np.float64)
        return made.reshape(-1, made.shape[-1])

    def _activation(self, layer: Any) -> tuple[Verdict, str]:
        return self._activate(_activation_name(layer))

    def _activate(self, name: str) -> tuple[Verdict, str]:
        if name == "linear":
            return Verdict.FOLDED, "does nothing"
        if self._affine is not None:
            self._flush()
        if not self.convolutions:
            raise Refused("an activation of the frame itself: let a convolution come first")
        self.convolutions[-1] = replace(
            self.convolutions[-1], activation=_joined(self.convolutions[-1].activation, name)
        )
        return Verdict.FOLDED, "into the convolution before it"

    def _reshape(self, layer: Any) -> tuple[Verdict, str]:
        *axes, channels = layer.output.shape[1:]
        if len([size for size in axes if size != 1]) > 1 or channels != self._channels:
            raise Refused(_SHAPE)
        # What it does beyond axes of size 1 shows when the whole is compared with the model.
        return Verdict.FOLDED, "axes of size 1 come and go on the host"


_READERS: dict[str, Callable[[LayerReader, Any], tuple[Verdict, str]]] = {
    **dict.fromkeys(("Conv1D", "Conv2D", "DepthwiseConv1D", "DepthwiseConv2D"), LayerReader._conv),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), LayerReader._separable),
    **dict.fromkeys(("ReLU", "Activation"), LayerReader._activation),
    **dict.fromkeys(("ZeroPadding1D", "ZeroPadding2D"), LayerReader._padding),
    "Dense": LayerReader._dense,
    "BatchNormalization": LayerReader._norm,
    "Rescaling": LayerReader._rescaling,
    "Normalization": LayerReader._normalization,
    "Reshape": LayerReader._reshape,
}


def read_layers(model: Any) -> tuple[list[Convolution], list[CheckedLayer]]:
    """The convolutions that a Keras encoder is made of, and what became of each of its layers.

    With a layer that is refused, the convolutions are not the encoder.
    """
    shape = tuple(model.inputs[0].shape)
    reader = LayerReader(len(shape) == 4 and shape[1] != 1, int(shape[-1]))
    rows = [reader.read(layer) for layer in flat_layers(model)]
    try:
        reader.end()
    except Refused as reason:
        rows[-1] = replace(rows[-1], verdict=Verdict.REFUSED, note=str(reason))
    return reader.convolutions, rows


def is_known(row: CheckedLayer) -> bool:
    """Whether it is known of a layer how it runs, or why it does not."""
    known = (*_READERS, *WAYS_OUT, *_AFFINE, *_OPERATIONS, "Pad")
    return row.kind in known or is_quantizer(row.kind) or row.note == NO_CODE


def flat_layers(model: Any) -> list[Any]:
    """Every layer of ``model`` and of the models within it, and what functions of `keras.ops` compute between them."""
    steps = getattr(model, "operations", model.layers)
    return [inner for layer in steps for inner in (flat_layers(layer) if hasattr(layer, "layers") else [layer])]


def is_operation(layer: Any) -> bool:
    """Whether it is a function of `keras.ops`, which has no weights and no data type, and no layer."""
    return not hasattr(layer, "compute_dtype")


def refusal(row: CheckedLayer) -> QuantizationError:
    """The error of a layer that is refused."""
    return QuantizationError(
        f"encoder layer '{row.name}' is {row.kind}, which cannot be folded into a sequence of convolutions",
        hint=row.note,
    )


def _joined(before: str, after: str) -> str:
    if before == "linear":
        return after
    return "relu6" if "relu6" in (before, after) else "relu"


def _activation_name(layer: Any) -> str:
    if type(layer).__name__ == "ReLU":
        limit = math.inf if layer.max_value is None else float(layer.max_value)
        if limit not in (6.0, math.inf) or layer.negative_slope or layer.threshold:
            raise Refused("a ReLU with a limit, slope or threshold of its own: train with ReLU or ReLU6")
        return "relu6" if limit == 6.0 else "relu"
    name = getattr(layer.activation, "__name__", type(layer.activation).__name__)
    if name not in ("linear", "relu", "relu6"):
        raise Refused(f"the activation {name}: {_RELU}")
    return str(name)
