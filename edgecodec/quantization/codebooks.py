"""Float codebooks: load, check, search and refit them."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.codec.rvq import check_bias_shapes, check_codebook_shapes
from edgecodec.errors import EdgecodecError, InputError, QuantizationError
from edgecodec.files.limits import CODEBOOKS
from edgecodec.files.npz import open_npz, read_npy
from edgecodec.files.regular import check_regular, open_regular
from edgecodec.nn.kmeans import nearest
from edgecodec.quantization.keras_codebooks import codes_beside_averages, is_average, natural, read_keras_codebooks

FloatArray = npt.NDArray[np.floating[Any]]
_Arrays = dict[str, npt.NDArray[Any]]
_EXPECTED = (
    "expected codebooks as .npz with level_0, level_1, ..., one array [M, K, D] as .npz or .npy, a saved Keras model "
    "(.keras, .h5), or a folder or pattern of .npy files, one a level"
)
_MAGIC = (b"PK", b"\x93NUMPY")
"""First bytes of ``.npz`` and ``.npy`` files; of anything else numpy says that it might be unpickled."""
_NUMBERED = re.compile(r"(.*?)(\d+)")
_CODES = re.compile(r"(?i)level|code|book|embedding")
_PARALLEL = 0.9999
_LARGEST = 1e15
"""Largest absolute entry of a code; sums of the squares of many still fit float32, and of the reciprocal's, too."""


@dataclass(frozen=True)
class Codebooks:
    """Float codebooks, and what was done to find them."""

    levels: list[FloatArray]
    """``[K, D]``, one a level; K may differ between levels."""
    notes: tuple[str, ...] = ()
    """What was left out or taken apart, a phrase each."""
    biases: list[FloatArray] | None = None
    """What choosing each code costs beside its squared distance, ``[K]`` a level in squared units of the latent."""


def load_codebooks(path: str | os.PathLike[str]) -> list[FloatArray]:
    """The levels of :func:`open_codebooks` for a file, folder or pattern. Raises InputError."""
    return open_codebooks(path).levels


def open_codebooks(given: str | os.PathLike[str] | Sequence[npt.NDArray[Any]]) -> Codebooks:
    """Float codebooks ``[K, D]``, level by level, from files or arrays.

    Args:
        given: A ``.npz`` with ``level_0``, ``level_1``, ... or other names that end in numbers from 0 or 1; beside
            the former ``bias_0``, ``bias_1``, ... ``[K]``, what choosing a code costs (SPEC.md 1.3); a ``.npz`` or
            ``.npy`` of one array ``[M, K, D]`` or ``[K, D]``; a saved Keras model (``.keras``, ``.h5``) that holds
            the quantiser; ``.npy`` files, one a level, in a folder or matching a pattern, in the order of the numbers
            in their names; or arrays, one a level. Whole numbers become floats.

    Returns:
        The codebooks. Moving counts and sums of an EMA quantiser among the levels are taken out, and other arrays of a
        ``.npz`` left out; the notes say so.

    Raises:
        InputError: Nothing there is sure to be the codebooks.
    """
    if isinstance(given, str | os.PathLike):
        source = Path(given)
        where, (arrays, costs, notes) = f"{source}: ", _read_file(source)
    else:
        where, costs, notes = "", {}, []
        arrays = {f"codebook {level}": _as_array(book, level) for level, book in enumerate(given)}
    try:
        books = [_float(array, f"{where}{name}") for name, array in arrays.items()]
        books, averages = _without_averages(books, list(arrays), f"{where}the quantiser")
        check_codebook_shapes(books)
        biases = [_float(array, f"{where}{name}") for name, array in costs.items()] or None
        check_bias_shapes(biases, [len(book) for book in books])
    except InputError:
        raise
    except EdgecodecError as error:
        raise InputError(f"{where}{error}") from error
    return Codebooks(books, (*notes, *averages), biases)


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
            hint="they lie the other way round, [D, K]: transpose them to [K, D]"
            if all(book.shape[0] == channels for book in codebooks)
            else "check that encoder and codebooks are of one model",
        )
    if levels is not None and len(codebooks) != levels:
        raise QuantizationError(f"{len(codebooks)} codebooks; the model has {levels} levels")
    for level, book in enumerate(codebooks):
        if not np.isfinite(book).all():
            raise QuantizationError(f"codebook level_{level} holds NaN or infinity")
        largest = float(np.abs(book).max())
        if largest > _LARGEST or 0 < largest < 1 / _LARGEST:
            limit = f"at most {_LARGEST:g}" if largest > 1 else f"at least {1 / _LARGEST:g}"
            raise QuantizationError(
                f"codebook level_{level} holds values up to {largest:g}; expected {limit}, as a float32 search squares "
                "them"
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
    latents: npt.NDArray[np.floating[Any]],
    codebooks: Sequence[FloatArray],
    biases: Sequence[FloatArray] | None = None,
) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.float64]]:
    """Residual search in float64: indices ``[N, L]`` and the sum of their codes ``[N, D]``.

    ``biases`` ``[K]`` a level are what choosing each code costs beside its squared distance.
    """
    residual = np.asarray(latents, np.float64)
    indices = []
    for level, book in enumerate(codebooks):
        index, _ = nearest(residual, book, None if biases is None else biases[level])
        residual = residual - book[index]
        indices.append(index)
    return np.stack(indices, axis=-1).astype(np.uint16), latents - residual


