"""``edgecodec check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgecodec.cli.options import json_option, path, subcommand
from edgecodec.cli.output import Streams

if TYPE_CHECKING:
    from rich.console import Console

    from edgecodec.quantization.check import CheckDocument

_REFUSED = 2


@subcommand("check", example="edgecodec check encoder.keras\nedgecodec check encoder.tflite --json")
@click.argument("model", type=path)
@json_option
@click.pass_obj
def command(streams: Streams, model: Path) -> int:
    """Show which layers of a model run, which are folded and which are refused.

    MODEL is an encoder, or an autoencoder that holds one: .keras, .h5, SavedModel folder or .tflite. No data is
    needed. The exit code is 0 when `edgecodec quantize` takes the model, and 2 with what to change when it does not.
    """
    from edgecodec.quantization.check import check_model

    document = check_model(model)
    code = streams.finish(document, lambda console: _show(console, document))
    return code or (_REFUSED if document.error is not None else 0)


def _show(console: Console, document: CheckDocument) -> None:
    from edgecodec.cli.output import plain_line
    from edgecodec.cli.tables import table

    for note in document.notes:
        console.print(plain_line(note), soft_wrap=True, markup=False)
    if document.layers:
        table(
            console,
            ("layer", "kind", "verdict", "how, or what to change"),
            ((layer.name, layer.kind, layer.verdict, layer.note) for layer in document.layers),
        )
        console.print()
    if document.error is not None:
        console.print(f"refused: {plain_line(document.error)}", soft_wrap=True, markup=False)
        return
    table(
        console,
        ("runs as", "op", "input", "output", "kernel", "stride", "padding left", "MAC"),
        (
            (
                layer.name,
                layer.op,
                "x".join(map(str, layer.input)),
                "x".join(map(str, layer.output)),
                layer.kernel,
                layer.stride,
                layer.pad_left,
                layer.macs,
            )
            for layer in document.encoder
        ),
    )
    console.print(f"runs: {document.macs:,} multiply-accumulates a frame", soft_wrap=True)
