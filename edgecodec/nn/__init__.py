"""The codec's Keras side: quantiser layers, autoencoder builders, rate loss.

Names are imported when they are first used, so that importing the package imports no TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgecodec._lazy import lazy

if TYPE_CHECKING:
    from edgecodec.nn.autoencoder import (
        VQAutoencoder,
        build_decoder_2d,
        build_encoder_2d,
        build_linear_encoder_2d,
        build_rvq_autoencoder,
        compute_compression_stats,
        helia_edge_objects,
        lapped_transform,
        make_divisible,
    )
    from edgecodec.nn.ema_rvq import EmaResidualVectorQuantizer
    from edgecodec.nn.rate_loss import RateLoss
    from edgecodec.nn.rvq import ResidualVectorQuantizer

__all__ = [
    "EmaResidualVectorQuantizer",
    "RateLoss",
    "ResidualVectorQuantizer",
    "VQAutoencoder",
    "build_decoder_2d",
    "build_encoder_2d",
    "build_linear_encoder_2d",
    "build_rvq_autoencoder",
    "compute_compression_stats",
    "helia_edge_objects",
    "lapped_transform",
    "make_divisible",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "EmaResidualVectorQuantizer": "edgecodec.nn.ema_rvq",
        "RateLoss": "edgecodec.nn.rate_loss",
        "ResidualVectorQuantizer": "edgecodec.nn.rvq",
        "VQAutoencoder": "edgecodec.nn.autoencoder",
        "build_decoder_2d": "edgecodec.nn.autoencoder",
        "build_encoder_2d": "edgecodec.nn.autoencoder",
        "build_linear_encoder_2d": "edgecodec.nn.autoencoder",
        "build_rvq_autoencoder": "edgecodec.nn.autoencoder",
        "compute_compression_stats": "edgecodec.nn.autoencoder",
        "helia_edge_objects": "edgecodec.nn.autoencoder",
        "lapped_transform": "edgecodec.nn.autoencoder",
        "make_divisible": "edgecodec.nn.autoencoder",
    },
)
