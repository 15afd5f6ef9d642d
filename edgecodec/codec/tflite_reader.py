"""Read an INT8 TFLite encoder into a :class:`~edgecodec.codec.graph.Graph`, or refuse it by name."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from edgecodec.codec.graph import Graph, Layer, Op, Tensor, quantize_multiplier, same_padding
from edgecodec.codec.numerics import INT8, Numerics
from edgecodec.errors import InputError, UnsupportedOpError

_IDENTIFIER = b"TFL3"
_CONVOLUTIONS = ("convolution", "depthwise", "Conv2D")
"""Last part of the names that TensorFlow gives the ops of a convolution layer."""
_EXPORT_AGAIN = "export it again"
_MAX_WIDTH = 16384
_MAX_CHANNELS = 4096
_MAX_KERNEL = 255


def read_graph(data: bytes) -> Graph:
    """Read the bytes of a ``.tflite`` file.

    Raises InputError when they are no readable TFLite file, UnsupportedOpError (naming op, tensor and
    layer) when the model is anything but INT8 CONV_2D and DEPTHWISE_CONV_2D along one axis, one after the other,
    PlanError when a layer's sums may overflow.
    """
    return _GraphReader(_unpack(data)).read()


def _unpack(data: bytes) -> schema.ModelT:
    if not data:
        raise InputError("the TFLite file is empty")
    if len(data) < 8 or data[4:8] != _IDENTIFIER:
        raise InputError("not a TFLite file (no TFL3 identifier); expected an INT8 .tflite encoder")
    try:
        model = schema.ModelT.InitFromPackedBuf(data, 0)
    # The generated reader follows offsets unchecked: a damaged file shows as any of these.
    except (struct.error, IndexError, ValueError, TypeError, OverflowError, AttributeError, MemoryError) as error:
        raise InputError("the TFLite file is truncated or damaged", hint=_EXPORT_AGAIN) from error
    if not model.subgraphs or not model.buffers or not model.operatorCodes:
        raise InputError("the TFLite file holds no graph", hint=_EXPORT_AGAIN)
    if len(model.subgraphs) != 1:
        raise UnsupportedOpError(f"the model has {len(model.subgraphs)} subgraphs; expected 1 (no control flow)")
    return model


def _name_of(value: int, enum: type) -> str:
    for name, number in vars(enum).items():
        if number == value and not name.startswith("_"):
            return name
    return str(value)


def _text(raw: Any) -> str:
    """Printable name of a tensor; names go into messages, tables and C comments."""
    text = raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw or "")
    first = text.split(";")[0]
    clean = "".join(c if c.isascii() and (c.isalnum() or c in "_./:-") else "_" for c in first)
    return clean[-80:] or "unnamed"


@dataclass(frozen=True)
class _Axis:
    """The axis that the convolutions run along: 2 for (1, 1, W, C) tensors, 1 for (1, H, 1, C)."""

    long: int

    @property
    def short(self) -> int:
        return 3 - self.long


class _GraphReader:
    def __init__(self, model: schema.ModelT) -> None:
        self.model = model
        self.subgraph = model.subgraphs[0]

    def read(self) -> Graph:
        operators = self.subgraph.operators or []
        ops = [self._op(operator, index) for index, operator in enumerate(operators)]
        if not ops:
            raise UnsupportedOpError("the model has no ops; expected at least one CONV_2D or DEPTHWISE_CONV_2D")
        current = self._only(self.subgraph.inputs, "input")
        last = self._only(self.subgraph.outputs, "output")
        axis = self._axis(operators)
        layers = []
        for op, operator in zip(ops, operators, strict=True):
            inputs = _indices(operator.inputs)
            outputs = _indices(operator.outputs)
            if len(inputs) not in (2, 3) or len(outputs) != 1:
                raise UnsupportedOpError(f"{op}: has {len(inputs)} inputs and {len(outputs)} outputs; expected 3 and 1")
            name = self._layer_name(outputs[0], inputs[1:])
            if inputs[0] != current:
                raise UnsupportedOpError(
                    f"{op} '{name}': reads tensor '{self._tensor_name(inputs[0])}', not the previous layer's "
                    f"'{self._tensor_name(current)}'; layers must follow one another"
                )
            layers.append(self._layer(op, operator, axis, name))
            current = outputs[0]
        if current != last:
            raise UnsupportedOpError(
                f"the model's output is tensor '{self._tensor_name(last)}'; expected the last layer's "
                f"'{self._tensor_name(current)}'"
            )
        return Graph(tuple(layers))

    def _op(self, operator: schema.OperatorT, index: int) -> Op:
        codes = self.model.operatorCodes
        if not 0 <= operator.opcodeIndex < len(codes):
            raise InputError("the TFLite file is damaged (an op without a code)", hint=_EXPORT_AGAIN)
        code = codes[operator.opcodeIndex]
        value = max(code.builtinCode, code.deprecatedBuiltinCode)
        name = _name_of(value, schema.BuiltinOperator)
        if name == "CUSTOM":
            name = f"CUSTOM {_text(code.customCode)}"
        try:
            return Op(name)
        except ValueError:
            outputs = _indices(operator.outputs)
            tensor = self._tensor_name(outputs[0]) if outputs else "none"
            raise UnsupportedOpError(
                f"op {index} is {name} (output tensor '{tensor}'); the engine runs {' and '.join(Op)}",
                hint="fold norms into convolutions and remove other layers from the encoder",
            ) from None

    def _only(self, indices: Any, role: str) -> int:
        found = _indices(indices)
        if len(found) != 1:
            raise UnsupportedOpError(f"the model has {len(found)} {role}s; expected 1")
        return found[0]

    def _tensor(self, index: int) -> schema.TensorT:
        tensors = self.subgraph.tensors or []
        if not 0 <= index < len(tensors):
            raise InputError(f"the TFLite file is damaged (tensor {index} of {len(tensors)})", hint=_EXPORT_AGAIN)
        return tensors[index]

    def _tensor_name(self, index: int) -> str:
        return _text(self._tensor(index).name)

    def _layer_name(self, output: int, constants: Sequence[int]) -> str:
        """The Keras layer that the convolution came from, or the output tensor's name.

        The converter joins the names of all it fused, `model/layer/op;...`, and renames the model's output.
        """
        raw = [self._tensor(index).name or b"" for index in (output, *constants) if index >= 0]
        for part in b";".join(raw).decode("utf-8", "replace").split(";"):
            *path, last = part.split("/")
            if last in _CONVOLUTIONS and path:
                return _text(path[-1])
        return self._tensor_name(output)

    def _axis(self, operators: Sequence[schema.OperatorT]) -> _Axis:
        shapes = [self._activation_shape(_indices(self.subgraph.inputs)[0])]
        shapes += [self._activation_shape(index) for op in operators for index in _indices(op.outputs)]
        if all(shape[1] == 1 for shape in shapes):
            return _Axis(2)
        if all(shape[2] == 1 for shape in shapes):
            return _Axis(1)
        raise UnsupportedOpError(
            f"the activations are two-dimensional (input {shapes[0]}); expected (1, 1, T, C) or (1, T, 1, C)"
        )

    def _activation_shape(self, index: int) -> tuple[int, ...]:
        tensor = self._tensor(index)
        name = _text(tensor.name)
        if tensor.type != schema.TensorType.INT8:
            raise UnsupportedOpError(
                f"tensor '{name}' is {_name_of(tensor.type, schema.TensorType)}; expected INT8",
                hint="convert with full integer quantisation, INT8 inputs and outputs (edgecodec quantize does)",
            )
        shape = _indices(tensor.shape)
        signature = _indices(tensor.shapeSignature)
        if any(n < 1 for n in shape) or any(n < 1 for n in signature):
            raise UnsupportedOpError(
                f"tensor '{name}' has the dynamic shape {tuple(signature or shape)}",
                hint="export with a fixed batch of 1",
            )
        if len(shape) != 4 or shape[0] != 1:
            raise UnsupportedOpError(f"tensor '{name}' has shape {tuple(shape)}; expected (1, 1, T, C)")
        return tuple(shape)

    def _activation(self, index: int, axis: _Axis) -> Tensor:
        shape = self._activation_shape(index)
        tensor = self._tensor(index)
        name = _text(tensor.name)
        scales, zero_points = _quantization(tensor)
        if len(scales) != 1 or len(zero_points) != 1:
            raise UnsupportedOpError(f"tensor '{name}' has {len(scales)} scales; expected 1 scale and zero point")
        scale, zero_point = float(scales[0]), int(zero_points[0])
        if not (math.isfinite(scale) and scale > 0) or not INT8.lowest <= zero_point <= INT8.highest:
            raise UnsupportedOpError(f"tensor '{name}' has scale {scale} and zero point {zero_point}; expected INT8's")
        width, channels = shape[axis.long], shape[3]
        if width > _MAX_WIDTH or channels > _MAX_CHANNELS:
            raise UnsupportedOpError(
                f"tensor '{name}' is {width} x {channels}; at most {_MAX_WIDTH} positions of {_MAX_CHANNELS} channels"
            )
        return Tensor(name, width, channels, scale, zero_point)

    def _layer(self, op: Op, operator: schema.OperatorT, axis: _Axis, name: str) -> Layer:
        where = f"{op} '{name}'"
        indices = _indices(operator.inputs)
        source = self._activation(indices[0], axis)
        target = self._activation(_indices(operator.outputs)[0], axis)
        weights, weight_scales = self._weights(op, indices[1], axis, source, target, where)
        bias = self._bias(indices[2] if len(indices) == 3 else -1, target.channels, where)
        stride, padding, activation = _options(op, operator.builtinOptions, axis, where)
        kernel = int(weights.shape[1] if op is Op.CONV else weights.shape[0])
        if padding == "SAME":
            width, pad_left = same_padding(source.width, kernel, stride)
        else:
            width, pad_left = (source.width - kernel) // stride + 1, 0
        if width != target.width:
            raise UnsupportedOpError(f"{where}: output has {target.width} positions; {padding} padding gives {width}")
        # TFLite computes this ratio in double from the float32 scales.
        ratios = [source.scale * float(scale) / target.scale for scale in weight_scales]
        constants = [quantize_multiplier(ratio) for ratio in ratios]
        low, high = _activation_range(activation, target, INT8)
        return Layer(
            name=name,
            op=op,
            input=source,
            output=target,
            kernel=kernel,
            stride=stride,
            padding=padding,
            pad_left=pad_left,
            depth_multiplier=target.channels // source.channels if op is Op.DEPTHWISE else 0,
            weights=weights,
            bias=bias,
            multiplier=np.array([m for m, _ in constants], np.int32),
            shift=np.array([e for _, e in constants], np.int32),
            activation=activation,
            activation_min=low,
            activation_max=high,
        )

    def _weights(
        self, op: Op, index: int, axis: _Axis, source: Tensor, target: Tensor, where: str
    ) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
        tensor = self._tensor(index)
        name = _text(tensor.name)
        if tensor.type != schema.TensorType.INT8:
            raise UnsupportedOpError(
                f"{where}: weights '{name}' are {_name_of(tensor.type, schema.TensorType)}; expected INT8"
            )
        shape = _indices(tensor.shape)
        if len(shape) != 4 or shape[axis.short] != 1:
            long = "1xN" if axis.long == 2 else "Nx1"
            raise UnsupportedOpError(f"{where}: weights '{name}' have shape {tuple(shape)}; expected a {long} kernel")
        kernel = shape[axis.long]
        if op is Op.CONV:
            expected = [target.channels, kernel, source.channels]
            found = [shape[0], kernel, shape[3]]
        else:
            expected = [1, kernel, target.channels]
            found = [shape[0], kernel, shape[3]]
            if target.channels % source.channels:
                raise UnsupportedOpError(
                    f"{where}: {target.channels} output channels are no multiple of {source.channels} input channels"
                )
        if found != expected or not 1 <= kernel <= _MAX_KERNEL:
            raise UnsupportedOpError(
                f"{where}: weights '{name}' have shape {tuple(shape)} for {source.channels} to {target.channels} "
                f"channels; groups are not supported and kernels have 1..{_MAX_KERNEL} taps"
            )
        scales, zero_points = _quantization(tensor)
        if len(scales) not in (1, target.channels) or np.any(zero_points != 0):
            raise UnsupportedOpError(
                f"{where}: weights '{name}' have {len(scales)} scales and zero points "
                f"{sorted(set(zero_points.tolist()))[:3]}; expected {target.channels} scales and zero point 0"
            )
        if not np.all(np.isfinite(scales)) or np.any(scales < 0):
            raise UnsupportedOpError(f"{where}: weights '{name}' have a scale that is negative or not finite")
        dimension = 0 if op is Op.CONV else 3
        if len(scales) > 1 and tensor.quantization.quantizedDimension != dimension:
            raise UnsupportedOpError(
                f"{where}: weights '{name}' are quantised along dimension "
                f"{tensor.quantization.quantizedDimension}; expected {dimension}"
            )
        values = self._constant(tensor, np.dtype(np.int8), math.prod(shape), where).reshape(
            expected if op is Op.CONV else expected[1:]
        )
        return values, np.broadcast_to(scales, (target.channels,))

    def _bias(self, index: int, channels: int, where: str) -> npt.NDArray[np.int32]:
        if index < 0:
            return np.zeros(channels, np.int32)
        tensor = self._tensor(index)
        if tensor.type != schema.TensorType.INT32:
            raise UnsupportedOpError(
                f"{where}: bias '{_text(tensor.name)}' is {_name_of(tensor.type, schema.TensorType)}; expected INT32"
            )
        if _indices(tensor.shape) != [channels]:
            raise UnsupportedOpError(
                f"{where}: bias '{_text(tensor.name)}' has shape {tuple(_indices(tensor.shape))}; "
                f"expected ({channels},)"
            )
        return self._constant(tensor, np.dtype("<i4"), channels, where).astype(np.int32)

    def _constant(self, tensor: schema.TensorT, dtype: np.dtype[Any], count: int, where: str) -> npt.NDArray[Any]:
        name = _text(tensor.name)
        if not 0 <= tensor.buffer < len(self.model.buffers):
            raise InputError(f"{where}: the TFLite file is damaged (tensor '{name}' has no buffer)", hint=_EXPORT_AGAIN)
        data = self.model.buffers[tensor.buffer].data
        if data is None or isinstance(data, int) or len(data) == 0:
            raise UnsupportedOpError(f"{where}: '{name}' is no constant; expected trained weights in the file")
        raw = np.asarray(data, np.uint8).tobytes()
        if len(raw) != count * dtype.itemsize:
            raise InputError(
                f"{where}: '{name}' holds {len(raw)} bytes; its shape needs {count * dtype.itemsize} (damaged file)"
            )
        return np.frombuffer(raw, dtype).copy()


def _indices(values: Any) -> list[int]:
    """A FlatBuffers vector of integers; the generated code gives None, 0, a list or an array."""
    if values is None or isinstance(values, int):
        return []
    return [int(value) for value in values]


def _quantization(tensor: schema.TensorT) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    quantization = tensor.quantization
    if quantization is None or quantization.scale is None or isinstance(quantization.scale, int):
        raise UnsupportedOpError(f"tensor '{_text(tensor.name)}' has no quantisation; expected full integer INT8")
    scales = np.asarray(quantization.scale, np.float32)
    zero_points = quantization.zeroPoint
    if zero_points is None or isinstance(zero_points, int):
        return scales, np.zeros(len(scales), np.int64)
    return scales, np.asarray(zero_points, np.int64)


def _options(op: Op, options: Any, axis: _Axis, where: str) -> tuple[int, str, str]:
    """Stride along the axis, padding and activation."""
    expected = schema.Conv2DOptionsT if op is Op.CONV else schema.DepthwiseConv2DOptionsT
    if not isinstance(options, expected):
        raise InputError(f"{where}: the op's options are missing (damaged file)", hint=_EXPORT_AGAIN)
    stride = options.strideW if axis.long == 2 else options.strideH
    dilation = options.dilationWFactor if axis.long == 2 else options.dilationHFactor
    if dilation != 1:
        raise UnsupportedOpError(f"{where}: dilation {dilation}; expected 1")
    if not 1 <= stride <= _MAX_WIDTH:
        raise UnsupportedOpError(f"{where}: stride {stride}; expected at least 1")
    padding = _name_of(options.padding, schema.Padding)
    if padding not in ("SAME", "VALID"):
        raise UnsupportedOpError(f"{where}: padding {padding}; expected SAME or VALID")
    activation = _name_of(options.fusedActivationFunction, schema.ActivationFunctionType)
    if activation not in ("NONE", "RELU", "RELU6"):
        raise UnsupportedOpError(f"{where}: fused activation {activation}; expected NONE, RELU or RELU6")
    return stride, padding, activation


def _activation_range(activation: str, target: Tensor, numerics: Numerics) -> tuple[int, int]:
    """Clamp of the output. Source: TFLite ``kernel_util.cc: CalculateActivationRangeQuantized`` (float32)."""
    low, high = numerics.lowest, numerics.highest
    if activation != "NONE":
        low = max(low, target.zero_point)
    if activation == "RELU6":
        steps = float(np.float32(6.0) / np.float32(target.scale))
        high = min(high, target.zero_point + math.floor(steps + 0.5))
    return low, high
