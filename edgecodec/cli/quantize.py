"""``edgecodec quantize``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecodec.cli.options import force_option, json_option, output_option, path, reading_options, subcommand
from edgecodec.cli.output import Streams

if TYPE_CHECKING:
    from rich.console import Console

    from edgecodec.quantization import QuantizationReport
    from edgecodec.signal.reading import Reading


@subcommand(
    "quantize",
    example="edgecodec quantize run -o bundle\n"
    "edgecodec quantize --encoder enc.keras --codebooks cb.npz --decoder dec.keras \\\n"
    "    --calibration frames.npz -o bundle\n"
    "edgecodec quantize --from-folder export --calibration frames.npz -o bundle",
)
@click.argument("run", type=path, required=False)
@click.option(
    "--encoder",
    type=path,
    metavar="PATH",
    help="Encoder of normalised (1, T, 1): .keras, SavedModel folder, or INT8 .tflite.",
)
@click.option(
    "--codebooks",
    type=path,
    metavar="PATH",
    help=".npz with level_0, level_1, ... [K, D], or one array [M, K, D]; Keras model with the quantiser; folder or "
    "pattern of .npy.",
)
@click.option("--decoder", type=path, metavar="FILE", help="Keras decoder, kept for `edgecodec decode`.")
@click.option(
    "--from-folder",
    "folder",
    type=path,
    metavar="DIR",
    help="Folder with encoder.keras, encoder.tflite or encoder_int8.tflite, codebook.npz and decoder.keras; its "
    "deploy_manifest.json or config.json gives the rate.",
)
@click.option("--calibration", type=path, metavar="FILE", help="Recordings of your sensor, file or folder.")
@click.option(
    "--validation",
    type=path,
    metavar="FILE",
    help="Recordings to choose the best integers on, of people not trained on; held-out frames by default.",
)
@click.option(
    "--fine-tune",
    "train",
    type=path,
    metavar="FILE",
    help="Train on these recordings with the roundings in place; takes minutes and Keras models.",
)
@click.option(
    "--fine-tune-steps", type=click.IntRange(min=1), default=3000, show_default=True, help="Steps of --fine-tune."
)
@click.option(
    "--prior",
    type=path,
    metavar="FILE",
    help="Fit the bundle's model of its indices to these recordings of training people; needs --validation. "
    "A RUN split by person has both.",
)
@click.option(
    "--prior-steps", type=click.IntRange(min=1), default=4000, show_default=True, help="Steps of fitting that model."
)
@click.option("--name", help="Name of the bundle; the encoder's file name by default.")
@click.option(
    "--rate-hz", type=click.FloatRange(min=0, min_open=True), metavar="HZ", help="Sampling rate of the codec's frames."
)
@reading_options
@click.option(
    "--epsilon",
    type=click.FloatRange(min=0, min_open=True),
    default=1e-3,
    show_default=True,
    help="Of the normaliser (x - mean) / sqrt(variance + epsilon).",
)
@click.option(
    "--accept-quality",
    is_flag=True,
    help="Write the bundle although its codec is no better than chance, as one is whose parts are not of one model.",
)
@output_option("Folder for the bundle.")
@force_option
@json_option
@click.pass_obj
def command(
    streams: Streams,
    run: Path | None,
    encoder: Path | None,
    codebooks: Path | None,
    decoder: Path | None,
    folder: Path | None,
    calibration: Path | None,
    validation: Path | None,
    train: Path | None,
    fine_tune_steps: int,
    prior: Path | None,
    prior_steps: int,
    name: str | None,
    rate_hz: float | None,
    epsilon: float,
    accept_quality: bool,
    output: Path,
    force: bool,
    reading: Reading,
) -> int:
    """Make a deployable INT8 bundle from a trained codec.

    RUN is a folder that `edgecodec train` wrote. A codec trained elsewhere comes as --encoder, --codebooks
    and --calibration, and --decoder if it is to be decoded, or as --from-folder and --calibration. Several
    roundings are tried; the one that does best on validation frames is kept and all are reported. A codec no
    better than chance, as one is whose parts are not of one model, is refused. The index prior is what `edgecodec
    evaluate` takes for the bits that an entropy coder would need.
    """
    from edgecodec.bundle import MANIFEST
    from edgecodec.cli.inspect import show_summary
    from edgecodec.cli.quantize_document import QuantizeDocument
    from edgecodec.compile.inspect import summarize
    from edgecodec.files.atomic import check_folder
    from edgecodec.quantization import FineTuning, Tuning, quantize, quantize_folder, quantize_run
    from edgecodec.training import PriorFitting

    files = encoder or codebooks or decoder
    ways = sum(bool(way) for way in (run, folder, files))
    if ways > 1 or (run is not None and calibration):
        raise click.UsageError("give one of RUN, --from-folder, or --encoder and --codebooks, not both")
    if folder is not None and calibration is None:
        raise click.UsageError("--from-folder needs --calibration")
    if run is None and folder is None and (encoder is None or codebooks is None or calibration is None):
        raise click.UsageError("give RUN, or all of --encoder, --codebooks and --calibration")
    check_folder(output, marker=MANIFEST, force=force)
    shared: dict[str, Any] = {
        "validation": validation,
        "reading": reading,
        "tuning": Tuning(train, FineTuning(steps=fine_tune_steps), prior, PriorFitting(steps=prior_steps)),
        "accept_quality": accept_quality,
        "progress": lambda stage: streams.say(f"quantizing: {stage}"),
    }
    own: dict[str, Any] = {"name": name, "rate_hz": rate_hz, "epsilon": epsilon}
    if run is not None:
        result = quantize_run(run, **shared)
    elif folder is not None:
        result = quantize_folder(folder, calibration, **own, **shared)
    else:
        assert codebooks is not None
        result = quantize(encoder, codebooks, calibration, decoder=decoder, **own, **shared)
    inspection = summarize(result.write(output, force=force))
    for role, summary in result.report.recordings.items():
        streams.say(f"{role}: {summary.describe()}")
    document = QuantizeDocument(inspection, result.figures, result.report)

    def show(console: Console) -> None:
        show_summary(console, document.inspection)
        console.print()
        _show_report(console, document.quantization)

    return streams.finish(document, show)


def _show_report(console: Console, report: QuantizationReport) -> None:
    from edgecodec.cli.tables import table

    for note in report.notes:
        console.print(note, soft_wrap=True, markup=False)
    validation = report.validation
    columns = list(report.candidates[0].figures)
    console.print(f"candidates on {validation.frames} validation frames ({validation.source})", soft_wrap=True)
    table(
        console,
        ("candidate", "kept", *(key.replace("_", " ") for key in columns)),
        (
            (candidate.name, candidate.kept, *(candidate.figures.get(key) for key in columns))
            for candidate in report.candidates
        ),
    )
    fitted = report.index_prior
    if fitted is not None:
        console.print(
            f"index prior: {fitted.validation_bits_per_frame:.1f} bits a frame on {fitted.validation_frames:,} "
            f"validation frames, {fitted.parameters:,} parameters, fitted to {fitted.frames:,} training frames",
            soft_wrap=True,
        )
    for note in report.notes:
        console.print(note, soft_wrap=True)
    for shortfall in report.shortfalls:
        console.print(f"no better than chance: {shortfall}", soft_wrap=True)
    for candidate in report.candidates:
        if candidate.refused is not None:
            console.print(f"{candidate.name}: not possible: {candidate.refused}", soft_wrap=True)
