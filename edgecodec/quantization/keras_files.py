"""Load trained Keras encoders and decoders, or say in one line why they cannot be used."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from edgecodec.errors import EdgecodecError, InputError, QuantizationError
from edgecodec.files.limits import MODEL
from edgecodec.files.regular import check_regular, open_regular
from edgecodec.nn.backend import import_keras, import_tensorflow, quiet
from edgecodec.quantization.keras_content import check_content
from edgecodec.quantization.keras_foreign import (
    ForeignLayer,
    foreign_layers,
    model_config,
    serialized_layers,
    stand_ins,
)
from edgecodec.quantization.keras_layers import WAYS_OUT, is_quantizer, other_quantizer

_RANK = 4
_LONGEST = 200
"""Characters kept of what Keras or TensorFlow say."""
_DOCUMENT = "docs/models.md has the whole road"
_FROM_ONNX = f"`pip install onnx2tf` and `onnx2tf -i MODEL.onnx -osd -o saved` make a SavedModel folder; {_DOCUMENT}"
_FROM_TORCH = (
    "`pip install onnx onnxscript` and, in Python, torch.onnx.export(model.eval(), frame, 'MODEL.onnx'); then "
    f"{_FROM_ONNX}"
)
_OTHER_FORMATS = {".onnx": _FROM_ONNX, **dict.fromkeys((".pt", ".pth", ".ckpt", ".safetensors"), _FROM_TORCH)}
"""What leads from the files of other frameworks to one that is read here, by suffix."""


_ZIP, _HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"
"""How ``.keras`` and ``.h5`` files begin."""


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
        self._axes = tuple(source.shape.as_list()[1:])
        self.input_shape: tuple[int | None, ...] = _on_four_axes(source.shape.as_list())
        """Batch, 1, T, 1, where the signature's own axes of size 1 may be others."""
        self.output_shape: tuple[int | None, ...] = _on_four_axes(target.shape.as_list())
        """Batch, 1, P, D, likewise."""
        self.layers: list[Any] = []
        """None that could be seen."""

    def __call__(self, x: Any, training: bool = False) -> Any:
        """Latents of a batch, in inference."""
        tf = import_tensorflow()
        if self._axes != self.input_shape[1:]:
            x = tf.reshape(x, (-1, *self._axes))
        y = self._signature(**{self._input: x})[self._output]
        return y if len(y.shape) == _RANK and y.shape[1] == 1 else tf.reshape(y, (-1, *self.output_shape[1:]))


def _on_four_axes(shape: list[int | None]) -> tuple[int | None, ...]:
    """``(batch, 1, W, C)`` for ``(batch, W, C)`` and ``(batch, W, 1, C)``; every other shape as it is."""
    batch, *axes, channels = shape
    long = [size for size in axes if size != 1]
    if not 1 <= len(axes) <= 2 or len(long) > 1:
        return tuple(shape)
    return (batch, 1, long[0] if long else 1, channels)


def load_encoder(path: str | os.PathLike[str]) -> Any:
    """Load an encoder from ``(1, T, 1)`` frames to ``(1, P, D)`` latents: ``.keras``, or a SavedModel folder.

    Raises InputError when it is neither, QuantizationError when it has another shape.
    """
    model = load_encoder_model(path)
    check_encoder(model, str(path))
    return model


def load_encoder_model(path: str | os.PathLike[str]) -> Any:
    """Load an encoder, or an autoencoder with one, of any shape: ``.keras``, ``.h5``, or a SavedModel folder.

    Raises InputError when it is neither, QuantizationError when a SavedModel has no signature of one input and output.
    """
    return _load_saved_model(Path(path)) if (Path(path) / "saved_model.pb").is_file() else _load(path, "encoder")


def load_decoder_model(path: str | os.PathLike[str]) -> Any:
    """Load a decoder, or an autoencoder with one, of any shape: ``.keras`` or ``.h5``. Raises InputError."""
    return _load(path, "decoder")


def check_encoder(model: Any, where: str) -> None:
    """Raise QuantizationError unless ``model`` maps ``(1, T, 1)`` to ``(1, P, D)``; ``where`` names it in messages."""
    inputs, outputs = _shapes(model, where, "encoder")
    if inputs[1] != 1 or inputs[3] != 1 or inputs[2] is None:
        raise QuantizationError(f"{where}: encoder takes {_text(inputs)}; expected frames (1, T, 1) of fixed length T")
    if outputs[1] != 1 or outputs[2] is None or outputs[3] is None:
        raise QuantizationError(f"{where}: encoder returns {_text(outputs)}; expected latents (1, P, D)")


