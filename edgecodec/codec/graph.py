"""The encoder as the integer engine sees it: one-dimensional convolutions, one after the other."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NoReturn

import numpy as np

from edgecodec.codec.arrays import Int8Array, Int32Array, Int64Array
from edgecodec.codec.numerics import INT8, INT16X8, Numerics
from edgecodec.errors import PlanError, UnsupportedOpError

MAX_WIDE_SHIFT = 7
"""The largest shift to the left of TFLM's rescaling of 64-bit sums."""


class Op(StrEnum):
    """The TFLite ops that the engine runs."""

    CONV = "CONV_2D"
    DEPTHWISE = "DEPTHWISE_CONV_2D"


@dataclass(frozen=True)
class Tensor:
    """An activation ``[width, channels]``; real value = scale (q - zero_point)."""

    name: str
    width: int
    channels: int
    scale: float
    """Exactly the float32 scale of the file."""
    zero_point: int
    numerics: Numerics = INT8

    @property
    def row_bytes(self) -> int:
        """Bytes of a position's channels."""
        return self.channels * self.numerics.activation.itemsize

    @property
    def size_bytes(self) -> int:
        """Bytes of all elements."""
        return self.width * self.row_bytes


@dataclass(frozen=True)
class Layer:
    """One convolution with its requantisation constants (SPEC.md 1.2, 1.4), proven not to overflow.

    Raises PlanError when a sum may leave the accumulator: shifted left as the channel asks, or with 16-bit activations
    rescaled to more than int32.
    """

    name: str
    op: Op
    input: Tensor
    output: Tensor
    kernel: int
    stride: int
    padding: str
    """``"SAME"`` or ``"VALID"``, as in the file; ``"PAD"`` where an op before it pads."""
    pad_left: int
    """Positions before the first sample that tap 0 of the first output meets: zeros, in real numbers."""
    depth_multiplier: int
    """Output channels for each input channel of a depthwise layer; 0 for ``CONV_2D``."""
    weights: Int8Array
    """``[out, kernel, in]`` for ``CONV_2D``, ``[kernel, out]`` for ``DEPTHWISE_CONV_2D``."""
    bias: Int32Array | Int64Array
    """``[out]``, zeros when the file has none."""
    multiplier: Int32Array
    """``[out]``, 0 or in ``[2^30, 2^31)``."""
    shift: Int32Array
    """``[out]``; positive shifts left, negative right."""
    activation: str
    """``"NONE"``, ``"RELU"`` or ``"RELU6"``."""
    activation_min: int
    activation_max: int
    folded_bias: Int32Array | Int64Array = field(init=False)
    """``[out]``: ``bias - z_x sum(w)``, the bias with the input's zero point folded in."""
    accumulator_bound: int = field(init=False)
    """No partial sum exceeds this magnitude."""

    def __post_init__(self) -> None:
        axes = (1, 2) if self.op is Op.CONV else (0,)
        weights = self.weights.astype(np.int64)
        limit = self.numerics.accumulator_limit
        largest = max(map(abs, self.bias.tolist()))
        if largest >= limit:
            self._refuse(int(np.argmax([abs(value) for value in self.bias.tolist()])), largest)
        folded = self.bias.astype(np.int64) - self.input.zero_point * weights.sum(axis=axes)
        bound = np.abs(folded) + self.numerics.reach * np.abs(weights).sum(axis=axes)
        if self.numerics == INT16X8:
            self._prove_rescaling(bound)
            shifted = bound
        else:
            # A channel of zeros keeps the bound 1, so that the shift itself stays below the word's width.
            shifted = np.maximum(bound, 1) * (1 << np.clip(self.shift.astype(np.int64), 0, 31))
        if int(shifted.max()) >= limit:
            self._refuse(int(shifted.argmax()), int(shifted.max()))
        object.__setattr__(self, "folded_bias", folded.astype(self.numerics.bias))
        object.__setattr__(self, "accumulator_bound", int(bound.max()))

    def _refuse(self, channel: int, bound: int) -> NoReturn:
        bits = self.numerics.accumulator_bits
        holds = f"int{bits} holds {self.numerics.accumulator_limit - 1}"
        raise PlanError(
            f"{self.op} '{self.name}': the accumulator of channel {channel} may reach {bound}; {holds}",
            hint="retrain, or quantise again with a larger output scale",
        )

    def _prove_rescaling(self, bound: Int64Array) -> None:
        """Refuse shifts and sums for which TFLM's rescaling of 64 bits is not defined."""
        most = int(self.shift.max())
        if most > MAX_WIDE_SHIFT:
            raise PlanError(
                f"{self.op} '{self.name}': channel {int(self.shift.argmax())} is scaled up by 2^{most}; with 16-bit "
                f"activations at most by 2^{MAX_WIDE_SHIFT}",
                hint="quantise again with a larger output scale",
            )
        for channel, (each, factor, down) in enumerate(
            zip(bound.tolist(), self.reduced_multiplier.tolist(), self.total_shift.tolist(), strict=True)
        ):
            result = (each * factor >> down) + 1
            if result > 2**31 - 1:
                raise PlanError(
                    f"{self.op} '{self.name}': channel {channel} rescaled may reach {result}; int32 holds {2**31 - 1}",
                    hint="retrain, or quantise again with a larger output scale",
                )

    @property
    def reduced_multiplier(self) -> Int32Array:
        """``[out]``, in ``[0, 2^15)``: what rescales with 16-bit activations (SPEC.md 1.4)."""
        wide = (self.multiplier.astype(np.int64) + (1 << 15)) >> 16
        return np.where(self.multiplier < 0x7FFF0000, wide, 0x7FFF).astype(np.int32)

    @property
    def total_shift(self) -> Int32Array:
        """``[out]``, 8..46: to the right, behind that product."""
        return (15 - self.shift).astype(np.int32)

    @property
    def numerics(self) -> Numerics:
        """The integers of its input and output."""
        return self.input.numerics

    @property
    def is_narrow(self) -> bool:
        """Whether the cheaper rounding ``edc_requantize_narrow`` and plain saturation are exact for every channel."""
        shifts_right = bool(np.all((self.shift < 0) | (self.multiplier == 0)))
        whole_range = (self.activation_min, self.activation_max) == (self.numerics.lowest, self.numerics.highest)
        return shifts_right and self.accumulator_bound < 1 << 30 and whole_range

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference, padding taps counted."""
        per_output = self.kernel * (self.input.channels if self.op is Op.CONV else 1)
        return self.output.width * self.output.channels * per_output


@dataclass(frozen=True)
class Graph:
    """A sequence of layers from the input frame to the latent."""

    layers: tuple[Layer, ...]
    """At least one convolution, first to last."""
    moves: tuple[str, ...] = ()
    """TFLite ops of the file that only move data, such as PAD, each once: part of the layers here, but run by TFLM."""

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
