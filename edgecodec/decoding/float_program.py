"""A float decoder as the steps that ``firmware/host/edc_decode.c`` runs.

Values have positions and channels; other axes are of size 1. What repeats positions is no step: a convolution behind it
becomes one a phase, whose taps are sums of those that see the same position. Zeros around a value lie in the memory
beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from edgecodec.codec.codec import Codec
from edgecodec.codec.tflite_reader import unpack
from edgecodec.decoding.c_constants import CStruct, CValue
from edgecodec.decoding.float_steps import Buffer, FloatProgram, Step, StepKind, place_steps
from edgecodec.errors import InputError, UnsupportedOpError
from edgecodec.signal.normalize import Fixed, MinMax, Normalization, ZScore

FloatArray = npt.NDArray[np.float32]

_BLOCK = 8
"""``EDC_DECODE_BLOCK``"""
_ROOM = 36
"""``EDC_DECODE_WINOGRAD_ROOM``"""
_POINTS = np.array(
    [
        [1 / 4, 0, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6, 1 / 6],
        [1 / 24, 2 / 24, 4 / 24, 8 / 24],
        [1 / 24, -2 / 24, 4 / 24, -8 / 24],
        [0, 0, 0, 1],
    ]
)
"""Four taps at 0, 1, -1, 2, -2 and infinity, ``[6, 4]``. Source: Lavin and Gray, Fast algorithms for convolutional
neural networks, for F(4, 3), with outputs and taps exchanged."""
_PAIRS = {
    "ADD": StepKind.ADD,
    "SUB": StepKind.SUBTRACT,
    "MUL": StepKind.MULTIPLY,
    "SQUARED_DIFFERENCE": StepKind.SQUARED_DIFFERENCE,
}
_MOST = float(np.finfo(np.float32).max)
_RANGES = {"NONE": (-_MOST, _MOST), "RELU": (0.0, _MOST), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}


def read_program(data: bytes, positions: int, channels: int, samples: int) -> FloatProgram:
    """The steps of a float ``.tflite`` from latents ``[positions, channels]`` to frames ``[samples]``.

    Raises InputError when the bytes are no such file, UnsupportedOpError for what ``edc_decode.c`` does not run.
    """
    reader = _Reader(unpack(data))
    try:
        return reader.read(positions, channels, samples)
    # Fields of a damaged file may hold anything.
    except (AttributeError, IndexError, TypeError, ValueError, ZeroDivisionError) as error:
        raise InputError(f"the TFLite file is damaged ({error})") from error


def decode_constants(program: FloatProgram, codec: Codec) -> CStruct:
    """``edc_decode_model`` of a codec whose decoder is ``program``."""
    books = [np.asarray(book, np.int16) for book in codec.rvq.codebooks]
    kind, first, second = _normalization(codec.normalizer.normalization)
    fields: dict[str, CValue] = {
        "steps": program.steps,
        "codes": np.concatenate(books),
        "first_codes": np.cumsum([0, *(len(book) for book in books[:-1])]).astype(np.uint32),
        "first": first,
        "second": second,
        "latent_step": float(np.float32(codec.rvq.latent_scale / 2.0**codec.rvq.fraction_bits)),
        "step_count": len(program.steps),
        "levels": codec.levels,
        "positions": codec.positions,
        "dimension": codec.rvq.dimension,
        "samples": codec.samples,
        "latent": program.latent,
        "decoded": program.decoded,
        "memory": program.memory,
        "normalization": kind,
    }
    return CStruct("edc_decode_model", fields)


def _normalization(of: Normalization) -> tuple[int, float, float]:
    """``EDC_DECODE_ZSCORE`` and so on, and the two numbers of that."""
    match of:
        case ZScore():
            return 0, of.epsilon, 0.0
        case MinMax():
            return 1, of.low, of.high
        case Fixed():
            return 2, of.offset, of.scale


@dataclass(frozen=True)
class _Value:
    """A tensor: ``positions`` in memory, each of which stands for ``repeat`` in a row."""

    buffer: Buffer
    positions: int
    channels: int
    repeat: int = 1


class _Reader:
    def __init__(self, model: schema.ModelT) -> None:
        self._model, self._graph = model, model.subgraphs[0]
        self._values: dict[int, _Value] = {}
        self._steps: list[Step] = []

    def read(self, positions: int, channels: int, samples: int) -> FloatProgram:
        inputs, outputs = list(self._graph.inputs), list(self._graph.outputs)
        if len(inputs) != 1 or len(outputs) != 1:
            raise UnsupportedOpError(f"the decoder has {len(inputs)} inputs and {len(outputs)} outputs")
        shape = [size for size in self._shape(inputs[0]) if size != 1]
        if shape != [size for size in (positions, channels) if size != 1]:
            raise UnsupportedOpError(f"a decoder of latents {tuple(self._shape(inputs[0]))}")
        latent = Buffer(positions * channels)
        self._values[inputs[0]] = _Value(latent, positions, channels)
        for operator in self._graph.operators or []:
            name = self._op_name(operator)
            handler = getattr(self, f"_run_{name.lower()}", None)
            if name in _PAIRS:
                value = self._pair(_PAIRS[name], operator)
            elif handler is not None:
                value = handler(operator)
            else:
                raise UnsupportedOpError(f"op {name} of the decoder")
            if value.positions * value.repeat * value.channels != math.prod(self._shape(operator.outputs[0])):
                raise UnsupportedOpError(f"{name} of shape {self._shape(operator.outputs[0])}")
            self._values[operator.outputs[0]] = value
        result = self._whole(self._value(outputs[0]))
        if result.positions * result.channels != samples:
            raise UnsupportedOpError(f"the decoder gives {result.positions} x {result.channels} values")
        return place_steps(self._steps, latent, result.buffer)

    # --- What is in the file.

    def _op_name(self, operator: schema.OperatorT) -> str:
        code = self._model.operatorCodes[operator.opcodeIndex]
        return _name(max(code.builtinCode, code.deprecatedBuiltinCode), schema.BuiltinOperator)

    def _shape(self, index: int) -> tuple[int, ...]:
        shape = self._graph.tensors[index].shape
        return () if shape is None or isinstance(shape, int) else tuple(int(size) for size in shape)

    def _constant(self, index: int) -> npt.NDArray[Any] | None:
        """The values of a tensor; None when it is computed."""
        if index < 0:
            return None
        tensor = self._graph.tensors[index]
        data = self._model.buffers[tensor.buffer].data
        if data is None or isinstance(data, int) or index in self._values:
            return None
        kinds: dict[int, type[np.generic]] = {
            schema.TensorType.FLOAT32: np.float32,
            schema.TensorType.INT32: np.int32,
            schema.TensorType.INT64: np.int64,
        }
        if tensor.type not in kinds:
            raise UnsupportedOpError(f"constants of type {_name(tensor.type, schema.TensorType)}")
        return np.frombuffer(np.asarray(data, np.uint8).tobytes(), kinds[tensor.type]).reshape(self._shape(index))

    def _floats(self, index: int, what: str) -> FloatArray:
        found = self._constant(index)
        if found is None or found.dtype != np.float32:
            raise UnsupportedOpError(f"{what} that are no float32 constants")
        return found

    def _value(self, index: int) -> _Value:
        if index not in self._values:
            raise UnsupportedOpError("an operand that is a constant")
        return self._values[index]

    def _bias(self, operator: schema.OperatorT, number: int, channels: int) -> FloatArray:
        if len(operator.inputs) <= number or operator.inputs[number] < 0:
            return np.zeros(channels, np.float32)
        return self._floats(operator.inputs[number], "biases")

    def _range(self, options: Any) -> dict[str, CValue]:
        kind = getattr(options, "fusedActivationFunction", 0)
        name = _name(kind, schema.ActivationFunctionType)
        if name not in _RANGES:
            raise UnsupportedOpError(f"activation {name}")
        low, high = _RANGES[name]
        return {"low": low, "high": high}

    # --- Steps.

    def _add(self, step: Step) -> None:
        self._steps.append(step)

    def _whole(self, value: _Value) -> _Value:
        """``value`` with every position in memory."""
        if value.repeat == 1:
            return value
        ones = {0: np.ones(value.channels, np.float32)}
        taps = [ones] * value.repeat
        return self._depthwise(value, taps, 1, value.positions, np.zeros(value.channels, np.float32), _any())

    def _conv(
        self,
        value: _Value,
        phases: Sequence[Mapping[int, FloatArray]],
        stride: int,
        positions: int,
        bias: FloatArray,
        limits: dict[str, CValue],
    ) -> _Value:
        """A convolution with ``phases`` outputs at each of ``positions``: offset of a position to ``[in, out]``."""
        channels, out = value.channels, len(bias)
        nothing = np.zeros((channels, out), np.float32)
        result = Buffer(positions * len(phases) * out)
        for phase, given in enumerate(phases):
            offsets, step = _spaced(given)
            matrices = np.stack([given.get(offset, nothing) for offset in offsets])
            self._margins(value, offsets, stride, positions)
            fields: dict[str, CValue] = {
                **limits,
                "positions": positions,
                "channels": out,
                "in_step": stride * channels,
                "out_step": len(phases) * out,
                "tap_step": step * channels,
            }
            kind, read = StepKind.CONV, {"in": (value.buffer, offsets[0] * channels)}
            if len(offsets) == 4 and step == stride == 1 and positions >= 3:
                kind, read["other"] = StepKind.WINOGRAD, (Buffer(_ROOM * (channels + out)), 0)
                fields["weights"] = np.concatenate([_packed(each) for each in np.tensordot(_POINTS, matrices, 1)])
                fields |= {"bias": np.concatenate([bias, np.zeros_like(bias)]), "run": channels}
            else:
                fields |= {"weights": _packed(matrices.reshape(-1, out)), "bias": bias}
                whole = {"taps": 1, "run": len(offsets) * channels}
                fields |= whole if step == 1 else {"taps": len(offsets), "run": channels}
            alone = len(phases) > 1 or stride > 1 or offsets != [0]
            self._add(Step(kind, result, fields, phase * out, read, alone))
        return _Value(result, positions * len(phases), out)

    def _depthwise(
        self,
        value: _Value,
        phases: Sequence[Mapping[int, FloatArray]],
        stride: int,
        positions: int,
        bias: FloatArray,
        limits: dict[str, CValue],
    ) -> _Value:
        """The same with weights ``[channels]``, where a channel sees itself alone."""
        channels, nothing = value.channels, np.zeros(value.channels, np.float32)
        result = Buffer(positions * len(phases) * channels)
        for phase, given in enumerate(phases):
            offsets, step = _spaced(given)
            self._margins(value, offsets, stride, positions)
            fields: dict[str, CValue] = {
                "weights": np.stack([given.get(offset, nothing) for offset in offsets]),
                "bias": bias,
                **limits,
                "positions": positions,
                "channels": channels,
                "in_step": stride * channels,
                "out_step": len(phases) * channels,
                "taps": len(offsets),
                "tap_step": step * channels,
            }
            alone = len(phases) > 1 or stride > 1 or offsets != [0]
            read = {"in": (value.buffer, offsets[0] * channels)}
            self._add(Step(StepKind.DEPTHWISE, result, fields, phase * channels, read, alone))
        return _Value(result, positions * len(phases), channels)

    @staticmethod
    def _margins(value: _Value, offsets: list[int], stride: int, positions: int) -> None:
        """Room for zeros that are looked at."""
        behind = (positions - 1) * stride + offsets[-1] - (value.positions - 1)
        value.buffer.left = max(value.buffer.left, -offsets[0] * value.channels)
        value.buffer.right = max(value.buffer.right, behind * value.channels)

    def _windows(
        self, operator: schema.OperatorT, options: Any
    ) -> tuple[_Value, npt.NDArray[np.float32], list[int], int, int]:
        """Input, weights ``[out, taps, in]``, offset of each tap, stride and positions of a convolution."""
        value, weights = self._value(operator.inputs[0]), self._floats(operator.inputs[1], "weights")
        shape = self._shape(operator.inputs[0])
        axis = _axis(shape, weights.shape, self._shape(operator.outputs[0]))
        stride = int(options.strideW if axis == 2 else options.strideH)
        dilation = int(options.dilationWFactor if axis == 2 else options.dilationHFactor)
        width, kernel, positions = shape[axis], weights.shape[axis], self._shape(operator.outputs[0])[axis]
        if width != value.positions * value.repeat:
            raise UnsupportedOpError(f"a convolution of shape {shape}")
        left = 0
        if options.padding == schema.Padding.SAME:
            left = max((positions - 1) * stride + (kernel - 1) * dilation + 1 - width, 0) // 2
        flat = weights.reshape(weights.shape[0], kernel, weights.shape[3])
        return value, flat, [tap * dilation - left for tap in range(kernel)], stride, positions

    def _phases(
        self, value: _Value, taps: dict[int, FloatArray], stride: int, positions: int
    ) -> tuple[_Value, list[dict[int, FloatArray]], int]:
        """Taps of each phase of a value that repeats, the value, and outputs of a phase."""
        repeat = value.repeat
        if repeat == 1 or stride != 1 or positions != value.positions * repeat:
            return self._whole(value), [taps], positions
        phases: list[dict[int, FloatArray]] = []
        for phase in range(repeat):
            sums: dict[int, FloatArray] = {}
            for offset, weights in taps.items():
                at = (phase + offset) // repeat
                sums[at] = sums[at] + weights if at in sums else weights
            phases.append(sums)
        return value, phases, value.positions

    def _run_conv_2d(self, operator: schema.OperatorT) -> _Value:
        options = operator.builtinOptions
        value, weights, offsets, stride, positions = self._windows(operator, options)
        if weights.shape[2] != value.channels:
            raise UnsupportedOpError("a convolution of groups")
        taps = {offset: weights[:, tap].T for tap, offset in enumerate(offsets)}
        value, phases, count = self._phases(value, taps, stride, positions)
        bias = self._bias(operator, 2, len(weights))
        return self._conv(value, phases, stride, count, bias, self._range(options))

    def _run_depthwise_conv_2d(self, operator: schema.OperatorT) -> _Value:
        options = operator.builtinOptions
        value, weights, offsets, stride, positions = self._windows(operator, options)
        if weights.shape[2] != value.channels:
            raise UnsupportedOpError("a depthwise convolution with several outputs a channel")
        taps = {offset: weights[0, tap] for tap, offset in enumerate(offsets)}
        value, phases, count = self._phases(value, taps, stride, positions)
        bias = self._bias(operator, 2, value.channels)
        return self._depthwise(value, phases, stride, count, bias, self._range(options))

    def _run_transpose_conv(self, operator: schema.OperatorT) -> _Value:
        """A phase an output between two inputs: output ``o`` sums taps ``o + left - stride i`` of inputs ``i``."""
        options = operator.builtinOptions
        value, weights = self._whole(self._value(operator.inputs[2])), self._floats(operator.inputs[1], "weights")
        shape, result = self._shape(operator.inputs[2]), self._shape(operator.outputs[0])
        axis = _axis(shape, weights.shape, result)
        stride = int(options.strideW if axis == 2 else options.strideH)
        kernel, positions = weights.shape[axis], result[axis]
        if shape[axis] != value.positions or weights.shape[3] != value.channels or positions % stride:
            raise UnsupportedOpError(f"a transposed convolution of shape {shape}")
        left = 0
        if options.padding == schema.Padding.SAME:
            left = max((value.positions - 1) * stride + kernel - positions, 0) // 2
        flat = weights.reshape(weights.shape[0], kernel, weights.shape[3])
        nothing = {0: np.zeros(flat.shape[:0:-2], np.float32)}
        phases = [
            {
                (phase + left - tap) // stride: flat[:, tap].T
                for tap in range(kernel)
                if (phase + left - tap) % stride == 0
            }
            or nothing
            for phase in range(stride)
        ]
        bias = self._bias(operator, 3, len(flat))
        return self._conv(value, phases, 1, positions // stride, bias, self._range(options))

    def _run_fully_connected(self, operator: schema.OperatorT) -> _Value:
        value, weights = self._value(operator.inputs[0]), self._floats(operator.inputs[1], "weights")
        if weights.shape[1] != value.channels:
            value = self._whole(value)
            if weights.shape[1] != value.positions * value.channels:
                raise UnsupportedOpError(f"a dense layer of {weights.shape[1]} inputs")
            value = _Value(value.buffer, 1, weights.shape[1])
        made = self._conv(
            value,
            [{0: weights.T}],
            1,
            value.positions,
            self._bias(operator, 2, len(weights)),
            self._range(operator.builtinOptions),
        )
        return _Value(made.buffer, made.positions, made.channels, value.repeat)

    def _run_reshape(self, operator: schema.OperatorT) -> _Value:
        value, shape = self._value(operator.inputs[0]), self._shape(operator.outputs[0])
        if shape and shape[-1] == value.channels:
            return value
        value = self._whole(value)
        channels = shape[-1] if shape else 1
        return _Value(value.buffer, value.positions * value.channels // channels, channels)

    _run_expand_dims = _run_squeeze = _run_reshape

    def _run_tile(self, operator: schema.OperatorT) -> _Value:
        """Positions are repeated where a new axis before the channels is."""
        value, times = self._value(operator.inputs[0]), self._constant(operator.inputs[1])
        shape = self._shape(operator.inputs[0])
        if times is None or len(times) != len(shape) or len(shape) < 2:
            raise UnsupportedOpError("a tile of unknown size")
        others = [int(count) for axis, count in enumerate(times) if axis != len(shape) - 2]
        if set(others) != {1} or shape[-2:] != (1, value.channels):
            raise UnsupportedOpError(f"a tile of shape {shape} by {times.tolist()}")
        return _Value(value.buffer, value.positions, value.channels, value.repeat * int(times[-2]))

    def _run_resize_nearest_neighbor(self, operator: schema.OperatorT) -> _Value:
        value, shape = self._value(operator.inputs[0]), self._shape(operator.outputs[0])
        width = value.positions * value.repeat
        wanted = math.prod(shape[1:3])
        if operator.builtinOptions.alignCorners or wanted % width or 1 not in shape[1:3]:
            raise UnsupportedOpError(f"a resize to shape {shape}")
        return _Value(value.buffer, value.positions, value.channels, value.repeat * (wanted // width))

    def _run_mean(self, operator: schema.OperatorT) -> _Value:
        value, axes = self._value(operator.inputs[0]), self._constant(operator.inputs[1])
        rank = len(self._shape(operator.inputs[0]))
        if axes is None or [int(axis) % rank for axis in axes.reshape(-1)] != [rank - 1]:
            raise UnsupportedOpError("a mean over other axes than the channels")
        result = Buffer(value.positions)
        fields: dict[str, CValue] = {
            "positions": value.positions,
            "channels": 1,
            "in_step": value.channels,
            "out_step": 1,
            "run": value.channels,
        }
        self._add(Step(StepKind.MEAN, result, fields, read={"in": (value.buffer, 0)}, alone=False))
        return _Value(result, value.positions, 1, value.repeat)

    def _run_rsqrt(self, operator: schema.OperatorT) -> _Value:
        value = self._value(operator.inputs[0])
        result = Buffer(value.positions * value.channels)
        fields: dict[str, CValue] = {
            "positions": value.positions,
            "channels": value.channels,
            "in_step": value.channels,
            "out_step": value.channels,
        }
        self._add(Step(StepKind.RSQRT, result, fields, read={"in": (value.buffer, 0)}, alone=False))
        return _Value(result, value.positions, value.channels, value.repeat)

    def _run_neg(self, operator: schema.OperatorT) -> _Value:
        return self._with_constant(StepKind.MULTIPLY, self._value(operator.inputs[0]), np.array(-1, np.float32), _any())

    def _run_relu(self, operator: schema.OperatorT) -> _Value:
        return self._clamped(operator, "RELU")

    def _run_relu6(self, operator: schema.OperatorT) -> _Value:
        return self._clamped(operator, "RELU6")

    def _clamped(self, operator: schema.OperatorT, name: str) -> _Value:
        low, high = _RANGES[name]
        value = self._value(operator.inputs[0])
        return self._with_constant(StepKind.ADD, value, np.array(0, np.float32), {"low": low, "high": high})

    def _pair(self, kind: StepKind, operator: schema.OperatorT) -> _Value:
        first, second = (self._constant(index) for index in operator.inputs)
        limits = self._range(operator.builtinOptions)
        if first is not None and second is None and kind != StepKind.SUBTRACT:
            return self._with_constant(kind, self._value(operator.inputs[1]), first, limits)
        if second is not None and first is None:
            return self._with_constant(kind, self._value(operator.inputs[0]), second, limits)
        a, b = self._value(operator.inputs[0]), self._value(operator.inputs[1])
        if a.repeat != b.repeat:
            a, b = self._whole(a), self._whole(b)
        positions, channels = max(a.positions, b.positions), max(a.channels, b.channels)
        for each in (a, b):
            if each.positions not in (1, positions) or each.channels not in (1, channels):
                raise UnsupportedOpError("operands of different shapes")
        result = Buffer(positions * channels)
        fields: dict[str, CValue] = {**limits, "positions": positions, "channels": channels, "out_step": channels}
        for name, each in (("in", a), ("other", b)):
            fields[f"{name}_step"] = each.channels if each.positions == positions else 0
            fields[f"{name}_unit"] = int(each.channels == channels)
        read = {"in": (a.buffer, 0), "other": (b.buffer, 0)}
        self._add(Step(kind, result, fields, read=read, alone=not a.positions == b.positions == positions))
        return _Value(result, positions, channels, a.repeat)

    def _with_constant(
        self, kind: StepKind, value: _Value, constant: npt.NDArray[Any], limits: dict[str, CValue]
    ) -> _Value:
        if constant.dtype != np.float32:
            raise UnsupportedOpError("operands that are no float32")
        sizes = [size for size in constant.shape[:-1] if size != 1]
        own = constant.shape[-1] if constant.ndim else 1
        if sizes:
            value = self._whole(value)
        channels = max(own, value.channels)
        if sizes not in ([], [value.positions]) or {own, value.channels} - {1, channels}:
            raise UnsupportedOpError(f"an operand of shape {constant.shape}")
        result = Buffer(value.positions * channels)
        fields: dict[str, CValue] = {
            "weights": np.ascontiguousarray(constant).reshape(-1),
            **limits,
            "positions": value.positions,
            "channels": channels,
            "in_step": value.channels,
            "in_unit": int(value.channels == channels),
            "out_step": channels,
            "other_step": own if sizes else 0,
            "other_unit": int(own == channels),
        }
        self._add(Step(kind, result, fields, read={"in": (value.buffer, 0)}, alone=False))
        return _Value(result, value.positions, channels, value.repeat)


def _any() -> dict[str, CValue]:
    low, high = _RANGES["NONE"]
    return {"low": low, "high": high}


def _name(value: int, enum: type) -> str:
    return next((name for name, number in vars(enum).items() if number == value and name[0] != "_"), str(value))


def _axis(shape: tuple[int, ...], weights: tuple[int, ...], result: tuple[int, ...]) -> int:
    """The axis that a convolution runs along."""
    if len(shape) != 4 or len(weights) != 4 or len(result) != 4 or shape[0] != 1:
        raise UnsupportedOpError(f"a convolution of shape {shape}")
    axis = 2 if shape[1] == 1 else 1
    if shape[3 - axis] != 1 or weights[3 - axis] != 1 or result[3 - axis] != 1:
        raise UnsupportedOpError(f"a convolution of shape {shape} with a kernel {weights[1:3]}")
    return axis


def _packed(matrix: npt.NDArray[np.floating]) -> FloatArray:
    """Weights ``[inputs, out]`` as the C wants them."""
    whole = matrix.shape[1] // _BLOCK * _BLOCK
    blocks = matrix[:, :whole].reshape(len(matrix), -1, _BLOCK).transpose(1, 0, 2)
    return np.concatenate([blocks.reshape(-1), matrix[:, whole:].T.reshape(-1)]).astype(np.float32)


def _spaced(taps: Mapping[int, FloatArray]) -> tuple[list[int], int]:
    """Offsets of taps at even distances, those between that are missing among them, and the distance."""
    offsets = sorted(taps)
    distances = set(np.diff(offsets).tolist())
    if len(distances) == 1:
        return offsets, distances.pop()
    return list(range(offsets[0], offsets[-1] + 1)), 1
