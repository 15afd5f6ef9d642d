"""TensorFlow and Keras, loaded late, quietly and repeatably."""

from __future__ import annotations

import io
import json
import os
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from edgecodec.errors import InputError, install_extra
from edgecodec.files.temporary import temporary_folder

_INSTALL_HINT = install_extra("train")
_EPOCH = (1980, 1, 1, 0, 0, 0)


def import_keras() -> Any:
    """Return the ``keras`` module with the TensorFlow backend.

    Raises InputError when either is missing or Keras runs on another backend.
    """
    _set_log_level()
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    try:
        with quiet():
            import keras
    except ImportError as error:
        raise InputError(f"Keras cannot be imported ({error})", hint=_INSTALL_HINT) from error
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise InputError(f"Keras runs on {backend!r}; expected 'tensorflow'", hint="unset KERAS_BACKEND")
    return keras


def import_tensorflow() -> Any:
    """Return the ``tensorflow`` module. Raises InputError when it is missing."""
    _set_log_level()
    try:
        with quiet():
            import tensorflow
    except ImportError as error:
        raise InputError(f"TensorFlow cannot be imported ({error})", hint=_INSTALL_HINT) from error
    return tensorflow


@contextmanager
def quiet() -> Iterator[None]:
    """Drop what TensorFlow prints: C++ logs on file descriptor 2, Keras's export notes on stdout, warnings."""
    silent = redirect_stdout(io.StringIO())
    with silent, warnings.catch_warnings(), tempfile.TemporaryFile() as sink:
        warnings.simplefilter("ignore")
        saved = os.dup(2)
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def save_keras(model: Any, path: Path) -> None:
    """Save ``model`` as ``.keras`` so that the same weights give the same bytes.

    Leaves out the time stamps, and numbers shared objects in order: Keras writes their addresses.
    """
    model.save(path)
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for name in sorted(source.namelist()):
            data = source.read(name)
            if name.endswith(".json"):
                data = json.dumps(_repeatable(json.loads(data), {})).encode()
            target.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)
    path.write_bytes(buffer.getvalue())


def keras_bytes(model: Any) -> bytes:
    """``model`` as the bytes that :func:`save_keras` writes."""
    with temporary_folder("keras") as folder:
        path = folder / "model.keras"
        save_keras(model, path)
        return path.read_bytes()


def _repeatable(node: Any, numbers: dict[int, int]) -> Any:
    if isinstance(node, list):
        return [_repeatable(item, numbers) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _repeatable(value, numbers) for key, value in node.items() if key != "date_saved"}
    if "shared_object_id" in kept:
        kept["shared_object_id"] = numbers.setdefault(kept["shared_object_id"], len(numbers))
    return kept


def _set_log_level() -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # oneDNN rounds by thread count and machine, and gains nothing at these sizes.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
