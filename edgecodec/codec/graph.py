"""The encoder as the integer engine sees it: a chain of one-dimensional convolutions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from edgecodec.errors import UnsupportedOpError

Int8Array = npt.NDArray[np.int8]
Int32Array = npt.NDArray[np.int32]


class Op(StrEnum):
    """The TFLite ops that the engine runs."""

    CONV = "CONV_2D"
    DEPTHWISE = "DEPTHWISE_CONV_2D"


@dataclass(frozen=True)
class Tensor:
    """An int8 activation ``[width, channels]``; real value = scale (q - zero_point)."""

    name: str
    width: int
    channels: int
    scale: float
    """Exactly the float32 scale of the file."""
    zero_point: int

    @property
    def size_bytes(self) -> int:
        """Bytes of the tensor: one for each element."""
        return self.width * self.channels


@dataclass(frozen=True)
class Layer:
    """One convolution with its requantisation constants (SPEC.md 1.2)."""

    name: str
    op: Op
    input: Tensor
    output: Tensor
    kernel: int
    stride: int
    padding: str
    """``"SAME"`` or ``"VALID"``, as in the file."""
    pad_left: int
    depth_multiplier: int
    """Output channels for each input channel of a depthwise layer; 0 for ``CONV_2D``."""
    weights: Int8Array
    """``[out, kernel, in]`` for ``CONV_2D``, ``[kernel, out]`` for ``DEPTHWISE_CONV_2D``."""
    bias: Int32Array
    """``[out]``, zeros when the file has none."""
    multiplier: Int32Array
    """``[out]``, 0 or in ``[2^30, 2^31)``."""
    shift: Int32Array
    """``[out]``; positive shifts left, negative right."""
    activation: str
    """``"NONE"``, ``"RELU"`` or ``"RELU6"``."""
    activation_min: int
    activation_max: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference, padding taps counted."""
        per_output = self.kernel * (self.input.channels if self.op is Op.CONV else 1)
        return self.output.width * self.output.channels * per_output


@dataclass(frozen=True)
class Graph:
    """A chain of layers from the input frame to the latent."""

    layers: tuple[Layer, ...]

    def __post_init__(self) -> None:
        if not self.layers:
            raise UnsupportedOpError("the encoder has no layers; expected at least one convolution")

    @property
    def input(self) -> Tensor:
        """The frame tensor ``[T, 1]``."""
        return self.layers[0].input

    @property
    def latent(self) -> Tensor:
        """The output tensor ``[positions, D]``."""
        return self.layers[-1].output

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return sum(layer.macs for layer in self.layers)


def quantize_multiplier(ratio: float) -> tuple[int, int]:
    """Return ``(M, e)`` with ``ratio ~= M 2^(e-31)``, M in ``[2^30, 2^31)`` or ``(0, 0)``.

    Source: TFLite ``quantization_util.cc: QuantizeMultiplier`` (double-rounding build).
    """
    if not math.isfinite(ratio) or ratio < 0:
        raise UnsupportedOpError(f"requantisation ratio is {ratio}; expected a finite value >= 0")
    if ratio == 0.0:
        return 0, 0
    fraction, exponent = math.frexp(ratio)
    mantissa = math.floor(fraction * 2.0**31 + 0.5)
    if mantissa == 1 << 31:
        mantissa >>= 1
        exponent += 1
    if exponent < -31:
        return 0, 0
    return mantissa, exponent


def same_padding(width: int, kernel: int, stride: int) -> tuple[int, int]:
    """Return ``(output width, left padding)`` of SAME padding.

    Source: TFLite ``padding.h: ComputeOutSize, ComputePaddingWithOffset``.
    """
    out = -(-width // stride)
    total = max((out - 1) * stride + kernel - width, 0)
    return out, total // 2
