"""``edgecodec refit``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import click

from edgecodec.cli.options import (
    bundle_argument,
    force_option,
    json_option,
    output_option,
    path,
    reading_options,
    subcommand,
)
from edgecodec.cli.output import Streams
from edgecodec.documents import Document
from edgecodec.quantization.report import IndexModelReport

if TYPE_CHECKING:
    from rich.console import Console

    from edgecodec.signal.reading import Reading


@dataclass(frozen=True)
class RefitDocument(Document):
    """What ``edgecodec refit --json`` prints: the bundle written, and the models that were fitted."""

    SCHEMA: ClassVar[str] = "edgecodec.refit"

    output: Path
    """The bundle written."""
    bundle_digest: str
    """Its digest, another one than that of the bundle it was made from."""
    index_model: IndexModelReport
    """Models of the indices that were fitted, and which is kept."""


@subcommand("refit", example="edgecodec refit bundle --frames people.npz --validation others.npz -o refitted")
@bundle_argument
@click.option("--frames", type=path, required=True, metavar="FILE", help="Recordings of the people to fit to.")
@click.option(
    "--validation",
    type=path,
    metavar="FILE",
    help="Other people's recordings to choose the model on; the last fifth of --frames by default.",
)
@click.option(
    "--index-flash", type=click.IntRange(min=1), metavar="BYTES", help="Flash for the model; 16384 by default."
)
@click.option(
    "--index-instructions",
    type=click.IntRange(min=1),
    metavar="N",
    help="Instructions a frame for the model; 100000 by default.",
)
@click.option("--index-steps", type=click.IntRange(min=1), help="Steps of fitting each network.")
@output_option("Folder for the bundle.")
@reading_options
@force_option
@json_option
@click.pass_obj
def command(
    streams: Streams,
    bundle: Path,
    frames: Path,
    validation: Path | None,
    index_flash: int | None,
    index_instructions: int | None,
    index_steps: int | None,
    output: Path,
    reading: Reading,
    force: bool,
) -> int:
    """Fit a bundle's packets anew, without training.

    Encoder and codebooks stay. The model of the indices, and the ranges of mean and scale, are fitted to the recordings
    given; the bundle gets another digest, and firmware and decoders need the new one.
    """
    from edgecodec.bundle import MANIFEST, Bundle
    from edgecodec.cli.verify import recorded_frames
    from edgecodec.files.atomic import check_folder
    from edgecodec.host.encoders import fastest_encoder
    from edgecodec.quantization.refit import refit
    from edgecodec.training.index_models import ModelBudget

    check_folder(output, marker=MANIFEST, force=force)
    loaded, usual = Bundle.load(bundle), ModelBudget()
    given = recorded_frames(streams, loaded, frames, reading)
    executor = fastest_encoder(loaded)
    indices = executor.encode(given)
    if validation is None:
        kept = len(indices) - max(1, len(indices) // 5)
        known, judges = indices[:kept], indices[kept:]
    else:
        known, judges = indices, executor.encode(recorded_frames(streams, loaded, validation, reading))
    with streams.progress("fitting") as progress:
        written, report = refit(
            loaded,
            output,
            given,
            known,
            judges,
            budget=ModelBudget(index_flash or usual.flash_bytes, index_instructions or usual.instructions),
            network_steps=index_steps,
            progress=progress,
            force=force,
        )
    document = RefitDocument(output, written.digest, report)
    return streams.finish(document, lambda console: _show(console, document))


def _show(console: Console, document: RefitDocument) -> None:
    from edgecodec.cli.tables import facts, table

    rows = [
        (
            f"{point.kind}{' (kept)' if point.chosen else ''}",
            point.flash_bytes,
            point.instructions,
            point.bits_per_frame,
        )
        for point in document.index_model.curve
    ]
    table(console, ("model", "bytes", "instructions a frame", "bits/frame"), rows)
    console.print()
    facts(console, {"bundle": str(document.output), "digest": document.bundle_digest})
