"""``edgecodec demo``."""

from __future__ import annotations

from pathlib import Path

import click

from edgecodec.cli.options import board_option, json_option, path, subcommand
from edgecodec.cli.output import Streams


@subcommand("demo", example="edgecodec demo --board mps2-an386 -o edgecodec-demo")
@board_option
@click.option(
    "-o",
    "--output",
    type=path,
    default="edgecodec-demo",
    show_default=True,
    metavar="PATH",
    help="Folder for run, bundle, picture and report; reused by the next demo.",
)
@json_option
@click.pass_obj
def command(streams: Streams, board: str, trust_board: bool, output: Path) -> int:
    """Run the whole road once on real PPG and an emulated board.

    Trains a small codec on HeartPy's recordings, quantises it, builds host shim and firmware, compares all
    executors on the emulated board, decodes the board's packets and writes a report.
    """
    from edgecodec.boards.load import load_board
    from edgecodec.cli.tables import facts
    from edgecodec.demo import run_demo

    result = run_demo(output, load_board(board, trust=trust_board), streams.progress)
    document = result.document
    return streams.finish(
        document,
        lambda console: facts(console, {**document.summary, "report": str(document.report)}),
        exit_code=result.exit_code,
    )
