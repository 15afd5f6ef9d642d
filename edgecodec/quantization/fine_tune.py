"""Quantisation-aware fine-tuning: the codec learns with the roundings that it will be deployed with.

Sources: Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference" (fake quantisation); Bengio et al. 2013 (straight-through estimator); Jain et al. 2020, "Trained
Quantization Thresholds" (ranges that learn).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgecodec.codec.numerics import INT8, Numerics
from edgecodec.errors import InputError
from edgecodec.nn.backend import import_keras, import_tensorflow
from edgecodec.quantization.convolutions import Convolution
from edgecodec.quantization.ranges import Quantization, fit_quantization

FloatArray = npt.NDArray[np.floating[Any]]
Progress = Callable[[int, int, dict[str, float]], None]
"""``progress(done, total, figures)``, steps and the mean squared error ``mse`` of the normalised signal."""
_RANGE_RATE = 10.0
"""Ranges are numbers of a few units, weights of a few hundredths."""
_COMMITMENT = 0.25
_DECAY, _EPSILON = 0.99, 1e-5
_WARMUP_STEPS = 50
_REPORTS = 20


@dataclass(frozen=True)
class FineTuning:
    """How long and how fast to fine-tune."""

    steps: int = 3000
    """Optimiser steps."""
    batch_size: int = 32
    """Frames a step."""
    learning_rate: float = 3e-4
    """Peak learning rate of weights and decoder, falling to zero by a cosine; ranges learn ten times as fast."""
    max_seconds: float | None = None
    """Time in seconds after which fine-tuning ends early, schedule included; None for no limit."""
    seed: int = 0
    """Seed of the draw of frames."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError(f"fine-tuning {name} is {getattr(self, name)}; expected at least 1")
        if not self.learning_rate > 0:
            raise InputError(f"fine-tuning learning_rate is {self.learning_rate}; expected a value above 0")


@dataclass(frozen=True)
class FineTuned:
    """What fine-tuning left; the decoder was trained in place."""

    convolutions: list[Convolution]
    """The encoder's convolutions with trained weights."""
    quantization: list[Quantization]
    """Scale and zero point of the input, then of each layer's output."""
    codebooks: list[FloatArray]
    """Trained codebooks ``[K, D]``, one a level."""
    steps: int
    """Optimiser steps done."""


def fine_tune(
    convolutions: Sequence[Convolution],
    quantization: Sequence[Quantization],
    codebooks: Sequence[FloatArray],
    decoder: Any,
    inputs: npt.NDArray[np.float32],
    settings: FineTuning,
    *,
    biases: Sequence[FloatArray] | None = None,
    numerics: Numerics = INT8,
    progress: Progress | None = None,
) -> FineTuned:
    """Train encoder, ranges, codebooks and the Keras ``decoder`` on the reconstruction error of the rounded codec.

    Weights are rounded per output channel to int8, activations to those of ``numerics`` at ranges that start at
    ``quantization``; both let gradients through. Norms are folded into ``convolutions`` and stay so. ``codebooks`` are
    float ``[K, D]``, one a level; their ``biases [K]``, in squared units of the latent, count in the choice of codes
    and stay as they are. ``inputs`` are normalised frames float32 ``[N, 1, T, 1]``.
    """
    trainer = _FineTuner(convolutions, quantization, codebooks, biases, decoder, settings, numerics)
    steps = trainer.run(inputs, progress or (lambda done, total, figures: None))
    return FineTuned(trainer.convolutions(), trainer.quantization(), trainer.codebooks(), steps)


