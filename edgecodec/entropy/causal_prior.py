"""A static model of codebook indices that knows everything sent before: a small causal network, in numpy.

A frame is coded by itself, position by position and, within a position, level by level, so when index ``i_l`` of
position ``t`` is coded, all levels of positions ``0 .. t - 1`` and the levels above at ``t`` are known. The
network sums an embedding for each level of the previous position, looks back over them with causal dilated
convolutions, and gives one distribution a level::

    x_t    = sum_l E_l[i_l(t - 1)]                       row 0 of E_l where there is no position before
    x_t   += M_b relu(sum_k A_b[k] x_{t - (2 - k) 2^b} + a_b) + m_b        for blocks b = 0, 1, ...
    h_l    = relu(C_l x_t + c_l + sum_{j < l} U_lj[i_j(t)])
    p(i_l) = softmax(W_l h_l + w_l)

Source: the prior over a VQ-VAE's codes in van den Oord et al. 2017, "Neural Discrete Representation Learning",
with the causal dilated convolutions of van den Oord et al. 2016, "WaveNet", and residual blocks.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.errors import InputError
from edgecodec.files.atomic import npz_bytes

TAPS = 3
"""Taps of each convolution."""
_PART = 256
"""Frames whose code lengths are computed at a time."""
_MOST_BLOCKS = 16
"""Residual blocks that a file may hold: 16 look back over 131,070 positions."""

FloatArray = npt.NDArray[np.float32]


def blocks_for(positions: int) -> int:
    """Number of residual blocks that look back over about two thirds of ``positions`` or more, at least 1."""
    return max(1, int(np.ceil(np.log2(max(2.0, positions / TAPS)))))


def array_shapes(codebook_sizes: Sequence[int], blocks: int, channels: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a prior's arrays, all float32; C is ``channels``, K_l the codes of level l.

    With the symbols of this module: ``embedding_l [K_l + 1, C]`` is E_l; ``taps_b [TAPS, C, C]`` and
    ``taps_bias_b [C]`` are A_b and a_b of block b; ``mix_b [C, C]`` and ``mix_bias_b [C]`` are M_b and m_b;
    ``hidden_l [C, C]`` and ``hidden_bias_l [C]`` are C_l and c_l; ``above_l_j [K_j, C]`` is U_lj; ``logits_l [C, K_l]``
    and ``logits_bias_l [K_l]`` are W_l and w_l.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for level, codes in enumerate(codebook_sizes):
        shapes[f"embedding_{level}"] = (codes + 1, channels)
    for block in range(blocks):
        shapes[f"taps_{block}"] = (TAPS, channels, channels)
        shapes[f"taps_bias_{block}"] = (channels,)
        shapes[f"mix_{block}"] = (channels, channels)
        shapes[f"mix_bias_{block}"] = (channels,)
    for level, codes in enumerate(codebook_sizes):
        shapes[f"hidden_{level}"] = (channels, channels)
        shapes[f"hidden_bias_{level}"] = (channels,)
        for above in range(level):
            shapes[f"above_{level}_{above}"] = (codebook_sizes[above], channels)
        shapes[f"logits_{level}"] = (channels, codes)
        shapes[f"logits_bias_{level}"] = (codes,)
    return shapes


@dataclass(frozen=True)
class IndexPrior:
    """A fitted model of the indices of a frame.

    Raises InputError for missing or further arrays, other shapes or types, and values that are not finite.
    """

    codebook_sizes: tuple[int, ...]
    """Codes of each level, K."""
    arrays: Mapping[str, FloatArray]
    """Weights by the names of :func:`array_shapes`, float32."""

    def __post_init__(self) -> None:
        first = self.arrays.get("embedding_0")
        channels = first.shape[1] if first is not None and first.ndim == 2 else 0
        blocks = sum(name.startswith("mix_bias_") for name in self.arrays)
        if not channels or not 1 <= blocks <= _MOST_BLOCKS:
            raise InputError("holds no index prior: expected embedding_0 [K + 1, C] and blocks taps_0, mix_0, ...")
        expected = array_shapes(self.codebook_sizes, blocks, channels)
        for name in sorted(expected.keys() ^ self.arrays.keys()):
            raise InputError(f"array {name} is {'missing' if name in expected else 'unknown'} in an index prior")
        for name, shape in expected.items():
            array = self.arrays[name]
            if array.dtype != np.float32 or array.shape != shape:
                raise InputError(f"array {name} is {array.dtype} {array.shape}; expected float32 {shape}")
            if not np.all(np.isfinite(array)):
                raise InputError(f"array {name} holds NaN or infinity")

    @property
    def blocks(self) -> int:
        """Number of residual blocks; block b looks ``2^(b + 1)`` positions back."""
        return sum(name.startswith("mix_bias_") for name in self.arrays)

    @property
    def parameters(self) -> int:
        """Number of weights in all arrays."""
        return sum(array.size for array in self.arrays.values())

    @classmethod
    def from_npz(cls, data: bytes, codebook_sizes: Sequence[int]) -> IndexPrior:
        """Read what :meth:`to_npz` wrote. Raises InputError when it is damaged or of other codebooks."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                arrays: dict[str, npt.NDArray[Any]] = {name: archive[name] for name in archive.files}
        except (ValueError, OSError, EOFError, zipfile.BadZipFile, AttributeError, KeyError) as error:
            raise InputError(f"not a readable .npz ({error})") from error
        return cls(tuple(codebook_sizes), arrays)

    def to_npz(self) -> bytes:
        """The arrays as an ``.npz``; equal arrays give equal bytes."""
        return npz_bytes(dict(self.arrays))

    def code_lengths(self, indices: npt.NDArray[np.integer[Any]]) -> npt.NDArray[np.float64]:
        """Ideal code lengths ``-log2 p`` in bits, ``[N, P, L]``, of ``indices`` ``[N, P, L]``.

        Raises InputError for another rank or type, or indices outside their codebook.
        """
        levels = len(self.codebook_sizes)
        if indices.ndim != 3 or indices.shape[2] != levels or indices.dtype.kind not in "iu":
            raise InputError(f"indices are {indices.dtype} {indices.shape}; expected whole numbers [N, P, {levels}]")
        if indices.size and (indices.min() < 0 or np.any(indices.max(axis=(0, 1)) >= np.array(self.codebook_sizes))):
            raise InputError(f"an index is outside its codebook; the codebooks have {self.codebook_sizes} codes")
        lengths = np.empty(indices.shape, np.float64)
        for start in range(0, len(indices), _PART):
            part = indices[start : start + _PART].astype(np.intp)
            for level, logits in enumerate(self._logits(part)):
                lengths[start : start + _PART, :, level] = _cross_entropy_bits(logits, part[..., level])
        return lengths

    def _logits(self, indices: npt.NDArray[np.intp]) -> list[FloatArray]:
        """Logits float32 ``[N, P, K_l]``, one array a level, of indices ``[N, P, L]``."""
        arrays = self.arrays
        x = np.zeros((*indices.shape[:2], arrays["embedding_0"].shape[1]), np.float32)
        for level in range(indices.shape[2]):
            previous = np.zeros(indices.shape[:2], np.intp)
            previous[:, 1:] = indices[:, :-1, level] + 1
            x += arrays[f"embedding_{level}"][previous]
        for block in range(self.blocks):
            inner = np.maximum(_causal(x, arrays[f"taps_{block}"], 2**block) + arrays[f"taps_bias_{block}"], 0)
            x = x + inner @ arrays[f"mix_{block}"] + arrays[f"mix_bias_{block}"]
        logits = []
        for level in range(indices.shape[2]):
            hidden = x @ arrays[f"hidden_{level}"] + arrays[f"hidden_bias_{level}"]
            for above in range(level):
                hidden = hidden + arrays[f"above_{level}_{above}"][indices[..., above]]
            logits.append(np.maximum(hidden, 0) @ arrays[f"logits_{level}"] + arrays[f"logits_bias_{level}"])
        return logits


def _causal(x: FloatArray, taps: FloatArray, dilation: int) -> FloatArray:
    """Convolve ``x [N, P, C]`` along P with ``taps [TAPS, C, C']``; the last tap meets the position itself."""
    total: FloatArray = x @ taps[-1]
    for back in range(1, TAPS):
        shift = back * dilation
        if shift < x.shape[1]:
            total[:, shift:] += x[:, :-shift] @ taps[-1 - back]
    return total


def _cross_entropy_bits(logits: FloatArray, chosen: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """Ideal code lengths ``[N, P]`` in bits of indices ``chosen [N, P]`` under ``logits [N, P, K]``."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    log_total = np.log(np.exp(wide).sum(axis=-1))
    at = np.take_along_axis(wide, chosen[..., None], axis=-1)[..., 0]
    bits: npt.NDArray[np.float64] = (log_total - at) / np.log(2.0)
    return bits
