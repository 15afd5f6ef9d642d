"""``edgecodec train``."""

from __future__ import annotations

from pathlib import Path

import click

from edgecodec.cli.options import force_option, json_option, output_option, path, subcommand
from edgecodec.cli.output import Streams


@subcommand("train", example="edgecodec train codec.yaml -o run")
@click.argument("config", type=path)
@output_option("Folder for the trained codec.")
@force_option
@json_option
@click.pass_obj
def command(streams: Streams, config: Path, output: Path, force: bool) -> int:
    """Train a codec from a YAML configuration.

    The run folder keeps encoder, decoder, codebooks, calibration and test frames for `edgecodec quantize`.
    """
    from edgecodec.cli.tables import facts
    from edgecodec.nn.training import train

    with streams.progress("training") as progress:
        result = train(config, output, progress=progress, force=force)
    document = {
        "output": str(output),
        "steps": result.steps,
        "seconds": result.seconds,
        "metrics": result.metrics,
    }
    figures = {name: f"{value:.4g}" for name, value in result.metrics.items()}
    return streams.finish(document, lambda console: facts(console, {"run": output, "steps": result.steps, **figures}))
