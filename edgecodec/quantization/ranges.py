"""Choose how the tensors of a finished integer encoder are quantised, by editing its TFLite file.

Weights stay as they are; the requantisation multipliers follow, since :func:`read_graph` and every TFLite
runtime compute them from the scales.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edgecodec.codec.arrays import Int32Array, Int64Array
from edgecodec.codec.graph import Graph, Tensor
from edgecodec.codec.numerics import INT8, Numerics
from edgecodec.codec.tflite_reader import read_file, read_graph
from edgecodec.errors import QuantizationError

_CONVERT_AGAIN = "convert the encoder again"

Quantization = tuple[float, int]
"""Scale and zero point: real = scale (q - zero_point)."""


def fit_quantization(low: float, high: float, numerics: Numerics = INT8) -> Quantization:
    """Scale (a float32) and zero point with which activations cover ``low..high``, 0 included and exact.

    Source: TFLite ``quantization_util.cc: ChooseQuantizationParams``; without zero points the larger end decides.
    Raises QuantizationError when the range is empty or not finite.
    """
    low, high = min(low, 0.0), max(high, 0.0)
    symmetric = numerics.zero_points == (0, 0)
    steps = numerics.highest if symmetric else numerics.highest - numerics.lowest
    scale = float(np.float32((max(-low, high) if symmetric else high - low) / steps))
    if not (np.isfinite(scale) and scale > 0):
        raise QuantizationError(
            f"no {numerics.activation} scale covers {low:g}..{high:g}; expected a finite range that is not empty"
        )
    if symmetric:
        return scale, 0
    return scale, int(numerics.clip(np.rint(numerics.lowest - low / scale)))


def with_quantization(data: bytes, changes: Mapping[int, Quantization]) -> bytes:
    """The ``.tflite`` encoder ``data`` with other scales and zero points of its activations.

    ``changes`` maps 0, the input, or l, the output of the l-th layer, to what it shall be. A layer whose input
    changes gets its biases rounded anew at ``input scale x weight scale``. Raises QuantizationError when the
    file shares parts between tensors so that one cannot be changed alone, or when a bias leaves the accumulator.
    """
    file = read_file(data)
    before = file.graph
    buffer = bytearray(data)
    model = schema.Model.GetRootAs(buffer, 0)
    subgraph = model.Subgraphs(0)
    wanted = [(tensor.scale, tensor.zero_point) for tensor in tensors(before)]
    for number, (scale, zero_point) in changes.items():
        wanted[number] = float(np.float32(scale)), zero_point
        for index in file.tensors[number]:
            _assign(subgraph.Tensors(index), np.float32(scale), zero_point)
    biases = []
    for number, layer in enumerate(before.layers):
        bias = layer.bias
        if number in changes:
            operator = subgraph.Operators(file.operators[number])
            ratio = layer.input.scale / wanted[number][0]
            rounded = np.rint(bias * ratio)
            numerics = layer.numerics
            if np.abs(rounded).max(initial=0) >= numerics.accumulator_limit:
                raise QuantizationError(
                    f"layer '{layer.name}': a bias leaves int{numerics.accumulator_bits} at input scale "
                    f"{wanted[number][0]}"
                )
            bias = rounded.astype(numerics.bias)
            if operator.InputsLength() == 3 and operator.Inputs(2) >= 0:
                _assign_bias(model, subgraph.Tensors(operator.Inputs(2)), bias, np.float32(1 / ratio))
        biases.append(bias)
    changed = bytes(buffer)
    _check(before, read_graph(changed), wanted, biases)
    return changed


def tensors(graph: Graph) -> list[Tensor]:
    """The input and the output of every layer."""
    return [graph.input, *(layer.output for layer in graph.layers)]


def _assign(tensor: Any, scale: np.float32, zero_point: int) -> None:
    quantization = tensor.Quantization()
    zero_points = quantization.ZeroPointAsNumpy()
    if isinstance(zero_points, int) or len(zero_points) != 1:
        raise QuantizationError("the TFLite file leaves a zero point out", hint=_CONVERT_AGAIN)
    quantization.ScaleAsNumpy()[:] = scale
    zero_points[:] = zero_point


def _assign_bias(model: Any, tensor: Any, bias: Int32Array | Int64Array, factor: np.float32) -> None:
    scales = tensor.Quantization().ScaleAsNumpy() if tensor.Quantization() is not None else 0
    if not isinstance(scales, int):
        scales *= factor
    model.Buffers(tensor.Buffer()).DataAsNumpy().view(bias.dtype.newbyteorder("<"))[:] = bias


def _check(
    before: Graph, after: Graph, wanted: Sequence[Quantization], biases: Sequence[Int32Array | Int64Array]
) -> None:
    """Raise QuantizationError unless exactly what was asked has changed."""
    found = [(tensor.scale, tensor.zero_point) for tensor in tensors(after)]
    same = found == list(wanted) and all(
        np.array_equal(new.bias, bias) and np.array_equal(new.weights, old.weights)
        for old, new, bias in zip(before.layers, after.layers, biases, strict=True)
    )
    if not same:
        raise QuantizationError("the TFLite file shares parts between tensors", hint=_CONVERT_AGAIN)
