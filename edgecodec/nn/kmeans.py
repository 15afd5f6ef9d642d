"""Residual k-means: codebooks fitted to latents, each level on what the ones before left over."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]
_PART = 16384
"""Points whose distances to all codes are held at a time."""


def kmeans(
    points: npt.NDArray[np.floating], size: int, rng: np.random.Generator, *, iterations: int = 20
) -> Float64Array:
    """Lloyd's k-means of ``points [N, D]`` into ``[size, D]``, from ``size`` of the points.

    Empty clusters restart at the points farthest from their code. With fewer points than codes the
    rest are copies of points.
    """
    data = np.asarray(points, np.float64)
    current = data[rng.choice(len(data), size, replace=len(data) < size)].copy()
    for _ in range(iterations):
        index, distance = nearest(data, current)
        count = np.bincount(index, minlength=len(current))
        total = np.zeros_like(current)
        np.add.at(total, index, data)
        used = count > 0
        current[used] = total[used] / count[used, None]
        empty = np.flatnonzero(~used)
        current[empty] = data[np.argsort(-distance, kind="stable")[np.arange(len(empty)) % len(data)]]
    return current


def residual_kmeans(
    latents: npt.NDArray[np.floating], sizes: Sequence[int], seed: int, *, iterations: int = 20
) -> list[Float64Array]:
    """Codebooks ``[K, D]`` of each level for ``latents [N, D]``."""
    rng = np.random.default_rng(seed)
    residual = np.asarray(latents, np.float64)
    books = []
    for size in sizes:
        book = kmeans(residual, size, rng, iterations=iterations)
        residual = residual - book[nearest(residual, book)[0]]
        books.append(book)
    return books


def nearest(
    points: npt.NDArray[np.floating], codes: npt.NDArray[np.floating], bias: npt.NDArray[np.floating] | None = None
) -> tuple[npt.NDArray[np.intp], Float64Array]:
    """Index of the closest code and the squared distance to it, both ``[N]``; ties to the lowest index.

    ``bias [K]`` is what choosing each code costs on top, and is in the distance.
    """
    index, distance = np.empty(len(points), np.intp), np.empty(len(points))
    squares = np.sum(codes * codes, axis=1) + (0.0 if bias is None else bias)
    # In parts: a distance of each point to each code would take gigabytes for the points of a training set.
    for start in range(0, len(points), _PART):
        part = points[start : start + _PART]
        scores = squares - 2.0 * part @ codes.T
        nearest_codes = np.argmin(scores, axis=1)
        index[start : start + _PART] = nearest_codes
        closest = scores[np.arange(len(part)), nearest_codes] + np.sum(part * part, axis=1)
        distance[start : start + _PART] = np.maximum(closest, 0.0)
    return index, distance
