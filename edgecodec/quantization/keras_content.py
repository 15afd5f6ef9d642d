"""What a ``.keras`` or ``.h5`` file holds, looked at before Keras reads it: no more than memory, nothing outside."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

from edgecodec.errors import InputError, install_extra
from edgecodec.files.limits import MODEL
from edgecodec.files.npz import Bounded, one_error
from edgecodec.files.regular import open_regular

_WEIGHTS = "model.weights.h5"
_DEEPEST = 100


def check_content(path: Path) -> None:
    """Raise InputError for a file that unpacks to more than 512 MiB, or that has its weights from another file.

    HDF5 knows links to other files, arrays whose data lie in them, and arrays that take memory and no room in the file.
    """
    try:
        import h5py  # type: ignore[import-untyped]  # it has no stubs
    except ImportError as error:
        raise InputError(f"{path}: h5py is needed to read it", hint=install_extra("train")) from error
    with one_error(path, "not a readable Keras model"), open_regular(path, "a Keras model", MODEL) as file:
        weights: Any = file
        if file.read(2) == b"PK":
            with zipfile.ZipFile(Bounded(file)) as archive:
                unpacked = sum(info.file_size for info in archive.infolist())
                if unpacked > MODEL:
                    raise InputError(f"{path}: unpacks to {unpacked:,} bytes; at most {MODEL:,} are read")
                if _WEIGHTS not in archive.namelist():
                    return
                weights = io.BytesIO(archive.read(_WEIGHTS))
        weights.seek(0)
        with h5py.File(weights, "r") as opened:
            _check_arrays(opened, path, h5py)


def _check_arrays(opened: Any, path: Path, h5py: Any) -> None:
    """Raise InputError for what takes too much or is elsewhere."""
    seen: set[Any] = set()
    groups = [opened]
    left = MODEL
    for _ in range(_DEEPEST):
        below = []
        for group in groups:
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise InputError(f"{path}: {group.name}/{name} is a link; expected a model whole in one file")
                item = group[name]
                address = h5py.h5o.get_info(item.id).addr
                if address in seen:
                    continue
                seen.add(address)
                if isinstance(item, h5py.Group):
                    below.append(item)
                elif isinstance(item, h5py.Dataset):
                    if item.external or item.is_virtual:
                        raise InputError(f"{path}: {item.name} lies in another file; expected a model whole in one")
                    left -= item.size * item.dtype.itemsize if item.shape is not None else 0
                    if left < 0:
                        raise InputError(f"{path}: {item.name} and others take more than {MODEL:,} bytes")
        if not below:
            return
        groups = below
    raise InputError(f"{path}: nested too deeply")
