"""``edgecodec demo``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgecodec.cli.options import board_option, force_option, json_option, path, report_option, subcommand
from edgecodec.cli.output import Streams

if TYPE_CHECKING:
    from edgecodec.report.sections import Origin, Report


@subcommand("demo", example="edgecodec demo --board mps2-an386 -o edgecodec-demo")
@board_option
@click.option(
    "-o",
    "--output",
    type=path,
    default="edgecodec-demo",
    show_default=True,
    metavar="PATH",
    help="Folder for run and bundle, reused by the next demo, and for the report without --report.",
)
@report_option
@force_option
@json_option
@click.pass_obj
def command(streams: Streams, board: str, trust_board: bool, output: Path, report: Path | None, force: bool) -> int:
    """Run the whole road once on real PPG and an emulated board.

    Trains a small codec on HeartPy's recordings, quantises it, builds host shim and firmware, compares all
    executors on the emulated board, decodes the board's packets and writes a report.
    """
    from edgecodec.boards.load import load_board
    from edgecodec.cli import report as reports
    from edgecodec.cli.tables import facts
    from edgecodec.demo import run_demo
    from edgecodec.report.folder import PAGE

    folder = report or output / "report"
    reports.check(folder, output, force=force)
    target = load_board(board, trust=trust_board)
    result = run_demo(output, target, streams.progress)
    document = result.document(folder / PAGE)
    exit_code = streams.finish(
        document,
        lambda console: facts(console, {**document.summary, "report": str(document.report)}),
        exit_code=result.exit_code,
    )

    def make(origin: Origin) -> Report:
        from edgecodec.compile.target import DEFAULT_OPTIMIZE
        from edgecodec.device.connect import AUTO
        from edgecodec.engines.native import NATIVE_ENGINE
        from edgecodec.report.sections import report_verification, reported_board

        return report_verification(
            origin,
            result.bundle,
            result.frames,
            result.verification,
            board=reported_board(target, DEFAULT_OPTIMIZE, emulate=AUTO.emulate),
            plan=reports.plan_of(result.bundle, target, AUTO, DEFAULT_OPTIMIZE, NATIVE_ENGINE),
            decoded=result.decoded,
            document=document,
        )

    reports.write(streams, folder, make, force=force)
    return exit_code
