"""Residual vector quantiser whose codebooks follow exponential moving averages.

Source: van den Oord et al. 2017, "Neural Discrete Representation Learning", appendix A.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.nn.rvq import ResidualQuantizerBase, keras, ops


@keras.saving.register_keras_serializable(package="edgecodec")
class EmaResidualVectorQuantizer(ResidualQuantizerBase):
    """As :class:`ResidualVectorQuantizer`, with codebooks that are not trained by gradient.

    Only the commitment loss ``beta mean((stop(q) - r)^2)`` is added. When ``training``, each level keeps
    with decay g a count ``N = g N + (1-g) n`` and a sum ``W = g W + (1-g) sum r`` of the residuals that
    chose each code, and its codebook becomes ``W / N'`` with
    ``N' = (N + epsilon) / (sum N + K epsilon) sum N``.

    Raises ValueError unless ``0 <= ema_decay < 1`` and ``epsilon > 0``, and as the base does.
    """

    trainable_codebooks = False

    def __init__(
        self,
        num_levels: int,
        num_embeddings: int | Sequence[int],
        embedding_dim: int,
        beta: float = 0.25,
        ema_decay: float = 0.99,
        epsilon: float = 1e-5,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_levels, num_embeddings, embedding_dim, beta, **kwargs)
        if not 0 <= ema_decay < 1 or not epsilon > 0:
            raise ValueError(f"expected 0 <= ema_decay < 1 and epsilon > 0; received {ema_decay} and {epsilon}")
        self.ema_decay = float(ema_decay)
        self.epsilon = float(epsilon)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Create the codebooks, ``ema_count_l{l}`` (ones) and ``ema_weight_l{l}`` (the codebook)."""
        super().build(input_shape)
        self._counts, self._sums = [], []
        for level, size in enumerate(self.codebook_sizes, start=1):
            self._counts.append(
                self.add_weight(name=f"ema_count_l{level}", shape=(size,), initializer="ones", trainable=False)
            )
            self._sums.append(
                self.add_weight(
                    name=f"ema_weight_l{level}", shape=(size, self.embedding_dim), initializer="zeros", trainable=False
                )
            )
        for total, codebook in zip(self._sums, self._codebooks, strict=True):
            total.assign(codebook)

    def set_codebooks(self, codebooks: Sequence[npt.NDArray[np.floating]]) -> None:
        """Replace the codebooks and start their averages anew."""
        super().set_codebooks(codebooks)
        for count, total, book in zip(self._counts, self._sums, codebooks, strict=True):
            count.assign(np.ones(len(book), np.float32))
            total.assign(book)

    def get_config(self) -> dict[str, Any]:
        """Arguments of ``__init__``."""
        return {**super().get_config(), "ema_decay": self.ema_decay, "epsilon": self.epsilon}

    def _level_loss(self, residual: Any, code: Any) -> Any:
        return self._commitment_loss(residual, code)

    def _learn(self, level: int, index: Any, residual: Any) -> None:
        decay, size = self.ema_decay, self.codebook_sizes[level]
        chosen = ops.one_hot(index, size, dtype="float32")
        count = decay * self._counts[level] + (1.0 - decay) * ops.sum(chosen, axis=0)
        total = decay * self._sums[level] + (1.0 - decay) * ops.matmul(ops.transpose(chosen), residual)
        everything = ops.sum(count)
        smoothed = (count + self.epsilon) / (everything + size * self.epsilon) * everything
        self._counts[level].assign(count)
        self._sums[level].assign(total)
        self._codebooks[level].assign(total / ops.expand_dims(smoothed, axis=1))
