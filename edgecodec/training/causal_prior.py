"""Fit the causal model of codebook indices (:mod:`edgecodec.entropy.causal_prior`) by gradient descent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.entropy.causal_prior import IndexPrior
from edgecodec.errors import InputError
from edgecodec.nn.backend import import_keras, import_tensorflow
from edgecodec.nn.causal_prior import IndexPriorNetwork

Indices = npt.NDArray[np.integer[Any]]
Progress = Callable[[int, int, float], None]
"""``progress(done, total, bits)``, bits a frame of the validation indices."""
_CHECKS = 20
"""How often the validation indices are asked."""


@dataclass(frozen=True)
class PriorFitting:
    """How a prior is fitted."""

    channels: int = 64
    """Channels of the network."""
    steps: int = 4000
    """Optimiser steps."""
    batch_size: int = 64
    """Frames a step."""
    learning_rate: float = 4e-3
    """Peak learning rate of Adam, falling to zero by a cosine."""
    seed: int = 0
    """Seed of the first weights and of the draw of frames."""

    def __post_init__(self) -> None:
        for name in ("channels", "steps", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"index prior {name} is {getattr(self, name)}; expected at least 1")
        if not self.learning_rate > 0:
            raise InputError(f"index prior learning_rate is {self.learning_rate}; expected a value above 0")


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
