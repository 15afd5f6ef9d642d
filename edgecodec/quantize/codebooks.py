"""Float codebooks: load, check and search them."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecodec.errors import EdgecodecError, InputError, QuantizationError
from edgecodec.nn.kmeans import nearest
from edgecodec.rvq import check_codebook_shapes

FloatArray = npt.NDArray[np.floating]


def load_codebooks(path: str | os.PathLike[str]) -> list[FloatArray]:
    """Load ``level_0``, ``level_1``, ... float ``[K, D]`` from a ``.npz``; K may differ between levels.

    Raises InputError.
    """
    source = Path(path)
    if not source.is_file():
        raise InputError(f"{source}: no such file; expected codebooks as .npz with level_0, level_1, ...")
    try:
        loaded = np.load(source, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise InputError(f"{source}: holds a single array; expected a .npz with level_0, level_1, ...")
        with loaded:
            arrays = {key: loaded[key] for key in loaded.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{source}: not a readable .npz of codebooks ({error})") from error
    count = sum(1 for key in arrays if re.fullmatch(r"level_\d+", key))
    names = [f"level_{level}" for level in range(count)]
    if count == 0 or sorted(arrays) != sorted(names):
        found = ", ".join(sorted(arrays)) or "nothing"
        raise InputError(f"{source}: holds {found}; expected only level_0, level_1, ... without a gap")
    for name in names:
        if arrays[name].dtype.kind != "f":
            raise InputError(f"{source}: {name} is {arrays[name].dtype}; expected float [K, D]")
    books = [arrays[name] for name in names]
    try:
        check_codebook_shapes(books)
    except EdgecodecError as error:
        raise InputError(f"{source}: {error}") from error
    return books


def check_codebooks(codebooks: Sequence[FloatArray], channels: int) -> None:
    """Raise QuantizationError unless the codes are as long as the latent has ``channels``."""
    check_codebook_shapes(codebooks)
    dimension = codebooks[0].shape[1]
    if dimension != channels:
        raise QuantizationError(
            f"codes have {dimension} entries; the encoder's latent has {channels} channels "
            "(check that encoder and codebooks are of one model)"
        )


def quantize_float(
    latents: npt.NDArray[np.floating], codebooks: Sequence[FloatArray]
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.float64]]:
    """Residual search in float64: indices ``[N, L]`` and the sum of their codes ``[N, D]``."""
    residual = np.asarray(latents, np.float64)
    indices = []
    for book in codebooks:
        index, _ = nearest(residual, book)
        residual = residual - book[index]
        indices.append(index)
    return np.stack(indices, axis=-1).astype(np.uint16), latents - residual
