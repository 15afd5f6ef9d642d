"""A float decoder as the steps that ``firmware/host/edc_decode.c`` runs.

Values have positions and channels; other axes are of size 1. What repeats positions is no step: a convolution behind it
becomes one a phase, whose taps are sums of those that see the same position. Zeros around a value lie in the memory
beside it. Steps that look at their own position alone run by turns with the one before them, for a few positions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from edgecodec.codec.codec import Codec
from edgecodec.codec.tflite_reader import unpack
from edgecodec.decoding.c_constants import CStruct, CValue
from edgecodec.errors import InputError, UnsupportedOpError
from edgecodec.signal.normalize import Fixed, MinMax, Normalization, ZScore

FloatArray = npt.NDArray[np.float32]

_BLOCK = 8
"""``EDC_DECODE_BLOCK``"""
_STRIPE = 12
"""``EDC_DECODE_STRIPE``"""
_ZERO, _CONV, _DEPTHWISE, _MEAN, _RSQRT, _ADD, _SUBTRACT, _MULTIPLY, _SQUARED_DIFFERENCE, _WINOGRAD = range(10)
"""``EDC_DECODE_ZERO`` and so on."""
_STRIPES = {"in": 1, "other": 2, "out": 4}
"""``EDC_DECODE_IN_IS_STRIPE`` and so on."""
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
_PAIRS = {"ADD": _ADD, "SUB": _SUBTRACT, "MUL": _MULTIPLY, "SQUARED_DIFFERENCE": _SQUARED_DIFFERENCE}
_MOST = float(np.finfo(np.float32).max)
_RANGES = {"NONE": (-_MOST, _MOST), "RELU": (0.0, _MOST), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}
_MOST_VALUES = 1 << 24
"""Values that the memory may hold for a frame: 64 MiB."""


@dataclass(frozen=True)
class FloatProgram:
    """The steps of a decoder."""

    steps: tuple[CStruct, ...]
    """``edc_decode_step``"""
    latent: int
    """Place of the latent ``[P, D]``."""
    decoded: int
    """Place of the frame ``[T]``."""
    memory: int
    """Places in all: float32 of a frame."""


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


@dataclass
class _Buffer:
    """Memory of a value, with zeros on both sides."""

    size: int
    left: int = 0
    right: int = 0
    place: int = 0
    stripe: bool = False
    """Whether it is room for a stripe alone."""


@dataclass(frozen=True)
class _Value:
    """A tensor: ``positions`` in memory, each of which stands for ``repeat`` in a row."""

    buffer: _Buffer
    positions: int
    channels: int
    repeat: int = 1


@dataclass
class _Step:
    kind: int
    out: _Buffer
    fields: dict[str, CValue]
    out_at: int = 0
    read: dict[str, tuple[_Buffer, int]] = field(default_factory=dict)
    """Buffer and place in it by the name of the field."""
    alone: bool = True
    """Whether a position's result looks at more than that position of what it reads."""

    @property
    def phased(self) -> bool:
        """Whether it writes some of the positions alone."""
        return self.out.size != _whole(self, "positions") * _whole(self, "channels")


