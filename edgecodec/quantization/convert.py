"""Keras models to TFLite: encoder in integers, float32 decoder, batch fixed at 1."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.codec.graph import Graph
from edgecodec.codec.numerics import INT8, Numerics
from edgecodec.codec.tflite_reader import read_graph
from edgecodec.errors import QuantizationError
from edgecodec.nn.backend import import_keras, import_tensorflow, quiet
from edgecodec.quantization.converter import configure, convert_apart, failure
from edgecodec.quantization.keras_files import SavedEncoder
from edgecodec.quantization.keras_layers import flat_layers
from edgecodec.signal.normalize import ZSCORE, Normalization

_TAME = frozenset(
    f"{name}{rank}"
    for names, ranks in (
        (("Conv", "DepthwiseConv", "SeparableConv"), ("1D", "2D")),
        (("UpSampling", "ZeroPadding", "Cropping", "MaxPooling", "AveragePooling"), ("1D", "2D")),
        (("Conv1DTranspose", "Conv2DTranspose", "Dense", "BatchNormalization", "LayerNormalization"), ("",)),
        (("InputLayer", "ReLU", "LeakyReLU", "ELU", "Activation", "Dropout", "Add", "Concatenate", "Reshape"), ("",)),
    )
    for name in names
    for rank in ranks
)
"""Layers that the converter takes without crashing."""


def convert_encoder(
    model: Any,
    calibration: npt.NDArray[np.int16],
    normalization: Normalization = ZSCORE,
    numerics: Numerics = INT8,
) -> tuple[bytes, Graph]:
    """Quantise an encoder by the ranges it shows on frames ``calibration`` (ADC counts ``[N, T]``).

    Returns the TFLite file and its graph. Raises QuantizationError when the frames cannot calibrate or
    TensorFlow cannot convert, UnsupportedOpError when the result has an op, type or shape that the integer
    engine does not run.
    """
    check_calibration(calibration, int(model.input_shape[2]))
    inputs = normalization.normalize(calibration).astype(np.float32)[:, None, None, :, None]
    data = _convert(model, "encoder", inputs, numerics)
    return data, read_graph(data)


def convert_decoder(model: Any) -> bytes:
    """Convert a decoder to float32 TFLite with built-in ops only. Raises QuantizationError."""
    return _convert(model, "decoder", None)


def predict(model: Any, inputs: npt.NDArray[np.float32], batch: int = 64) -> npt.NDArray[np.float32]:
    """Run a Keras model or SavedModel in inference over ``inputs [N, ...]``.

    Compiled by XLA, which also runs depthwise convolutions of unequal strides where TensorFlow's own
    kernel refuses them.
    """
    tf = import_tensorflow()
    run = tf.function(lambda x: model(x, training=False), jit_compile=True)
    outputs = []
    batch = model.input_shape[0] or batch
    with quiet():
        for start in range(0, len(inputs), batch):
            part = inputs[start : start + batch]
            padded = np.zeros((batch, *inputs.shape[1:]), np.float32)
            padded[: len(part)] = part
            outputs.append(run(padded).numpy()[: len(part)])
    return np.concatenate(outputs)


def check_calibration(frames: npt.NDArray[np.int16], samples: int) -> None:
    """Raise QuantizationError unless ``frames`` are ``[N, samples]`` with at least one that is not constant."""
    if frames.ndim != 2 or frames.shape[1] != samples:
        raise QuantizationError(f"calibration frames have shape {frames.shape}; the encoder takes [N, {samples}]")
    if len(frames) == 0:
        raise QuantizationError(
            "no calibration frames", hint="give real frames of the sensor, some hundreds if you can"
        )
    if not np.any(frames != frames[:, :1]):
        raise QuantizationError("every calibration frame is constant", hint="give real frames of the sensor")


def _function(tf: Any, model: Any) -> tuple[Any, Any]:
    """``model`` as one concrete function at batch 1, and the model that owns its variables.

    A Keras model converted as it is keeps a dynamic batch. It is converted as one function with constants, which gives
    the integers that TensorFlow's own road by way of a SavedModel on disk gives, several times as fast. A concrete
    function does not keep its variables alive, so the model must be held as long as the function is used.
    """
    signature = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name="input")
    if isinstance(model, SavedEncoder):
        return tf.function(model).get_concrete_function(signature), model
    keras = import_keras()
    inputs = keras.Input(batch_shape=(1, *model.input_shape[1:]), name="input")
    # Cloned, not nested, so that tensors carry the layers' own names.
    fixed = keras.models.clone_model(model, input_tensors=inputs)
    fixed.set_weights(model.get_weights())
    return tf.function(lambda x: fixed(x, training=False)).get_concrete_function(signature), fixed


def _convert(model: Any, role: str, inputs: npt.NDArray[np.float32] | None, numerics: Numerics = INT8) -> bytes:
    """Convert to ``numerics`` by the ranges on ``inputs [N, 1, ...]``, or to float32 without. Raises as above."""
    tf = import_tensorflow()
    with quiet():
        function, owner = _function(tf, model)
        if isinstance(model, SavedEncoder) or any(type(layer).__name__ not in _TAME for layer in flat_layers(model)):
            return convert_apart(function, role, inputs, numerics)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    configure(tf, converter, inputs, numerics)
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with quiet():
            data: bytes = converter.convert()
    # The converter raises anything from ValueError to its own ConverterError.
    except Exception as error:
        raise failure(role, error) from error
    finally:
        logger.setLevel(level)
        del owner  # until here, or the function's variables might be collected before they are read
    return data
