"""The causal network of packets (:mod:`edgecodec.entropy.causal_network`) as a trainable one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.entropy.causal_network import (
    LANES,
    LOGIT_STEPS,
    TAPS,
    Block,
    CausalNetwork,
    Dense,
    LevelHead,
    path,
)
from edgecodec.nn.backend import import_tensorflow

_WEIGHT_LIMIT = 127
_MOST_FRACTION = 14
"""Fraction bits of a weight, at most."""
_ACTIVATION_FRACTION = 8
"""Fraction bits of activations: int16 holds -128 to 128."""

FloatArray = npt.NDArray[np.float32]


class CausalNetworkTrainer:
    """The network as TensorFlow variables, with weights rounded as the integers have them once ``rounded``.

    ``ranks`` are the leaves of each level's codes, ``embeddings`` ``[K, R]`` those to start from; ``widths`` are C and
    H. The first ``known_levels`` are known to the decoder, so their bits are no loss. Rounding passes gradients on as
    they are (straight-through; Bengio et al. 2013).
    """

    def __init__(
        self,
        ranks: Sequence[npt.NDArray[np.uint8]],
        embeddings: Sequence[FloatArray],
        widths: tuple[int, int],
        dilations: Sequence[int],
        seed: int,
        known_levels: int = 0,
    ) -> None:
        self._known_levels = known_levels
        self._tf = import_tensorflow()
        self._ranks, self._dilations = list(ranks), tuple(dilations)
        self._sizes = [len(rank) for rank in ranks]
        embedding, (channels, hidden) = embeddings[0].shape[1], widths
        rng = np.random.default_rng(seed)
        self._variables: dict[str, Any] = {}
        inputs = -(-len(ranks) * embedding // LANES) * LANES
        self._padding = inputs - len(ranks) * embedding
        self._add("input", (inputs, channels), rng, len(ranks) * embedding)
        for number, dilation in enumerate(self._dilations):
            del dilation
            self._add(f"taps_{number}", (TAPS * channels, channels), rng, TAPS * channels)
            self._add(f"mix_{number}", (channels, channels), rng, 4 * channels)
        for level, codes in enumerate(self._sizes):
            start = np.concatenate([np.zeros((1, embedding)), embeddings[level]]).astype(np.float32)
            self._variables[f"embedding_{level}"] = self._tf.Variable(start, name=f"embedding_{level}")
            self._add(f"hidden_{level}", (channels, hidden), rng, channels)
            for above in range(level):
                self._add(f"above_{level}_{above}", (self._sizes[above], hidden), rng, 10 * hidden, bias=False)
            if codes > 1:
                self._add(f"nodes_{level}", (codes - 1, hidden), rng, hidden, codes - 1)
        self._paths = [_path_tables(rank) for rank in self._ranks]

    @property
    def variables(self) -> list[Any]:
        """All of them, trainable."""
        return list(self._variables.values())

    def bits_per_frame(self, indices: Any, rounded: bool) -> Any:
        """Mean ideal code length of indices int32 ``[N, P, L]``, a differentiable scalar."""
        tf = self._tf
        get = self._rounded if rounded else self._variables.__getitem__
        before = tf.pad(indices[:, :-1] + 1, [[0, 0], [1, 0], [0, 0]])
        parts = [tf.gather(get(f"embedding_{level}"), before[..., level]) for level in range(len(self._sizes))]
        x = tf.pad(tf.concat(parts, axis=-1), [[0, 0], [0, 0], [0, self._padding]])
        x = tf.matmul(x, get("input")) + get("input_bias")
        for number, dilation in enumerate(self._dilations):
            taps = [_delayed(tf, x, tap * dilation) for tap in range(TAPS - 1, -1, -1)]
            inner = tf.nn.relu(tf.matmul(tf.concat(taps, axis=-1), get(f"taps_{number}")) + get(f"taps_{number}_bias"))
            x += tf.matmul(inner, get(f"mix_{number}")) + get(f"mix_{number}_bias")
        total = 0.0
        for level, codes in enumerate(self._sizes):
            if codes == 1 or level < self._known_levels:
                continue
            h = tf.matmul(x, get(f"hidden_{level}")) + get(f"hidden_{level}_bias")
            for above in range(level):
                h += tf.gather(get(f"above_{level}_{above}"), indices[..., above])
            h = tf.nn.relu(h)
            nodes, signs = (tf.gather(tf.constant(table), indices[..., level]) for table in self._paths[level])
            logits = tf.einsum("npdh,nph->npd", tf.gather(get(f"nodes_{level}"), nodes), h)
            logits += tf.gather(get(f"nodes_{level}_bias"), nodes)
            # A sign of 0 is no node: softplus(0) is taken off again.
            lengths = tf.where(signs != 0, tf.nn.softplus(-signs * logits), 0.0)
            total += tf.reduce_mean(tf.reduce_sum(lengths, axis=[1, 2]))
        return total / np.log(2.0)

    def export(self) -> CausalNetwork:
        """The network in integers, as the weights are now."""
        levels = []
        for level, codes in enumerate(self._sizes):
            hidden = self._dense(f"hidden_{level}")
            shift = hidden.shift
            above = [_integers(self._value(f"above_{level}_{number}")) for number in range(level)]
            # All tables above share a shift, that of the coarsest.
            fraction = min([fraction for _, fraction in above], default=shift + _ACTIVATION_FRACTION)
            tables = tuple(_scaled(self._value(f"above_{level}_{number}"), fraction) for number in range(level))
            width = hidden.weights.shape[0]
            nodes, node_fraction = np.zeros((0, width), np.int8), 0
            bias, bias_shift = np.zeros(0, np.int16), 0
            if codes > 1:
                nodes, node_fraction = _integers(self._value(f"nodes_{level}"))
                exact = self._value(f"nodes_{level}_bias")
                point = node_fraction + _ACTIVATION_FRACTION
                bias_shift = min(15, max(0, point - 8))
                scale = 2.0 ** (point - bias_shift)
                bias = np.clip(np.round(exact * scale), -32768, 32767).astype(np.int16)
            embedding = _scaled(self._value(f"embedding_{level}"), self._embedding_fraction())
            levels.append(
                LevelHead(
                    embedding,
                    hidden,
                    tables,
                    shift + _ACTIVATION_FRACTION - fraction,
                    self._ranks[level],
                    nodes,
                    bias,
                    bias_shift,
                    max(0, node_fraction + _ACTIVATION_FRACTION - int(np.log2(LOGIT_STEPS))),
                )
            )
        blocks = tuple(
            Block(dilation, self._dense(f"taps_{number}"), self._dense(f"mix_{number}"))
            for number, dilation in enumerate(self._dilations)
        )
        return CausalNetwork(self._dense("input", self._embedding_fraction()), blocks, tuple(levels))

    def _embedding_fraction(self) -> int:
        """Fraction bits of all levels' embeddings."""
        values = [self._value(f"embedding_{level}") for level in range(len(self._sizes))]
        return min(_integers(value)[1] for value in values)

    def _dense(self, name: str, input_fraction: int = _ACTIVATION_FRACTION) -> Dense:
        """A layer from activations of ``input_fraction`` bits to such of the usual ones."""
        weights, fraction = _integers(self._value(name).T)
        shift = fraction + input_fraction - _ACTIVATION_FRACTION
        if shift < 1:
            fraction += 1 - shift
            weights, shift = _scaled(self._value(name).T, fraction), 1
        bias = np.round(self._value(f"{name}_bias").astype(np.float64) * 2.0 ** (fraction + input_fraction))
        return Dense(weights, bias.astype(np.int32), shift)

    def _value(self, name: str) -> FloatArray:
        return np.asarray(self._variables[name].numpy(), np.float32)

    def _rounded(self, name: str) -> Any:
        """A variable as the integers have it; biases are finer than matters."""
        tf, variable = self._tf, self._variables[name]
        if name.endswith("_bias"):
            return variable
        names = [key for key in self._variables if key.startswith("embedding_")] if "embedding" in name else [name]
        largest = tf.reduce_max([tf.reduce_max(tf.abs(self._variables[key])) for key in names])
        fraction = tf.minimum(tf.floor(_log2(tf, _WEIGHT_LIMIT / tf.maximum(largest, 1e-9))), float(_MOST_FRACTION))
        scale = tf.pow(2.0, fraction)
        return variable + tf.stop_gradient(tf.round(variable * scale) / scale - variable)

    def _add(
        self, name: str, shape: tuple[int, ...], rng: np.random.Generator, fan: int, biases: int = 0, bias: bool = True
    ) -> None:
        """A variable, uniform by its fan-in, and its bias, 0."""
        limit = np.sqrt(3.0 / fan)
        start = rng.uniform(-limit, limit, shape).astype(np.float32)
        self._variables[name] = self._tf.Variable(start, name=name)
        if bias:
            zeros = np.zeros(biases or shape[1], np.float32)
            self._variables[f"{name}_bias"] = self._tf.Variable(zeros, name=f"{name}_bias")


