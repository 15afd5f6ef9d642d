"""Find encoder and decoder in the Keras models that people save, and give them the axes that everything here has."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecodec.codec.tflite_reader import MAX_WIDTH
from edgecodec.errors import EdgecodecError, QuantizationError
from edgecodec.nn.backend import import_keras, quiet
from edgecodec.quantization.convolutions import Convolution
from edgecodec.quantization.fold import fold, keras_model
from edgecodec.quantization.keras_files import SavedEncoder, check_encoder, load_decoder_model, load_encoder_model
from edgecodec.quantization.keras_layers import (
    INTO_THE_ONE_BEFORE,
    CheckedLayer,
    Verdict,
    flat_layers,
    is_known,
    is_quantizer,
    other_quantizer,
    read_layers,
    refusal,
)

_AS_THEY_ARE = ("InputLayer", "Conv2D", "DepthwiseConv2D", "BatchNormalization", "ReLU", "Activation", "Dropout")
"""Layers that TensorFlow's converter makes CONV_2D and DEPTHWISE_CONV_2D of."""


@dataclass(frozen=True)
class PlainEncoder:
    """A float encoder with one input ``(1, T, 1)`` and one output ``(1, P, D)``."""

    model: Any
    """Keras model, or :class:`~edgecodec.quantization.keras_files.SavedEncoder`."""
    is_given: bool
    """Whether it is the model that was given, not one of the same function made here."""
    notes: tuple[str, ...]
    """What was done to the model that was given, a phrase each."""
    layers: tuple[CheckedLayer, ...]
    """What becomes of each layer; none of a SavedModel, whose layers cannot be seen."""


def load_plain_encoder(path: Path) -> PlainEncoder:
    """The encoder in a ``.keras`` or ``.h5`` file or SavedModel folder. Raises InputError or QuantizationError."""
    return plain_encoder(load_encoder_model(path), str(path))


def plain_encoder(given: Any, where: str) -> PlainEncoder:
    """The encoder in a Keras model, which may be a whole autoencoder; ``where`` names it in messages.

    Raises QuantizationError, naming the layer and what to do, when it is none that can be quantised.
    """
    if isinstance(given, SavedEncoder):
        check_encoder(given, where)
        return PlainEncoder(given, True, (), ())
    try:
        return _plain_encoder(*_encoder_in(given))
    except EdgecodecError as error:
        error.within(where)
        raise


def examine_encoder(given: Any, where: str) -> tuple[list[CheckedLayer], tuple[str, ...]]:
    """What becomes of each layer of the encoder in a Keras model, and which model that is.

    Raises QuantizationError, with ``where``, when there is none, or one with other inputs or outputs.
    """
    try:
        model, notes = _encoder_in(given)
        model = _of_one_tensor(model, "encoder")
        _check_input(tuple(model.inputs[0].shape[1:]))
        _, rows = read_layers(model)
    except EdgecodecError as error:
        error.within(where)
        raise
    return rows, notes


def plain_decoder(given: Any, where: str, positions: int, channels: int, samples: int) -> Any:
    """The decoder in a Keras model, as one from latents ``(1, positions, channels)`` to frames ``(1, samples, 1)``.

    It is ``given`` itself where that has these axes. Raises QuantizationError when it maps other sizes; ``where`` names
    it in messages.
    """
    keras = import_keras()
    try:
        model = _of_one_tensor(_part(given, "decoder") or given, "decoder")
    except EdgecodecError as error:
        error.within(where)
        raise
    expected = ((1, positions, channels), (1, samples, 1))
    source, target = tuple(model.inputs[0].shape[1:]), tuple(model.outputs[0].shape[1:])
    if (source, target) == expected:
        return model
    misfit = QuantizationError(
        f"{where}: decoder maps {source} to {target}; this encoder needs {expected[0]} to {expected[1]}"
    )
    free = {(positions, channels): source, (1, positions, channels): source, (positions, 1, channels): source}
    fitting = [shape for shape in free if _matches(source, shape)]
    if not fitting:
        raise misfit
    latents = keras.Input(expected[0], name="latent")
    with quiet():
        try:
            frames = model(keras.layers.Reshape(fitting[0], name="latent_axes")(latents))
        # Keras raises whatever the shape that a layer does not take leads to.
        except (ValueError, TypeError) as error:
            raise misfit from error
    if math.prod(size or 0 for size in frames.shape[1:]) != samples:
        raise misfit
    return keras.Model(latents, keras.layers.Reshape(expected[1], name="frame_axes")(frames), name="decoder")


def load_plain_decoder(path: Path, positions: int, channels: int, samples: int) -> Any:
    """The decoder in a ``.keras`` or ``.h5`` file as :func:`plain_decoder` gives it. Raises InputError, too."""
    return plain_decoder(load_decoder_model(path), str(path), positions, channels, samples)


def _plain_encoder(given: Any, notes: tuple[str, ...]) -> PlainEncoder:
    model = _of_one_tensor(given, "encoder")
    source, target = tuple(model.inputs[0].shape[1:]), tuple(model.outputs[0].shape[1:])
    _check_input(source)
    convolutions, rows = read_layers(model)
    refused = [row for row in rows if row.verdict is Verdict.REFUSED]
    known = [row for row in refused if is_known(row)]
    if refused and (known or not _is_plain(source, target)):
        raise refusal((known or refused)[0])
    if refused:
        # A layer of somebody's own may be one that the converter folds: what comes out tells.
        return PlainEncoder(model, model is given, notes, tuple(rows))
    if _is_plain(source, target) and _is_standard(model) and _needs_no_folding(model, convolutions, rows):
        return PlainEncoder(model, model is given, notes, tuple(rows))
    folded = keras_model(fold(model), (math.prod(source[:-1]), source[-1]))
    note = f"{source} to {target} taken as {folded.input_shape[1:]} to {folded.output_shape[1:]}"
    return PlainEncoder(folded, False, (*notes, note) if not _is_plain(source, target) else notes, tuple(rows))


