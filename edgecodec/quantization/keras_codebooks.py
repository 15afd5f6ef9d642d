"""Find the codebooks of a residual vector quantiser inside a saved Keras model, by structure.

The file is read, not loaded: the layer's class may be anybody's, and its code need not be here.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.errors import EdgecodecError, InputError, install_extra
from edgecodec.files.strict_json import parse_json
from edgecodec.quantization.keras_content import check_content
from edgecodec.quantization.keras_foreign import serialized_layers
from edgecodec.quantization.keras_layers import other_quantizer

FloatArray = npt.NDArray[np.floating[Any]]
_QUANTIZER = re.compile(r"(?i)(^|[/_])(r?vq|[^/]*quanti[sz]er[^/]*|codebooks?)(_?\d+)?(/|$)")
_CODES = re.compile(r"(?i)codebook|embedding")
_AVERAGES = re.compile(r"(?i)ema|count|cluster|sum|average|avg|moving")
_EXPORT = "export the codebooks as .npz with level_0, level_1, ..."
_SAME = 1e-2
"""Largest median error, relative, by which an EMA layer's codes times counts may miss its sums."""


def read_keras_codebooks(path: Path) -> list[FloatArray]:
    """Codebooks ``[K, D]``, level by level, of the quantiser in a ``.keras`` or ``.h5`` file.

    Variables belong to a quantiser when their layer's name says so, or when their shapes are what a layer's
    configuration (``num_levels``, ``num_embeddings``, ``embedding_dim``) announces. Moving averages are told
    from codes by their names, or because codes times counts give sums. Raises InputError when there is no
    quantiser, more than one, or a variable that cannot be told.
    """
    groups, declared = _read(path)
    named = {name: arrays for name, arrays in groups.items() if _QUANTIZER.search(name)}
    chosen = named or {name: arrays for name, arrays in groups.items() if _fits(arrays, declared)}
    books: list[FloatArray] = []
    for name in sorted(chosen, key=natural):
        books += _codes_of_layer(chosen[name], f"{path}: layer '{name}'")
    if not books:
        raise InputError(f"{path}: holds no residual vector quantiser; expected a layer with codebooks [K, D]")
    if len(declared) > 1:
        raise InputError(f"{path}: holds {len(declared)} quantisers", hint="save the one that belongs to the encoder")
    if declared and [book.shape for book in books] != declared[0]:
        raise InputError(
            f"{path}: found codebooks of {[book.shape for book in books]}; "
            f"the layer's configuration says {declared[0]} ({len(declared[0])} levels)"
        )
    return books


def is_average(name: str) -> bool:
    """Whether an array of that name is a moving average of an EMA quantiser."""
    return _AVERAGES.search(name) is not None


def natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts ``level_10`` after ``level_9``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _read(path: Path) -> tuple[dict[str, dict[str, FloatArray]], list[list[tuple[int, int]]]]:
    """Float variables of each layer by path and name, and the codebook shapes that configurations announce."""
    try:
        import h5py  # type: ignore[import-untyped]  # it has no stubs
    except ImportError as error:
        raise InputError(f"{path}: h5py is needed to read it", hint=install_extra("train")) from error
    groups: dict[str, dict[str, FloatArray]] = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind == "f":
            layer, _, variable = name.removesuffix(":0").rpartition("/")
            groups.setdefault(layer.removesuffix("/vars"), {})[variable] = np.asarray(item)

    check_content(path)
    try:
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive:
                config = parse_json(archive.read("config.json"), finite=False)
                source: Any = io.BytesIO(archive.read("model.weights.h5"))
        else:
            source, config = path, None
        with h5py.File(source, "r") as file:
            if config is None:
                config = parse_json(file.attrs.get("model_config", "{}"), finite=False)
            file.visititems(visit)
    except EdgecodecError:
        raise
    except Exception as error:  # h5py raises whatever the damaged part of the file leads to
        raise InputError(f"{path}: not a readable Keras model ({error})", hint="save it again") from error
    for layer in serialized_layers(config):
        other = other_quantizer(layer["class_name"])
        if other is not None:
            raise InputError(f"{path}: {other.refusal(layer['config']['name'], layer['class_name'])}")
    return groups, list(_declared(config))


def _declared(node: Any) -> Iterator[list[tuple[int, int]]]:
    if isinstance(node, list):
        for item in node:
            yield from _declared(item)
    elif isinstance(node, dict):
        try:
            levels, sizes, dimension = (node[key] for key in ("num_levels", "num_embeddings", "embedding_dim"))
            sizes = [sizes] * int(levels) if isinstance(sizes, int) else sizes
            yield [(int(size), int(dimension)) for size in sizes]
        except (KeyError, TypeError, ValueError):
            for item in node.values():
                yield from _declared(item)


def _fits(arrays: dict[str, FloatArray], declared: list[list[tuple[int, int]]]) -> bool:
    shapes = sorted(array.shape for array in arrays.values() if array.ndim == 2)
    return any(shapes in (sorted(wanted), sorted(2 * wanted)) for wanted in declared)


def _codes_of_layer(arrays: dict[str, FloatArray], where: str) -> list[FloatArray]:
    names = sorted(arrays, key=natural)
    by_name = [name for name in names if _CODES.search(name) and not _AVERAGES.search(name)]
    if by_name:
        return [arrays[name] for name in by_name]
    matrices = [arrays[name] for name in names if arrays[name].ndim == 2]
    counts = [arrays[name] for name in names if arrays[name].ndim == 1]
    if not counts:
        return matrices
    if len(matrices) != 2 * len(counts):
        raise InputError(
            f"{where} holds {len(matrices)} matrices and {len(counts)} vectors; expected codebooks alone, or "
            "codebooks with a count and a sum for each",
            hint=_EXPORT,
        )
    return codes_beside_averages(matrices, counts, where)


def codes_beside_averages(matrices: list[FloatArray], counts: list[FloatArray], where: str) -> list[FloatArray]:
    """Of each count N ``[K]`` and two matrices A, B ``[K, D]`` with ``A N = B``, A is the codebook.

    ``where`` names them in messages. Raises InputError when a count has no such matrices.
    """
    left, found = list(range(len(matrices))), []
    for count in counts:
        errors = {
            (a, b): _error(matrices[a], matrices[b], count)
            for a in left
            for b in left
            if a != b and matrices[a].shape == matrices[b].shape and len(matrices[a]) == len(count)
        }
        best = min(errors, key=errors.__getitem__, default=None)
        if best is None or errors[best] > _SAME:
            raise InputError(
                f"{where}: no codebook times its moving count gives a moving sum, so codes cannot be told from "
                "averages",
                hint=_EXPORT,
            )
        left = [number for number in left if number not in best]
        found.append(best[0])
    return [matrices[number] for number in sorted(found)]


def _error(codes: FloatArray, sums: FloatArray, count: FloatArray) -> float:
    miss = np.linalg.norm(codes * count[:, None] - sums, axis=1)
    return float(np.median(miss / (np.linalg.norm(sums, axis=1) + 1e-12)))
