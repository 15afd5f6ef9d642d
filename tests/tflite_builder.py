"""INT8 and 16x8 ``.tflite`` encoders, sound and malformed, built without TensorFlow.

The flatbuffer is written through the object API of the TFLite schema, so a test decides every byte that
the reader, the C, the reference and the oracles then have to agree on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from edgecodec.bundle import DECODER, FRAMES, PACKETS, Bundle, write_bundle
from edgecodec.codec.graph import Graph
from edgecodec.codec.normalizer import Normalizer
from edgecodec.codec.numerics import INT8, INT16X8, Numerics
from edgecodec.codec.reference import normalize, run_layers
from edgecodec.codec.rvq import IntegerRvq
from edgecodec.codec.tflite_reader import read_graph
from edgecodec.entropy.packet_file import PacketConstants
from edgecodec.files.atomic import npz_bytes
from edgecodec.signal.normalize import ZSCORE, Normalization

CONV = "CONV_2D"
DEPTHWISE = "DEPTHWISE_CONV_2D"
_ACTIVATION = {
    "NONE": schema.ActivationFunctionType.NONE,
    "RELU": schema.ActivationFunctionType.RELU,
    "RELU6": schema.ActivationFunctionType.RELU6,
}
_PADDING = {"SAME": schema.Padding.SAME, "VALID": schema.Padding.VALID}
_LEAST_ROOM = 20
"""With fewer steps than this on one side of the zero point, outputs are left to saturate on that side."""
_DATA_ALIGNMENT = 16
"""``force_align: 16`` of ``Buffer.data`` in schema.fbs, which the Python object API ignores."""


@dataclass(frozen=True)
class LayerSpec:
    """One convolution of a test encoder. ``vertical`` puts the signal on the height axis."""

    op: str
    out_channels: int
    """Ignored by a depthwise layer, which has ``in_channels * depth_multiplier``."""
    kernel: int = 1
    stride: int = 1
    padding: str = "SAME"
    activation: str = "NONE"
    depth_multiplier: int = 1
    vertical: bool = False
    zero_point: int | None = None
    """Output zero point; drawn when None."""
    scale_ratio: float | None = None
    """Mean of s_x s_w / s_y; when None, s_y is chosen so that the outputs use most of int8."""
    scale_spread: float = 0.8
    """Channels' weight scales differ by up to e to the power of twice this; 0 and a ``scale_ratio`` that is a power
    of two give the multiplier 2^30, with which accumulators often lie exactly between two results."""
    weight_limit: int = 127
    """Largest absolute weight; small ones keep accumulators small enough for left shifts."""
    dilation: int = 1
    """Positions from one tap to the next."""
    pad: tuple[int, int] = (0, 0)
    """Positions that a PAD op adds before the layer, in front and behind."""
    pad_op: str = "PAD"
    """``"PAD"``, or ``"PADV2"``, which names the value that it pads with."""
    cross_stride: int = 1
    """Stride on the axis of size 1, where it changes nothing (Keras writes 2 for ``strides=2``)."""
    vanishing_channel: bool = False
    """One channel's weight scale is up to 2^40 times smaller: large right shifts and zero multipliers."""
    bias: bool = True
    """TFLM runs a layer without bias; the TFLite interpreter refuses it."""
    bias_spread: float = 0.5
    """Standard deviation of the biases, of that of the sums without them."""


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]
    """A buffer whose bytes start at a multiple of 16, as the TFLite schema demands."""

    def Pack(self, builder: flatbuffers.Builder) -> int:
        payload = np.ascontiguousarray(self.data).tobytes()
        builder.StartVector(1, len(payload), _DATA_ALIGNMENT)
        builder.head -= len(payload)
        builder.Bytes[builder.head : builder.head + len(payload)] = payload
        builder.vectorNumElems = len(payload)
        data = builder.EndVector()
        schema.BufferStart(builder)
        schema.BufferAddData(builder, data)
        return int(schema.BufferEnd(builder))


