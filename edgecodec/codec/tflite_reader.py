"""Read an INT8 or 16x8 TFLite encoder into a :class:`~edgecodec.codec.graph.Graph`, or refuse it by name."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from edgecodec.codec.arrays import Int32Array, Int64Array
from edgecodec.codec.graph import Graph, Layer, Op, Tensor, quantize_multiplier, same_padding
from edgecodec.codec.numerics import INT8, INT16X8, Numerics
from edgecodec.errors import InputError, UnsupportedOpError

_IDENTIFIER = b"TFL3"
_CONVOLUTIONS = ("convolution", "depthwise", "Conv2D")
"""Last part of the names that TensorFlow gives the ops of a convolution layer."""
_EXPORT_AGAIN = "export it again"
_PADDING_OPS = ("PAD", "PADV2")
MOVING_OPS = (*_PADDING_OPS, "RESHAPE", "EXPAND_DIMS", "SQUEEZE")
"""Ops that run no arithmetic: padding becomes that of the convolution behind it, unit axes come and go."""
_KERAS = "give `edgecodec quantize` the Keras model that it was converted from"
_CONVERT = (
    "convert with optimizations = [tf.lite.Optimize.DEFAULT], a representative_dataset and supported_ops = "
    f"[tf.lite.OpsSet.TFLITE_BUILTINS_INT8], or {_KERAS}"
)
_TYPE_HINTS = {
    "FLOAT32": f"a float model: {_CONVERT}",
    "FLOAT16": f"a model with float16 weights: {_CONVERT}",
    "INT16": f"a model with 16-bit activations (16x8) in some of its tensors: {_CONVERT}",
    "UINT8": f"a model of the older uint8 scheme: {_CONVERT}",
}
_ACTIVATION = "train the encoder with ReLU or ReLU6"
_ARITHMETIC = f"a scale, a norm or a skip connection that the converter left: {_KERAS}, which folds what can be folded"
_SHAPES = "it computes the shape of a dynamic batch: export with a batch of 1"
_ATTENTION = "attention does not run: a longer or dilated convolution looks as far"
_RECURRENT = "recurrent layers do not run: a longer or dilated convolution looks as far"
_POOLING = "train with a strided convolution in place of the pooling"
_DILATED = f"a dilated convolution that the converter took apart: {_KERAS}"
WAYS_OUT = {
    **dict.fromkeys(
        ("LEAKY_RELU", "PRELU", "ELU", "GELU", "TANH", "LOGISTIC", "HARD_SWISH", "RELU_N1_TO_1", "RELU_0_TO_1"),
        _ACTIVATION,
    ),
    **dict.fromkeys(("RELU", "RELU6", "MINIMUM", "MAXIMUM"), "let ReLU follow its convolution, so that it is fused"),
    **dict.fromkeys(("ADD", "SUB", "MUL", "DIV"), _ARITHMETIC),
    **dict.fromkeys(
        ("MEAN", "RSQRT", "SQUARED_DIFFERENCE", "SUM", "SQRT"),
        "a mean or a norm over the frame's own values: train with batch normalisation, which folds",
    ),
    **dict.fromkeys(("BATCH_MATMUL", "SOFTMAX"), _ATTENTION),
    **dict.fromkeys(
        ("WHILE", "UNIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN", "BIDIRECTIONAL_SEQUENCE_LSTM"),
        _RECURRENT,
    ),
    **dict.fromkeys(("MAX_POOL_2D", "AVERAGE_POOL_2D"), _POOLING),
    **dict.fromkeys(("SHAPE", "STRIDED_SLICE", "PACK", "BROADCAST_TO"), _SHAPES),
    **dict.fromkeys(("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND"), _DILATED),
    "FULLY_CONNECTED": "a dense layer: a convolution of one tap does the same at each position",
    "TRANSPOSE": "export with channels last, (1, 1, T, C)",
    "CONCATENATION": "leave skip connections and branches out of the encoder",
    "QUANTIZE": "the model changes its type in between: convert all of it to INT8",
    "DEQUANTIZE": "the model changes its type in between: convert all of it to INT8",
}
"""What to do about an op that the engine does not run."""
MAX_WIDTH = 16384
_MAX_CHANNELS = 4096
MAX_KERNEL = 255
"""Most positions that a kernel reaches over."""
MAX_LAYERS = 64
"""Most layers of an encoder."""
MAX_WEIGHTS = 1 << 24
"""Most weights of an encoder, those included that dilation puts between them: more than any microcontroller's flash."""
_MOST_NUMBERS = 4096
"""Of a shape, or of an op's inputs, in a file of any graph."""
_MOST_TABLES = 1 << 16
"""Ops, tensors and buffers of a file of any graph."""
_TABLE_BYTES = 8
"""What a table takes of a file at least: an offset to it, and its own to what says where its fields are."""