class _Reader:
    def __init__(self, model: schema.ModelT) -> None:
        self._model, self._graph = model, model.subgraphs[0]
        self._values: dict[int, _Value] = {}
        self._steps: list[_Step] = []

    def read(self, positions: int, channels: int, samples: int) -> FloatProgram:
        inputs, outputs = list(self._graph.inputs), list(self._graph.outputs)
        if len(inputs) != 1 or len(outputs) != 1:
            raise UnsupportedOpError(f"the decoder has {len(inputs)} inputs and {len(outputs)} outputs")
        shape = [size for size in self._shape(inputs[0]) if size != 1]
        if shape != [size for size in (positions, channels) if size != 1]:
            raise UnsupportedOpError(f"a decoder of latents {tuple(self._shape(inputs[0]))}")
        latent = _Buffer(positions * channels)
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
        return _placed(self._steps, latent, result.buffer)

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

    def _add(self, step: _Step) -> None:
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
        result = _Buffer(positions * len(phases) * out)
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
            kind, read = _CONV, {"in": (value.buffer, offsets[0] * channels)}
            if len(offsets) == 4 and step == stride == 1 and positions >= 3:
                kind, read["other"] = _WINOGRAD, (_Buffer(_ROOM * (channels + out)), 0)
                fields["weights"] = np.concatenate([_packed(each) for each in np.tensordot(_POINTS, matrices, 1)])
                fields |= {"bias": np.concatenate([bias, np.zeros_like(bias)]), "run": channels}
            else:
                fields |= {"weights": _packed(matrices.reshape(-1, out)), "bias": bias}
                whole = {"taps": 1, "run": len(offsets) * channels}
                fields |= whole if step == 1 else {"taps": len(offsets), "run": channels}
            alone = len(phases) > 1 or stride > 1 or offsets != [0]
            self._add(_Step(kind, result, fields, phase * out, read, alone))
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
        result = _Buffer(positions * len(phases) * channels)
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
            self._add(_Step(_DEPTHWISE, result, fields, phase * channels, read, alone))
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
        result = _Buffer(value.positions)
        fields: dict[str, CValue] = {
            "positions": value.positions,
            "channels": 1,
            "in_step": value.channels,
            "out_step": 1,
            "run": value.channels,
        }
        self._add(_Step(_MEAN, result, fields, read={"in": (value.buffer, 0)}, alone=False))
        return _Value(result, value.positions, 1, value.repeat)

    def _run_rsqrt(self, operator: schema.OperatorT) -> _Value:
        value = self._value(operator.inputs[0])
        result = _Buffer(value.positions * value.channels)
        fields: dict[str, CValue] = {
            "positions": value.positions,
            "channels": value.channels,
            "in_step": value.channels,
            "out_step": value.channels,
        }
        self._add(_Step(_RSQRT, result, fields, read={"in": (value.buffer, 0)}, alone=False))
        return _Value(result, value.positions, value.channels, value.repeat)

    def _run_neg(self, operator: schema.OperatorT) -> _Value:
        return self._with_constant(_MULTIPLY, self._value(operator.inputs[0]), np.array(-1, np.float32), _any())

    def _run_relu(self, operator: schema.OperatorT) -> _Value:
        return self._clamped(operator, "RELU")

    def _run_relu6(self, operator: schema.OperatorT) -> _Value:
        return self._clamped(operator, "RELU6")

    def _clamped(self, operator: schema.OperatorT, name: str) -> _Value:
        low, high = _RANGES[name]
        value = self._value(operator.inputs[0])
        return self._with_constant(_ADD, value, np.array(0, np.float32), {"low": low, "high": high})

    def _pair(self, kind: int, operator: schema.OperatorT) -> _Value:
        first, second = (self._constant(index) for index in operator.inputs)
        limits = self._range(operator.builtinOptions)
        if first is not None and second is None and kind != _SUBTRACT:
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
        result = _Buffer(positions * channels)
        fields: dict[str, CValue] = {**limits, "positions": positions, "channels": channels, "out_step": channels}
        for name, each in (("in", a), ("other", b)):
            fields[f"{name}_step"] = each.channels if each.positions == positions else 0
            fields[f"{name}_unit"] = int(each.channels == channels)
        read = {"in": (a.buffer, 0), "other": (b.buffer, 0)}
        self._add(_Step(kind, result, fields, read=read, alone=not a.positions == b.positions == positions))
        return _Value(result, positions, channels, a.repeat)

    def _with_constant(self, kind: int, value: _Value, constant: npt.NDArray[Any], limits: dict[str, CValue]) -> _Value:
        if constant.dtype != np.float32:
            raise UnsupportedOpError("operands that are no float32")
        sizes = [size for size in constant.shape[:-1] if size != 1]
        own = constant.shape[-1] if constant.ndim else 1
        if sizes:
            value = self._whole(value)
        channels = max(own, value.channels)
        if sizes not in ([], [value.positions]) or {own, value.channels} - {1, channels}:
            raise UnsupportedOpError(f"an operand of shape {constant.shape}")
        result = _Buffer(value.positions * channels)
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
        self._add(_Step(kind, result, fields, read={"in": (value.buffer, 0)}, alone=False))
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


