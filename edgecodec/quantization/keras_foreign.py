"""Layers of a saved Keras model whose code is not here: which they are, and layers that stand in their places.

A file holds the weights and settings of such a layer, not what it computes. Where it is the quantiser, or behind it,
that is not needed: the encoder ends before it. So it is replaced by a layer that hands on what it gets, which
everything here cuts off or refuses by its name.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecodec.errors import InputError
from edgecodec.files.limits import MODEL_DOCUMENT
from edgecodec.files.strict_json import parse_json
from edgecodec.nn.backend import import_keras

STAND_IN = "code_is_missing"
"""Attribute that only the layers made here have."""
_MODELS = ("Sequential", "Functional", "Model")


@dataclass(frozen=True)
class ForeignLayer:
    """A layer whose code is not here."""

    name: str
    """What the model calls it."""
    kind: str
    """Its class."""
    key: str
    """What Keras looks its class up by."""


def model_config(path: Path) -> Any:
    """What a ``.keras`` or ``.h5`` file says of its layers, parsed; None when it cannot be read or says nothing.

    Raises InputError for JSON that is not read.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive, archive.open("config.json") as member:
                text = member.read(MODEL_DOCUMENT)
        else:
            import h5py  # type: ignore[import-untyped]  # it has no stubs

            with h5py.File(path, "r") as file:
                text = file.attrs["model_config"]
    # A damaged file raises whatever the damaged part of it leads to; loading it says what that is.
    except Exception:
        return None
    try:
        return parse_json(text, finite=False) if isinstance(text, str | bytes) else None
    except ValueError as error:
        raise InputError(f"{path}: its layers are not readable JSON ({error})", hint="save it again") from error


def foreign_layers(config: Any, known: dict[str, Any]) -> list[ForeignLayer]:
    """Layers of a parsed configuration whose classes neither Keras nor ``known`` has, in the order of the file."""
    keras = import_keras()
    found: dict[tuple[str, str], ForeignLayer] = {}
    for node in serialized_layers(config):
        kind, module = node["class_name"], node.get("module")
        key = node.get("registered_name") or kind
        # Files of Keras 2 and before name no module, and Keras's own classes by their names alone.
        own = hasattr(keras.layers, kind) or kind in _MODELS if module is None else str(module).split(".")[0] == "keras"
        if not own and keras.saving.get_registered_object(key, custom_objects=known) is None:
            name = node["config"].get("name")
            found.setdefault((kind, str(name)), ForeignLayer(str(name), kind, key))
    return list(found.values())


def stand_ins(layers: list[ForeignLayer]) -> dict[str, type]:
    """A class for each class of ``layers``, to load a model with; its layers hand on what they get."""
    keras = import_keras()

    class Missing(keras.layers.Layer):  # type: ignore[misc, name-defined]  # keras comes late, untyped
        @classmethod
        def from_config(cls, config: dict[str, Any]) -> Any:
            return cls(name=config.get("name"))

        def build_from_config(self, config: dict[str, Any]) -> None:
            self.built = True

        def load_own_variables(self, store: Any) -> None:
            """Leave them in the file."""

        def call(self, x: Any, *_: Any, **__: Any) -> Any:
            return x

    setattr(Missing, STAND_IN, True)
    return {layer.key: type(layer.kind, (Missing,), {}) for layer in layers}


def serialized_layers(node: Any) -> Iterator[dict[str, Any]]:
    """Every serialised layer within ``node``; a model comes before its layers."""
    pending = [node]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            kind, config = part.get("class_name"), part.get("config")
            if isinstance(kind, str) and isinstance(config, dict) and "name" in config:
                yield part
            pending.extend(reversed([value for key, value in part.items() if key != "compile_config"]))
        elif isinstance(part, list):
            pending.extend(reversed(part))
