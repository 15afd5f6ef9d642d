"""Residual vector quantisation of plain vectors: floats to tokens and back, in numpy alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.errors import InputError

MAX_CODEBOOK_SIZE = 65536
_CHUNK_ELEMENTS = 1 << 20
"""Values of 8 bytes in the largest temporary array of a search."""
_LARGEST = 1e150
"""Largest value of a vector or code; the squares of sums of many still fit float64."""
_START_BITS = 24
"""Bits of a starting code's entries: all that float32 holds."""

FloatArray = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True)
class RvqConfig:
    """Shape of a residual vector quantiser. Raises InputError for values that are no whole numbers in range."""

    num_stages: int = 4
    """M, codebooks searched one after the other."""
    dimension: int = 6
    """D, entries of a vector."""
    codebook_size: int | Sequence[int] = 256
    """K, codes of each codebook, at most 65,536: one number for all stages, or one for each, kept as a tuple."""

    def __post_init__(self) -> None:
        _check_whole("num_stages", self.num_stages, None)
        _check_whole("dimension", self.dimension, None)
        if isinstance(self.codebook_size, list | tuple):
            sizes = tuple(self.codebook_size)
            for stage, size in enumerate(sizes):
                _check_whole(f"codebook_size of stage {stage}", size, MAX_CODEBOOK_SIZE)
            if len(sizes) != self.num_stages:
                raise InputError(f"codebook_size has {len(sizes)} entries; expected one for each of {self.num_stages}")
            object.__setattr__(self, "codebook_size", tuple(int(size) for size in sizes))
        else:
            _check_whole("codebook_size", self.codebook_size, MAX_CODEBOOK_SIZE)

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """K of each stage."""
        if isinstance(self.codebook_size, Sequence):
            return tuple(self.codebook_size)
        return (int(self.codebook_size),) * int(self.num_stages)


@dataclass(frozen=True, eq=False)
class RvqTokens:
    """Vectors as codebook indices; equal when shapes, indices and errors are."""

    indices: npt.NDArray[np.uint16]
    """``[..., M]``, first stage first."""
    total_error: npt.NDArray[np.float64]
    """``[...]``, squared Euclidean distance between each vector and the sum of its codes."""

    __hash__ = None  # type: ignore[assignment]  # arrays have no hash; object says that all have

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RvqTokens):
            return NotImplemented
        pairs = ((self.indices, other.indices), (self.total_error, other.total_error))
        return all(np.array_equal(mine, theirs) for mine, theirs in pairs)


