"""``edgecodec quantize``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecodec.cli.options import (
    force_option,
    json_option,
    normalization_option,
    output_option,
    path,
    reading_options,
    report_option,
    subcommand,
)
from edgecodec.cli.output import Streams

if TYPE_CHECKING:
    from rich.console import Console

    from edgecodec.cli.quantize_document import QuantizeDocument
    from edgecodec.quantization import QuantizationReport
    from edgecodec.quantization.report import IndexModelReport
    from edgecodec.report.sections import Origin, Report
    from edgecodec.signal.normalize import Normalization
    from edgecodec.signal.reading import Reading

_FINE_TUNE_STEPS = 3000
_COLUMNS = {
    "prdn_float": "PRDN float %",
    "prdn_integer": "PRDN integer %",
    "latent_error": "latent error %",
    "agreement_l1": "same l1 %",
    "agreement_l2": "same l2 %",
    "saturation_latent": "saturated %",
}
"""Figures that ``--verbose`` shows of each candidate, by their column; ``--json`` has all."""
_IN_PERCENT = ("prdn_float", "prdn_integer", "latent_error")
"""Those that are in percent as they are; the others are shares from 0 to 1."""


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
    help="Encoder of normalised (1, T, 1): .keras, SavedModel folder, or INT8 or 16x8 .tflite.",
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
    "deploy_manifest.json or config.json gives rate and normalisation.",
)
@click.option("--calibration", type=path, metavar="FILE", help="Recordings of your sensor, file or folder.")
@click.option(
    "--validation",
    type=path,
    metavar="FILE",
    help="Recordings to choose the best integers on, of people not trained on; held-out frames by default.",
)
@click.option(
    "--activations",
    type=click.Choice(["8", "16", "auto"]),
    help="Bits of the encoder's activations; 8 by default, or those of a .tflite. With 16, whose weights keep 8 bits, "
    "less is lost. auto searches both and takes 16 where they lower the PRDN of the integer codec on the validation "
    "frames by more than 2 %.",
)
@click.option(
    "--fine-tune",
    "train",
    type=path,
    metavar="FILE",
    help="Train on these recordings with the roundings in place; takes minutes and Keras models.",
)
@click.option(
    "--fine-tune-steps",
    type=click.IntRange(min=1),
    help=f"Steps of --fine-tune; {_FINE_TUNE_STEPS} by default.",
)
@click.option(
    "--index-model",
    is_flag=True,
    help="Also fit a model of the indices, so that packets take fewer bits than plain ones: to the training frames of "
    "a RUN split by person, or to --index-frames.",
)
@click.option(
    "--index-frames",
    type=path,
    metavar="FILE",
    help="Recordings of training people to fit that model to; needs --validation.",
)
@click.option(
    "--index-flash",
    type=click.IntRange(min=1),
    metavar="BYTES",
    help="Flash for that model; 16384 by default.",
)
@click.option(
    "--index-instructions",
    type=click.IntRange(min=1),
    metavar="N",
    help="Instructions a frame for that model; 100000 by default. From some 300000 networks are fitted, too, which "
    "takes minutes.",
)
@click.option("--index-steps", type=click.IntRange(min=1), help="Steps of fitting each network.")
@click.option("--name", help="Name of the bundle; the encoder's file name by default.")
@click.option(
    "--rate-hz", type=click.FloatRange(min=0, min_open=True), metavar="HZ", help="Sampling rate of the codec's frames."
)
@reading_options
@normalization_option
@click.option(
    "--accept-quality",
    is_flag=True,
    help="Write the bundle although its codec is no better than chance, as one is whose parts are not of one model.",
)
@output_option("Folder for the bundle.")
@report_option
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
    activations: str | None,
    train: Path | None,
    fine_tune_steps: int | None,
    index_model: bool,
    index_frames: Path | None,
    index_flash: int | None,
    index_instructions: int | None,
    index_steps: int | None,
    name: str | None,
    rate_hz: float | None,
    normalization: Normalization | None,
    accept_quality: bool,
    output: Path,
    report: Path | None,
    force: bool,
    reading: Reading,
) -> int:
    """Make a deployable bundle of integers from a trained codec.

    RUN is a folder that `edgecodec train` wrote. A codec trained elsewhere comes as --encoder, --codebooks
    and --calibration, and --decoder if it is to be decoded, or as --from-folder and --calibration. Several
    roundings are tried and the one that does best on validation frames is kept; --verbose shows all of them, and the
    layers. A codec no better than chance, as one is whose parts are not of one model, is refused; of a RUN, whose
    parts are, it is only said.
    """
    from edgecodec.bundle import MANIFEST
    from edgecodec.cli import report as reports
    from edgecodec.cli.inspect import show_summary
    from edgecodec.cli.quantize_document import QuantizeDocument
    from edgecodec.cli.tables import facts
    from edgecodec.compile.inspect import summarize
    from edgecodec.files.atomic import check_folder
    from edgecodec.quantization import FineTuning, Tuning, quantize, quantize_folder, quantize_run
    from edgecodec.training import ModelBudget

    files = encoder or codebooks or decoder
    ways = sum(bool(way) for way in (run, folder, files))
    if ways > 1 or (run is not None and calibration):
        raise click.UsageError("give one of RUN, --from-folder, or --encoder and --codebooks, not both")
    if folder is not None and calibration is None:
        raise click.UsageError("--from-folder needs --calibration")
    if run is None and folder is None and (encoder is None or codebooks is None or calibration is None):
        raise click.UsageError("give RUN, or all of --encoder, --codebooks and --calibration")
    if run is not None and (name, rate_hz, normalization) != (None, None, None):
        raise click.UsageError("RUN has its own --name, --rate-hz and --normalization")
    if train is None and fine_tune_steps is not None:
        raise click.UsageError("--fine-tune-steps needs --fine-tune")
    settings = {"flash": index_flash, "instructions": index_instructions, "steps": index_steps}
    given = [f"--index-{name}" for name, value in settings.items() if value is not None]
    if given and not index_model and index_frames is None:
        raise click.UsageError(f"{given[0]} needs --index-model or --index-frames")
    usual = ModelBudget()
    check_folder(output, marker=MANIFEST, force=force)
    reports.check(report, output, force=force)
    shared: dict[str, Any] = {
        "validation": validation,
        "reading": reading,
        "activations": int(activations) if activations in ("8", "16") else activations,
        "tuning": Tuning(
            train,
            FineTuning(steps=fine_tune_steps or _FINE_TUNE_STEPS),
            index_frames or index_model,
            ModelBudget(index_flash or usual.flash_bytes, index_instructions or usual.instructions),
            index_steps,
        ),
    }
    own: dict[str, Any] = {
        "name": name,
        "rate_hz": rate_hz,
        "normalization": normalization,
        "accept_quality": accept_quality,
    }
    with streams.progress("quantizing") as progress:
        shared["progress"] = progress
        if run is not None:
            result = quantize_run(run, **shared)
        elif folder is not None:
            result = quantize_folder(folder, calibration, **own, **shared)
        else:
            assert codebooks is not None
            result = quantize(encoder, codebooks, calibration, decoder=decoder, **own, **shared)
        written = result.write(output, force=force)
        inspection = summarize(written)
    for role, summary in result.report.recordings.items():
        streams.say(f"{role}: {summary.describe()}")
    document = QuantizeDocument(inspection, result.figures, result.report)

    def show(console: Console) -> None:
        if streams.verbose:
            show_summary(console, document.inspection)
            console.print()
            _show_candidates(console, document.quantization)
            console.print()
        facts(console, _summary(document))
        for note in document.quantization.notes:
            console.print(f"note: {note}", soft_wrap=True, markup=False)
        for shortfall in document.quantization.shortfalls:
            console.print(f"no better than chance: {shortfall}", soft_wrap=True, markup=False)

    exit_code = streams.finish(document, show)

    def make(origin: Origin) -> Report:
        from edgecodec.report.sections import report_quantization

        return report_quantization(origin, written, document, inspection, result.figures, result.report)

    reports.write(streams, report, make, force=force)
    return exit_code


def _describe(model: IndexModelReport) -> str:
    """The model that packets are coded with, in a line."""
    kept = model.chosen
    if kept is None:
        budget = model.budget
        return f"plain: no model of the indices fits {budget.flash_bytes:,} bytes, {budget.instructions:,} instructions"
    judged = f"{model.validation_frames:,} validation frames"
    return f"{kept.bits_per_frame:.1f} bits a frame on {judged}, {kept.kind} of {kept.flash_bytes:,} bytes"


def _summary(document: QuantizeDocument) -> dict[str, object]:
    """What was made, how good it is and what it costs, in a few lines."""
    from edgecodec.cli.inspect import figure_facts

    made, report = document.inspection, document.quantization
    rate, plan, flash = made.rate, made.plan, made.flash
    judged = f"{report.validation.frames:,} validation frames ({report.validation.source})"
    others = f"the best of {len(report.candidates)} on {judged}"
    model = report.index_model
    return {
        "bundle": f"{made.name} ({made.path})",
        "digest": made.bundle_digest,
        "rate": f"{rate.nominal_bits_per_frame:,} bits a frame of {made.frame.samples} samples, "
        f"{rate.compression_ratio:.1f} times fewer than at 16 bits",
        **({} if report.activations is None else {"activations": report.activations.reason}),
        "rounding": f"{report.chosen}, {'nothing to choose by' if report.criterion is None else others}",
        **figure_facts(document.figures),
        "tables": f"{flash.encoder_bytes:,} bytes encoder, {flash.codebook_bytes:,} bytes codebooks",
        "RAM": f"{plan.state_bytes:,} bytes of state",
        "packets": "plain (--index-model fits a model of the indices)" if model is None else _describe(model),
    }


def _show_candidates(console: Console, report: QuantizationReport) -> None:
    from edgecodec.cli.tables import table

    validation = report.validation
    columns = [key for key in report.candidates[0].figures if key in _COLUMNS]
    console.print(f"candidates on {validation.frames} validation frames ({validation.source})", soft_wrap=True)
    table(
        console,
        ("candidate", "kept", *(_COLUMNS[key] for key in columns)),
        (
            (candidate.name, candidate.kept, *(_cell(key, candidate.figures.get(key)) for key in columns))
            for candidate in report.candidates
        ),
    )
    for candidate in report.candidates:
        if candidate.refused is not None:
            console.print(f"{candidate.name}: not possible: {candidate.refused}", soft_wrap=True)


def _cell(key: str, value: float | None) -> float | None:
    """A figure as its column has it: shares in percent."""
    return value if value is None or key in _IN_PERCENT else round(100 * value, 2)
