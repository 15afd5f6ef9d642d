"""Files that hold the indices of many frames (SPEC.md 4)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.errors import InputError
from edgecodec.files.atomic import npz_bytes, write_file
from edgecodec.files.limits import INDICES
from edgecodec.files.npz import read_npz


@dataclass(frozen=True)
class IndexFile:
    """Indices of N frames, as ``--indices-out`` writes and ``decode`` reads them."""

    indices: npt.NDArray[np.uint16]
    """Codebook indices uint16 ``[N, P, L]``."""
    offset: npt.NDArray[np.int32] | None = None
    """What the normaliser took off each frame (SPEC.md 1.1), int32 ``[N]``; None when the file holds none."""
    spread: npt.NDArray[np.uint64] | None = None
    """What it divided each by (SPEC.md 1.1), uint64 ``[N]``; None when the file holds none."""
    digest: str | None = None
    """Digest (SHA-256, hex) of the bundle that made the indices; None when the file does not say."""


def save_indices(path: str | os.PathLike[str], content: IndexFile) -> None:
    """Write indices as ``.npz`` (SPEC.md 4). Raises InputError when the file cannot be written."""
    arrays: dict[str, npt.NDArray[Any]] = {"indices": content.indices}
    if content.offset is not None and content.spread is not None:
        arrays |= {"offset": content.offset, "spread": content.spread}
    if content.digest is not None:
        arrays["digest"] = np.array(content.digest)
    write_file(path, npz_bytes(arrays))


def load_indices(path: str | os.PathLike[str]) -> IndexFile:
    """Read indices from a ``.npz`` (SPEC.md 4). Raises InputError."""
    source = Path(path)
    try:
        arrays = read_npz(source, source, "indices", INDICES)
    except InputError as error:
        error.hint = error.hint or "write them with: flash-and-verify --indices-out"
        raise
    if "indices" not in arrays:
        raise InputError(f"{source}: holds {', '.join(sorted(arrays)) or 'nothing'}; expected an array 'indices'")
    indices = _whole(arrays["indices"], "indices", np.dtype(np.uint16), 3, source)
    offset = _optional(arrays, "offset", np.dtype(np.int32), source)
    spread = _optional(arrays, "spread", np.dtype(np.uint64), source)
    digest = _digest(arrays["digest"], source) if "digest" in arrays else None
    return IndexFile(indices, offset, spread, digest)


def _digest(array: npt.NDArray[Any], source: Path) -> str:
    if array.dtype.kind != "U" or array.size != 1:
        raise InputError(f"{source}: digest is {array.dtype} {array.shape}; expected one text")
    return str(array.reshape(-1)[0])


def _optional(arrays: dict[str, Any], name: str, dtype: np.dtype[Any], source: Path) -> npt.NDArray[Any] | None:
    return _whole(arrays[name], name, dtype, 1, source) if name in arrays else None


def _whole(array: npt.NDArray[Any], name: str, dtype: np.dtype[Any], rank: int, source: Path) -> npt.NDArray[Any]:
    """Check rank, kind and range and convert to ``dtype``."""
    if array.ndim != rank or array.dtype.kind not in "iu":
        raise InputError(f"{source}: {name} is {array.dtype} {array.shape}; expected {dtype} of rank {rank}")
    limits = np.iinfo(dtype)
    if array.size and not limits.min <= int(array.min()) <= int(array.max()) <= limits.max:
        raise InputError(f"{source}: {name} holds {int(array.min())}..{int(array.max())}, outside {dtype}")
    return array.astype(dtype)
