"""Float codebooks: load, check, search and refit them."""

from __future__ import annotations

import glob
import os
import re
import zipfile
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.codec.rvq import check_codebook_shapes
from edgecodec.errors import EdgecodecError, InputError, QuantizationError
from edgecodec.nn.kmeans import nearest
from edgecodec.quantization.keras_codebooks import natural, read_keras_codebooks

FloatArray = npt.NDArray[np.floating[Any]]
_EXPECTED = (
    "expected codebooks as .npz with level_0, level_1, ..., a saved Keras model (.keras, .h5), or a folder or "
    "pattern of .npy files, one a level"
)
_PARALLEL = 0.9999
_LARGEST = 1e15
"""Largest absolute entry of a code; sums of the squares of many still fit float32."""


def load_codebooks(path: str | os.PathLike[str]) -> list[FloatArray]:
    """Load float codebooks ``[K, D]`` level by level; K may differ between levels.

    From a ``.npz`` with ``level_0``, ``level_1``, ...; the quantiser layer of a saved Keras model (``.keras``,
    ``.h5``); or ``.npy`` files, one a level, in a folder or matching a pattern, in the order of the numbers in
    their names. Raises InputError.
    """
    source = Path(path)
    if source.is_dir():
        books = _load_npy(sorted(source.glob("*.npy")), source)
    elif not source.exists() and glob.has_magic(str(source)):
        books = _load_npy([Path(name) for name in glob.glob(str(source))], source)
    elif not source.is_file():
        raise InputError(f"{source}: no such file; {_EXPECTED}")
    elif source.suffix in (".keras", ".h5"):
        books = read_keras_codebooks(source)
    else:
        books = _load_npz(source)
    try:
        check_codebook_shapes(books)
    except EdgecodecError as error:
        raise InputError(f"{source}: {error}") from error
    return books


def as_codebooks(given: str | os.PathLike[str] | Sequence[FloatArray]) -> list[FloatArray]:
    """Float codebooks ``[K, D]`` from what :func:`load_codebooks` reads, or from arrays, one a level.

    Raises InputError.
    """
    if isinstance(given, str | os.PathLike):
        return load_codebooks(given)
    books = [_float(np.asarray(book), f"codebook {level}") for level, book in enumerate(given)]
    try:
        check_codebook_shapes(books)
    except EdgecodecError as error:
        raise InputError(str(error)) from error
    return books


def check_codebooks(codebooks: Sequence[FloatArray], channels: int, levels: int | None = None) -> None:
    """Raise QuantizationError unless these are trained codebooks for a latent of ``channels`` channels.

    Refused are codes of another length, another count than ``levels`` (when given), NaN, infinity and values whose
    squares leave float32, codes that are all the same, and moving sums of an EMA quantiser taken for another level.
    """
    check_codebook_shapes(codebooks)
    dimension = codebooks[0].shape[1]
    if dimension != channels:
        raise QuantizationError(
            f"codes have {dimension} entries; the encoder's latent has {channels} channels",
            hint="check that encoder and codebooks are of one model",
        )
    if levels is not None and len(codebooks) != levels:
        raise QuantizationError(f"{len(codebooks)} codebooks; the model has {levels} levels")
    for level, book in enumerate(codebooks):
        if not np.isfinite(book).all():
            raise QuantizationError(f"codebook level_{level} holds NaN or infinity")
        largest = float(np.abs(book).max())
        if largest > _LARGEST:
            raise QuantizationError(
                f"codebook level_{level} holds values up to {largest:g}; expected at most {_LARGEST:g}, as a float32 "
                "search squares them"
            )
        if len(book) > 1 and np.all(book == book[0]):
            raise QuantizationError(f"codebook level_{level}: all {len(book)} codes are equal (never trained?)")
    for first, second in combinations(range(len(codebooks)), 2):
        if _row_by_row_parallel(codebooks[first], codebooks[second]):
            raise QuantizationError(
                f"codebook level_{second} is level_{first} with each code scaled: the moving sums of an EMA "
                "quantiser, not codes",
                hint="export the codebooks alone",
            )


def quantize_float(
    latents: npt.NDArray[np.floating[Any]], codebooks: Sequence[FloatArray]
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.float64]]:
    """Residual search in float64: indices ``[N, L]`` and the sum of their codes ``[N, D]``."""
    residual = np.asarray(latents, np.float64)
    indices = []
    for book in codebooks:
        index, _ = nearest(residual, book)
        residual = residual - book[index]
        indices.append(index)
    return np.stack(indices, axis=-1).astype(np.uint16), latents - residual


def refit(
    codebooks: Sequence[FloatArray], latents: npt.NDArray[np.floating[Any]], iterations: int = 3
) -> list[FloatArray]:
    """Move each code to the mean of those of ``latents [N, D]`` that choose it, level by level; k-means' step.

    Codes that nothing chooses stay.
    """
    residual = np.asarray(latents, np.float64)
    fitted: list[FloatArray] = []
    for given in codebooks:
        book = np.array(given, np.float64)
        for _ in range(iterations):
            index, _ = nearest(residual, book)
            total = np.zeros_like(book)
            np.add.at(total, index, residual)
            count = np.bincount(index, minlength=len(book))[:, None]
            book = np.where(count > 0, total / np.maximum(count, 1), book)
        residual = residual - book[nearest(residual, book)[0]]
        fitted.append(book)
    return fitted


def _row_by_row_parallel(first: FloatArray, second: FloatArray) -> bool:
    if first.shape != second.shape or min(first.shape) < 2:
        return False
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosine = np.sum(first * second, axis=1) / np.maximum(norms, 1e-30)
    return float(np.median(cosine)) > _PARALLEL


def _load_npz(source: Path) -> list[FloatArray]:
    try:
        loaded = np.load(source, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            raise InputError(f"{source}: holds a single array; {_EXPECTED}")
        with loaded:
            arrays = {key: loaded[key] for key in loaded.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{source}: not a readable .npz of codebooks ({error})") from error
    count = sum(1 for key in arrays if re.fullmatch(r"level_\d+", key))
    names = [f"level_{level}" for level in range(count)]
    if count == 0 or sorted(arrays) != sorted(names):
        found = ", ".join(sorted(arrays)) or "nothing"
        raise InputError(f"{source}: holds {found}; expected only level_0, level_1, ... without a gap")
    return [_float(arrays[name], f"{source}: {name}") for name in names]


def _load_npy(files: Sequence[Path], source: Path) -> list[FloatArray]:
    if not files:
        raise InputError(f"{source}: no .npy file; {_EXPECTED}")
    ordered = sorted(files, key=lambda file: natural(file.name))
    numbers = [[int(number) for number in re.findall(r"\d+", file.stem)][-1:] for file in ordered]
    flat = [number for found in numbers for number in found]
    if len(flat) != len(files) or flat != list(range(flat[0], flat[0] + len(flat))) or flat[0] > 1:
        names = ", ".join(file.name for file in ordered)
        raise InputError(f"{source}: holds {names}; expected one file a level, numbered from 0 or 1 without a gap")
    books = []
    for file in ordered:
        try:
            array = np.load(file, allow_pickle=False)
        except (ValueError, OSError, EOFError) as error:
            raise InputError(f"{file}: not a readable .npy ({error})") from error
        if not isinstance(array, np.ndarray):
            raise InputError(f"{file}: is no .npy array")
        books.append(_float(array, str(file)))
    return books


def _float(array: npt.NDArray[Any], where: str) -> FloatArray:
    if array.dtype.kind != "f":
        raise InputError(f"{where} is {array.dtype}; expected float [K, D]")
    return array
