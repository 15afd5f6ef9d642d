"""Integer residual vector quantiser: codebooks, biases and the proof that they cannot overflow (SPEC.md 1.3)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgecodec.codec.arrays import Activations, Int16Array, Int32Array, Int64Array
from edgecodec.codec.numerics import INT8, INT16X8, Numerics
from edgecodec.errors import PlanError, QuantizationError

FRACTION_BITS = {INT8: range(9), INT16X8: range(-8, 1)}
"""Fraction bits that are executed; negative ones shift a latent to the right, rounded half up (SPEC.md 1.3, 1.4)."""
_TRIED = {INT8: range(4, -1, -1), INT16X8: range(0, -9, -1)}
"""Fraction bits that are tried for float codebooks, in order."""
_LONGEST = 0.9 * 2**31
"""Squared length of a 16-bit latent's residual up to which the device's pruned search holds it, and what its rounded
projections add, in 32 bits."""
MAX_CODES = 65536
_INT32_MAX = 2**31 - 1


@dataclass(frozen=True)
class IntegerRvq:
    """Codebooks int16 ``[K, D]``, one a level, at scale ``latent_scale / 2^fraction_bits``.

    Raises PlanError when a residual may leave int16 or a distance, its bias included, int32.
    """

    codebooks: tuple[Int16Array, ...]
    fraction_bits: int
    latent_scale: float
    latent_zero_point: int
    numerics: Numerics = INT8
    biases: tuple[Int32Array, ...] | None = None
    """What choosing each code costs beside its squared distance, int32 ``[K]`` a level, in squared units of the codes;
    the least of a level is 0. None where that is nothing."""

    def __post_init__(self) -> None:
        check_codebook_shapes(self.codebooks)
        for level, book in enumerate(self.codebooks):
            if book.dtype != np.int16:
                raise PlanError(f"codebook level_{level} is {book.dtype}; expected int16")
        allowed = FRACTION_BITS[self.numerics]
        if self.fraction_bits not in allowed:
            raise PlanError(f"codebook fraction bits are {self.fraction_bits}; expected {allowed[0]}..{allowed[-1]}")
        _check_biases(self.biases, self.codebook_sizes)
        self._prove()

    @property
    def levels(self) -> int:
        """Number of codebooks L."""
        return len(self.codebooks)

    @property
    def dimension(self) -> int:
        """Entries of one code, D."""
        return int(self.codebooks[0].shape[1])

    @property
    def codebook_sizes(self) -> tuple[int, ...]:
        """Codes of each level, K."""
        return tuple(int(book.shape[0]) for book in self.codebooks)

    def bias(self, level: int) -> Int64Array:
        """What choosing each code of ``level`` costs beside its squared distance, int64 ``[K]``."""
        size = len(self.codebooks[level])
        return np.zeros(size, np.int64) if self.biases is None else self.biases[level].astype(np.int64)

    def keys(self, level: int) -> Int32Array:
        """Key of each code of ``level``, its squared length and its bias, int32 ``[K]`` (SPEC.md 1.3)."""
        book = self.codebooks[level].astype(np.int64)
        keys: Int32Array = (np.sum(book * book, axis=1) + self.bias(level)).astype(np.int32)
        return keys

    def dequantize(self, indices: npt.NDArray[np.uint16]) -> npt.NDArray[np.float32]:
        """Sum of the chosen codes: uint16 ``[..., L]`` to float32 ``[..., D]`` latents.

        Raises QuantizationError for an index outside its codebook.
        """
        if indices.shape[-1] != self.levels:
            raise QuantizationError(f"indices have {indices.shape[-1]} levels; expected {self.levels}")
        total = np.zeros((*indices.shape[:-1], self.dimension), np.int64)
        for level, book in enumerate(self.codebooks):
            chosen = indices[..., level]
            if chosen.size and int(chosen.max()) >= len(book):
                raise QuantizationError(
                    f"index {int(chosen.max())} at level {level}; the codebook has {len(book)} codes"
                )
            total += book[chosen]
        return (total * self.step).astype(np.float32)

    @property
    def step(self) -> float:
        """Real units of one step of the codes."""
        return self.latent_scale / 2.0**self.fraction_bits

    @property
    def residual_bounds(self) -> list[npt.NDArray[np.int64]]:
        """For each level, the largest absolute residual in each dimension, int64 ``[D]``."""
        ends = np.array([self.numerics.highest, self.numerics.lowest], self.numerics.activation)
        reach = int(np.abs(self.residual(ends)).max())
        bounds = [np.full(self.dimension, reach, np.int64)]
        for book in self.codebooks[:-1]:
            bounds.append(bounds[-1] + np.abs(book.astype(np.int64)).max(axis=0))
        return bounds

    def residual(self, latent: Activations) -> Int64Array:
        """The first level's residuals of latents of any shape, int64."""
        centred = latent.astype(np.int64) - self.latent_zero_point
        down = -self.fraction_bits
        if down <= 0:
            return centred << -down
        return (centred + (1 << (down - 1))) >> down

    def _prove(self) -> None:
        for level, (book, bound) in enumerate(zip(self.codebooks, self.residual_bounds, strict=True)):
            if int(bound.max()) > 32767:
                raise PlanError(
                    f"residual of level {level} may reach {int(bound.max())}; int16 holds 32767",
                    hint="use fewer fraction bits",
                )
            wide = np.abs(book.astype(np.int64))
            distance = int(((wide * wide + 2 * wide * bound).sum(axis=1) + self.bias(level)).max())
            if distance > _INT32_MAX:
                raise PlanError(
                    f"distance of level {level} may reach {distance}; int32 holds {_INT32_MAX}",
                    hint="use fewer fraction bits",
                )

    @classmethod
    def from_float(
        cls,
        codebooks: Sequence[npt.NDArray[np.floating]],
        latent_scale: float,
        latent_zero_point: int,
        numerics: Numerics = INT8,
        biases: Sequence[npt.NDArray[np.floating]] | None = None,
    ) -> IntegerRvq:
        """Quantise float ``[K, D]`` codebooks at the most fraction bits (4 to 0; 0 to -8 with 16 bits) proven safe.

        ``biases`` ``[K]`` a level are in squared units of the latent; what counts is how much larger they are than the
        least of their level. Raises QuantizationError for non-finite values, wrong shapes, codes far outside the
        latent's range, or codes so small that all of a level round to one.
        """
        check_codebook_shapes(codebooks)
        check_bias_shapes(biases, [len(book) for book in codebooks])
        for kind, arrays in (("codebook level", codebooks), ("bias", biases or ())):
            for level, array in enumerate(arrays):
                if not np.isfinite(array).all():
                    raise QuantizationError(f"{kind}_{level} holds NaN or infinity")
        if not (math.isfinite(latent_scale) and latent_scale > 0):
            raise QuantizationError(f"latent scale is {latent_scale}; expected a finite value above 0")
        reason = ""
        for bits in _TRIED[numerics]:
            scaled = [np.asarray(book, np.float64) * (2.0**bits / latent_scale) for book in codebooks]
            rounded = [np.copysign(np.floor(np.abs(s) + 0.5), s) for s in scaled]
            largest = [float(np.abs(r).max()) for r in rounded]
            if max(largest) > 32767:
                level = int(np.argmax(largest))
                reason = f"level_{level} reaches {float(np.abs(codebooks[level]).max()):g}, so a code leaves int16"
                continue
            steps = [
                np.floor(np.asarray(bias, np.float64) * (2.0**bits / latent_scale) ** 2 + 0.5) for bias in biases or ()
            ]
            costs = [step - step.min() for step in steps]
            if costs and max(float(cost.max()) for cost in costs) > _INT32_MAX:
                reason = "a bias leaves int32"
                continue
            integer_biases = tuple(cost.astype(np.int32) for cost in costs) if any(map(np.any, costs)) else None
            integer_codes = tuple(r.astype(np.int16) for r in rounded)
            try:
                found = cls(integer_codes, bits, latent_scale, latent_zero_point, numerics, integer_biases)
            except PlanError as error:
                reason = error.message
                continue
            if numerics == INT16X8 and int((found.residual_bounds[0] ** 2).sum()) > _LONGEST:
                reason = "a residual is too long for 32 bits"
                continue
            _refuse_vanished(found, codebooks)
            return found
        raise QuantizationError(
            f"the codebooks cannot be held in int16 at the latent's scale {latent_scale:g}: {reason}",
            hint="check that they belong to this encoder",
        )


