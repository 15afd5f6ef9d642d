"""Load trained Keras encoders and decoders, or say in one line why they cannot be used."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from edgecodec.errors import InputError, QuantizationError
from edgecodec.nn.backend import import_keras, import_tensorflow, quiet

_RANK = 4


class SavedEncoder:
    """An encoder from a SavedModel: a function of which only the shapes are known."""

    def __init__(self, path: Path, loaded: Any, signature: Any) -> None:
        inputs, outputs = signature.structured_input_signature[1], signature.structured_outputs
        if len(inputs) != 1 or len(outputs) != 1:
            raise QuantizationError(
                f"{path}: the serving signature has {len(inputs)} inputs and {len(outputs)} outputs; expected 1 and 1"
            )
        self._input, source = next(iter(inputs.items()))
        self._output, target = next(iter(outputs.items()))
        if source.shape.rank is None or target.shape.rank is None:
            raise QuantizationError(f"{path}: the serving signature has no fixed shapes", hint="export it with them")
        self._signature = signature
        self.loaded = loaded
        """Keeps the variables alive."""
        self.input_shape: tuple[int | None, ...] = tuple(source.shape.as_list())
        self.output_shape: tuple[int | None, ...] = tuple(target.shape.as_list())
        self.layers: list[Any] = []
        """None that could be seen."""

    def __call__(self, x: Any, training: bool = False) -> Any:
        """Latents of a batch, in inference."""
        return self._signature(**{self._input: x})[self._output]


def load_encoder(path: str | os.PathLike[str]) -> Any:
    """Load an encoder from ``(1, T, 1)`` frames to ``(1, P, D)`` latents: ``.keras``, or a SavedModel folder.

    Raises InputError when it is neither, QuantizationError when its shape or a layer cannot be quantised.
    """
    model = _load_saved_model(Path(path)) if (Path(path) / "saved_model.pb").is_file() else _load(path, "encoder")
    check_encoder(model, str(path))
    return model


def check_encoder(model: Any, where: str) -> None:
    """Raise QuantizationError unless ``model`` maps ``(1, T, 1)`` to ``(1, P, D)`` with layers that can be quantised.

    ``where`` names the model in messages.
    """
    inputs, outputs = _shapes(model, where, "encoder")
    if inputs[1] != 1 or inputs[3] != 1 or inputs[2] is None:
        raise QuantizationError(f"{where}: encoder takes {_text(inputs)}; expected frames (1, T, 1) of fixed length T")
    if outputs[1] != 1 or outputs[2] is None or outputs[3] is None:
        raise QuantizationError(f"{where}: encoder returns {_text(outputs)}; expected latents (1, P, D)")
    for layer in flat_layers(model):
        if "LayerNormalization" in type(layer).__name__:
            raise QuantizationError(
                f"{where}: encoder layer '{layer.name}' is {type(layer).__name__}, which cannot be folded into a "
                "convolution",
                hint="train the encoder with norm 'batch' or 'none'",
            )


def load_decoder(path: str | os.PathLike[str], positions: int, channels: int, samples: int) -> Any:
    """Load a decoder from ``(1, positions, channels)`` latents to ``(1, samples, 1)`` frames.

    Raises InputError or QuantizationError.
    """
    model = _load(path, "decoder")
    check_decoder(model, str(path), positions, channels, samples)
    return model


def check_decoder(model: Any, where: str, positions: int, channels: int, samples: int) -> None:
    """Raise QuantizationError unless ``model`` maps ``(1, positions, channels)`` to ``(1, samples, 1)``.

    ``where`` names the model in messages.
    """
    inputs, outputs = _shapes(model, where, "decoder")
    expected = ((1, positions, channels), (1, samples, 1))
    if (inputs[1:], outputs[1:]) != expected:
        raise QuantizationError(
            f"{where}: decoder maps {_text(inputs)} to {_text(outputs)}; "
            f"this encoder needs {expected[0]} to {expected[1]}"
        )


def copy_of(model: Any) -> Any:
    """A Keras model of the same layers with weights of its own, so that training it leaves ``model`` alone."""
    copy = import_keras().models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def flat_layers(model: Any) -> list[Any]:
    """Every layer of ``model`` and of the models within it."""
    return [inner for layer in model.layers for inner in (flat_layers(layer) if hasattr(layer, "layers") else [layer])]


def _load_saved_model(path: Path) -> SavedEncoder:
    tf = import_tensorflow()
    try:
        with quiet():
            loaded = tf.saved_model.load(str(path))
    # TensorFlow raises whatever the damaged part of the folder leads to.
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path}: cannot be loaded as a SavedModel: {reason}") from error
    signatures = getattr(loaded, "signatures", {})
    for name in ("serving_default", "serve"):
        if name in signatures:
            return SavedEncoder(path, loaded, signatures[name])
    raise InputError(f"{path}: has signatures {sorted(signatures)}; expected 'serving_default' (or 'serve')")


def _load(path: str | os.PathLike[str], role: str) -> Any:
    source = Path(path)
    if not source.is_file():
        kind = "is a folder" if source.is_dir() else "no such file"
        more = " or a SavedModel folder" if role == "encoder" else ""
        raise InputError(f"{source}: {kind}; expected the {role} as a .keras file{more}")
    keras = import_keras()
    # Codecs trained here may hold our own layers; importing them makes Keras know their names.
    import edgecodec.nn.autoencoder  # noqa: F401

    try:
        with quiet():
            model = keras.models.load_model(source, compile=False)
    # Keras raises whatever the damaged part of the file leads to.
    except Exception as error:
        unknown = re.search(r"Could not locate class '([^']+)'", str(error))
        if unknown is not None:
            raise InputError(
                f"{source}: holds a layer {unknown[1]!r} that is not Keras's", hint=f"save a plain {role} without it"
            ) from error
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{source}: cannot be loaded as a Keras {role} (truncated or not .keras): {reason}") from error
    return model


def _shapes(model: Any, where: str, role: str) -> tuple[tuple[int | None, ...], ...]:
    try:
        shapes = model.input_shape, model.output_shape
    except (AttributeError, ValueError) as error:
        raise QuantizationError(
            f"{where}: the {role} has no fixed input shape", hint="save a functional model"
        ) from error
    for shape in shapes:
        if not isinstance(shape, tuple) or len(shape) != _RANK:
            raise QuantizationError(
                f"{where}: the {role} maps {shapes[0]} to {shapes[1]}; expected one input and one output of rank 4, "
                "(batch, 1, T, C)"
            )
    return shapes


def _text(shape: tuple[int | None, ...]) -> str:
    return str(tuple(shape[1:]))
