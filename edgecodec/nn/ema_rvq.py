"""Residual vector quantiser whose codebooks follow exponential moving averages.

Sources: van den Oord et al. 2017, "Neural Discrete Representation Learning", appendix A.1; for the revival of dead
codes Dhariwal et al. 2020, "Jukebox".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.nn.rvq import ResidualQuantizerBase, keras, ops


@keras.saving.register_keras_serializable(package="edgecodec")
class EmaResidualVectorQuantizer(ResidualQuantizerBase):
    """A residual vector quantiser whose codebooks are moving averages and not trained by gradient.

    Only the commitment loss ``beta mean((stop(q) - r)^2)`` is added. When ``training``, each level keeps
    with decay g a count ``N = g N + (1-g) n`` and a sum ``W = g W + (1-g) sum r`` of the residuals that
    chose each code, and its codebook becomes ``W / N'`` with
    ``N' = (N + epsilon) / (sum N + K epsilon) sum N``.

    With ``revive_threshold`` above 0, a code whose N falls below that share of the level's mean count is dead: it
    moves to a residual of the batch, the one farthest from its code first, and starts anew with N the mean count.

    With ``rate_bias`` above 0, a level chooses the code of least ``||c||^2 - 2 r.c + lambda (-log2 p)``, p the code's
    share of N, so that a likely code wins over a slightly closer one that costs more bits. lambda is ``rate_bias``
    times the moving mean of the input's squared length, so that a bit is worth the same whatever scale an encoder
    happens to have; one for all levels or one for each. Source: entropy-constrained vector quantisation, Chou,
    Lookabaugh and Gray 1989.

    Raises ValueError unless ``0 <= ema_decay < 1``, ``epsilon > 0``, ``0 <= revive_threshold < 1`` and
    ``rate_bias >= 0``, and as the base does.
    """

    trainable_codebooks = False

    def __init__(
        self,
        num_levels: int,
        num_embeddings: int | np.integer[Any] | Sequence[int],
        embedding_dim: int,
        beta: float = 0.25,
        ema_decay: float = 0.99,
        epsilon: float = 1e-5,
        revive_threshold: float = 0.0,
        rate_bias: float | Sequence[float] = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_levels, num_embeddings, embedding_dim, beta, **kwargs)
        if not 0 <= ema_decay < 1 or not epsilon > 0:
            raise ValueError(f"expected 0 <= ema_decay < 1 and epsilon > 0; received {ema_decay} and {epsilon}")
        if not 0 <= revive_threshold < 1:
            raise ValueError(f"expected 0 <= revive_threshold < 1; received {revive_threshold}")
        weights = [rate_bias] * self.num_levels if isinstance(rate_bias, int | float) else list(rate_bias)
        if len(weights) != self.num_levels or not all(0 <= weight < np.inf for weight in weights):
            raise ValueError(f"expected rate_bias >= 0, one or num_levels = {num_levels} of them; received {rate_bias}")
        self.revive_threshold = float(revive_threshold)
        self.rate_bias = [float(weight) for weight in weights]
        self.ema_decay = float(ema_decay)
        self.epsilon = float(epsilon)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Create for each level its codebook, ``ema_count_l{l}`` (ones) and ``ema_weight_l{l}`` (the codebook).

        With a rate bias there is ``ema_power`` too, the mean of the input's squared length.
        """
        self._ema_counts: list[Any] = []
        self._ema_weights: list[Any] = []
        super().build(input_shape)
        if any(self.rate_bias):
            self._ema_power = self.add_weight(name="ema_power", shape=(), initializer="zeros", trainable=False)
            self._start_power()

    def _build_level(self, level: int, size: int) -> None:
        super()._build_level(level, size)
        self._ema_counts.append(
            self.add_weight(name=f"ema_count_l{level}", shape=(size,), initializer="ones", trainable=False)
        )
        self._ema_weights.append(
            self.add_weight(
                name=f"ema_weight_l{level}", shape=(size, self.embedding_dim), initializer="zeros", trainable=False
            )
        )
        self._ema_weights[-1].assign(self._codebooks[-1])

    def set_codebooks(self, codebooks: Sequence[npt.NDArray[np.floating]]) -> None:
        """Replace the codebooks and start their averages anew."""
        super().set_codebooks(codebooks)
        for count, total, book in zip(self._ema_counts, self._ema_weights, codebooks, strict=True):
            count.assign(np.ones(len(book), np.float32))
            total.assign(book)
        if any(self.rate_bias):
            self._start_power()

    def _start_power(self) -> None:
        """The first level's codes stand for inputs until there are some."""
        self._ema_power.assign(ops.mean(ops.sum(ops.square(self._codebooks[0]), axis=1)))

    def get_config(self) -> dict[str, Any]:
        """Arguments of ``__init__``; those that heliaEDGE's layer lacks only where they are set."""
        own: dict[str, Any] = {"ema_decay": self.ema_decay, "epsilon": self.epsilon}
        if self.revive_threshold > 0:
            own["revive_threshold"] = self.revive_threshold
        if any(self.rate_bias):
            own["rate_bias"] = self.rate_bias
        return {**super().get_config(), **own}

    def _bias(self, level: int) -> Any | None:
        if not any(self.rate_bias):
            return None
        shares = self._smoothed(self._ema_counts[level]) / ops.sum(self._ema_counts[level])
        return -self.rate_bias[level] * self._ema_power * ops.log2(shares)

    def _smoothed(self, count: Any) -> Any:
        """N', which no code that nothing chooses makes zero."""
        everything = ops.sum(count)
        return (count + self.epsilon) / (everything + count.shape[0] * self.epsilon) * everything

    def _level_loss(self, residual: Any, code: Any) -> Any:
        return self._commitment_loss(residual, code)

    def _learn(self, level: int, index: Any, residual: Any) -> None:
        decay, size = self.ema_decay, self.codebook_sizes[level]
        if level == 0 and any(self.rate_bias):
            power = ops.mean(ops.sum(ops.square(residual), axis=1))
            self._ema_power.assign(decay * self._ema_power + (1.0 - decay) * power)
        chosen = ops.one_hot(index, size, dtype="float32")
        count = decay * self._ema_counts[level] + (1.0 - decay) * ops.sum(chosen, axis=0)
        total = decay * self._ema_weights[level] + (1.0 - decay) * ops.matmul(ops.transpose(chosen), residual)
        if self.revive_threshold > 0:
            count, total = self._revive(level, index, residual, count, total)
        self._ema_counts[level].assign(count)
        self._ema_weights[level].assign(total)
        self._codebooks[level].assign(total / ops.expand_dims(self._smoothed(count), axis=1))

    def _revive(self, level: int, index: Any, residual: Any, count: Any, total: Any) -> tuple[Any, Any]:
        """Counts and sums with dead codes moved to the residuals that are farthest from theirs."""
        mean = ops.mean(count)
        dead = count < self.revive_threshold * mean
        distance = ops.sum(ops.square(residual - ops.take(self._codebooks[level], index, axis=0)), axis=1)
        farthest = ops.argsort(-distance)
        # The first dead code takes the first of them, the second the next, and round again.
        rank = (ops.cumsum(ops.cast(dead, "int32")) - 1) % ops.shape(residual)[0]
        moved = ops.take(residual, ops.take(farthest, ops.maximum(rank, 0), axis=0), axis=0)
        return ops.where(dead, mean, count), ops.where(ops.expand_dims(dead, axis=1), mean * moved, total)
