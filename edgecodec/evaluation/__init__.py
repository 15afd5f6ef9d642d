"""What a codec is worth: rate, distortion and beats beside classical codecs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgecodec._lazy import lazy

if TYPE_CHECKING:
    from edgecodec.evaluation.beats import BeatComparison, BeatFigures
    from edgecodec.evaluation.heart_rate import beat_times, heart_rate_bpm, heart_rate_error, onset_times
    from edgecodec.evaluation.opponents import OPPONENTS, opponents_of
    from edgecodec.evaluation.opponents.base import Opponent, OpponentPoint
    from edgecodec.evaluation.plotting import plot_evaluation
    from edgecodec.evaluation.rate_distortion import Evaluation, evaluate

__all__ = [
    "OPPONENTS",
    "BeatComparison",
    "BeatFigures",
    "Evaluation",
    "Opponent",
    "OpponentPoint",
    "beat_times",
    "evaluate",
    "heart_rate_bpm",
    "heart_rate_error",
    "onset_times",
    "opponents_of",
    "plot_evaluation",
]

__getattr__, __dir__ = lazy(
    __name__,
    {
        "OPPONENTS": "edgecodec.evaluation.opponents",
        "Evaluation": "edgecodec.evaluation.rate_distortion",
        "BeatComparison": "edgecodec.evaluation.beats",
        "BeatFigures": "edgecodec.evaluation.beats",
        "Opponent": "edgecodec.evaluation.opponents.base",
        "OpponentPoint": "edgecodec.evaluation.opponents.base",
        "beat_times": "edgecodec.evaluation.heart_rate",
        "evaluate": "edgecodec.evaluation.rate_distortion",
        "heart_rate_bpm": "edgecodec.evaluation.heart_rate",
        "heart_rate_error": "edgecodec.evaluation.heart_rate",
        "onset_times": "edgecodec.evaluation.heart_rate",
        "opponents_of": "edgecodec.evaluation.opponents",
        "plot_evaluation": "edgecodec.evaluation.plotting",
    },
)
