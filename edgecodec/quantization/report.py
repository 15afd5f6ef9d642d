"""What quantisation tried, what it cost and what was kept: the record that a bundle's manifest holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgecodec.quantization.fine_tune import FineTuning
from edgecodec.signal.summary import RecordingsSummary
from edgecodec.training.index_models import ModelBudget, ModelPoint

Figures = Mapping[str, float]
"""Figures by name, as :func:`edgecodec.quantization.measure.measure` returns them."""


@dataclass(frozen=True)
class Candidate:
    """One way to round the codec that was tried."""

    name: str
    """What was done to the codec, each step built on the best candidate before it."""
    kept: bool
    """Whether the bundle holds this candidate."""
    figures: Figures
    """Figures on the validation frames; empty when nothing could be measured."""
    refused: str | None = None
    """Why the candidate was not possible; None when it was."""


@dataclass(frozen=True)
class Validation:
    """Frames that candidates were judged on."""

    frames: int
    """Number of frames, constant ones left out."""
    source: str
    """Name of the file that the frames are from, or how they were held out."""


@dataclass(frozen=True, kw_only=True)
class FineTuningReport(FineTuning):
    """Settings of fine-tuning, and what it trained on."""

    frames: int
    """Number of training frames, constant ones left out."""


@dataclass(frozen=True)
class ActivationsReport:
    """How wide the encoder's activations became where the frames were to say."""

    bits: int
    """8 or 16."""
    reason: str
    """Why, in a line."""
    measured: Figures
    """The criterion on the validation frames by bits, ``"8"`` and ``"16"``; empty when it could not be measured."""


@dataclass(frozen=True)
class IndexModelReport:
    """What packets code indices with, and what else was fitted."""

    frames: int
    """Number of training frames whose indices the models were fitted to."""
    validation_frames: int
    """Number of validation frames whose indices they were judged on."""
    budget: ModelBudget
    """Flash and instructions that the model may take."""
    curve: tuple[ModelPoint, ...]
    """All models fitted, tables first; one of them is chosen, or none where nothing fits."""

    @property
    def chosen(self) -> ModelPoint | None:
        """The model that is kept."""
        return next((point for point in self.curve if point.chosen), None)


@dataclass(frozen=True)
class Shortfall:
    """A figure on the wrong side of the floor, below which encoder, codebooks and decoder are not of one model."""

    figure: str
    """Name of the figure, as in the figures; ``prdn_normalization`` is the PRDN of frames normalised as was said."""
    value: float
    """What was measured, in the figure's unit."""
    floor: float
    """The limit in the figure's unit; for ``prdn_normalization`` the PRDN that frames scaled another way reach."""
    meaning: str
    """What that says of the codec."""

    def __str__(self) -> str:
        return f"{self.figure} {self.value:g} (limit {self.floor:g}: {self.meaning})"


@dataclass(frozen=True)
class QuantizationReport:
    """How the integers of a codec were chosen."""

    criterion: str | None
    """Name of the figure that decides between candidates, the lower the better; None when none could be measured."""
    validation: Validation
    """Frames that candidates were judged on."""
    chosen: str
    """Name of the candidate that was kept."""
    candidates: tuple[Candidate, ...]
    """All candidates, in the order in which they were tried."""
    fine_tuning: FineTuningReport | None = None
    """Settings of fine-tuning; None when it was not asked for."""
    activations: ActivationsReport | None = None
    """How their bits were chosen; None when they were said, or are a ``.tflite`` file's own."""
    index_model: IndexModelReport | None = None
    """What packets code indices with; None when no model was fitted and all payloads are plain."""
    notes: tuple[str, ...] = ()
    """What was done to the parts to read them: rewritten on the way, left out, taken apart or taken from other files;
    a phrase each."""
    shortfalls: tuple[Shortfall, ...] = ()
    """Figures on the wrong side of the floor; the parts of a sound codec give none."""
    recordings: Mapping[str, RecordingsSummary] = field(default_factory=dict)
    """What was read of the user's files, used and dropped, by what the frames are for."""

    def __repr__(self) -> str:
        kept = next(candidate for candidate in self.candidates if candidate.kept)
        figure = "" if self.criterion is None else f", {self.criterion} {kept.figures[self.criterion]:g}"
        return f"QuantizationReport({self.chosen!r} of {len(self.candidates)} candidates{figure})"