class RvqEncoder:
    """Codebooks ``[K, D]``, one a stage, each coding what the stages before it left over.

    Distances are computed in float64 as sums of squared differences, so equal codes give equal distances and
    the lowest index wins.
    """

    def __init__(self, config: RvqConfig, codebooks: Sequence[FloatArray]) -> None:
        """Keep copies of ``codebooks``; :meth:`new` and :meth:`from_codebooks` are the usual ways here.

        Raises InputError unless they are what ``config`` says, of finite real numbers up to 1e150.
        """
        books = [_codebook(book, stage) for stage, book in enumerate(codebooks)]
        expected = [(size, int(config.dimension)) for size in config.codebook_sizes]
        if [book.shape for book in books] != expected:
            raise InputError(
                f"codebooks have shapes {[book.shape for book in books]}; the configuration says {expected}"
            )
        self.config = config
        self.codebooks = tuple(book.copy() for book in books)
        """Read-only, float32 or float64 ``[K, D]`` each."""
        for book in self.codebooks:
            book.setflags(write=False)

    @classmethod
    def new(cls, config: RvqConfig | None = None) -> RvqEncoder:
        """Make the codebooks of a deterministic start, float32, the same bits on every machine.

        Code 0 is zero, so that a stage never adds to the error. The others are points of Richtmyer's sequence
        ``frac(n sqrt(p_j))``, ``p_j`` the j-th prime (Niederreiter, "Random Number Generation and Quasi-Monte
        Carlo Methods", 1992, section 3.1), stretched to [-1, 1) and halved at each stage. They cover the cube
        evenly and know nothing of the data: use :meth:`from_codebooks` for trained ones.
        """
        config = config or RvqConfig()
        slopes = np.array([_root_fraction(prime) for prime in _primes(config.dimension)], np.int64)
        books, sizes = [], config.codebook_sizes
        for stage, size in enumerate(sizes):
            number = np.arange(size, dtype=np.int64) + sum(sizes[:stage])
            points = (number[:, None] * slopes) & ((1 << _START_BITS) - 1)
            book = (points / 2.0 ** (_START_BITS - 1) - 1.0) * 2.0**-stage
            book[0] = 0.0
            books.append(book.astype(np.float32))
        return cls(config, books)

    @classmethod
    def from_codebooks(cls, codebooks: Sequence[npt.ArrayLike] | npt.NDArray[Any]) -> RvqEncoder:
        """Take trained codebooks, M of ``[K, D]``, or ``[M, K, D]``; K may differ between stages.

        float32 and float64 are kept, other numbers become float64. Raises InputError unless all share D and hold
        finite values up to 1e150.
        """
        books = [_codebook(book, stage) for stage, book in enumerate(codebooks)]
        if not books:
            raise InputError("no codebooks; expected at least one of [K, D]")
        for stage, book in enumerate(books):
            if book.shape[1] != books[0].shape[1]:
                raise InputError(f"codebook {stage} has shape {book.shape}; codebook 0 has {books[0].shape}")
        sizes = tuple(len(book) for book in books)
        size = sizes[0] if len(set(sizes)) == 1 else sizes
        return cls(RvqConfig(len(books), books[0].shape[1], size), books)

    @property
    def total_vocabulary(self) -> int:
        """Distinct tokens, the product of the stages' K, of any size."""
        return math.prod(self.config.codebook_sizes)

    def encode(self, vectors: npt.ArrayLike) -> RvqTokens:
        """Search the codebooks: ``[..., D]`` to indices ``[..., M]``, ties to the lowest index.

        Raises InputError for another last axis, values that are no real numbers, NaN or infinity.
        """
        given = self._vectors(vectors)
        residual = given.reshape(-1, self.config.dimension).copy()
        indices = np.empty((len(residual), self.config.num_stages), np.uint16)
        for stage, book in enumerate(self.codebooks):
            wide = book.astype(np.float64)
            for chunk in _chunks(len(residual), book.size):
                difference = residual[chunk, None, :] - wide
                chosen = np.argmin(np.einsum("nkd,nkd->nk", difference, difference), axis=1)
                indices[chunk, stage] = chosen
                residual[chunk] -= wide[chosen]
        shape = given.shape[:-1]
        error = np.einsum("nd,nd->n", residual, residual)
        return RvqTokens(indices.reshape(*shape, self.config.num_stages), error.reshape(shape))

    def decode(self, tokens: RvqTokens | npt.ArrayLike) -> FloatArray:
        """Sum the chosen codes: tokens, or indices ``[..., M]``, to ``[..., D]`` in the codebooks' type.

        Raises InputError for another last axis, values that are no whole numbers, or outside the codebook.
        """
        indices = np.asarray(tokens.indices if isinstance(tokens, RvqTokens) else tokens)
        stages = self.config.num_stages
        if indices.dtype.kind not in "iu" or indices.ndim < 1 or indices.shape[-1] != stages:
            raise InputError(f"indices are {indices.dtype} {indices.shape}; expected whole numbers [..., {stages}]")
        for stage, size in enumerate(self.config.codebook_sizes):
            chosen = indices[..., stage]
            outside = chosen[(chosen < 0) | (chosen >= size)]
            if outside.size:
                raise InputError(
                    f"index {int(outside[0])} is outside the codebook; expected 0..{size - 1} at stage {stage}"
                )
        total = np.zeros((*indices.shape[:-1], self.config.dimension))
        for stage, book in enumerate(self.codebooks):
            total += book[indices[..., stage]]
        return total.astype(np.result_type(*self.codebooks))

    def reconstruct(self, vectors: npt.ArrayLike) -> FloatArray:
        """Encode and decode: ``[..., D]`` to its approximation ``[..., D]``. Raises as :meth:`encode` does."""
        return self.decode(self.encode(vectors))

    def reconstruction_error(self, vectors: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Squared Euclidean distance to :meth:`reconstruct`: ``[..., D]`` to ``[...]``.

        Differs from ``encode(...).total_error`` by the rounding of the reconstruction to the codebooks' type
        only. Raises as :meth:`encode` does.
        """
        difference = self._vectors(vectors) - self.reconstruct(vectors)
        error: npt.NDArray[np.float64] = np.sum(difference * difference, axis=-1)
        return error

    def _vectors(self, vectors: npt.ArrayLike) -> npt.NDArray[np.float64]:
        try:
            given = np.asarray(vectors)
        except ValueError as error:
            raise InputError(f"vectors are ragged ({error}); expected [..., {self.config.dimension}]") from error
        if given.dtype.kind not in "iuf":
            raise InputError(f"vectors are {given.dtype}; expected real numbers")
        if given.ndim < 1 or given.shape[-1] != self.config.dimension:
            raise InputError(f"vectors have shape {given.shape}; expected [..., {self.config.dimension}]")
        if not np.isfinite(given).all():
            raise InputError("vectors hold NaN or infinity; expected finite values")
        _refuse_huge(given, "vectors hold")
        return given.astype(np.float64)


def _check_whole(name: str, value: Any, most: int | None) -> None:
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < 1 or (most is not None and value > most):
        expected = "a whole number of at least 1" if most is None else f"a whole number in 1..{most}"
        raise InputError(f"{name} is {value!r}; expected {expected}")


def _refuse_huge(values: npt.NDArray[Any], what: str) -> None:
    """Raise InputError for a value whose square, summed, could leave float64."""
    if values.size:
        largest = max(float(values.max()), float(values.min()), key=abs)
        if abs(largest) > _LARGEST:
            raise InputError(f"{what} {largest:g}; expected values up to {_LARGEST:g}, whose squares are finite")


def _codebook(values: npt.ArrayLike, stage: int) -> FloatArray:
    try:
        book = np.asarray(values)
    except ValueError as error:
        raise InputError(f"codebook {stage} is ragged ({error}); expected [K, D]") from error
    if book.ndim != 2 or 0 in book.shape:
        raise InputError(f"codebook {stage} has shape {book.shape}; expected [K, D]")
    if book.dtype.kind not in "iuf":
        raise InputError(f"codebook {stage} is {book.dtype}; expected real numbers")
    if not np.isfinite(book).all():
        raise InputError(f"codebook {stage} holds NaN or infinity")
    _refuse_huge(book, f"codebook {stage} holds")
    return book if book.dtype in (np.float32, np.float64) else book.astype(np.float64)


def _root_fraction(number: int) -> int:
    """The first bits of ``frac(sqrt(number))``, exact."""
    return math.isqrt(number << (2 * _START_BITS)) & ((1 << _START_BITS) - 1)


def _primes(count: int) -> list[int]:
    """The first ``count`` primes."""
    found: list[int] = []
    candidate = 2
    while len(found) < count:
        if all(candidate % prime for prime in found if prime * prime <= candidate):
            found.append(candidate)
        candidate += 1
    return found


def _chunks(count: int, elements: int) -> Iterator[slice]:
    """Slices of ``count`` rows that keep temporaries of ``elements`` a row within bounds."""
    size = max(1, _CHUNK_ELEMENTS // elements)
    for start in range(0, count, size):
        yield slice(start, start + size)