def read_graph(data: bytes) -> Graph:
    """Read the bytes of a ``.tflite`` file.

    Raises InputError when they are no readable TFLite file, UnsupportedOpError (naming op, tensor and
    layer) when the model is anything but CONV_2D and DEPTHWISE_CONV_2D along one axis, one after the other, in INT8 or
    with 16-bit activations and 8-bit weights all through, with
    :data:`MOVING_OPS` between them, PlanError when a layer's sums may overflow.
    """
    return read_file(data).graph


def read_file(data: bytes) -> TfliteFile:
    """Read as :func:`read_graph` does, and tell where in the file each part is."""
    return _GraphReader(unpack(data)).read()


def op_names(data: bytes) -> list[tuple[str, str]]:
    """Name and output tensor of each op of a ``.tflite`` file, those that are refused included.

    Raises InputError when ``data`` is no readable TFLite file, UnsupportedOpError when it holds several graphs.
    """
    reader = _GraphReader(unpack(data))
    return [reader.name_of(operator) for operator in reader.subgraph.operators or []]


def unpack(data: bytes) -> schema.ModelT:
    """The tables of a ``.tflite`` file with one graph. Raises InputError or UnsupportedOpError."""
    if not data:
        raise InputError("the TFLite file is empty")
    if len(data) < 8 or data[4:8] != _IDENTIFIER:
        raise InputError("not a TFLite file (no TFL3 identifier); expected an INT8 .tflite encoder")
    try:
        root = schema.Model.GetRootAs(data, 0)
        if root.SubgraphsLength() > 1:
            raise UnsupportedOpError(f"the model has {root.SubgraphsLength()} subgraphs; expected 1 (no control flow)")
        _check_sharing(root, len(data))
        model = schema.ModelT.InitFromPackedBuf(data, 0)
    # The generated reader follows offsets unchecked: a damaged file shows as any of these.
    except (struct.error, IndexError, ValueError, TypeError, OverflowError, AttributeError, MemoryError) as error:
        raise InputError("the TFLite file is truncated or damaged", hint=_EXPORT_AGAIN) from error
    if not model.subgraphs or not model.buffers or not model.operatorCodes:
        raise InputError("the TFLite file holds no graph", hint=_EXPORT_AGAIN)
    return model


def _check_sharing(root: schema.Model, file_bytes: int) -> None:
    """Raise InputError when unpacking takes more than the file has room for.

    Tables and texts may lie where others do, so that a few bytes unfold to any number of them. No converter writes such
    a file.
    """
    graph = root.Subgraphs(0) if root.SubgraphsLength() else None
    counts = [
        root.OperatorCodesLength(),
        root.BuffersLength(),
        root.MetadataLength(),
        root.SignatureDefsLength(),
        root.ExternalBufferGroupsLength(),
        root.ExternalBuffersLength(),
    ]
    if graph is not None:
        counts += [graph.TensorsLength(), graph.OperatorsLength()]
    if sum(counts) > _MOST_TABLES:
        raise UnsupportedOpError(
            f"the model has {sum(counts):,} ops, tensors and buffers; at most {_MOST_TABLES:,} are read"
        )
    _check_room(_TABLE_BYTES * sum(counts), file_bytes)
    tensors = [] if graph is None else [graph.Tensors(index) for index in range(graph.TensorsLength())]
    codes = [root.OperatorCodes(index) for index in range(root.OperatorCodesLength())]
    notes = [root.Metadata(index) for index in range(root.MetadataLength())]
    tables, texts = sum(counts), 0
    for index in range(root.SignatureDefsLength()):
        signature = root.SignatureDefs(index)
        ends = [(signature.Inputs, signature.InputsLength()), (signature.Outputs, signature.OutputsLength())]
        tables += sum(count for _, count in ends)
        _check_room(_TABLE_BYTES * tables + texts, file_bytes)
        tensors += [tensor_map(place) for tensor_map, count in ends for place in range(count)]
        texts += len(signature.SignatureKey() or b"")
    for named in (*tensors, *codes, *notes):
        texts += len((named.CustomCode() if isinstance(named, schema.OperatorCode) else named.Name()) or b"")
        if isinstance(named, schema.Tensor):
            sparsity = named.Sparsity()
            tables += named.VariantTensorsLength() + (0 if sparsity is None else sparsity.DimMetadataLength())
        _check_room(_TABLE_BYTES * tables + texts, file_bytes)


