"""A causal network over the codebook indices of a frame, for training's rate loss alone.

A frame is coded position by position and, within a position, level by level, so when index ``i_l`` of position ``t`` is
coded, all levels of positions ``0 .. t - 1`` and the levels above at ``t`` are known. The network sums an embedding for
each level of the previous position, looks back over them with causal dilated convolutions, and gives one distribution a
level::

    x_t    = sum_l E_l[i_l(t - 1)]                       row 0 of E_l where there is no position before
    x_t   += M_b relu(sum_k A_b[k] x_{t - (2 - k) 2^b} + a_b) + m_b        for blocks b = 0, 1, ...
    h_l    = relu(C_l x_t + c_l + sum_{j < l} U_lj[i_j(t)])
    p(i_l) = softmax(W_l h_l + w_l)

It gives the probabilities of all codes at once, as soft assignments need them; packets are coded with
:mod:`edgecodec.entropy.causal_network`, which a device can run. Source: the prior over a VQ-VAE's codes in van den Oord
et al. 2017, "Neural Discrete Representation Learning", with the causal dilated convolutions of van den Oord et al.
2016, "WaveNet", and residual blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.nn.backend import import_tensorflow

TAPS = 3
"""Taps of each convolution."""


class IndexPriorNetwork:
    """The network of this module as TensorFlow variables."""

    def __init__(self, positions: int, codebook_sizes: Sequence[int], channels: int, seed: int) -> None:
        self._tf = import_tensorflow()
        self.codebook_sizes = tuple(int(size) for size in codebook_sizes)
        self._blocks = blocks_for(positions)
        rng = np.random.default_rng(seed)
        shapes = array_shapes(self.codebook_sizes, self._blocks, channels)
        self._arrays = {
            name: self._tf.Variable(_start(name, shape, rng), name=name, dtype=self._tf.float32)
            for name, shape in shapes.items()
        }

    @property
    def variables(self) -> list[Any]:
        """All of them, trainable."""
        return list(self._arrays.values())

    def log_probabilities(self, indices: Any) -> list[Any]:
        """Natural logarithms ``[N, P, K_l]``, one a level, of indices int32 ``[N, P, L]``."""
        tf, arrays = self._tf, self._arrays
        levels = len(self.codebook_sizes)
        x = 0.0
        for level in range(levels):
            previous = tf.pad(indices[:, :-1, level] + 1, [[0, 0], [1, 0]])
            x += tf.gather(arrays[f"embedding_{level}"], previous)
        for block in range(self._blocks):
            dilation = 2**block
            padded = tf.pad(x, [[0, 0], [(TAPS - 1) * dilation, 0], [0, 0]])
            inner = tf.nn.convolution(padded, arrays[f"taps_{block}"], dilations=dilation)
            inner = tf.nn.relu(inner + arrays[f"taps_bias_{block}"])
            x += tf.matmul(inner, arrays[f"mix_{block}"]) + arrays[f"mix_bias_{block}"]
        found = []
        for level in range(levels):
            hidden = tf.matmul(x, arrays[f"hidden_{level}"]) + arrays[f"hidden_bias_{level}"]
            for above in range(level):
                hidden += tf.gather(arrays[f"above_{level}_{above}"], indices[..., above])
            logits = tf.matmul(tf.nn.relu(hidden), arrays[f"logits_{level}"]) + arrays[f"logits_bias_{level}"]
            found.append(tf.nn.log_softmax(logits))
        return found


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


def _start(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Biases 0; embeddings small; other weights uniform by fan-in and fan-out (Glorot and Bengio 2010)."""
    if "bias" in name:
        return np.zeros(shape, np.float32)
    if name.startswith(("embedding", "above")):
        return rng.uniform(-0.05, 0.05, shape).astype(np.float32)
    limit = np.sqrt(6.0 / (int(np.prod(shape[:-1])) + int(np.prod(shape[:-2])) * shape[-1]))
    return rng.uniform(-limit, limit, shape).astype(np.float32)
