"""The rate of a codec's indices as a loss, so that the encoder learns latents that are cheap to send."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecodec.nn.backend import import_tensorflow
from edgecodec.nn.causal_prior import IndexPriorNetwork


@dataclass(frozen=True)
class RateTerms:
    """The two losses of a batch, differentiable scalars."""

    codec: Any
    """Expected bits a frame under soft assignments; its gradient reaches the latent, not the prior."""
    prior: Any
    """Bits a frame of the indices under the prior; its gradient reaches the prior alone."""


class RateLoss:
    """Entropy constraint on residual vector quantisation by a prior that learns beside the codec.

    The prior p of :mod:`edgecodec.nn.causal_prior` learns the indices. The codec pays the expected code length
    ``sum_k s_k (-log2 p_k)`` of each index under a soft assignment of its residual r to the codes c_k::

        s_k = softmax(-||r - c_k||^2 / (softness d)),  d the batch's mean squared distance to the nearest code

    so a latent between two codes is drawn to the likelier one. Source: entropy-constrained vector quantisation
    (Chou, Lookabaugh and Gray 1989) with the soft assignments of Agustsson et al. 2017, "Soft-to-Hard Vector
    Quantization".
    """

    def __init__(
        self, positions: int, codebook_sizes: Sequence[int], *, channels: int = 48, softness: float = 0.5, seed: int = 0
    ) -> None:
        self._tf = import_tensorflow()
        self._softness = softness
        self._positions = positions
        self._prior = IndexPriorNetwork(positions, codebook_sizes, channels, seed)

    @property
    def variables(self) -> list[Any]:
        """The prior's, trainable."""
        return self._prior.variables

    def __call__(self, latent: Any, indices: Sequence[Any], codebooks: Sequence[Any]) -> RateTerms:
        """Rates of latents ``[B, 1, P, D]`` whose flat indices ``[B P]`` a level chose codes ``[K, D]``."""
        tf, positions = self._tf, self._positions
        chosen = tf.stack([tf.reshape(tf.cast(index, tf.int32), (-1, positions)) for index in indices], axis=-1)
        log_probabilities = self._prior.log_probabilities(chosen)
        residual = tf.reshape(latent, (-1, latent.shape[-1]))
        codec = prior = 0.0
        for level, codebook in enumerate(codebooks):
            codes = tf.stop_gradient(tf.convert_to_tensor(codebook))
            index = tf.reshape(chosen[..., level], (-1,))
            log_probability = tf.reshape(log_probabilities[level], (-1, codes.shape[0]))
            lengths = tf.stop_gradient(-log_probability)
            codec += tf.reduce_mean(tf.reduce_sum(self._assignments(residual, codes) * lengths, axis=1))
            prior -= tf.reduce_mean(tf.gather(log_probability, index, batch_dims=1))
            residual -= tf.gather(codes, index)
        bits = positions / np.log(2.0)
        return RateTerms(codec * bits, prior * bits)

    def _assignments(self, residual: Any, codes: Any) -> Any:
        tf = self._tf
        distance = tf.reduce_sum(tf.square(residual), axis=1, keepdims=True) + tf.reduce_sum(tf.square(codes), axis=1)
        distance = tf.nn.relu(distance - 2.0 * tf.matmul(residual, codes, transpose_b=True))
        scale = self._softness * tf.stop_gradient(tf.reduce_mean(tf.reduce_min(distance, axis=1))) + 1e-12
        return tf.nn.softmax(-distance / scale)