def refit(
    codebooks: Sequence[FloatArray],
    latents: npt.NDArray[np.floating[Any]],
    biases: Sequence[FloatArray] | None = None,
    iterations: int = 3,
) -> list[FloatArray]:
    """Move each code to the mean of those of ``latents [N, D]`` that choose it, level by level; k-means' step.

    ``biases`` ``[K]`` a level count in the choice and stay as they are. Codes that nothing chooses stay.
    """
    residual = np.asarray(latents, np.float64)
    fitted: list[FloatArray] = []
    for level, given in enumerate(codebooks):
        book, bias = np.array(given, np.float64), None if biases is None else biases[level]
        for _ in range(iterations):
            index, _ = nearest(residual, book, bias)
            total = np.zeros_like(book)
            np.add.at(total, index, residual)
            count = np.bincount(index, minlength=len(book))[:, None]
            book = np.where(count > 0, total / np.maximum(count, 1), book)
        residual = residual - book[nearest(residual, book, bias)[0]]
        fitted.append(book)
    return fitted


def _row_by_row_parallel(first: FloatArray, second: FloatArray) -> bool:
    if first.shape != second.shape or min(first.shape) < 2:
        return False
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    cosine = np.sum(first * second, axis=1) / np.maximum(norms, 1e-30)
    return float(np.median(cosine)) > _PARALLEL


def _as_array(book: Any, level: int) -> npt.NDArray[Any]:
    try:
        return np.asarray(book)
    except ValueError as error:
        raise InputError(f"codebook {level} has rows of different lengths; expected numbers [K, D]") from error


def _without_averages(books: list[FloatArray], names: list[str], where: str) -> tuple[list[FloatArray], list[str]]:
    """``books`` without the moving averages of an EMA quantiser, when each code has its own, and what was left out.

    With NaN, infinity or values that no codebook may have, they stay as they are, to be refused for that.
    """
    if any(book.size and not np.abs(book).max() <= _LARGEST for book in books):
        return books, []
    counts = [book for book in books if book.ndim == 1]
    matrices = [book for book in books if book.ndim == 2]
    kept = books
    if counts and len(matrices) == 2 * len(counts) and len(books) == 3 * len(counts):
        kept = codes_beside_averages(matrices, counts, where)
    elif len(books) % 2 == 0 and len(matrices) == len(books):
        left = list(range(len(books)))
        found = []
        while left:
            code = left.pop(0)
            sums = next((other for other in left if _row_by_row_parallel(books[code], books[other])), None)
            if sums is None:
                return books, []
            left.remove(sums)
            found.append(books[code])
        kept = found
    if len(kept) == len(books):
        return books, []
    out = [name for name, book in zip(names, books, strict=True) if not any(book is code for code in kept)]
    return kept, [f"{', '.join(out)}: left out, the moving averages of an EMA quantiser beside its codes"]


