"""The causal model of codebook indices (:mod:`edgecodec.entropy.causal_prior`) as a trainable network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.entropy.causal_prior import TAPS, IndexPrior, array_shapes, blocks_for
from edgecodec.nn.backend import import_tensorflow


class IndexPriorNetwork:
    """The network of :mod:`edgecodec.entropy.causal_prior` as TensorFlow variables."""

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

    def bits_per_frame(self, indices: Any) -> Any:
        """Mean ideal code length of indices int32 ``[N, P, L]``, a differentiable scalar."""
        tf = self._tf
        total = 0.0
        for level, log_probability in enumerate(self.log_probabilities(indices)):
            chosen = tf.gather(log_probability, indices[..., level], batch_dims=2)
            total -= tf.reduce_mean(tf.reduce_sum(chosen, axis=1))
        return total / np.log(2.0)

    def export(self) -> IndexPrior:
        """The weights as they are now."""
        return IndexPrior(self.codebook_sizes, {name: value.numpy() for name, value in self._arrays.items()})


def _start(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Biases 0; embeddings small; other weights uniform by fan-in and fan-out (Glorot and Bengio 2010)."""
    if "bias" in name:
        return np.zeros(shape, np.float32)
    if name.startswith(("embedding", "above")):
        return rng.uniform(-0.05, 0.05, shape).astype(np.float32)
    limit = np.sqrt(6.0 / (int(np.prod(shape[:-1])) + int(np.prod(shape[:-2])) * shape[-1]))
    return rng.uniform(-limit, limit, shape).astype(np.float32)