def _placed(steps: list[_Step], latent: _Buffer, decoded: _Buffer) -> FloatProgram:
    """Groups of steps that run by turns, and a place for every buffer while it is needed."""
    groups = _groups(steps)
    written: dict[int, int] = {id(latent): 0}
    last: dict[int, int] = {id(latent): 0, id(decoded): len(groups)}
    buffers = {id(latent): latent}
    for number, group in enumerate(groups):
        for step in group:
            for buffer in [step.out, *(buffer for buffer, _ in step.read.values())]:
                buffers[id(buffer)] = buffer
                written.setdefault(id(buffer), number)
                last[id(buffer)] = max(last.get(id(buffer), 0), number)
    for number, group in enumerate(groups):
        for step in group if len(group) > 1 else ():
            if last[id(step.out)] == number and not step.out.left and not step.out.right:
                step.out.stripe, step.out.size = True, min(step.out.size, _STRIPE * _whole(step, "channels"))
    memory = 0
    done: list[tuple[int, _Buffer]] = []
    for key, buffer in sorted(buffers.items(), key=lambda item: written[item[0]]):
        live = sorted(
            (other.place - other.left, other.place + other.size + other.right)
            for of, other in done
            if last[of] >= written[key]
        )
        start = 0
        for begin, end in live:
            if begin - start >= buffer.left + buffer.size + buffer.right:
                break
            start = max(start, end)
        buffer.place = start + buffer.left
        done.append((key, buffer))
        memory = max(memory, buffer.place + buffer.size + buffer.right)
    if memory > _MOST_VALUES:
        raise UnsupportedOpError(f"a decoder of {memory} values")
    made = _zeros(latent)
    for number, group in enumerate(groups):
        for key, buffer in buffers.items():
            if key != id(latent) and written[key] == number:
                made += _zeros(buffer)
        for place, step in enumerate(group):
            read = {name: buffer.place + at for name, (buffer, at) in step.read.items()}
            stripes = sum(_STRIPES[name] for name, (buffer, _) in step.read.items() if buffer.stripe)
            stripes += _STRIPES["out"] * step.out.stripe
            fields = {**step.fields, **read, "out": step.out.place + step.out_at, "stripes": stripes}
            made.append(_struct(step.kind, fields, len(group) if place == 0 else 1))
    return FloatProgram(tuple(made), latent.place, decoded.place, memory)


def _groups(steps: list[_Step]) -> list[list[_Step]]:
    """Steps that run by turns: behind the first, those that look at their own position alone."""
    groups: list[list[_Step]] = []
    for step in steps:
        group = groups[-1] if groups else []
        same = bool(group) and group[0].fields["positions"] == step.fields["positions"]
        mine = {id(each.out) for each in group}
        reads = {id(buffer) for buffer, _ in step.read.values()}
        # A phase of a convolution writes every second position or so, which is none that others count.
        phased = any(each.phased for each in [*group, step])
        if same and not phased and (not step.alone or not reads & mine):
            group.append(step)
        else:
            groups.append([step])
    return groups


def _whole(step: _Step, name: str) -> int:
    value = step.fields[name]
    assert isinstance(value, int)
    return value


def _zeros(buffer: _Buffer) -> list[CStruct]:
    """Steps that write the zeros around a value."""
    sides = [(buffer.place - buffer.left, buffer.left), (buffer.place + buffer.size, buffer.right)]
    return [_struct(_ZERO, {"out": place, "channels": count, "positions": 1}, 1) for place, count in sides if count > 0]


def _struct(kind: int, fields: Mapping[str, CValue], together: int) -> CStruct:
    return CStruct("edc_decode_step", {"kind": kind, **fields, "together": together})
