"""Random small encoders: the shapes and constants at which published kernels break, by seed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from edgecodec.codec.graph import Graph
from edgecodec.codec.numerics import INT8, Numerics
from edgecodec.codec.tflite_reader import read_graph
from tests.tflite_builder import CONV, DEPTHWISE, LayerSpec, build_encoder

CHANNELS = (*range(1, 18), 32, 40, 48)
MAX_CHANNELS = 48
POINTWISE = "1x1"


@dataclass(frozen=True)
class RandomEncoder:
    """An encoder on a frame ``[width, 1]``."""

    seed: int
    layers: tuple[LayerSpec, ...]
    width: int
    data: bytes

    @property
    def graph(self) -> Graph:
        return read_graph(self.data)


def random_encoder(seed: int, numerics: Numerics = INT8) -> RandomEncoder:
    """One to four layers of any kind over one channel. The same seed gives the same encoder.

    With 16-bit activations some layers have biases that no int32 holds.
    """
    rng = np.random.default_rng([seed, 20])
    width = int(rng.integers(1, 12) if rng.random() < 0.15 else rng.integers(12, 98))
    # One sample has no axis: a reader may take either, and only a 1xN kernel fits the one it takes.
    vertical = bool(rng.random() < 0.3) and width > 1
    layers: list[LayerSpec] = []
    left, channels = width, 1
    for _ in range(int(rng.integers(1, 5))):
        layer = _random_layer(rng, left, channels, vertical)
        layers.append(layer)
        channels = channels * layer.depth_multiplier if layer.op == DEPTHWISE else layer.out_channels
        left = -(-left // layer.stride) if layer.padding == "SAME" else (left - layer.kernel) // layer.stride + 1
    zero_point = int(rng.choice([-128, 127])) if rng.random() < 0.2 else None
    if numerics != INT8:
        spreads = np.random.default_rng([seed, 21]).choice([0.5, 1.0, 1e3, 1e5], len(layers), p=[0.6, 0.2, 0.1, 0.1])
        # With a scale that is asked for, such sums would leave int32 when they are rescaled.
        layers = [
            replace(layer, bias_spread=float(each)) if layer.scale_ratio is None else layer
            for layer, each in zip(layers, spreads, strict=True)
        ]
    data = build_encoder(layers, width, seed=seed, input_zero_point=zero_point, numerics=numerics)
    return RandomEncoder(seed, tuple(layers), width, data)


def _random_layer(rng: np.random.Generator, width: int, channels: int, vertical: bool) -> LayerSpec:
    kind = rng.choice([CONV, DEPTHWISE, POINTWISE], p=[0.5, 0.3, 0.2])
    stride = int(rng.integers(1, 4))
    kernel = 1 if kind == POINTWISE else int(rng.integers(1, 10))
    padding = "VALID" if kernel <= width and rng.random() < 0.4 else "SAME"
    scale_ratio, weight_limit, scale_spread = None, 127, 0.8
    draw = rng.random()
    if draw < 0.15:
        # Above 1 the multiplier's exponent is positive: a left shift.
        scale_ratio, weight_limit = float(rng.choice([1.5, 4.0, 30.0])), int(rng.integers(1, 4))
    elif draw < 0.25:
        scale_ratio = 2.0 ** -float(rng.uniform(11, 16))
    elif draw < 0.35:
        scale_ratio, scale_spread = 2.0 ** -float(rng.integers(5, 10)), 0.0
    return LayerSpec(
        op=DEPTHWISE if kind == DEPTHWISE else CONV,
        out_channels=int(rng.choice(CHANNELS)),
        kernel=kernel,
        stride=stride,
        padding=padding,
        activation=str(rng.choice(["NONE", "RELU", "RELU6"], p=[0.5, 0.3, 0.2])),
        depth_multiplier=int(rng.integers(1, min(4, MAX_CHANNELS // channels) + 1)) if kind == DEPTHWISE else 1,
        vertical=vertical,
        scale_ratio=scale_ratio,
        scale_spread=scale_spread,
        weight_limit=weight_limit,
        cross_stride=stride if rng.random() < 0.3 else 1,
        vanishing_channel=bool(rng.random() < 0.1),
    )
