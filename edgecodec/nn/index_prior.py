"""Fit the causal model of codebook indices (:mod:`edgecodec.stream.index_prior`) by gradient descent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.errors import InputError
from edgecodec.nn.backend import import_keras, import_tensorflow
from edgecodec.stream.index_prior import TAPS, IndexPrior, array_shapes, blocks_for

Indices = npt.NDArray[np.integer[Any]]
Progress = Callable[[int, int, float], None]
"""``progress(done, total, bits)``, bits a frame of the validation indices."""
_CHECKS = 20
"""How often the validation indices are asked."""


@dataclass(frozen=True)
class PriorFitting:
    """How a prior is fitted."""

    channels: int = 64
    steps: int = 4000
    batch_size: int = 64
    """Frames a step."""
    learning_rate: float = 4e-3
    """Of Adam, falling to zero by a cosine."""
    seed: int = 0


class IndexPriorNetwork:
    """The network of :mod:`edgecodec.stream.index_prior` as TensorFlow variables."""

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


def fit_index_prior(
    train: Indices,
    validation: Indices,
    codebook_sizes: Sequence[int],
    settings: PriorFitting | None = None,
    progress: Progress | None = None,
) -> IndexPrior:
    """Fit a prior to ``train`` indices ``[M, P, L]``; keep the weights with the shortest code for ``validation``.

    ``validation`` ``[N, P, L]`` should be of other people. The same seed and data give the same prior on the
    same machine. Raises InputError when either holds no frame or their shapes differ.
    """
    settings = settings or PriorFitting()
    levels = len(codebook_sizes)
    for name, given in (("training", train), ("validation", validation)):
        if given.ndim != 3 or given.shape[1:] != (train.shape[1], levels) or given.size == 0:
            raise InputError(f"{name} indices are {given.shape}; expected [N, P, {levels}] with at least one frame")
    tf, keras = import_tensorflow(), import_keras()
    network = IndexPriorNetwork(train.shape[1], codebook_sizes, settings.channels, settings.seed)
    optimizer = keras.optimizers.Adam(settings.learning_rate, global_clipnorm=1.0)
    optimizer.build(network.variables)

    def step(indices: Any) -> None:
        with tf.GradientTape() as tape:
            bits = network.bits_per_frame(indices)
        optimizer.apply(tape.gradient(bits, network.variables), network.variables)

    step = tf.function(step)
    rng = np.random.default_rng(settings.seed)
    data = np.ascontiguousarray(train, np.int32)
    every = max(1, settings.steps // _CHECKS)
    best, best_bits = network.export(), np.inf
    for done in range(1, settings.steps + 1):
        falling = 0.5 * (1.0 + np.cos(np.pi * (done - 1) / settings.steps))
        optimizer.learning_rate.assign(settings.learning_rate * falling)
        step(tf.constant(data[rng.integers(len(data), size=settings.batch_size)]))
        if done % every == 0 or done == settings.steps:
            current = network.export()
            bits = float(current.code_lengths(validation).sum(axis=(1, 2)).mean())
            if bits < best_bits:
                best, best_bits = current, bits
            if progress is not None:
                progress(done, settings.steps, bits)
    return best


def _start(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Biases 0; embeddings small; other weights uniform by fan-in and fan-out (Glorot and Bengio 2010)."""
    if "bias" in name:
        return np.zeros(shape, np.float32)
    if name.startswith(("embedding", "above")):
        return rng.uniform(-0.05, 0.05, shape).astype(np.float32)
    limit = np.sqrt(6.0 / (int(np.prod(shape[:-1])) + int(np.prod(shape[:-2])) * shape[-1]))
    return rng.uniform(-limit, limit, shape).astype(np.float32)