class _FineTuner:
    def __init__(
        self,
        convolutions: Sequence[Convolution],
        quantization: Sequence[Quantization],
        codebooks: Sequence[FloatArray],
        biases: Sequence[FloatArray] | None,
        decoder: Any,
        settings: FineTuning,
        numerics: Numerics,
    ) -> None:
        self._tf = tf = import_tensorflow()
        keras = import_keras()
        self._given, self._settings, self._decoder = list(convolutions), settings, decoder
        self._numerics = numerics
        self._books = [tf.Variable(book, dtype=tf.float32) for book in codebooks]
        self._code_costs = [tf.constant(bias, tf.float32) for bias in biases or map(_no_bias, codebooks)]
        self._kernels = [tf.Variable(conv.kernel[None], dtype=tf.float32) for conv in convolutions]
        self._biases = [tf.Variable(conv.bias, dtype=tf.float32) for conv in convolutions]
        highest, lowest = numerics.highest, numerics.lowest
        self._highs = [tf.Variable(scale * (highest - zero), dtype=tf.float32) for scale, zero in quantization]
        self._lows = [tf.Variable(scale * (lowest - zero), dtype=tf.float32) for scale, zero in quantization]
        self._counts = [tf.Variable(tf.ones(len(book))) for book in codebooks]
        self._sums = [tf.Variable(book) for book in self._books]
        self._weights = [*self._kernels, *self._biases, *decoder.trainable_variables]
        # A ReLU's range begins at 0 and stays there; without zero points the upper end is the lower one, too.
        linear = [True, *(conv.activation == "linear" for conv in convolutions)]
        moving = [low for low, moves in zip(self._lows, linear, strict=True) if moves]
        self._ranges = [*self._highs, *(() if self._symmetric else moving)]
        self._optimizer = keras.optimizers.Adam(settings.learning_rate, global_clipnorm=1.0)
        self._range_optimizer = keras.optimizers.Adam(settings.learning_rate)

    def run(self, inputs: npt.NDArray[np.float32], progress: Progress) -> int:
        """Train; returns the steps done."""
        settings, tf = self._settings, self._tf
        rng = np.random.default_rng(settings.seed)
        step = tf.function(self._step, reduce_retracing=True)
        started, interval = time.monotonic(), max(1, settings.steps // _REPORTS)
        for done in range(settings.steps):
            share = done / settings.steps
            if settings.max_seconds is not None:
                share = max(share, (time.monotonic() - started) / settings.max_seconds)
            if share >= 1:
                return done
            rate = settings.learning_rate * 0.5 * (1 + np.cos(np.pi * share)) * min(1.0, (done + 1) / _WARMUP_STEPS)
            self._optimizer.learning_rate.assign(rate)
            self._range_optimizer.learning_rate.assign(rate * _RANGE_RATE)
            mse = step(tf.constant(inputs[rng.integers(len(inputs), size=settings.batch_size)]))
            if (done + 1) % interval == 0:
                progress(done + 1, settings.steps, {"mse": float(mse)})
        return settings.steps

    def convolutions(self) -> list[Convolution]:
        """The trained weights."""
        return [
            replace(conv, kernel=kernel.numpy()[0].astype(np.float64), bias=bias.numpy().astype(np.float64))
            for conv, kernel, bias in zip(self._given, self._kernels, self._biases, strict=True)
        ]

    def quantization(self) -> list[Quantization]:
        """The trained ranges as scales and zero points."""
        ends = [self._ends(number) for number in range(len(self._highs))]
        return [fit_quantization(float(low), float(high), self._numerics) for low, high in ends]

    def codebooks(self) -> list[FloatArray]:
        """The trained codes."""
        return [book.numpy().astype(np.float64) for book in self._books]

    def _step(self, x: Any) -> Any:
        tf = self._tf
        with tf.GradientTape() as tape:
            latent = self._latent(x)
            quantized, commitment = self._quantize(latent)
            mse = tf.reduce_mean(tf.square(self._decoder(quantized, training=False) - x))
            loss = mse + _COMMITMENT * commitment
        gradients = tape.gradient(loss, [*self._weights, *self._ranges])
        count = len(self._weights)
        self._optimizer.apply(gradients[:count], self._weights)
        self._range_optimizer.apply(gradients[count:], self._ranges)
        return mse

    def _latent(self, x: Any) -> Any:
        tf = self._tf
        bits = 8 * self._numerics.activation.itemsize
        x = tf.quantization.fake_quant_with_min_max_vars(x, *self._ends(0), bits)
        for number, conv in enumerate(self._given):
            x = self._convolve(conv, x, self._rounded(self._kernels[number], conv.depthwise), self._biases[number])
            x = tf.quantization.fake_quant_with_min_max_vars(x, *self._ends(number + 1), bits)
        return x

    @property
    def _symmetric(self) -> bool:
        return self._numerics.zero_points == (0, 0)

    def _ends(self, number: int) -> tuple[Any, Any]:
        """Least and largest activation of the input, 0, or of the layer of that number, from 1."""
        high = self._highs[number]
        return (-high if self._symmetric else self._lows[number]), high

    def _rounded(self, kernel: Any, depthwise: bool) -> Any:
        """Weights as int8 holds them, one symmetric scale an output channel."""
        tf = self._tf
        peak = tf.reduce_max(tf.abs(kernel), axis=[0, 1] if depthwise else [0, 1, 2], keepdims=True)
        scale = tf.maximum(peak / 127.0, 1e-12)
        return kernel + tf.stop_gradient(tf.round(kernel / scale) * scale - kernel)

    def _convolve(self, conv: Convolution, x: Any, kernel: Any, bias: Any) -> Any:
        tf = self._tf
        if conv.pad != (0, 0):
            x = tf.pad(x, [[0, 0], [0, 0], conv.pad, [0, 0]])
        # Equal strides, for TensorFlow's depthwise kernel; the axis of size 1 takes any.
        operation = tf.nn.depthwise_conv2d if conv.depthwise else tf.nn.conv2d
        y = operation(x, kernel, [1, conv.stride, conv.stride, 1], conv.padding.upper()) + bias
        return {"linear": tf.identity, "relu": tf.nn.relu, "relu6": tf.nn.relu6}[conv.activation](y)

    def _quantize(self, latent: Any) -> tuple[Any, Any]:
        """Latent through the codebooks, straight through for gradients, and the loss that keeps it near them.

        Codebooks follow the residuals that choose them by moving averages, as in training
        (:class:`edgecodec.nn.EmaResidualVectorQuantizer`): trained by gradient they lag behind the encoder.
        """
        tf = self._tf
        residual = tf.reshape(latent, (-1, self._books[0].shape[1]))
        total, loss = tf.zeros_like(residual), 0.0
        for level, book in enumerate(self._books):
            codes = tf.convert_to_tensor(book)
            constant = tf.reduce_sum(tf.square(codes), axis=1) + self._code_costs[level]
            index = tf.argmin(constant - 2.0 * tf.matmul(residual, codes, transpose_b=True), axis=1)
            chosen = tf.stop_gradient(tf.gather(codes, index))
            self._follow(level, index, tf.stop_gradient(residual))
            loss += tf.reduce_mean(tf.square(residual - chosen))
            residual, total = residual - chosen, total + chosen
        total = tf.reshape(total, tf.shape(latent))
        return latent + tf.stop_gradient(total - latent), loss

    def _follow(self, level: int, index: Any, residual: Any) -> None:
        tf, size = self._tf, self._books[level].shape[0]
        chosen = tf.one_hot(index, size)
        count = _DECAY * self._counts[level] + (1 - _DECAY) * tf.reduce_sum(chosen, axis=0)
        total = _DECAY * self._sums[level] + (1 - _DECAY) * tf.matmul(chosen, residual, transpose_a=True)
        everything = tf.reduce_sum(count)
        smoothed = (count + _EPSILON) / (everything + size * _EPSILON) * everything
        self._counts[level].assign(count)
        self._sums[level].assign(total)
        self._books[level].assign(total / smoothed[:, None])


def _no_bias(codebook: FloatArray) -> FloatArray:
    return np.zeros(len(codebook))
