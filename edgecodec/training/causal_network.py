"""Fit the causal network of packets (:mod:`edgecodec.entropy.causal_network`) by gradient descent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.entropy.causal_network import LANES, MOST_CODES, CausalNetwork
from edgecodec.errors import InputError
from edgecodec.nn.backend import import_keras, import_tensorflow
from edgecodec.nn.causal_network import CausalNetworkTrainer

Indices = npt.NDArray[np.integer[Any]]
Progress = Callable[[int, int, float], None]
"""``progress(done, total, bits)``, bits a frame of the validation indices."""
_CHECKS = 20
_ROUNDED_SHARE = 0.4
"""Last part of the steps, in which weights are rounded as integers have them."""


@dataclass(frozen=True)
class NetworkFitting:
    """The shape of a network and how it is fitted. Raises InputError for values out of range."""

    embedding: int = 8
    """Entries of an index's embedding, R."""
    channels: int = 16
    """Width of a position's state, C, a multiple of 4."""
    hidden: int = 16
    """Hidden channels of a level, H, a multiple of 4."""
    dilations: tuple[int, ...] = (1, 2, 4, 8)
    """Of each block, powers of two."""
    steps: int = 4000
    """Optimiser steps."""
    batch_size: int = 64
    """Frames a step."""
    learning_rate: float = 4e-3
    """Peak learning rate of Adam, falling to zero by a cosine."""
    seed: int = 0
    """Seed of the first weights and of the draw of frames."""
    known_levels: int = 0
    """First levels that the decoder knows beforehand: a context for the others that takes no bits."""

    def __post_init__(self) -> None:
        for name in ("embedding", "channels", "hidden", "steps", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"causal network {name} is {getattr(self, name)}; expected at least 1")
        for name in ("channels", "hidden"):
            if getattr(self, name) % LANES:
                raise InputError(f"causal network {name} is {getattr(self, name)}; expected a multiple of {LANES}")
        if not self.learning_rate > 0:
            raise InputError(f"causal network learning_rate is {self.learning_rate}; expected a value above 0")


def fit_causal_network(
    train: Indices,
    validation: Indices,
    codebooks: Sequence[npt.NDArray[Any]],
    fitting: NetworkFitting | None = None,
    progress: Progress | None = None,
) -> CausalNetwork:
    """Fit a network to ``train`` indices ``[M, P, L]``; keep the integers with the shortest code for ``validation``.

    ``validation`` ``[N, P, L]`` should be of other people. ``codebooks`` ``[K, D]`` order the trees: codes that lie
    near each other are told apart last. The same seed and data give the same network on the same machine. Raises
    InputError when either holds no frame, their shapes differ, or a codebook is too large.
    """
    fitting, levels = fitting or NetworkFitting(), len(codebooks)
    for name, given in (("training", train), ("validation", validation)):
        if given.ndim != 3 or given.shape[1:] != (train.shape[1], levels) or given.size == 0:
            raise InputError(f"{name} indices are {given.shape}; expected [N, P, {levels}] with at least one frame")
    for level, book in enumerate(codebooks):
        if len(book) > MOST_CODES:
            raise InputError(f"level {level} has {len(book)} codes; a causal network takes at most {MOST_CODES}")
    tf, keras = import_tensorflow(), import_keras()
    ranks = [tree_ranks(np.asarray(book, np.float64)) for book in codebooks]
    embeddings = [_principal(np.asarray(book, np.float64), fitting.embedding) for book in codebooks]
    widths = (fitting.channels, fitting.hidden)
    network = CausalNetworkTrainer(ranks, embeddings, widths, fitting.dilations, fitting.seed, fitting.known_levels)
    optimizer = keras.optimizers.Adam(fitting.learning_rate, beta_2=0.99, global_clipnorm=30.0)
    optimizer.build(network.variables)

    def make_step(rounded: bool) -> Callable[[Any], None]:
        def step(indices: Any) -> None:
            with tf.GradientTape() as tape:
                bits = network.bits_per_frame(indices, rounded)
            # Of a level that is known only the embedding counts.
            unused = tf.UnconnectedGradients.ZERO
            gradients = tape.gradient(bits, network.variables, unconnected_gradients=unused)
            optimizer.apply([tf.convert_to_tensor(gradient) for gradient in gradients], network.variables)

        return tf.function(step)  # type: ignore[no-any-return]  # TensorFlow is untyped here

    steps = {rounded: make_step(rounded) for rounded in (False, True)}
    rng = np.random.default_rng(fitting.seed)
    data = np.ascontiguousarray(train, np.int32)
    every = max(1, fitting.steps // _CHECKS)
    best, best_bits = network.export(), np.inf
    for done in range(1, fitting.steps + 1):
        falling = 0.5 * (1.0 + np.cos(np.pi * (done - 1) / fitting.steps))
        optimizer.learning_rate.assign(fitting.learning_rate * falling)
        batch = tf.constant(data[rng.integers(len(data), size=fitting.batch_size)])
        steps[done > (1 - _ROUNDED_SHARE) * fitting.steps](batch)
        if done % every == 0 or done == fitting.steps:
            current = network.export()
            lengths = current.code_lengths(validation)[..., fitting.known_levels :]
            bits = float(lengths.sum(axis=(1, 2)).mean())
            if bits < best_bits:
                best, best_bits = current, bits
            if progress is not None:
                progress(done, fitting.steps, bits)
    return best


def tree_ranks(codebook: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    """Leaves of the codes ``[K, D]`` in a tree that halves them along their principal direction, again and again."""
    ranks = np.empty(len(codebook), np.uint8)
    open_parts = [(np.arange(len(codebook)), 0)]
    while open_parts:
        codes, first = open_parts.pop()
        if len(codes) == 1:
            ranks[codes[0]] = first
            continue
        centred = codebook[codes] - codebook[codes].mean(axis=0)
        direction = np.linalg.svd(centred, full_matrices=False)[2][0]
        codes = codes[np.argsort(centred @ direction, kind="stable")]
        half = (len(codes) + 1) // 2
        open_parts += [(codes[:half], first), (codes[half:], first + half)]
    return ranks


def _principal(codebook: npt.NDArray[np.float64], width: int) -> npt.NDArray[np.float32]:
    """The codes ``[K, D]`` along their principal directions, ``[K, width]``, at most 1; zeros beyond ``D``."""
    centred = codebook - codebook.mean(axis=0)
    left, scales, _ = np.linalg.svd(centred, full_matrices=False)
    found = np.zeros((len(codebook), width), np.float32)
    kept = min(width, len(scales))
    found[:, :kept] = (left * scales)[:, :kept]
    return found / max(float(np.abs(found).max()), 1e-9)