def _read_file(source: Path) -> tuple[_Arrays, _Arrays, list[str]]:
    """Codes by name, one array a level, biases likewise, and what was left out."""
    if source.is_dir():
        return _load_npy(sorted(source.glob("*.npy")), source), {}, []
    if not source.exists() and glob.has_magic(str(source)):
        return _load_npy([Path(name) for name in glob.glob(str(source))], source), {}, []
    check_regular(source, _EXPECTED.removeprefix("expected "))
    if source.suffix in (".keras", ".h5"):
        return {f"level_{level}": book for level, book in enumerate(read_keras_codebooks(source))}, {}, []
    with open_regular(source, "codebooks", CODEBOOKS) as file:
        start = file.read(6)
    if not start.startswith(_MAGIC):
        raise InputError(f"{source}: neither a .npz nor a .npy file; {_EXPECTED}")
    if not start.startswith(b"PK"):
        return _unstacked(read_npy(source, source, "codebooks", CODEBOOKS)), {}, []
    with open_npz(source, source, "codebooks", CODEBOOKS) as archive:
        arrays, others = dict(archive), archive.others
    told = {key: f"{key} {arrays[key].shape}" if key in arrays else key for key in sorted([*arrays, *others])}
    names = _level_names(arrays)
    if names is None:
        found = ", ".join(told.values()) or "nothing"
        raise InputError(
            f"{source}: holds {found}; expected level_0, level_1, ... without a gap, or one array [M, K, D]"
        )
    costs = {key: arrays[key] for level in range(len(names)) if (key := f"bias_{level}") in arrays}
    if names[0] != "level_0":
        costs = {}
    out = [text for key, text in told.items() if key not in names and key not in costs]
    notes = [f"{source.name}: left out {', '.join(out)}"] if out else []
    if len(names) == 1 and arrays[names[0]].ndim == 3:
        return _unstacked(arrays[names[0]]), costs, notes
    return {name: arrays[name] for name in names}, costs, notes


def _unstacked(array: npt.NDArray[Any]) -> dict[str, npt.NDArray[Any]]:
    """The levels of one array ``[M, K, D]``, or the array itself."""
    levels = list(array) if array.ndim == 3 else [array]
    return {f"level_{level}": book for level, book in enumerate(levels)}


def _level_names(arrays: Mapping[str, npt.NDArray[Any]]) -> list[str] | None:
    """Keys of the levels in order; None when several could be, or numbers are missing."""
    groups: dict[str, dict[int, str]] = {}
    for key in arrays:
        match = _NUMBERED.fullmatch(key)
        if match is not None:
            groups.setdefault(match[1], {})[int(match[2])] = key
    named = [prefix for prefix in groups if prefix == "level_"]
    named = named or [prefix for prefix in groups if _CODES.search(prefix) and not is_average(prefix)]
    named = named or list(groups)
    if len(named) == 1:
        group = groups[named[0]]
        first = min(group)
        # Of one array alone, number 1 says that number 0 is missing.
        if first > (len(group) > 1) or sorted(group) != list(range(first, first + len(group))):
            return None
        return [group[number] for number in sorted(group)]
    matrices = [key for key, array in arrays.items() if array.ndim in (2, 3)]
    return matrices if not named and len(matrices) == 1 else None


def _load_npy(files: Sequence[Path], source: Path) -> dict[str, npt.NDArray[Any]]:
    if not files:
        raise InputError(f"{source}: no .npy file; {_EXPECTED}")
    ordered = sorted(files, key=lambda file: natural(file.name))
    numbers = [[int(number) for number in re.findall(r"\d+", file.stem)][-1:] for file in ordered]
    flat = [number for found in numbers for number in found]
    if len(flat) != len(files) or flat != list(range(flat[0], flat[0] + len(flat))) or flat[0] > 1:
        names = ", ".join(file.name for file in ordered)
        raise InputError(f"{source}: holds {names}; expected one file a level, numbered from 0 or 1 without a gap")
    books = {}
    for file in ordered:
        books[file.name] = read_npy(file, file, "one level", CODEBOOKS)
    return books


def _float(array: npt.NDArray[Any], where: str) -> FloatArray:
    if array.dtype.kind not in "iuf":
        raise InputError(f"{where} is {array.dtype}; expected numbers [K, D]")
    return array if array.dtype.kind == "f" and array.dtype.itemsize in (4, 8) else array.astype(np.float64)
