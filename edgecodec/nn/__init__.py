"""The codec's Keras side: quantiser layers, autoencoder builders and training.

Names are loaded on first use, so that ``import edgecodec.nn`` does not import TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgecodec.nn.autoencoder import (
        VQAutoencoder,
        build_decoder_2d,
        build_encoder_2d,
        build_rvq_autoencoder,
        compute_compression_stats,
        make_divisible,
    )
    from edgecodec.nn.config import TrainConfig, load_config
    from edgecodec.nn.ema_rvq import EmaResidualVectorQuantizer
    from edgecodec.nn.index_prior import PriorFitting, fit_index_prior
    from edgecodec.nn.rate_loss import RateLoss
    from edgecodec.nn.rvq import ResidualVectorQuantizer
    from edgecodec.nn.training import TrainingSummary, train

_MODULES = {
    "EmaResidualVectorQuantizer": "ema_rvq",
    "PriorFitting": "index_prior",
    "RateLoss": "rate_loss",
    "ResidualVectorQuantizer": "rvq",
    "TrainConfig": "config",
    "TrainingSummary": "training",
    "VQAutoencoder": "autoencoder",
    "build_decoder_2d": "autoencoder",
    "build_encoder_2d": "autoencoder",
    "build_rvq_autoencoder": "autoencoder",
    "compute_compression_stats": "autoencoder",
    "fit_index_prior": "index_prior",
    "load_config": "config",
    "make_divisible": "autoencoder",
    "train": "training",
}

__all__ = [
    "EmaResidualVectorQuantizer",
    "PriorFitting",
    "RateLoss",
    "ResidualVectorQuantizer",
    "TrainConfig",
    "TrainingSummary",
    "VQAutoencoder",
    "build_decoder_2d",
    "build_encoder_2d",
    "build_rvq_autoencoder",
    "compute_compression_stats",
    "fit_index_prior",
    "load_config",
    "make_divisible",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
