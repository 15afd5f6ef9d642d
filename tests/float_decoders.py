"""Bundles of float decoders as people have them, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import yaml

from edgecodec.bundle import Bundle
from edgecodec.entropy.packet_file import PacketConstants
from edgecodec.entropy.side_information import fit_side_information
from edgecodec.files.resources import preset_files
from tests.tflite_builder import CONV, LayerSpec, build_encoder, bundle_of

SAMPLES, POSITIONS, CHANNELS = 64, 16, 4
Build = Callable[[Any], Any]
"""Makes a decoder ``(1, 16, 4)`` to ``(1, 64, 1)`` with the ``keras`` module."""


def decoder_bundle(folder: Path, model: Any, samples: int, *, packets: bool = False) -> Bundle:
    """A bundle with the Keras decoder ``model``, and packets of plain indices."""
    from edgecodec.quantization.convert import convert_decoder

    rng = np.random.default_rng(1)
    model.set_weights([weights + rng.normal(0, 0.05, weights.shape) for weights in model.get_weights()])
    positions, channels = model.input_shape[-2:]
    encoder = build_encoder([LayerSpec(CONV, channels, 8, samples // positions)], samples)
    side = fit_side_information(8.0, samples, *statistics(300, samples))
    return bundle_of(
        folder,
        encoder,
        (64, 32),
        decoder=convert_decoder(model),
        packets=PacketConstants(side, None) if packets else None,
    )


def statistics(count: int, samples: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.uint64]]:
    """Offsets and spreads of frames of some 2000 counts with deviations of 10 to 1000."""
    rng = np.random.default_rng(2)
    deviation = 10 ** rng.uniform(1, 3, count)
    return (
        np.rint(samples * rng.normal(2000, 300, count)).astype(np.int32),
        np.rint((samples * deviation) ** 2).astype(np.uint64),
    )


def indices_of(bundle: Bundle, count: int, seed: int = 0) -> npt.NDArray[np.uint16]:
    """Random indices ``[count, P, L]``."""
    rng = np.random.default_rng(seed)
    codec = bundle.codec
    levels = [rng.integers(0, codes, (count, codec.positions)) for codes in codec.rvq.codebook_sizes]
    return np.stack(levels, -1).astype(np.uint16)


def preset_decoder(preset: str) -> tuple[Any, int]:
    """The decoder of a preset, and the samples of its frames."""
    from edgecodec.nn.autoencoder import build_decoder_2d

    (path,) = (path for path in preset_files() if path.stem == preset)
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    model, samples = document["model"], document["data"].get("frame_size", 320)
    decoder = build_decoder_2d(
        samples,
        1,
        model["base_filters"],
        model["embedding_dim"],
        model["multiplier"],
        model["num_stages"],
        model["decoder_block_norm"],
        model["decoder_head_norm"],
        model.get("decoder_context_blocks", 0),
    )
    return decoder, samples


def _transposed(keras: Any) -> Any:
    layers = keras.layers
    return [
        layers.Conv2D(12, (1, 3), padding="same", activation="relu6"),
        layers.BatchNormalization(),
        layers.Conv2DTranspose(9, (1, 5), strides=(1, 2), padding="same", activation="relu"),
        layers.Conv2DTranspose(8, (1, 4), strides=(1, 2), padding="same"),
        layers.ReLU(max_value=6.0),
        layers.Conv2D(1, (1, 3), padding="same"),
    ]


def _rank_three(keras: Any) -> Any:
    layers = keras.layers
    return [
        layers.Reshape((POSITIONS, CHANNELS)),
        layers.Conv1D(10, 3, padding="same", dilation_rate=1, activation="relu"),
        layers.UpSampling1D(8),
        layers.SeparableConv1D(6, 9, padding="same", activation="relu"),
        layers.Conv1D(3, 4, strides=2, padding="same"),
        layers.LayerNormalization(),
        layers.Conv1D(1, 1),
    ]


def _dilated(keras: Any) -> Any:
    layers = keras.layers
    return [
        layers.Conv2D(8, (1, 3), dilation_rate=(1, 2), padding="same", activation="relu"),
        layers.UpSampling2D((1, 4), interpolation="nearest"),
        layers.DepthwiseConv2D((1, 6), padding="same"),
        layers.UpSampling2D((1, 1)),
        layers.Conv2D(1, (1, 7), padding="same"),
    ]


def _dense(keras: Any) -> Any:
    layers = keras.layers
    return [
        layers.Flatten(),
        layers.Dense(24, activation="relu"),
        layers.Dense(SAMPLES),
        layers.Reshape((1, SAMPLES, 1)),
    ]


def _odd_sizes(keras: Any) -> Any:
    """Seven taps of a value that is repeated three times, of an odd number of channels; then a valid convolution."""
    layers = keras.layers
    return [
        layers.Conv2D(11, (1, 2), padding="valid"),
        layers.UpSampling2D((1, 3), interpolation="nearest"),
        layers.Conv2D(13, (1, 7), padding="same", activation="relu"),
        layers.Conv2D(4, (1, 1), use_bias=False),
        layers.Conv2D(64, (1, 45)),
        layers.Reshape((1, SAMPLES, 1)),
    ]


DECODERS: dict[str, Build] = {
    "transposed": _transposed,
    "rank_three": _rank_three,
    "dilated": _dilated,
    "dense": _dense,
    "odd_sizes": _odd_sizes,
}
"""Layers of a decoder ``(1, 16, 4)`` to 64 samples."""


def keras_decoder(keras: Any, layers: list[Any]) -> Any:
    """A model of ``layers`` on a latent ``(1, 16, 4)``."""
    x = inputs = keras.Input((1, POSITIONS, CHANNELS))
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, x)