def copy_of(model: Any) -> Any:
    """A Keras model of the same layers with weights of its own, so that training it leaves ``model`` alone."""
    copy = import_keras().models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def _load_saved_model(path: Path) -> SavedEncoder:
    left = MODEL
    for part in sorted(path.rglob("*")):
        if not part.is_dir():
            check_regular(part, "a file of a SavedModel", left)
            left -= part.stat().st_size
    tf = import_tensorflow()
    try:
        with quiet():
            loaded = tf.saved_model.load(str(path))
    # TensorFlow raises whatever the damaged part of the folder leads to.
    except Exception as error:
        reason = " ".join(str(error).split())[:_LONGEST] or type(error).__name__
        raise InputError(f"{path}: cannot be loaded as a SavedModel: {reason}") from error
    signatures = getattr(loaded, "signatures", {})
    for name in ("serving_default", "serve"):
        if name in signatures:
            return SavedEncoder(path, loaded, signatures[name])
    raise InputError(f"{path}: has signatures {sorted(signatures)}; expected 'serving_default' (or 'serve')")


def _load(path: str | os.PathLike[str], role: str) -> Any:
    source = Path(path)
    more = " or a SavedModel folder" if role == "encoder" else ""
    check_regular(source, f"the {role} as a .keras or .h5 file{more}", MODEL)
    _refuse_other_formats(source, role)
    with open_regular(source, f"the {role}", MODEL) as file:
        start = file.read(len(_HDF5))
    # Before TensorFlow is imported, which takes seconds.
    if not start.startswith((_ZIP, _HDF5)):
        raise InputError(f"{source}: cannot be loaded as a Keras {role} (truncated or not .keras)")
    check_content(source)
    keras = import_keras()
    # Codecs trained here may hold our own layers; importing them makes Keras know their names.
    from edgecodec.nn.autoencoder import helia_edge_objects

    known = helia_edge_objects()
    if source.suffix != ".keras":
        known["DepthwiseConv2D"] = _depthwise_of_keras_2(keras)
    config = model_config(source)
    foreign = foreign_layers(config, known)
    try:
        with quiet():
            model = keras.models.load_model(source, custom_objects={**known, **stand_ins(foreign)}, compile=False)
    # Keras raises whatever the damaged part of the file leads to.
    except Exception as error:
        if foreign:
            raise _unknown(source, foreign) from error
        text = " ".join(str(error).split()) or type(error).__name__
        if "`Lambda` layer" in text:
            names = [layer["config"]["name"] for layer in serialized_layers(config) if layer["class_name"] == "Lambda"]
            raise InputError(f"{source}: layer '{names[0]}' is Lambda", hint=WAYS_OUT["Lambda"]) from error
        function = re.search(r"Could not locate function '([^']+)'|Unknown activation function: '?(\w+)", text)
        if function is not None:
            raise InputError(
                f"{source}: holds the function '{function[1] or function[2]}', which is not Keras's",
                hint="train with ReLU or ReLU6",
            ) from error
        raise InputError(
            f"{source}: cannot be loaded as a Keras {role} (truncated or not .keras): {text[:_LONGEST]}"
        ) from error
    if isinstance(model, keras.Model):
        return model
    if foreign:
        raise _unknown(source, foreign)
    raise InputError(f"{source}: holds a {type(model).__name__}, no model; expected the {role}")


def _unknown(source: Path, foreign: list[ForeignLayer]) -> EdgecodecError:
    """The error of a model that cannot be built without the code of its layers."""
    quantizers = [layer for layer in foreign if is_quantizer(layer.kind)]
    layer = (quantizers or foreign)[0]
    other = other_quantizer(layer.kind)
    if other is not None:
        error: EdgecodecError = other.refusal(layer.name, layer.kind)
        error.within(str(source))
        return error
    return InputError(
        f"{source}: holds '{layer.name}' of the class {layer.kind}, which is not Keras's",
        hint="save the encoder alone, without it, or as a SavedModel (model.export), which holds the code",
    )


def _refuse_other_formats(source: Path, role: str) -> None:
    """Raise InputError for the files of other frameworks, with the way from there to here."""
    hint = _OTHER_FORMATS.get(source.suffix.lower())
    if hint is not None:
        raise InputError(f"{source}: a model of another framework; expected the {role} as a .keras file", hint=hint)


def _depthwise_of_keras_2(keras: Any) -> type:
    """What makes a ``DepthwiseConv2D`` of a file of Keras 2, which names ``groups``: Keras 3 does not know them."""

    class DepthwiseConv2D:
        @classmethod
        def from_config(cls, config: dict[str, Any]) -> Any:
            known = {key: value for key, value in config.items() if key != "groups"}
            return keras.layers.DepthwiseConv2D.from_config(known)

    return DepthwiseConv2D


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
