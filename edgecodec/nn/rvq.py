"""Residual vector quantiser whose codebooks learn by gradient.

Sources: van den Oord et al. 2017, "Neural Discrete Representation Learning" (losses, straight-through
estimator); Zeghidour et al. 2021, "SoundStream" (residual levels). Arguments, attributes and the order and places of
variables follow heliaEDGE's layer, so that files of one load into the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.nn.backend import import_keras

keras = import_keras()
ops = keras.ops


class ResidualQuantizerBase(keras.layers.Layer):  # type: ignore[misc, name-defined]
    """Codebooks, search, metrics and straight-through estimator; subclasses say how codebooks learn.

    Runs in float32 under any mixed-precision policy: half precision changes indices.
    """

    def __init__(
        self,
        num_levels: int,
        num_embeddings: int | np.integer[Any] | Sequence[int],
        embedding_dim: int,
        beta: float = 0.25,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        if num_levels < 1 or embedding_dim <= 0 or beta <= 0:
            raise ValueError(
                "expected num_levels >= 1, embedding_dim > 0 and beta > 0; "
                f"received {num_levels}, {embedding_dim} and {beta}"
            )
        sizes = [num_embeddings] * num_levels if isinstance(num_embeddings, int | np.integer) else list(num_embeddings)
        if len(sizes) != num_levels:
            raise ValueError(f"num_embeddings has {len(sizes)} entries; expected num_levels = {num_levels}")
        if any(size < 1 for size in sizes):
            raise ValueError(f"num_embeddings is {sizes}; expected sizes of at least 1")
        self.num_levels = int(num_levels)
        self.codebook_sizes = [int(size) for size in sizes]
        self.embedding_dim = int(embedding_dim)
        self.beta = float(beta)
        self.M, self.D, self.Ks = self.num_levels, self.embedding_dim, list(self.codebook_sizes)
        levels = range(1, self.num_levels + 1)
        self._lvl_perp = [keras.metrics.Mean(name=f"rvq_l{level}_perplexity") for level in levels]
        self._lvl_usage = [keras.metrics.Mean(name=f"rvq_l{level}_usage") for level in levels]
        self._lvl_bpi = [keras.metrics.Mean(name=f"rvq_l{level}_bits_per_index") for level in levels]
        self._perp_mean = keras.metrics.Mean(name="rvq_perplexity_mean")
        self._usage_mean = keras.metrics.Mean(name="rvq_usage_mean")
        self._bpi_sum = keras.metrics.Mean(name="rvq_bits_per_index_sum")
        # TensorFlow finds variables of layers by itself, those of metrics only here; a SavedModel needs them.
        for metric in self.metrics:
            for number, variable in enumerate(metric.variables):
                self._track_trackable(variable.value, name=f"{metric.name}_{number}")

    trainable_codebooks = True

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Create ``codebook_l1``, ``codebook_l2``, ...: ``[K, D]``, uniform in +-1/K.

        Only the last entry of ``input_shape`` counts, and None there stands for ``embedding_dim``.
        """
        channels = input_shape[-1]
        if channels not in (None, self.embedding_dim):
            raise ValueError(f"input has {channels} channels; expected embedding_dim = {self.embedding_dim}")
        self._codebooks: list[Any] = []
        for level, size in enumerate(self.codebook_sizes, start=1):
            self._build_level(level, size)

    def _build_level(self, level: int, size: int) -> None:
        """Create the variables of ``level``, from 1, with ``size`` codes; the codebook first."""
        self._codebooks.append(
            self.add_weight(
                name=f"codebook_l{level}",
                shape=(size, self.embedding_dim),
                initializer=keras.initializers.RandomUniform(-1.0 / size, 1.0 / size),
                trainable=self.trainable_codebooks,
            )
        )

    @property
    def codebooks(self) -> list[npt.NDArray[np.float32]]:
        """Copies of the codebooks, float32 ``[K, D]`` a level; the layer must be built."""
        return [ops.convert_to_numpy(book).astype(np.float32) for book in self._codebooks]

    @property
    def codebook_variables(self) -> list[Any]:
        """The codebooks themselves, ``[K, D]`` a level; the layer must be built."""
        return list(self._codebooks)

    @property
    def biases(self) -> list[npt.NDArray[np.float32]] | None:
        """What each code costs beside its distance, float32 ``[K]`` a level in squared units of the latent, the least
        of a level 0; None where nothing but the distance counts. The layer must be built.
        """
        biases = [self._bias(level) for level in range(self.num_levels)]
        if any(bias is None for bias in biases):
            return None
        arrays = [ops.convert_to_numpy(bias).astype(np.float32) for bias in biases]
        return [bias - bias.min() for bias in arrays]

    def set_codebooks(self, codebooks: Sequence[npt.NDArray[np.floating]]) -> None:
        """Replace the codebooks, for a start by k-means. Raises ValueError when a shape differs."""
        if len(codebooks) != self.num_levels:
            raise ValueError(f"received {len(codebooks)} codebooks; expected num_levels = {self.num_levels}")
        for variable, book in zip(self._codebooks, codebooks, strict=True):
            if tuple(variable.shape) != tuple(book.shape):
                raise ValueError(f"codebook {variable.name} has shape {tuple(variable.shape)}; received {book.shape}")
            variable.assign(book)

    def call(self, x: Any, training: bool = False, return_indices: bool = False) -> Any:
        """Quantise ``[..., D]``. Returns ``y [..., D]``, or ``(y, [indices [N] per level])``."""
        x = ops.convert_to_tensor(x, dtype=self.compute_dtype)
        flat = ops.reshape(x, (-1, self.embedding_dim))
        residual, total, indices = flat, ops.zeros_like(flat), []
        for level, codebook in enumerate(self._codebooks):
            index = _nearest(residual, codebook, self._bias(level))
            code = ops.take(codebook, index, axis=0)
            fixed = ops.stop_gradient(code)
            self.add_loss(self._level_loss(residual, code))
            if training:
                self._learn(level, index, ops.stop_gradient(residual))
            total = total + fixed
            residual = residual - fixed
            indices.append(index)
        self._update_metrics(indices)
        y = ops.reshape(flat + ops.stop_gradient(total - flat), ops.shape(x))
        return (y, indices) if return_indices else y

    def encode(self, x: Any) -> list[Any]:
        """Indices of each level, flat ``[N]``, of latents ``[..., D]``."""
        residual = ops.reshape(ops.convert_to_tensor(x, dtype=self.compute_dtype), (-1, self.embedding_dim))
        indices = []
        for level, codebook in enumerate(self._codebooks):
            index = _nearest(residual, codebook, self._bias(level))
            residual = residual - ops.take(codebook, index, axis=0)
            indices.append(index)
        return indices

    def decode(self, indices_list: Sequence[Any], original_shape: Sequence[int]) -> Any:
        """Sum of the chosen codes, reshaped to ``original_shape`` ``[..., D]``."""
        if len(indices_list) != self.num_levels:
            raise ValueError(f"received indices of {len(indices_list)} levels; expected {self.num_levels}")
        codes = [ops.take(book, index, axis=0) for book, index in zip(self._codebooks, indices_list, strict=True)]
        return ops.reshape(sum(codes[1:], codes[0]), original_shape)

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple[int | None, ...]:
        """Shape of ``y``: the input's."""
        return tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        """Arguments of ``__init__``."""
        return {
            **super().get_config(),
            "num_levels": self.num_levels,
            "num_embeddings": list(self.codebook_sizes),
            "embedding_dim": self.embedding_dim,
            "beta": self.beta,
        }

    def _bias(self, level: int) -> Any | None:
        """What the codes of ``level``, from 0, cost beside their distance: ``[K]``, in its units, or None."""
        return None

    def _level_loss(self, residual: Any, code: Any) -> Any:
        raise NotImplementedError

    def _learn(self, level: int, index: Any, residual: Any) -> None:
        """Change the codebook outside of gradient descent."""

    def _commitment_loss(self, residual: Any, code: Any) -> Any:
        return self.beta * ops.mean(ops.square(ops.stop_gradient(code) - residual))

    def _update_metrics(self, indices: Sequence[Any]) -> None:
        perplexities, usages, entropies = [], [], []
        for level, (index, size) in enumerate(zip(indices, self.codebook_sizes, strict=True)):
            share = ops.mean(ops.one_hot(index, size, dtype="float32"), axis=0)
            entropy_nats = -ops.sum(share * ops.log(share + 1e-10))
            perplexities.append(ops.exp(entropy_nats))
            usages.append(ops.mean(ops.cast(share > 0, "float32")))
            entropies.append(entropy_nats / np.float32(np.log(2.0)))
            self._lvl_perp[level].update_state(perplexities[-1])
            self._lvl_usage[level].update_state(usages[-1])
            self._lvl_bpi[level].update_state(entropies[-1])
        self._perp_mean.update_state(ops.mean(ops.stack(perplexities)))
        self._usage_mean.update_state(ops.mean(ops.stack(usages)))
        self._bpi_sum.update_state(ops.sum(ops.stack(entropies)))


