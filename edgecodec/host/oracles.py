"""Executors that other people wrote, against which ours are judged.

``tflm`` (the tflite-micro package) defines the arithmetic of the encoder and ``tflite`` (TFLite's reference
kernels) must agree with it on every byte. ``keras`` is the float model before quantisation: it is expected
to differ and shows by how much. Oracles are imported when first used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgecodec.codec.arrays import Activations, Frames, as_frames
from edgecodec.codec.reference import normalize, quantize_latent
from edgecodec.codec.stages import Stages
from edgecodec.errors import EdgecodecError, InputError, QuantizationError, install_extra

if TYPE_CHECKING:
    from edgecodec.bundle import Bundle
    from edgecodec.codec.graph import Graph, Tensor

FloatArray = npt.NDArray[np.float64]
_TFLM_FIXED_ARENA_BYTES = 1 << 18
"""Room for TFLM's own structures, beside the tensors."""
_TFLM_CHANNEL_BYTES = 64
"""Room for the requantisation constants of one output channel."""


class OracleError(EdgecodecError):
    """An oracle is missing or cannot run this bundle."""


class OracleMissingError(OracleError):
    """The Python package of an oracle is not installed, or the bundle lacks what it runs."""


class EncoderOracle:
    """An INT8 encoder run by someone else's kernels, one frame at a time."""

    def __init__(self, name: str, graph: Graph, infer: Callable[[Activations], Activations]) -> None:
        self._name = name
        self._shape = (graph.latent.width, graph.latent.channels)
        self._dtype = graph.latent.numerics.activation
        self._infer = infer

    def run(self, quantized: Activations) -> Activations:
        """Run the encoder: inputs ``[N, T]`` to latents ``[N, P, D]``. Raises OracleError."""
        latent = np.empty((len(quantized), *self._shape), self._dtype)
        try:
            for number, row in enumerate(quantized):
                latent[number] = self._infer(row).reshape(self._shape)
        except (RuntimeError, ValueError) as error:
            raise OracleError(f"{self._name}: {_first_line(error)} while running the bundle's encoder") from error
        return latent


def tflm_encoder(encoder: bytes, graph: Graph) -> EncoderOracle:
    """TFLite Micro's reference kernels over the bytes of a ``.tflite`` file whose graph is ``graph``.

    Raises OracleMissingError without the package, OracleError when it refuses the encoder.
    """
    try:
        from tflite_micro import runtime
    except ImportError as error:
        raise _missing("tflm", install_extra("verify")) from error
    tensors = max(layer.input.size_bytes + layer.output.size_bytes for layer in graph.layers)
    channels = sum(layer.output.channels for layer in graph.layers)
    arena_bytes = _TFLM_FIXED_ARENA_BYTES + 2 * tensors + _TFLM_CHANNEL_BYTES * channels
    try:
        interpreter = runtime.Interpreter.from_bytes(encoder, arena_size=arena_bytes)
    except RuntimeError as error:
        raise OracleError(f"tflm: TFLite Micro refuses the bundle's encoder ({_first_line(error)})") from error
    shape = tuple(interpreter.get_input_details(0)["shape"])

    def infer(row: Activations) -> Activations:
        interpreter.set_input(row.reshape(shape), 0)
        interpreter.invoke()
        output: Activations = interpreter.get_output(0)
        return output

    return EncoderOracle("tflm", graph, infer)


def tflite_reference_encoder(encoder: bytes, graph: Graph) -> EncoderOracle:
    """TFLite's reference kernels (``OpResolverType.BUILTIN_REF``) over the bytes of a ``.tflite`` file.

    Never the default interpreter: its XNNPACK delegate rounds once instead of twice and differs in about a
    tenth of the latents. Raises OracleMissingError without the package, OracleError when it refuses the encoder.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType
    except ImportError as error:
        raise _missing("tflite", "pip install ai-edge-litert") from error
    try:
        interpreter = Interpreter(
            model_content=encoder, experimental_op_resolver_type=OpResolverType.BUILTIN_REF, num_threads=1
        )
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as error:
        raise OracleError(f"tflite: TFLite refuses the bundle's encoder ({_first_line(error)})") from error
    source = interpreter.get_input_details()[0]
    target = interpreter.get_output_details()[0]["index"]

    def infer(row: Activations) -> Activations:
        interpreter.set_tensor(source["index"], row.reshape(source["shape"]))
        interpreter.invoke()
        output: Activations = interpreter.get_tensor(target)
        return output

    return EncoderOracle("tflite", graph, infer)


class _OracleExecutor:
    """An encoder oracle between the reference's normaliser and its codebook search."""

    name: str

    def __init__(self, bundle: Bundle, encoder: EncoderOracle) -> None:
        self._bundle = bundle
        self._encoder = encoder

    def stages(self, frames: Frames) -> Stages:
        """Encode int16 ``[N, T]``; only ``latent`` and what follows from it is the oracle's, the rest is None.

        Raises InputError for frames of another shape or type, OracleError when the oracle fails.
        """
        bundle = self._bundle
        quantized, _, _ = normalize(bundle.codec.normalizer, as_frames(frames, bundle.codec.samples))
        latent = self._encoder.run(quantized)
        return Stages(latent=latent, indices=quantize_latent(bundle.codec.rvq, latent))

    def encode(self, frames: Frames) -> npt.NDArray[np.uint16]:
        """Encode int16 ``[N, T]`` into uint16 ``[N, P, L]``. Raises as :meth:`stages` does."""
        return self.stages(frames).indices