def _refuse_vanished(rvq: IntegerRvq, codebooks: Sequence[npt.NDArray[np.floating]]) -> None:
    """Raise QuantizationError when rounding left a level with one code, so that its indices say nothing."""
    for level, (rounded, book) in enumerate(zip(rvq.codebooks, codebooks, strict=True)):
        if len(rounded) > 1 and np.all(rounded == rounded[0]):
            raise QuantizationError(
                f"codebook level_{level}: all {len(book)} codes round to the same integers (its largest entry is "
                f"{float(np.abs(book).max()):g}, a step of the codes {rvq.step:g})",
                hint="check that encoder and codebooks are of one model",
            )


def _check_biases(biases: tuple[Int32Array, ...] | None, sizes: Sequence[int]) -> None:
    """Raise PlanError unless biases are int32 with 0 as the least of each level; QuantizationError for their shapes."""
    check_bias_shapes(biases, sizes)
    for level, bias in enumerate(biases or ()):
        if bias.dtype != np.int32:
            raise PlanError(f"bias_{level} is {bias.dtype}; expected int32")
        if bias.min() != 0:
            raise PlanError(f"bias_{level}: the least is {int(bias.min())}; expected 0")


def check_bias_shapes(biases: Sequence[npt.NDArray[np.generic]] | None, sizes: Sequence[int]) -> None:
    """Raise QuantizationError unless there are no biases, or as many as codes, ``[K]`` a level of ``sizes``."""
    if biases is None:
        return
    if len(biases) != len(sizes):
        raise QuantizationError(f"biases of {len(biases)} levels; the quantiser has {len(sizes)}")
    for level, (bias, size) in enumerate(zip(biases, sizes, strict=True)):
        if bias.shape != (size,):
            raise QuantizationError(f"bias_{level} has shape {tuple(bias.shape)}; expected [{size}]")


def check_codebook_shapes(codebooks: Sequence[npt.NDArray[np.generic]]) -> None:
    """Raise QuantizationError unless there is at least one ``[K, D]`` codebook and all share D."""
    if not codebooks:
        raise QuantizationError("no codebooks; expected level_0, level_1, ...")
    for level, book in enumerate(codebooks):
        if book.ndim != 2 or book.shape[0] < 1 or book.shape[1] < 1:
            raise QuantizationError(f"codebook level_{level} has shape {tuple(book.shape)}; expected [K, D]")
        if book.shape[0] > MAX_CODES:
            raise QuantizationError(f"codebook level_{level} has {book.shape[0]} codes; at most {MAX_CODES} fit uint16")
        if book.shape[1] != codebooks[0].shape[1]:
            raise QuantizationError(
                f"codebook level_{level} has dimension {book.shape[1]}; level_0 has {codebooks[0].shape[1]}"
            )