def _delayed(tf: Any, x: Any, positions: int) -> Any:
    """``x`` ``[N, P, C]`` of so many positions before, 0 before the first."""
    if not positions:
        return x
    kept = max(0, x.shape[1] - positions)
    return tf.pad(x[:, :kept], [[0, 0], [x.shape[1] - kept, 0], [0, 0]])


def _path_tables(ranks: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.int32], FloatArray]:
    """Nodes to each index ``[K, depth]``, and 1 where it lies behind, -1 before, 0 where there is no node."""
    codes = len(ranks)
    depth = max(1, (codes - 1).bit_length())
    nodes, signs = np.zeros((codes, depth), np.int32), np.zeros((codes, depth), np.float32)
    for index, rank in enumerate(ranks.tolist()):
        for step, (node, behind) in enumerate(path(rank, codes)):
            nodes[index, step], signs[index, step] = node, 1.0 if behind else -1.0
    return nodes, signs


def _integers(values: FloatArray) -> tuple[npt.NDArray[np.int8], int]:
    """``values`` as int8 with the most fraction bits that hold them all, and how many these are."""
    largest = max(float(np.abs(values).max()), 1e-9)
    fraction = min(_MOST_FRACTION, int(np.floor(np.log2(_WEIGHT_LIMIT / largest))))
    return _scaled(values, fraction), fraction


def _scaled(values: FloatArray, fraction: int) -> npt.NDArray[np.int8]:
    rounded = np.clip(np.round(values.astype(np.float64) * 2.0**fraction), -_WEIGHT_LIMIT, _WEIGHT_LIMIT)
    return np.ascontiguousarray(rounded.astype(np.int8))


def _log2(tf: Any, value: Any) -> Any:
    return tf.math.log(value) / np.log(2.0)