class _ModelBuilder:
    """Collects tensors, buffers and operators of one chain."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.description = "edgecodec test encoder"
        self.model.operatorCodes = []
        self.model.buffers = [schema.BufferT()]
        self.graph = schema.SubGraphT()
        self.graph.name = "main"
        self.graph.tensors = []
        self.graph.operators = []
        self.model.subgraphs = [self.graph]

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        kind: int,
        scale: npt.ArrayLike,
        zero_point: int = 0,
        axis: int = 0,
        data: npt.NDArray[Any] | None = None,
    ) -> int:
        tensor = schema.TensorT()
        tensor.name = name
        tensor.shape = list(shape)
        tensor.type = kind
        tensor.quantization = schema.QuantizationParametersT()
        scales = np.atleast_1d(np.asarray(scale, np.float32))
        tensor.quantization.scale = scales
        tensor.quantization.zeroPoint = np.full(scales.size, zero_point, np.int64)
        tensor.quantization.quantizedDimension = axis
        if data is not None:
            tensor.buffer = len(self.model.buffers)
            self.model.buffers.append(_AlignedBuffer(data=data))
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def operator(self, code: int, inputs: list[int], output: int, kind: int, options: Any) -> None:
        codes = [entry.builtinCode for entry in self.model.operatorCodes]
        if code not in codes:
            entry = schema.OperatorCodeT()
            entry.builtinCode = code
            entry.deprecatedBuiltinCode = min(code, 127)
            entry.version = 3
            self.model.operatorCodes.append(entry)
            codes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = codes.index(code)
        operator.inputs = inputs
        operator.outputs = [output]
        operator.builtinOptionsType = kind
        operator.builtinOptions = options
        self.graph.operators.append(operator)


def encoder_model(
    layers: Sequence[LayerSpec],
    width: int,
    channels: int = 1,
    seed: int = 0,
    input_zero_point: int | None = None,
    input_scale: float | None = None,
    numerics: Numerics = INT8,
) -> Any:
    """A random encoder of ``layers`` on ``[width, channels]`` as a schema ``ModelT``, free to be edited.

    With INT16X8 all zero points of ``layers`` and the input's count as 0.
    """
    wide = numerics == INT16X8
    kind, bias_kind = (
        (schema.TensorType.INT16, schema.TensorType.INT64)
        if wide
        else (schema.TensorType.INT8, schema.TensorType.INT32)
    )
    rng = np.random.default_rng(seed)
    vertical = any(layer.vertical for layer in layers)
    builder = _ModelBuilder()
    scale = np.float32(rng.uniform(0.015, 0.045) if input_scale is None else input_scale)
    zero_point = int(rng.integers(-40, 41)) if input_zero_point is None else input_zero_point
    if wide:
        scale, zero_point = np.float32(scale / 256), 0
    current = builder.tensor("serving_default_enc_in:0", _shape(width, channels, vertical), kind, scale, zero_point)
    builder.graph.inputs = [current]
    spread = 50 * numerics.reach / 128
    probe = numerics.clip(np.round(rng.normal(zero_point, spread, (24, width, channels)))).astype(float) - zero_point
    for number, layer in enumerate(layers):
        depthwise = layer.op == DEPTHWISE
        out_channels = channels * layer.depth_multiplier if depthwise else layer.out_channels
        weights = _random_weights(rng, layer, channels, out_channels)
        if any(layer.pad):
            current = _pad(builder, layer, current, f"encoder/pad_{number}")
            probe = np.pad(probe, ((0, 0), layer.pad, (0, 0)))
        acc = _accumulate(probe, _spread(weights, layer), layer)
        bias = np.zeros(out_channels, numerics.bias)
        if layer.bias:
            bias = np.round(rng.normal(0, layer.bias_spread, out_channels) * (acc.std() + 1)).astype(numerics.bias)
        # An asked ratio is reached through the weights, so that scales do not dwindle from layer to layer.
        base = 0.004 if layer.scale_ratio is None else layer.scale_ratio
        weight_scale = (base * np.exp(rng.uniform(-1, 1, out_channels) * layer.scale_spread)).astype(np.float32)
        if layer.vanishing_channel:
            weight_scale[rng.integers(out_channels)] *= np.float32(2.0 ** -rng.uniform(2, 40))
        real = (acc + bias) * (scale * weight_scale.astype(np.float64))
        out_zero_point = _draw_zero_point(rng, layer)
        if wide:
            out_zero_point = 0
        out_scale = np.float32(
            float(scale) * float(weight_scale.mean()) / layer.scale_ratio
            if layer.scale_ratio is not None
            else _fit_scale(real, out_zero_point, layer.activation, numerics)
        )
        shape = (layer.kernel, 1) if vertical else (1, layer.kernel)
        name = f"encoder/{'dw' if depthwise else 'conv'}_{number}"
        kernel_shape = (1, *shape, out_channels) if depthwise else (out_channels, *shape, channels)
        inputs = [
            current,
            builder.tensor(
                f"{name}/weights", kernel_shape, schema.TensorType.INT8, weight_scale, 0, 3 if depthwise else 0, weights
            ),
        ]
        if layer.bias:
            inputs.append(builder.tensor(f"{name}/bias", (out_channels,), bias_kind, scale * weight_scale, data=bias))
        width = acc.shape[1]
        current = builder.tensor(name, _shape(width, out_channels, vertical), kind, out_scale, out_zero_point)
        builder.operator(
            schema.BuiltinOperator.DEPTHWISE_CONV_2D if depthwise else schema.BuiltinOperator.CONV_2D,
            inputs,
            current,
            schema.BuiltinOptions.DepthwiseConv2DOptions if depthwise else schema.BuiltinOptions.Conv2DOptions,
            _options(layer, vertical),
        )
        low, high = _clamp(out_zero_point, float(out_scale), layer.activation, numerics)
        probe = np.clip(np.round(real / float(out_scale)) + out_zero_point, low, high) - out_zero_point
        scale, channels = out_scale, out_channels
    builder.graph.outputs = [current]
    return builder.model


def build_encoder(
    layers: Sequence[LayerSpec],
    width: int,
    channels: int = 1,
    seed: int = 0,
    input_zero_point: int | None = None,
    input_scale: float | None = None,
    numerics: Numerics = INT8,
) -> bytes:
    """The bytes of a random encoder: activations ``[width, channels]`` in, the last layer's tensor out."""
    return serialize(encoder_model(layers, width, channels, seed, input_zero_point, input_scale, numerics))


