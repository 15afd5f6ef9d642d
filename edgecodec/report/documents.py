"""``report.json``: what a command found, where, and how to find it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from edgecodec.documents import Document

ESTIMATED = "estimated instructions"
"""Unit of costs that nothing counted."""


class Outcome(StrEnum):
    """What a report says first."""

    EQUAL = "equal"
    DIFFERENT = "different"
    UNDECIDED = "undecided"
    MEASURED = "measured"
    """Nothing was compared, so there is nothing to be equal: ``profile`` and ``evaluate``."""
    MADE = "made"
    """A bundle was made: ``quantize``."""


@dataclass(frozen=True)
class ReportedBundle:
    """The bundle that the report is of."""

    name: str
    """Its name, free text."""
    digest: str
    """SHA-256 of its manifest, in hex."""
    numerics: str
    """Arithmetic of its codec, such as ``edgecodec.int8.v1``."""
    samples: int
    """ADC counts of a frame."""
    rate_hz: float | None
    """Sampling rate in Hz; null when the bundle says none."""


@dataclass(frozen=True)
class ReportedBoard:
    """The board that the command ran on."""

    name: str
    """What ``--board`` takes."""
    description: str
    """Its full name."""
    core: str
    """Its core, such as ``cortex-m4``."""
    emulated: bool
    """Whether an emulator ran the firmware."""
    optimize: str
    """What kernels and compiler flags were chosen for: ``speed``, ``balanced`` or ``flash``."""


@dataclass(frozen=True)
class StageCount:
    """One stage of an executor beside the reference's."""

    compared: int
    """Values compared, over all frames; of packets their bytes."""
    mismatches: int
    """Values that differ."""


@dataclass(frozen=True)
class Attribution:
    """An executor beside the reference, stage by stage."""

    executor: str
    """Name of the executor."""
    exact: bool
    """Whether it is held to the reference's bits; the float encoder is not."""
    stages: Mapping[str, StageCount]
    """By the name of the stage, in the order in which a codec computes them; those that both compute."""


@dataclass(frozen=True)
class ReportedDivergence:
    """The first value that differs, and what it costs."""

    text: str
    """Where it is and what both gave, in a line."""
    layers: tuple[str, ...]
    """The first wrong layer of each board whose latent is wrong, a line each."""
    prdn_expected: float | None
    """PRDN of that frame decoded from the expected indices, in percent; null where no index differs in it, or the
    bundle has no decoder."""
    prdn_received: float | None
    """PRDN of that frame decoded from the received indices, in percent; null also where one lies outside its codebook,
    so that nothing can be decoded."""


@dataclass(frozen=True)
class LevelMargins:
    """How far the decisions of one codebook are from being others, by the reference.

    A decision's margin is the distance of its residual from the boundary between the code chosen and the next best one,
    in steps of the latent.
    """

    level: int
    """Number of the codebook, from 0."""
    decisions: int
    """Decisions looked at."""
    ties: int
    """Decisions of margin 0, which the lowest index wins."""
    least: float
    """The smallest margin, in steps of the latent."""
    p01: float
    """1st percentile of the margins, in steps of the latent."""
    median: float
    """Median of the margins, in steps of the latent."""
    histogram: tuple[int, ...]
    """Decisions with margins below 1/4, 1, 4, 16, 64, 256 and 1024 steps, each without those before, and of 1024 and
    more."""


@dataclass(frozen=True)
class FlipCost:
    """What it costs that one index of a frame is another, in PRDN of the frame."""

    level: int
    """Number of the codebook, from 0."""
    flip: str
    """``next best``: the runner-up in place of the code chosen, at the positions of the least margins, and the levels
    behind searched anew, as an encoder does that decides otherwise; ``any``: a random code at random positions, and
    nothing else changed."""
    flips: int
    """Indices flipped, one at a time."""
    mean: float
    """Mean rise of the frame's PRDN, in percentage points."""
    worst: float
    """Largest rise of the frame's PRDN, in percentage points."""


@dataclass(frozen=True)
class FrameQuality:
    """A frame that is drawn."""

    place: str
    """``worst``, ``median`` or ``best``."""
    number: int
    """Its number, from 0."""
    prdn: float
    """Its PRDN, in percent."""
    person: str
    """Whose it is; empty where nothing says it."""
    rhythm: str
    """Rhythm of the heart in it; empty where nothing says it."""


@dataclass(frozen=True)
class Quality:
    """PRDN of frames decoded, in percent; constant ones, of which it is not defined, left out."""

    frames: int
    """Frames decoded."""
    decoded_from: str
    """What they were decoded from."""
    mean: float
    """Mean over the frames, in percent."""
    median: float
    """Median of the frames, in percent."""
    worst: float
    """Largest of the frames, in percent."""


@dataclass(frozen=True)
class PartCost:
    """A part of the codec, and what it takes."""

    name: str
    """Name of the layer or part."""
    runs: str
    """C function or engine that runs it; empty where none is named."""
    macs: int | None
    """Multiply-accumulates of a frame; null where there are none."""
    cost: float | None
    """Mean instructions or CPU cycles of a frame, as ``unit`` of the report says; null where they are not known."""
    share: float | None
    """Cost over that of all parts whose cost is known, from 0 to 1; null where it is not."""
    flash_bytes: int | None
    """Bytes of flash of its constants; null where it has none, or they are not known."""
    ram_bytes: int | None
    """Bytes of RAM of what it puts out, or works in, at a time; null where they are not known."""


@dataclass(frozen=True, kw_only=True)
class ReportDocument(Document):
    """What a command found; sections are null where it did not measure them."""

    SCHEMA = "edgecodec.report"

    verdict: Outcome
    """``equal``, ``different`` or ``undecided``; ``measured`` or ``made`` of commands that compare nothing."""
    headline: str
    """The result in a line."""
    command: str
    """The command, such as ``flash-and-verify``."""
    repeat: str
    """The command line, for a shell."""
    date: str
    """When it ended, ISO 8601 in UTC."""
    versions: Mapping[str, str]
    """Versions of edgecodec, of Python and of the packages that it computes with, and the machine."""
    bundle: ReportedBundle
    """The bundle."""
    board: ReportedBoard | None = None
    """The board; null when only this machine took part."""
    attribution: tuple[Attribution, ...] | None = None
    """Every executor beside the reference, in the order of the road from Keras to the board."""
    divergence: ReportedDivergence | None = None
    """The first value that differs; null when none does."""
    margins: tuple[LevelMargins, ...] | None = None
    """Margins of the decisions, one for each codebook."""
    flips: tuple[FlipCost, ...] | None = None
    """What a flipped index costs; null also when the bundle has no decoder."""
    quality: Quality | None = None
    """PRDN of the frames verified; null also when the bundle has no decoder."""
    drawn: tuple[FrameQuality, ...] | None = None
    """The frames that the page draws."""
    unit: str | None = None
    """What the costs of parts count: ``instructions`` on emulated boards, ``cycles`` on real ones, ``estimated
    instructions`` of layers, modelled, where nothing counted; null where there are none of these."""
    parts: tuple[PartCost, ...] | None = None
    """What the parts of the codec take, in the order in which they run."""
    result: Mapping[str, Any]
    """The document that the command prints with ``--json``, with a schema of its own."""