@keras.saving.register_keras_serializable(package="edgecodec")
class ResidualVectorQuantizer(ResidualQuantizerBase):
    """Quantise ``[..., D]`` by ``num_levels`` codebooks in turn, each on what the ones before left over.

    Each level adds ``beta mean((stop(q) - r)^2) + mean((q - stop(r))^2)`` to the losses; gradients pass
    straight through the whole stack. Metrics: ``rvq_l{l}_perplexity``, ``rvq_l{l}_usage``,
    ``rvq_l{l}_bits_per_index`` for l from 1, ``rvq_perplexity_mean``, ``rvq_usage_mean`` and
    ``rvq_bits_per_index_sum``. The nearest code wins, ties go to the lowest index.

    ``num_embeddings`` is one size for all levels or one for each. Raises ValueError unless
    ``num_levels >= 1``, ``embedding_dim > 0``, ``beta > 0`` and the sizes fit the levels.
    """

    def _level_loss(self, residual: Any, code: Any) -> Any:
        codebook_loss = ops.mean(ops.square(code - ops.stop_gradient(residual)))
        return self._commitment_loss(residual, code) + codebook_loss


def _nearest(residual: Any, codebook: Any, bias: Any | None) -> Any:
    """Index ``[N]`` of the code of least distance and bias; ``||r||^2`` is the same for all codes and left out."""
    codebook = ops.convert_to_tensor(codebook)
    constant = ops.sum(ops.square(codebook), axis=1)
    if bias is not None:
        constant = constant + bias
    return ops.argmin(constant - 2.0 * ops.matmul(residual, ops.transpose(codebook)), axis=1)
