"""From recordings to a trained codec: configuration, data, training loop, run folder.

Names are imported when they are first used, so that importing the package imports no TensorFlow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgecodec._lazy import lazy

if TYPE_CHECKING:
    from edgecodec.training.config import TrainConfig, load_config
    from edgecodec.training.index_models import ModelBudget, fit_index_model
    from edgecodec.training.run import TrainingRun, train

__all__ = [
    "ModelBudget",
    "TrainConfig",
    "TrainingRun",
    "fit_index_model",
    "load_config",
    "train",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "ModelBudget": "edgecodec.training.index_models",
        "TrainConfig": "edgecodec.training.config",
        "TrainingRun": "edgecodec.training.run",
        "fit_index_model": "edgecodec.training.index_models",
        "load_config": "edgecodec.training.config",
        "train": "edgecodec.training.run",
    },
)