def serialize(model: Any) -> bytes:
    """The ``.tflite`` bytes of a schema ``ModelT``."""
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


FAMILY = (
    LayerSpec(CONV, 8, 7, 2, activation="RELU", zero_point=-128),
    LayerSpec(CONV, 12, 7, 2, activation="RELU", zero_point=-128),
    LayerSpec(DEPTHWISE, 0, 7, 2, activation="RELU", zero_point=-128),
    LayerSpec(CONV, 10, 1, activation="RELU", zero_point=-128),
    LayerSpec(CONV, 6, 1, zero_point=5),
)
"""The seeds' encoder in small: 64 samples become 8 positions of 6 channels."""


def small_encoder(seed: int = 0, width: int = 64, numerics: Numerics = INT8) -> bytes:
    """:data:`FAMILY` with random weights."""
    return build_encoder(FAMILY, width, seed=seed, input_zero_point=-3, numerics=numerics)


def fitted_rvq(graph: Graph, sizes: Sequence[int] = (29, 13), seed: int = 0) -> IntegerRvq:
    """Codebooks of random residuals of real latents, so that frames use most codes and near ties are common."""
    rng = np.random.default_rng(seed)
    numerics = graph.input.numerics
    normalizer = Normalizer.of(ZSCORE, graph.input.width, graph.input.scale, graph.input.zero_point, numerics)
    frames = ppg_frames(max(16, 2 * max(sizes) // graph.latent.width), graph.input.width, seed + 1)
    latent = run_layers(graph, normalize(normalizer, frames)[0]).reshape(-1, graph.latent.channels)
    residual = (latent.astype(np.float64) - graph.latent.zero_point) * graph.latent.scale
    books = []
    for size in sizes:
        spread = 0.3 * residual.std() + 1e-9
        if spread < graph.latent.scale / 16:
            spread = graph.latent.scale  # a latent that hardly moves: its codes must not round to one
        book = rng.choice(residual, size) + rng.normal(0, spread, (size, residual.shape[1]))
        distance = ((residual[:, None, :] - book) ** 2).sum(axis=2)
        residual = residual - book[distance.argmin(axis=1)]
        books.append(book)
    return IntegerRvq.from_float(books, graph.latent.scale, graph.latent.zero_point, numerics)


def ppg_frames(count: int, samples: int, seed: int = 0) -> npt.NDArray[np.int16]:
    """Synthetic PPG in ADC counts, int16 ``[count, samples]``: a pulse with two harmonics, drift and noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples)[None, :] / 64.0
    rate, phase = rng.uniform(0.8, 2.2, (count, 1)), rng.uniform(0, 6.28, (count, 1))
    cycle = 2 * np.pi * rate * time + phase
    wave = np.sin(cycle) + 0.45 * np.sin(2 * cycle + 0.7) + 0.2 * np.sin(3 * cycle + 1.1)
    wave += rng.uniform(0, 1, (count, 1)) * np.sin(2 * np.pi * 0.2 * time + phase) + rng.normal(0, 0.03, wave.shape)
    counts = rng.uniform(1500, 2500, (count, 1)) + rng.uniform(50, 900, (count, 1)) * wave
    return np.clip(counts, 0, 4095).astype(np.int16)


def small_bundle(path: str | os.PathLike[str], seed: int = 0, numerics: Numerics = INT8) -> Bundle:
    """Write and load a bundle of :func:`small_encoder` with codebooks of 29 and 13 codes and 16 frames."""
    return bundle_of(path, small_encoder(seed, numerics=numerics), seed=seed)


def bundle_of(
    path: str | os.PathLike[str],
    encoder: bytes,
    sizes: Sequence[int] = (29, 13),
    seed: int = 0,
    *,
    packets: PacketConstants | None = None,
    decoder: bytes | None = None,
    normalization: Normalization = ZSCORE,
) -> Bundle:
    """Write and load a bundle of ``encoder`` with random codebooks and 16 synthetic frames."""
    graph = read_graph(encoder)
    frames = ppg_frames(16, graph.input.width, seed)
    return write_bundle(
        path,
        encoder=encoder,
        rvq=fitted_rvq(graph, sizes, seed),
        name=f"test encoder {seed}",
        rate_hz=64.0,
        normalization=normalization,
        optional={FRAMES: npz_bytes({"frames": frames})}
        | ({} if packets is None else {PACKETS: packets.to_npz()})
        | ({} if decoder is None else {DECODER: decoder}),
        provenance={"seed": seed},
        force=True,
    )


def _shape(width: int, channels: int, vertical: bool) -> tuple[int, int, int, int]:
    return (1, width, 1, channels) if vertical else (1, 1, width, channels)


def _random_weights(
    rng: np.random.Generator, layer: LayerSpec, in_channels: int, out_channels: int
) -> npt.NDArray[np.int8]:
    """int8 ``[out, kernel, in]`` or, depthwise, ``[kernel, out]``."""
    shape = (layer.kernel, out_channels) if layer.op == DEPTHWISE else (out_channels, layer.kernel, in_channels)
    return rng.integers(-layer.weight_limit, layer.weight_limit + 1, shape).astype(np.int8)


def _accumulate(
    centred: npt.NDArray[np.float64], weights: npt.NDArray[np.int8], layer: LayerSpec
) -> npt.NDArray[np.float64]:
    """Plain convolution of ``[N, W, C]`` for the choice of scales (the order of float sums does not matter)."""
    count, width, channels = centred.shape
    kernel = (layer.kernel - 1) * layer.dilation + 1
    if layer.padding == "SAME":
        out = -(-width // layer.stride)
        total = max((out - 1) * layer.stride + kernel - width, 0)
    else:
        out, total = (width - kernel) // layer.stride + 1, 0
    if out < 1:
        raise ValueError(f"kernel {kernel} does not fit width {width}")
    padded = np.zeros((count, width + total + layer.stride, channels))
    padded[:, total // 2 : total // 2 + width] = centred
    taps = [padded[:, t : t + out * layer.stride : layer.stride][:, :out] for t in range(kernel)]
    if layer.op == DEPTHWISE:
        return sum(np.repeat(tap, layer.depth_multiplier, axis=2) * weights[t] for t, tap in enumerate(taps))
    return sum(tap @ weights[:, t].T.astype(np.float64) for t, tap in enumerate(taps))


def _spread(weights: npt.NDArray[np.int8], layer: LayerSpec) -> npt.NDArray[np.int8]:
    """``weights`` with zeros where a dilated kernel looks at nothing."""
    axis = 0 if layer.op == DEPTHWISE else 1
    shape = list(weights.shape)
    shape[axis] = (layer.kernel - 1) * layer.dilation + 1
    spread = np.zeros(shape, np.int8)
    np.moveaxis(spread, axis, 0)[:: layer.dilation] = np.moveaxis(weights, axis, 0)
    return spread


def _pad(builder: _ModelBuilder, layer: LayerSpec, current: int, name: str) -> int:
    """The tensor that an op puts out which pads tensor ``current`` along its positions."""
    source = builder.graph.tensors[current]
    axis = 1 if layer.vertical else 2
    pairs = np.zeros((4, 2), np.int32)
    pairs[axis] = layer.pad
    shape = [int(size + sum(pair)) for size, pair in zip(source.shape, pairs, strict=True)]
    scale, zero_point = source.quantization.scale, int(source.quantization.zeroPoint[0])
    inputs = [current, builder.tensor(f"{name}/sizes", (4, 2), schema.TensorType.INT32, 1.0, data=pairs)]
    builder.graph.tensors[inputs[1]].quantization = None
    if layer.pad_op == "PADV2":
        value = np.array([zero_point], np.int8 if source.type == schema.TensorType.INT8 else np.int16)
        inputs.append(builder.tensor(f"{name}/value", (), source.type, scale, zero_point, data=value))
    padded = builder.tensor(name, shape, source.type, scale, zero_point)
    v2 = layer.pad_op == "PADV2"
    code = schema.BuiltinOperator.PADV2 if v2 else schema.BuiltinOperator.PAD
    kind = schema.BuiltinOptions.PadV2Options if v2 else schema.BuiltinOptions.PadOptions
    builder.operator(code, inputs, padded, kind, schema.PadV2OptionsT() if v2 else schema.PadOptionsT())
    return padded


def _draw_zero_point(rng: np.random.Generator, layer: LayerSpec) -> int:
    if layer.zero_point is not None:
        return layer.zero_point
    draw = rng.random()
    if layer.activation != "NONE":
        return -128 if draw < 0.5 else int(rng.integers(-128, 41))
    if draw < 0.15:
        return int(rng.choice([-128, 127]))
    return int(rng.integers(-60, 61) if draw < 0.8 else rng.integers(-128, 128))


def _fit_scale(real: npt.NDArray[np.float64], zero_point: int, activation: str, numerics: Numerics) -> float:
    """The scale at which the middle 96 % of ``real`` just fits the range on both sides of ``zero_point``."""
    low, high = np.percentile(real, [2, 98])
    room_above, room_below = numerics.highest - zero_point, zero_point - numerics.lowest
    smallest = (float(np.abs(real).max()) / 1000 + 1e-6) * 128 / numerics.reach
    if activation == "NONE" and min(room_above, room_below) < _LEAST_ROOM:
        return max(smallest, float(real.std()) / 60)
    needs = [smallest, high / room_above]
    if activation == "NONE":
        needs.append(-low / room_below)
    return max(needs)


def _clamp(zero_point: int, scale: float, activation: str, numerics: Numerics) -> tuple[int, int]:
    if activation == "NONE":
        return numerics.lowest, numerics.highest
    return zero_point, numerics.highest if activation == "RELU" else min(
        numerics.highest, zero_point + round(6 / scale)
    )


def _options(layer: LayerSpec, vertical: bool) -> Any:
    depthwise = layer.op == DEPTHWISE
    options = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
    options.padding = _PADDING[layer.padding]
    along, across = layer.stride, layer.cross_stride
    options.strideH, options.strideW = (along, across) if vertical else (across, along)
    options.dilationHFactor, options.dilationWFactor = (layer.dilation, 1) if vertical else (1, layer.dilation)
    options.fusedActivationFunction = _ACTIVATION[layer.activation]
    if depthwise:
        options.depthMultiplier = layer.depth_multiplier
    return options


def _float_model(model: Any) -> None:
    for tensor in model.subgraphs[0].tensors:
        tensor.type = schema.TensorType.FLOAT32
        tensor.quantization = None
        if tensor.buffer:
            data = model.buffers[tensor.buffer].data
            model.buffers[tensor.buffer] = _AlignedBuffer(data=np.asarray(data, np.float32))


def _dynamic_width(model: Any) -> None:
    for tensor in _activations(model):
        tensor.shape = [1, 1, 1, tensor.shape[3]]
        tensor.shapeSignature = [1, 1, -1, tensor.shape[3]]


def _batch_two(model: Any) -> None:
    for tensor in _activations(model):
        tensor.shape = [2, *tensor.shape[1:]]


def _op_add(model: Any) -> None:
    """A residual ADD of the output with itself at the end."""
    graph = model.subgraphs[0]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ADD
    model.operatorCodes.append(code)
    last = graph.tensors[graph.outputs[0]]
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.type = "encoder/add", last.shape, last.type
    tensor.quantization = last.quantization
    graph.tensors.append(tensor)
    operator = schema.OperatorT()
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.inputs = [graph.outputs[0], graph.outputs[0]]
    operator.outputs = [len(graph.tensors) - 1]
    operator.builtinOptionsType = schema.BuiltinOptions.AddOptions
    operator.builtinOptions = schema.AddOptionsT()
    graph.operators.append(operator)
    graph.outputs = [len(graph.tensors) - 1]


def _custom_op(model: Any) -> None:
    model.operatorCodes[0].builtinCode = schema.BuiltinOperator.CUSTOM
    model.operatorCodes[0].deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    model.operatorCodes[0].customCode = "MyConv"


def _per_tensor_weights(model: Any) -> None:
    _weights(model).quantization.scale = np.array([0.01], np.float32)
    _weights(model).quantization.zeroPoint = np.array([0], np.int64)


def _dilation(model: Any) -> None:
    """Seven taps at dilation 43 reach over more positions than a kernel may."""
    _first_options(model).dilationWFactor = 43


def _unit_axis_stride(model: Any) -> None:
    _first_options(model).strideH = 0


def _depth_multiplier(model: Any) -> None:
    model.subgraphs[0].operators[2].builtinOptions.depthMultiplier = 2


def _relu6_at_tiny_scale(model: Any) -> None:
    _first_options(model).fusedActivationFunction = schema.ActivationFunctionType.RELU6
    _activations(model)[1].quantization.scale = np.array([1e-38], np.float32)


def _weight_zero_point(model: Any) -> None:
    _weights(model).quantization.zeroPoint = np.full_like(_weights(model).quantization.zeroPoint, 3)


def _weight_axis(model: Any) -> None:
    _weights(model).quantization.quantizedDimension = 3


def _weights_not_constant(model: Any) -> None:
    _weights(model).buffer = 0


def _short_weights(model: Any) -> None:
    buffer = model.buffers[_weights(model).buffer]
    buffer.data = np.ascontiguousarray(buffer.data).reshape(-1)[:-1]


def _int16_input(model: Any) -> None:
    _activations(model)[0].type = schema.TensorType.INT16


def _uint8_output(model: Any) -> None:
    _activations(model)[-1].type = schema.TensorType.UINT8


def _tanh(model: Any) -> None:
    _first_options(model).fusedActivationFunction = schema.ActivationFunctionType.TANH


def _zero_stride(model: Any) -> None:
    _first_options(model).strideW = 0


def _zero_scale(model: Any) -> None:
    _activations(model)[1].quantization.scale = np.array([0.0], np.float32)


def _nan_scale(model: Any) -> None:
    _activations(model)[1].quantization.scale = np.array([np.nan], np.float32)


def _no_quantization(model: Any) -> None:
    _activations(model)[1].quantization = None


def _zero_point_out_of_range(model: Any) -> None:
    _activations(model)[1].quantization.zeroPoint = np.array([300], np.int64)


def _two_inputs(model: Any) -> None:
    graph = model.subgraphs[0]
    graph.inputs = [graph.inputs[0], graph.operators[0].outputs[0]]


def _two_outputs(model: Any) -> None:
    graph = model.subgraphs[0]
    graph.outputs = [graph.operators[0].outputs[0], graph.outputs[0]]


def _two_subgraphs(model: Any) -> None:
    model.subgraphs.append(model.subgraphs[0])


def _no_operators(model: Any) -> None:
    graph = model.subgraphs[0]
    graph.operators = []
    graph.outputs = list(graph.inputs)


def _tensor_index_out_of_range(model: Any) -> None:
    model.subgraphs[0].operators[0].inputs[1] = 999


def _code_index_out_of_range(model: Any) -> None:
    model.subgraphs[0].operators[0].opcodeIndex = 99


def _buffer_index_out_of_range(model: Any) -> None:
    _weights(model).buffer = 99


def _wrong_output_width(model: Any) -> None:
    tensor = _activations(model)[1]
    tensor.shape = [1, 1, tensor.shape[2] + 1, tensor.shape[3]]


def _wrong_channels(model: Any) -> None:
    tensor = _activations(model)[0]
    tensor.shape = [*tensor.shape[:3], 3]


def _two_dimensional(model: Any) -> None:
    tensor = _activations(model)[0]
    tensor.shape = [1, 2, tensor.shape[2], 1]


def _rank_three(model: Any) -> None:
    tensor = _activations(model)[0]
    tensor.shape = list(tensor.shape[1:])


def _skip_connection(model: Any) -> None:
    """The last operator reads the graph's input instead of the one before it."""
    graph = model.subgraphs[0]
    graph.operators[-1].inputs[0] = graph.inputs[0]


def _short_bias(model: Any) -> None:
    graph = model.subgraphs[0]
    bias = graph.tensors[graph.operators[0].inputs[2]]
    bias.shape = [bias.shape[0] - 1]


def _int64_bias(model: Any) -> None:
    graph = model.subgraphs[0]
    bias = graph.tensors[graph.operators[0].inputs[2]]
    bias.type = schema.TensorType.INT64
    model.buffers[bias.buffer].data = np.asarray(model.buffers[bias.buffer].data, np.int64)


def _overflowing_bias(model: Any) -> None:
    graph = model.subgraphs[0]
    bias = graph.tensors[graph.operators[0].inputs[2]]
    model.buffers[bias.buffer].data = np.full(bias.shape[0], 2**31 - 1, np.int32)


def _no_tensors(model: Any) -> None:
    model.subgraphs[0].tensors = []


MALFORMED: dict[str, Callable[[Any], None]] = {
    function.__name__.lstrip("_"): function
    for function in (
        _float_model, _dynamic_width, _batch_two, _op_add, _custom_op, _dilation, _unit_axis_stride,
        _depth_multiplier, _relu6_at_tiny_scale,
        _weight_zero_point, _weight_axis, _weights_not_constant, _short_weights, _int16_input, _uint8_output, _tanh,
        _zero_stride, _zero_scale, _nan_scale, _no_quantization, _zero_point_out_of_range, _two_inputs, _two_outputs,
        _two_subgraphs, _no_operators, _tensor_index_out_of_range, _code_index_out_of_range,
        _buffer_index_out_of_range, _wrong_output_width, _wrong_channels, _two_dimensional, _rank_three,
        _skip_connection, _short_bias, _int64_bias, _no_tensors,
    )
}  # fmt: skip
"""Edits that turn the :data:`FAMILY` encoder into one that the reader must refuse, by name."""


def per_tensor_encoder(seed: int = 0) -> bytes:
    """The bytes of the :data:`FAMILY` encoder with one weight scale for all channels of its first layer."""
    model = encoder_model(FAMILY, 64, seed=seed, input_zero_point=-3)
    _per_tensor_weights(model)
    return serialize(model)


def dynamic_batch_encoder(seed: int = 0) -> bytes:
    """The :data:`FAMILY` encoder as TensorFlow's converter leaves a Keras model: a batch of any size."""
    model = encoder_model(FAMILY, 64, seed=seed, input_zero_point=-3)
    for tensor in _activations(model):
        tensor.shapeSignature = [-1, *tensor.shape[1:]]
    return serialize(model)


def overflowing_encoder(seed: int = 0) -> bytes:
    """The :data:`FAMILY` encoder with biases that may push an accumulator over int32: reads, but has no plan."""
    model = encoder_model(FAMILY, 64, seed=seed, input_zero_point=-3)
    _overflowing_bias(model)
    return serialize(model)


def malformed_encoder(kind: str, seed: int = 0) -> bytes:
    """The bytes of the :data:`FAMILY` encoder with one fault of :data:`MALFORMED`."""
    model = encoder_model(FAMILY, 64, seed=seed, input_zero_point=-3)
    MALFORMED[kind](model)
    return serialize(model)


def _activations(model: Any) -> list[Any]:
    """The tensors of the chain, input first."""
    graph = model.subgraphs[0]
    return [graph.tensors[graph.inputs[0]], *(graph.tensors[operator.outputs[0]] for operator in graph.operators)]


def _weights(model: Any) -> Any:
    graph = model.subgraphs[0]
    return graph.tensors[graph.operators[0].inputs[1]]


def _first_options(model: Any) -> Any:
    return model.subgraphs[0].operators[0].builtinOptions
