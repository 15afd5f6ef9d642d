"""``edgecodec quantize``."""

from __future__ import annotations

from pathlib import Path

import click

from edgecodec.cli.options import force_option, json_option, output_option, path, subcommand
from edgecodec.cli.output import Streams


@subcommand(
    "quantize",
    example="edgecodec quantize run -o bundle\n"
    "edgecodec quantize --encoder enc.keras --codebooks cb.npz --decoder dec.keras \\\n"
    "    --calibration frames.npz -o bundle",
)
@click.argument("run", type=path, required=False)
@click.option("--encoder", type=path, metavar="FILE", help="Keras encoder of normalised (1, T, 1), or INT8 .tflite.")
@click.option("--codebooks", type=path, metavar="FILE", help=".npz with level_0, level_1, ... float [K, D].")
@click.option("--decoder", type=path, metavar="FILE", help="Keras decoder, kept for `edgecodec decode`.")
@click.option("--calibration", type=path, metavar="FILE", help="ADC counts [N, T] (.npz, .npy, .csv).")
@click.option("--name", help="Name of the bundle; the encoder's file name by default.")
@click.option("--rate-hz", type=click.FloatRange(min=0, min_open=True), help="Sampling rate of the frames.")
@click.option(
    "--epsilon",
    type=click.FloatRange(min=0, min_open=True),
    default=1e-3,
    show_default=True,
    help="Of the normaliser (x - mean) / sqrt(variance + epsilon).",
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
    calibration: Path | None,
    name: str | None,
    rate_hz: float | None,
    epsilon: float,
    output: Path,
    force: bool,
) -> int:
    """Make a deployable INT8 bundle from a trained codec.

    RUN is a folder that `edgecodec train` wrote. A codec trained elsewhere comes as --encoder, --codebooks
    and --calibration, and --decoder if it is to be decoded.
    """
    from edgecodec.quantize import quantize_files, quantize_run

    def progress(stage: str) -> None:
        streams.say(f"quantizing: {stage}")

    if run is not None:
        if encoder or codebooks or decoder or calibration:
            raise click.UsageError("give either RUN or --encoder, --codebooks and --calibration, not both")
        result = quantize_run(run, output, force=force, progress=progress)
    elif encoder is None or codebooks is None or calibration is None:
        raise click.UsageError("give RUN, or all of --encoder, --codebooks and --calibration")
    else:
        result = quantize_files(
            encoder,
            codebooks,
            decoder,
            calibration,
            output,
            name=name,
            rate_hz=rate_hz,
            epsilon=epsilon,
            force=force,
            progress=progress,
        )
    from edgecodec.cli.inspect import show_summary
    from edgecodec.summary import summarize

    document = summarize(result.bundle) | {"figures": result.figures}
    return streams.finish(document, lambda console: show_summary(console, document))
