"""``edgecodec train``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import click

from edgecodec.cli.options import (
    complete_preset,
    force_option,
    json_option,
    output_option,
    path,
    reading_options,
    subcommand,
)
from edgecodec.cli.output import Streams
from edgecodec.documents import Document
from edgecodec.signal.summary import RecordingsSummary

if TYPE_CHECKING:
    from edgecodec.signal.reading import Reading


@dataclass(frozen=True)
class TrainDocument(Document):
    """What ``edgecodec train --json`` prints: what a training run reached."""

    SCHEMA: ClassVar[str] = "edgecodec.train"

    output: Path
    """The run folder."""
    steps: int
    """Optimiser steps done; fewer than planned after an early stop or when the time ran out."""
    seconds: float
    """Time spent training, in seconds."""
    metrics: Mapping[str, float]
    """Figures of the float codec by name: `val_` ones on validation frames, `test_` ones on test frames; PRDN in
    percent."""
    recordings: RecordingsSummary | None
    """What was read of the files, used and dropped; null where the data was not from files."""


@subcommand(
    "train",
    example="edgecodec train --preset 08x_light --data recordings -o run\n"
    "edgecodec train codec.yaml --set data.epochs=3 -o run\n"
    "edgecodec train codec.yaml -o run --resume",
)
@click.argument("config", type=path, required=False)
@click.option(
    "--preset",
    shell_complete=complete_preset,
    metavar="NAME",
    help="In place of CONFIG, by nominal ratio: 08x_light (recommended), 04x_light, 16x_light or 32x_light, whose "
    "encoder is one linear convolution; 04x_ds4_l2, 08x_ds8_l2, 16x_ds16_l2 or 32x_ds16_l1; demo.",
)
@click.option(
    "--data",
    type=path,
    metavar="PATH",
    help="File or folder of recordings to train on (SPEC.md 4).",
)
@reading_options
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Replace one key, as data.epochs=3.")
@click.option("--resume", is_flag=True, help="Go on where a run into the same --output was ended.")
@output_option("Folder for the trained codec.")
@force_option
@json_option
@click.pass_obj
def command(
    streams: Streams,
    config: Path | None,
    preset: str | None,
    data: Path | None,
    settings: tuple[str, ...],
    resume: bool,
    output: Path,
    force: bool,
    reading: Reading,
) -> int:
    """Train a codec from a YAML configuration or a preset.

    Recordings are split by person or recording into training, validation and test. The run folder keeps encoder,
    decoder, codebooks and frames for `edgecodec quantize`, and history.csv. A run that was ended goes on with
    --resume, to the result that it would have had.
    """
    from edgecodec.cli.tables import facts
    from edgecodec.training.config import load_config, preset_names, preset_path
    from edgecodec.training.run import train

    if (config is None) == (preset is None):
        raise click.UsageError(f"give CONFIG or --preset NAME ({', '.join(preset_names())})")
    source = preset_path(preset) if preset is not None else config
    assert source is not None
    loaded = load_config(source, data=data, settings=settings, reading=reading)
    for remark in loaded.without_effect():
        streams.say(f"note: {remark}")
    with streams.progress("training") as progress:
        result = train(loaded, output, progress=progress, force=force, resume=resume, say=streams.say)
    document = TrainDocument(output, result.steps, result.seconds, result.metrics, result.recordings)
    figures = {name: f"{value:.4g}" for name, value in document.metrics.items()}
    shown = {"run": document.output, "steps": document.steps, **figures}
    return streams.finish(document, lambda console: facts(console, shown))