def _check_room(needed_bytes: int, file_bytes: int) -> None:
    if needed_bytes > file_bytes:
        raise InputError(f"the TFLite file is damaged (it unfolds to more than its {file_bytes:,} bytes)")


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
class TfliteFile:
    """A ``.tflite`` encoder as the engine runs it, and where the parts of that are in the file."""

    graph: Graph
    """What the engine runs."""
    tensors: tuple[tuple[int, ...], ...]
    """The file's tensors that hold the graph's input, then those that hold each layer's output: more than one where
    an op only pads or reshapes it."""
    operators: tuple[int, ...]
    """Number in the file of each layer's op."""


@dataclass(frozen=True)
class _Axis:
    """The axis that a convolution runs along: 2 for (1, 1, W, C) tensors, 1 for (1, H, 1, C)."""

    long: int

    @property
    def short(self) -> int:
        return 3 - self.long


@dataclass(frozen=True)
class _Margin:
    """Zeros, in real numbers, around the positions of a tensor that ops have padded."""

    left: int = 0
    right: int = 0


class _GraphReader:
    def __init__(self, model: schema.ModelT) -> None:
        self.model = model
        self.subgraph = model.subgraphs[0]
        self.weights = 0
        """Of the layers read so far."""
        self.numerics = INT8
        """What all activations must be; as the input is."""

    def read(self) -> TfliteFile:
        operators = self.subgraph.operators or []
        names = [self._op_name(operator) for operator in operators]
        if not names:
            raise UnsupportedOpError("the model has no ops; expected at least one CONV_2D or DEPTHWISE_CONV_2D")
        for index, name in enumerate(names):
            if name not in (*Op, *MOVING_OPS):
                raise self._unknown_op(name, index)
        if (layers_count := sum(name in list(Op) for name in names)) > MAX_LAYERS:
            raise UnsupportedOpError(f"the model has {layers_count} layers; expected at most {MAX_LAYERS}")
        current = self._only(self.subgraph.inputs, "input")
        # A file without such a tensor is refused where a layer reads it.
        tensors = self.subgraph.tensors or []
        if 0 <= current < len(tensors) and tensors[current].type == schema.TensorType.INT16:
            self.numerics = INT16X8
        last = self._only(self.subgraph.outputs, "output")
        # What ops that move data have done to `current` since the tensor that the last layer wrote.
        source, margin = current, _Margin()
        layers: list[Layer] = []
        held: list[list[int]] = [[current]]
        places = []
        for index, (op, operator) in enumerate(zip(names, operators, strict=True)):
            inputs = _indices(operator.inputs)
            outputs = _indices(operator.outputs)
            convolves = op in list(Op)
            if len(inputs) not in ((2, 3) if convolves else (1, 2, 3)) or len(outputs) != 1:
                raise UnsupportedOpError(f"{op}: has {len(inputs)} inputs and {len(outputs)} outputs; expected 3 and 1")
            name = self._layer_name(outputs[0], inputs[1:]) if convolves else self._tensor_name(outputs[0])
            if inputs[0] != current:
                raise UnsupportedOpError(
                    f"{op} '{name}': reads tensor '{self._tensor_name(inputs[0])}', not the previous layer's "
                    f"'{self._tensor_name(current)}'; layers must follow one another",
                    hint="leave skip connections and branches out of the encoder",
                )
            current = outputs[0]
            if convolves:
                layers.append(self._layer(Op(op), operator, source, margin, name))
                held.append([current])
                places.append(index)
                source, margin = current, _Margin()
                continue
            held[-1].append(current)
            self._same_quantization(inputs[0], current, f"{op} '{name}'")
            if op in _PADDING_OPS:
                margin = self._padded(op, operator, margin, f"{op} '{name}'")
            elif self._position_shape(inputs[0]) != self._position_shape(current):
                raise UnsupportedOpError(
                    f"{op} '{name}': turns {self._activation_shape(inputs[0])} into {self._activation_shape(current)}; "
                    "only axes of size 1 may come or go",
                    hint="leave Flatten, Permute and Reshape layers out of the encoder",
                )
        if margin != _Margin():
            raise UnsupportedOpError(
                f"the model ends with padding (tensor '{self._tensor_name(current)}'); expected a convolution behind it"
            )
        if current != last:
            raise UnsupportedOpError(
                f"the model's output is tensor '{self._tensor_name(last)}'; expected the last layer's "
                f"'{self._tensor_name(current)}'"
            )
        moves = tuple(op for op in MOVING_OPS if op in names)
        return TfliteFile(Graph(tuple(layers), moves), tuple(map(tuple, held)), tuple(places))

    def name_of(self, operator: schema.OperatorT) -> tuple[str, str]:
        """The op's name, and its layer's or else its output tensor's."""
        op, outputs, inputs = self._op_name(operator), _indices(operator.outputs), _indices(operator.inputs)
        if not outputs:
            return op, "none"
        return op, self._layer_name(outputs[0], inputs[1:]) if op in list(Op) else self._tensor_name(outputs[0])

    def _op_name(self, operator: schema.OperatorT) -> str:
        codes = self.model.operatorCodes
        if not 0 <= operator.opcodeIndex < len(codes):
            raise InputError("the TFLite file is damaged (an op without a code)", hint=_EXPORT_AGAIN)
        code = codes[operator.opcodeIndex]
        name = _name_of(max(code.builtinCode, code.deprecatedBuiltinCode), schema.BuiltinOperator)
        return f"CUSTOM {_text(code.customCode)}" if name == "CUSTOM" else name

    def _unknown_op(self, name: str, index: int) -> UnsupportedOpError:
        operator = self.subgraph.operators[index]
        outputs, inputs = _indices(operator.outputs), _indices(operator.inputs)
        tensor = self._tensor_name(outputs[0]) if outputs else "none"
        hint = WAYS_OUT.get(name, "remove the layer from the encoder")
        if name in ("QUANTIZE", "DEQUANTIZE"):
            kinds = [_name_of(self._tensor(each).type, schema.TensorType) for each in (*inputs, *outputs)]
            hint = next((_TYPE_HINTS[kind] for kind in ("FLOAT16", "INT16") if kind in kinds), hint)
        return UnsupportedOpError(
            f"op {index} is {name} (output tensor '{tensor}'); the engine runs {' and '.join(Op)}", hint=hint
        )

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

    def _activation_shape(self, index: int) -> tuple[int, ...]:
        tensor = self._tensor(index)
        name = _text(tensor.name)
        kind, expected = _name_of(tensor.type, schema.TensorType), self.numerics.activation.name.upper()
        if kind != expected:
            hint = _TYPE_HINTS.get("INT16" if expected == "INT16" else kind, _CONVERT)
            raise UnsupportedOpError(f"tensor '{name}' is {kind}; expected {expected}", hint=hint)
        shape = _indices(tensor.shape)
        signature = _indices(tensor.shapeSignature)
        # A batch of any size (-1 in front) is a batch of 1 in `shape`, which is what TFLM runs.
        if any(n < 1 for n in shape) or any(n < 1 for n in signature[1:]):
            raise UnsupportedOpError(
                f"tensor '{name}' has the dynamic shape {tuple(signature or shape)}",
                hint="export with a fixed frame length and a batch of 1",
            )
        if len(shape) not in (3, 4) or shape[0] != 1:
            raise UnsupportedOpError(
                f"tensor '{name}' has shape {tuple(shape)}; expected (1, 1, T, C)", hint="export with a batch of 1"
            )
        return tuple(shape)

    def _position_shape(self, index: int) -> tuple[int, ...]:
        """Positions and channels, the axes of size 1 before the channels left out."""
        *axes, channels = self._activation_shape(index)
        return (*(size for size in axes if size != 1), channels)

    def _same_quantization(self, before: int, after: int, where: str) -> None:
        """Refuse an op that moves values into a tensor of another scale."""
        scales = [self._activation(index) for index in (before, after)]
        if scales[0] != scales[1]:
            raise UnsupportedOpError(
                f"{where}: has scale and zero point {scales[0]} before and {scales[1]} behind; expected the same"
            )

    def _activation(self, index: int) -> tuple[float, int]:
        """Scale and zero point of an activation."""
        self._activation_shape(index)
        tensor = self._tensor(index)
        name = _text(tensor.name)
        scales, zero_points = _quantization(tensor)
        if len(scales) != 1 or len(zero_points) != 1:
            raise UnsupportedOpError(f"tensor '{name}' has {len(scales)} scales; expected 1 scale and zero point")
        scale, zero_point = float(scales[0]), int(zero_points[0])
        low, high = self.numerics.zero_points
        if not (math.isfinite(scale) and scale > 0) or not low <= zero_point <= high:
            raise UnsupportedOpError(
                f"tensor '{name}' has scale {scale} and zero point {zero_point}; expected "
                f"{self.numerics.activation.name.upper()}'s" + (", without a zero point" if low == high else "")
            )
        return scale, zero_point

    def _positions(self, index: int, width: int, channels: int) -> Tensor:
        scale, zero_point = self._activation(index)
        name = self._tensor_name(index)
        if width > MAX_WIDTH or channels > _MAX_CHANNELS:
            raise UnsupportedOpError(
                f"tensor '{name}' is {width} x {channels}; at most {MAX_WIDTH} positions of {_MAX_CHANNELS} channels"
            )
        return Tensor(name, width, channels, scale, zero_point, self.numerics)

    def _padded(self, op: str, operator: schema.OperatorT, margin: _Margin, where: str) -> _Margin:
        """``margin`` with what an op that pads adds to it."""
        inputs, outputs = _indices(operator.inputs), _indices(operator.outputs)
        shape, target = self._activation_shape(inputs[0]), self._activation_shape(outputs[0])
        if len(inputs) < 2:
            raise InputError(f"{where}: the TFLite file is damaged (padding without sizes)", hint=_EXPORT_AGAIN)
        sizes = self._tensor(inputs[1])
        if sizes.type not in (schema.TensorType.INT32, schema.TensorType.INT64):
            raise UnsupportedOpError(f"{where}: sizes are no INT32 or INT64")
        dtype = np.dtype("<i4" if sizes.type == schema.TensorType.INT32 else "<i8")
        pairs = self._constant(sizes, dtype, 2 * len(shape), where).reshape(-1, 2).tolist()
        long = [axis for axis, pair in enumerate(pairs) if any(pair)]
        expected = tuple(size + left + right for size, (left, right) in zip(shape, pairs, strict=True))
        along_one = len(long) <= 1 and not {0, len(shape) - 1} & set(long)
        if not along_one or min(map(min, pairs)) < 0 or expected != target or (long and self._crossed(shape, long[0])):
            raise UnsupportedOpError(
                f"{where}: pads {shape} by {pairs} to {target}; expected zeros before and behind the positions alone"
            )
        if len(inputs) == 3:
            _, zero_point = self._activation(inputs[0])
            value = int(
                self._constant(self._tensor(inputs[2]), self.numerics.activation.newbyteorder("<"), 1, where)[0]
            )
            if value != zero_point:
                raise UnsupportedOpError(f"{where}: pads with {value}; expected the zero point {zero_point}")
        left, right = pairs[long[0]] if long else (0, 0)
        return _Margin(margin.left + left, margin.right + right)

    @staticmethod
    def _crossed(shape: Sequence[int], axis: int) -> bool:
        """Whether ``axis`` is not the one that the positions of ``shape`` are on."""
        return any(size != 1 for other, size in enumerate(shape[:-1]) if other != axis)

    def _axis(self, index: int, weights: int, where: str) -> _Axis:
        """The axis along which the convolution runs that reads tensor ``index``."""
        shape, kernel = self._activation_shape(index), _indices(self._tensor(weights).shape)
        if len(shape) != 4:
            raise UnsupportedOpError(f"{where}: reads a tensor of shape {shape}; expected (1, 1, T, C)")
        possible = [axis for axis in (_Axis(2), _Axis(1)) if shape[axis.short] == 1]
        if not possible:
            raise UnsupportedOpError(
                f"the activations are two-dimensional (tensor '{self._tensor_name(index)}' is {shape}); "
                "expected (1, 1, T, C) or (1, T, 1, C)",
                hint="the engine runs one signal of one channel",
            )
        # One position lies on either axis; the kernel then tells which.
        fitting = [axis for axis in possible if len(kernel) == 4 and kernel[axis.short] == 1]
        return (fitting or possible)[0]

    def _layer(self, op: Op, operator: schema.OperatorT, held: int, margin: _Margin, name: str) -> Layer:
        """The layer of a convolution whose input is tensor ``held`` with ``margin`` around it."""
        where = f"{op} '{name}'"
        indices, output = _indices(operator.inputs), _indices(operator.outputs)[0]
        axis = self._axis(indices[0], indices[1], where)
        shape, reached = self._activation_shape(indices[0]), self._activation_shape(output)
        if len(reached) != 4 or reached[axis.short] != 1:
            raise UnsupportedOpError(f"{where}: returns a tensor of shape {reached}; expected one position across")
        width = shape[axis.long] - margin.left - margin.right
        source = self._positions(held, width, shape[3])
        target = self._positions(output, reached[axis.long], reached[3])
        weights, weight_scales = self._weights(op, indices[1], axis, source, target, where)
        bias = self._bias(indices[2] if len(indices) == 3 else -1, target.channels, where)
        options = _options(op, operator.builtinOptions, axis, where)
        depth_multiplier = target.channels // source.channels if op is Op.DEPTHWISE else 0
        if op is Op.DEPTHWISE and operator.builtinOptions.depthMultiplier != depth_multiplier:
            raise UnsupportedOpError(
                f"{where}: has depth multiplier {operator.builtinOptions.depthMultiplier} for {source.channels} to "
                f"{target.channels} channels; expected {depth_multiplier}"
            )
        taps_axis = 1 if op is Op.CONV else 0
        kernel = (weights.shape[taps_axis] - 1) * options.dilation + 1
        if kernel > MAX_KERNEL:
            raise UnsupportedOpError(
                f"{where}: {weights.shape[taps_axis]} taps at dilation {options.dilation} reach over {kernel} "
                f"positions; at most {MAX_KERNEL}"
            )
        self.weights += weights.size // weights.shape[taps_axis] * kernel
        if self.weights > MAX_WEIGHTS:
            raise UnsupportedOpError(
                f"{where}: brings the model to {self.weights:,} weights, dilation filled up; expected at most "
                f"{MAX_WEIGHTS:,}"
            )
        weights = _dilated(weights, options.dilation, taps_axis)
        padded = shape[axis.long]
        if options.padding == "SAME":
            width, pad_left = same_padding(padded, kernel, options.stride)
        else:
            width, pad_left = (padded - kernel) // options.stride + 1, 0
        if width != target.width:
            raise UnsupportedOpError(
                f"{where}: output has {target.width} positions; {options.padding} padding gives {width}"
            )
        pad_left += margin.left
        last = (target.width - 1) * options.stride - pad_left
        if pad_left >= kernel or last >= source.width:
            raise UnsupportedOpError(
                f"{where}: pads {pad_left} positions on the left, and its last output starts at position {last} of "
                f"{source.width}; a kernel of {kernel} taps must reach a sample at each of its outputs",
                hint="pad less",
            )
        # TFLite computes this ratio in double from the float32 scales.
        ratios = [source.scale * float(scale) / target.scale for scale in weight_scales]
        constants = [quantize_multiplier(ratio) for ratio in ratios]
        low, high = _activation_range(options.activation, target, self.numerics)
        return Layer(
            name=name,
            op=op,
            input=source,
            output=target,
            kernel=kernel,
            stride=options.stride,
            padding="PAD" if margin != _Margin() else options.padding,
            pad_left=pad_left,
            depth_multiplier=depth_multiplier,
            weights=weights,
            bias=bias,
            multiplier=np.array([m for m, _ in constants], np.int32),
            shift=np.array([e for _, e in constants], np.int32),
            activation=options.activation,
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
        if found != expected or not 1 <= kernel <= MAX_KERNEL:
            raise UnsupportedOpError(
                f"{where}: weights '{name}' have shape {tuple(shape)} for {source.channels} to {target.channels} "
                f"channels; groups are not supported and kernels have 1..{MAX_KERNEL} taps"
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

    def _bias(self, index: int, channels: int, where: str) -> Int32Array | Int64Array:
        dtype = self.numerics.bias
        if index < 0:
            return np.zeros(channels, dtype)
        tensor = self._tensor(index)
        kind = _name_of(tensor.type, schema.TensorType)
        if kind != dtype.name.upper():
            raise UnsupportedOpError(f"{where}: bias '{_text(tensor.name)}' is {kind}; expected {dtype.name.upper()}")
        if _indices(tensor.shape) != [channels]:
            raise UnsupportedOpError(
                f"{where}: bias '{_text(tensor.name)}' has shape {tuple(_indices(tensor.shape))}; "
                f"expected ({channels},)"
            )
        return self._constant(tensor, dtype.newbyteorder("<"), channels, where).astype(dtype)

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
    if len(values) > _MOST_NUMBERS:
        raise InputError(f"the TFLite file is damaged (a shape or a list of tensors of {len(values):,} numbers)")
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


@dataclass(frozen=True)
class _Options:
    """Of a convolution, along the axis of its positions."""

    stride: int
    dilation: int
    padding: str
    activation: str


def _options(op: Op, options: Any, axis: _Axis, where: str) -> _Options:
    expected = schema.Conv2DOptionsT if op is Op.CONV else schema.DepthwiseConv2DOptionsT
    if not isinstance(options, expected):
        raise InputError(f"{where}: the op's options are missing (damaged file)", hint=_EXPORT_AGAIN)
    strides, dilations = [options.strideW, options.strideH], [options.dilationWFactor, options.dilationHFactor]
    # TFLM reads both axes, so what the unit axis says must make sense, too.
    if not all(1 <= stride <= MAX_WIDTH for stride in strides):
        raise UnsupportedOpError(f"{where}: strides {strides}; expected 1 at least")
    if not all(1 <= dilation <= MAX_KERNEL for dilation in dilations):
        raise UnsupportedOpError(f"{where}: dilations {dilations}; expected 1..{MAX_KERNEL}")
    along = 0 if axis.long == 2 else 1
    padding = _name_of(options.padding, schema.Padding)
    if padding not in ("SAME", "VALID"):
        raise UnsupportedOpError(f"{where}: padding {padding}; expected SAME or VALID")
    activation = _name_of(options.fusedActivationFunction, schema.ActivationFunctionType)
    if activation not in ("NONE", "RELU", "RELU6"):
        raise UnsupportedOpError(
            f"{where}: fused activation {activation}; expected NONE, RELU or RELU6", hint="train with ReLU"
        )
    return _Options(strides[along], dilations[along], padding, activation)


def _dilated(weights: npt.NDArray[np.int8], dilation: int, axis: int) -> npt.NDArray[np.int8]:
    """``weights`` with ``dilation - 1`` taps of zero between those along ``axis``, which adds nothing to a sum."""
    if dilation == 1:
        return weights
    shape = list(weights.shape)
    shape[axis] = (shape[axis] - 1) * dilation + 1
    spread = np.zeros(shape, np.int8)
    spread[(slice(None),) * axis + (slice(None, None, dilation),)] = weights
    return spread


def _activation_range(activation: str, target: Tensor, numerics: Numerics) -> tuple[int, int]:
    """Clamp of the output. Source: TFLite ``kernel_util.cc: CalculateActivationRangeQuantized`` (float32)."""
    low, high = numerics.lowest, numerics.highest
    if activation != "NONE":
        low = max(low, target.zero_point)
    if activation == "RELU6":
        with np.errstate(over="ignore"):
            steps = float(np.float32(6.0) / np.float32(target.scale))
        # TFLite casts to int32, which nothing that is larger survives.
        if not steps + 0.5 + abs(target.zero_point) < 1 << 31:
            raise UnsupportedOpError(
                f"tensor '{target.name}' has scale {target.scale}, at which 6, the limit of ReLU6, leaves int32"
            )
        high = min(high, target.zero_point + math.floor(steps + 0.5))
    return low, high
