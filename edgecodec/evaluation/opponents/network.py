"""The DCT with the packets' causal network over its levels, in place of contexts and tables.

Levels are those of :class:`~edgecodec.evaluation.opponents.contexts.DctRdoq` at the same step. Each becomes a code, its
sign and the symbol of its magnitude (:mod:`edgecodec.evaluation.opponents.levels`), in the order of values, so that the
tree's first decisions are sign and size; the bits behind a symbol follow as they are. The network is that of the
packets (SPEC.md 5.6), int8 weights and shares in integers, over the coefficients from the lowest frequency on, with two
levels of codes: the coefficient's own number, which the decoder knows and which takes no bits, and its level. So what
it knows of a coefficient are its place and, through causal dilated convolutions, the 31 levels before.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from edgecodec.evaluation.opponents.base import OpponentPoint
from edgecodec.evaluation.opponents.contexts import CONTEXT_INSTRUCTIONS, DctRdoq
from edgecodec.evaluation.opponents.levels import Levels, bits_behind, first_magnitudes, symbols_of

DILATIONS = (1, 2, 4, 8)
"""Of the network's blocks, as the packets' larger networks have them."""
STEPS = 1500
"""Optimiser steps."""
_EMBEDDING = 8
_VALIDATION_SHARE = 20
_MOST_VALIDATION = 256
_MOST_NUMBERS = 256
_PER_PRODUCT, _PER_OUTPUT, _PER_DECISION = 1.33, 31, 89
"""Instructions of the packets' network, measured on a Cortex-M4 (``python -m tools.packet_counts``)."""


class DctNetwork(DctRdoq):
    """The DCT with a causal network of 16 channels, as many as the packets' of 25.6 KiB has."""

    name: ClassVar[str] = "dct-network"
    title: ClassVar[str] = "DCT, causal network, 16 channels"
    has_curve: ClassVar[bool] = False
    channels: ClassVar[int] = 16
    """Width of a coefficient's state, and its hidden channels."""

    def __init__(self, steps: int = STEPS) -> None:
        super().__init__()
        self._steps = steps

    def measure(self, frames: npt.NDArray[np.number], step: float) -> OpponentPoint:
        """Rate and distortion of frames ``[N, T]`` at ``step``; fits a network, which takes minutes.

        Raises InputError for bad frames and steps, and when TensorFlow is not installed.
        """
        from edgecodec.training.causal_network import NetworkFitting, fit_causal_network

        found = self.quantized(frames, step)
        magnitudes = first_magnitudes(int(symbols_of(np.array(self._most(step)))) + 1)[:-1]
        values = np.concatenate([-np.log1p(magnitudes[:0:-1]), np.log1p(magnitudes)])
        kept = found.test.shape[1]
        numbers = np.arange(min(kept, _MOST_NUMBERS), dtype=np.float64)
        train, test = (_codes(levels, len(magnitudes)) for levels in (found.train, found.test))
        every = max(_VALIDATION_SHARE, len(train) // _MOST_VALIDATION)
        held_out = np.arange(len(train)) % every == 0
        network = fit_causal_network(
            train[~held_out] if len(train) > 1 else train,
            train[held_out],
            [numbers[:, None] / len(numbers), values[:, None]],
            NetworkFitting(_EMBEDDING, self.channels, self.channels, DILATIONS, self._steps, known_levels=1),
        )
        bits = network.code_lengths(test)[..., 1] + bits_behind(np.abs(found.test))
        depth = int(len(values) - 1).bit_length()
        layers = [network.input, *(layer for block in network.blocks for layer in (block.taps, block.mix))]
        layers.append(network.levels[1].hidden)
        products = sum(int(layer.weights.size) for layer in layers) + depth * self.channels
        outputs = sum(len(layer.weights) for layer in layers)
        coding = _PER_PRODUCT * products + _PER_OUTPUT * outputs + _PER_DECISION * depth + CONTEXT_INSTRUCTIONS
        return OpponentPoint(
            step,
            float(bits.sum(axis=1).mean()),
            found.prdn,
            self._transform.instructions(self._samples, kept) + round(kept * coding),
            self._transform.flash_bytes(self._samples, kept) + found.model.flash_bytes + network.flash_bytes,
        )


class DctNetwork48(DctNetwork):
    """The same with 48 channels, the strongest classical codec here and the dearest."""

    name: ClassVar[str] = "dct-network48"
    title: ClassVar[str] = "DCT, causal network, 48 channels"
    channels: ClassVar[int] = 48


def _codes(levels: Levels, symbols: int) -> npt.NDArray[np.int64]:
    """Numbers of the coefficients and codes of their levels ``[N, K]``, ``[N, K, 2]``."""
    numbers = np.minimum(np.arange(levels.shape[1]), _MOST_NUMBERS - 1)
    symbol = symbols_of(np.abs(levels))
    codes = symbols - 1 + np.where(levels < 0, -symbol, symbol)
    return np.stack([np.broadcast_to(numbers, levels.shape), codes], axis=-1)
