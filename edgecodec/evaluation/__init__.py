"""What a codec is worth: rate, distortion and heart rate beside classical codecs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgecodec._lazy import lazy

if TYPE_CHECKING:
    from edgecodec.evaluation.baselines import DctBaseline, DctPoint
    from edgecodec.evaluation.heart_rate import beat_times, heart_rate_bpm, heart_rate_error
    from edgecodec.evaluation.plotting import plot_rate_distortion
    from edgecodec.evaluation.rate_distortion import Evaluation, evaluate

__all__ = [
    "DctBaseline",
    "DctPoint",
    "Evaluation",
    "beat_times",
    "evaluate",
    "heart_rate_bpm",
    "heart_rate_error",
    "plot_rate_distortion",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "DctBaseline": "edgecodec.evaluation.baselines",
        "DctPoint": "edgecodec.evaluation.baselines",
        "Evaluation": "edgecodec.evaluation.rate_distortion",
        "beat_times": "edgecodec.evaluation.heart_rate",
        "evaluate": "edgecodec.evaluation.rate_distortion",
        "heart_rate_bpm": "edgecodec.evaluation.heart_rate",
        "heart_rate_error": "edgecodec.evaluation.heart_rate",
        "plot_rate_distortion": "edgecodec.evaluation.plotting",
    },
)