class TflmExecutor(_OracleExecutor):
    """A bundle through :func:`tflm_encoder`, the definition of the encoder's arithmetic. Raises as that does."""

    name = "tflm"

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle, tflm_encoder(bundle.encoder_bytes, bundle.codec.graph))


class TfliteReferenceExecutor(_OracleExecutor):
    """A bundle through :func:`tflite_reference_encoder`. Raises as that does."""

    name = "tflite"

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle, tflite_reference_encoder(bundle.encoder_bytes, bundle.codec.graph))


class KerasExecutor:
    """The float encoder of the bundle and a float codebook search over its float latents.

    ``input`` and ``latent`` are those floats, quantised for comparison with the bundle's scales (round half
    away from zero); neither rounding feeds the next stage. Raises OracleMissingError without TensorFlow or
    without ``encoder.keras`` in the bundle, OracleError when the file does not load or has another shape.
    """

    name = "keras"

    def __init__(self, bundle: Bundle) -> None:
        from edgecodec.bundle import KERAS_ENCODER
        from edgecodec.nn.backend import import_keras, import_tensorflow
        from edgecodec.quantization.keras_files import load_encoder

        path = bundle.file(KERAS_ENCODER)
        if path is None:
            raise OracleMissingError(
                f"keras: {bundle.path} holds no {KERAS_ENCODER}", hint="quantize it from a Keras encoder"
            )
        try:
            import_tensorflow()
            import_keras()
        except InputError as error:
            raise OracleMissingError(f"keras: {error}") from error
        try:
            self._model: Any = load_encoder(path)
        except (InputError, QuantizationError) as error:
            raise OracleError(f"keras: {error}") from error
        found = (self._model.input_shape[1:], self._model.output_shape[1:])
        expected = ((1, bundle.codec.samples, 1), (1, bundle.codec.positions, bundle.codec.rvq.dimension))
        if found != expected:
            raise OracleError(
                f"keras: {path} maps {found[0]} to {found[1]}; the bundle's encoder {expected[0]} to {expected[1]}"
            )
        self._bundle = bundle

    def stages(self, frames: Frames) -> Stages:
        """Encode int16 ``[N, T]`` in float. Raises InputError for frames of another shape or type."""
        from edgecodec.quantization.codebooks import quantize_float
        from edgecodec.quantization.convert import predict
        from edgecodec.quantization.measure import float_biases, float_codebooks

        bundle, rvq = self._bundle, self._bundle.codec.rvq
        frames = as_frames(frames, bundle.codec.samples)
        normalized = bundle.codec.normalizer.normalization.normalize(frames)
        latent = np.zeros((0, rvq.dimension))
        if len(frames):
            batch = normalized.astype(np.float32)[:, None, :, None]
            latent = predict(self._model, batch).reshape(-1, rvq.dimension).astype(np.float64)
        indices, _ = quantize_float(latent, float_codebooks(rvq), float_biases(rvq))
        shape = (len(frames), bundle.codec.positions)
        source, target = bundle.codec.graph.input, bundle.codec.graph.latent
        return Stages(
            input=_quantize(normalized, source),
            latent=_quantize(latent, target).reshape(*shape, rvq.dimension),
            indices=indices.reshape(*shape, rvq.levels),
        )

    def encode(self, frames: Frames) -> npt.NDArray[np.uint16]:
        """Encode int16 ``[N, T]`` into uint16 ``[N, P, L]``. Raises as :meth:`stages` does."""
        return self.stages(frames).indices


def _quantize(real: FloatArray, tensor: Tensor) -> Activations:
    """Real values of any shape as the activations of ``tensor``, half away from zero."""
    steps = real / tensor.scale
    return tensor.numerics.clip(np.copysign(np.floor(np.abs(steps) + 0.5), steps) + tensor.zero_point)


def _missing(executor: str, hint: str) -> OracleMissingError:
    return OracleMissingError(f"{executor}: the package is not installed", hint=hint)


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__