def _check_input(shape: tuple[int | None, ...]) -> None:
    """Raise QuantizationError unless frames of one channel and of fixed length have that shape."""
    expected = "expected frames (1, T, 1), (T, 1) or (T, 1, 1) of fixed length T"
    if len(shape) not in (2, 3):
        raise QuantizationError(f"encoder takes {shape}; {expected}")
    if None in shape:
        raise QuantizationError(
            f"encoder takes {shape}; {expected}",
            hint="build it again for frames of one length, as with Input((1, T, 1)), and load its weights into that",
        )
    if shape[-1] != 1:
        raise QuantizationError(
            f"encoder takes {shape}, {shape[-1]} channels; {expected}", hint="one codec runs one channel of PPG"
        )
    if len([size for size in shape[:-1] if size != 1]) > 1:
        raise QuantizationError(
            f"encoder takes {shape}, a picture; {expected}", hint="one codec runs one channel of PPG, samples in a row"
        )
    if not 1 <= math.prod(size or 0 for size in shape) <= MAX_WIDTH:
        raise QuantizationError(f"encoder takes {shape}; expected frames of 1 to {MAX_WIDTH:,} samples")


def _is_plain(source: tuple[int | None, ...], target: tuple[int | None, ...]) -> bool:
    return len(source) == len(target) == 3 and source[0] == target[0] == 1


def _is_standard(model: Any) -> bool:
    return all(
        type(layer).__name__ in _AS_THEY_ARE and layer.compute_dtype == "float32" for layer in flat_layers(model)
    )


def _needs_no_folding(model: Any, convolutions: list[Convolution], rows: list[CheckedLayer]) -> bool:
    """Whether the converter makes of ``model`` the very convolutions that were read from it."""
    if any(row.kind == "BatchNormalization" and row.note != INTO_THE_ONE_BEFORE for row in rows):
        return False
    own = [layer for layer in flat_layers(model) if "Conv" in type(layer).__name__]
    return len(own) == len(convolutions) and all(
        math.prod(layer.kernel_size) == len(conv.kernel) and layer.name == conv.name
        for layer, conv in zip(own, convolutions, strict=True)
    )


def _encoder_in(given: Any) -> tuple[Any, tuple[str, ...]]:
    """The encoder of an autoencoder, and which one that is; ``given`` itself when it is none."""
    layers = getattr(given, "layers", [])
    for layer in layers:
        other = other_quantizer(type(layer).__name__)
        if other is not None:
            raise other.refusal(layer.name, type(layer).__name__)
    part = _part(given, "encoder")
    if part is not None:
        return part, (f"the encoder is '{part.name}' of '{given.name}'",)
    for layer in layers:
        if is_quantizer(type(layer).__name__) and getattr(given, "inputs", None):
            cut = import_keras().Model(given.inputs, layer.input, name="encoder")
            return cut, (f"the encoder is what comes before '{layer.name}' of '{given.name}'",)
    return given, ()


def _part(given: Any, role: str) -> Any | None:
    """The model called ``role`` within an autoencoder ``given``; None when that is no autoencoder."""
    own = getattr(given, role, None)
    if hasattr(own, "layers"):
        return own
    inner = [layer for layer in getattr(given, "layers", []) if hasattr(layer, "layers")]
    roles = {name: [layer for layer in inner if name[:3] in layer.name.lower()] for name in ("encoder", "decoder")}
    # A model within a model is no autoencoder: only both halves, or one beside a quantiser, are.
    quantiser = any(is_quantizer(type(layer).__name__) for layer in getattr(given, "layers", []))
    found = roles[role]
    if len(found) == 1 and (quantiser or (roles["encoder"] and roles["decoder"])):
        return found[0]
    return None


def _of_one_tensor(model: Any, role: str) -> Any:
    """``model`` with one tensor in and one out, not in lists, tuples or dicts.

    Raises QuantizationError when it has more, or none that are known.
    """
    try:
        inputs, outputs = list(model.inputs or []), list(model.outputs or [])
    except (AttributeError, ValueError) as error:
        raise QuantizationError(f"the {role} has no fixed input shape", hint="save a functional model") from error
    if not inputs:
        raise QuantizationError(f"the {role} has no fixed input shape", hint="save a functional model")
    if len(inputs) != 1 or len(outputs) != 1:
        raise QuantizationError(
            f"the {role} has {len(inputs)} inputs and {len(outputs)} outputs; expected 1 and 1",
            hint=f"save the {role} alone, with its main output",
        )
    try:
        # A Sequential read from a file has never been called, and then has neither.
        if hasattr(model.input, "shape") and hasattr(model.output, "shape"):
            return model
    except AttributeError:
        pass
    return import_keras().Model(inputs[0], outputs[0], name=model.name)


def _matches(shape: tuple[int | None, ...], expected: tuple[int, ...]) -> bool:
    return len(shape) == len(expected) and all(
        size in (None, wanted) for size, wanted in zip(shape, expected, strict=True)
    )
