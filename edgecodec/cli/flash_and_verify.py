"""``edgecodec flash-and-verify``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgecodec.cli.engine import EngineChoice, engine_options
from edgecodec.cli.options import (
    attachment_options,
    board_option,
    bundle_argument,
    json_option,
    optimize_option,
    subcommand,
    verify_options,
)
from edgecodec.cli.output import Streams

if TYPE_CHECKING:
    from edgecodec.boards.schema import Board
    from edgecodec.bundle import Bundle
    from edgecodec.device.connect import Attachment
    from edgecodec.engines.base import Engine
    from edgecodec.report.sections import Origin, Report
    from edgecodec.signal.reading import Reading


@subcommand(
    "flash-and-verify",
    example="edgecodec flash-and-verify bundle --board mps2-an386\n"
    "edgecodec flash-and-verify bundle --board mps2-an386 --report report\n"
    "edgecodec flash-and-verify bundle --board nucleo-f446re --dry-run\n"
    "edgecodec flash-and-verify bundle --board nucleo-f446re --no-flash --port /dev/ttyACM0 --json\n"
    "edgecodec flash-and-verify bundle --board mps2-an386 --engine tflm --tflm-dir TREE --tflm-lib LIB",
)
@bundle_argument
@board_option
@attachment_options
@engine_options
@optimize_option
@verify_options
@json_option
@click.pass_obj
def command(
    streams: Streams,
    bundle: Path,
    board: str,
    trust_board: bool,
    attachment: Attachment,
    dry_run: bool,
    engine: EngineChoice,
    optimize: str,
    frames: Path | None,
    limit: int | None,
    indices_out: Path | None,
    keras: bool,
    report: Path | None,
    force: bool,
    reading: Reading,
) -> int:
    """Run a bundle on a board and compare every index.

    Builds the firmware, starts the emulated board or flashes the real one, streams frames, reads inputs,
    latents, indices and packets back and compares every byte with the C on this machine, the numpy reference and
    TensorFlow Lite Micro. Where a board's latent is wrong, its layers are read back to name the one that is.

    Of a bundle with packets, one frame in nine, but at least eight, is also pushed to an encoder object on the board,
    in pieces amid its steps.

    With --engine tflm firmware on your TensorFlow Lite Micro follows on the firmware of generated C.
    """
    from edgecodec.boards.load import load_board
    from edgecodec.bundle import Bundle
    from edgecodec.cli import report as reports
    from edgecodec.cli.verify import finish, verification_frames
    from edgecodec.device.connect import check
    from edgecodec.verify.run import verify_board

    reports.check(report, indices_out, force=force, dry_run=dry_run)
    loaded, target = Bundle.load(bundle), load_board(board, trust=trust_board)
    if dry_run:
        opened = engine.open(streams, loaded, target, optimize)
        return show_commands(streams, loaded, target, attachment, optimize, opened)
    chosen = verification_frames(streams, loaded, frames, limit, reading)
    check(target, attachment)
    opened = engine.open(streams, loaded, target, optimize)
    with streams.progress("verifying") as progress:
        result = verify_board(
            loaded,
            target,
            chosen,
            attachment=attachment,
            optimize=optimize,
            engine=opened,
            keras=keras,
            by_part=report is not None,
            progress=progress,
        )

    def make(origin: Origin) -> Report:
        from edgecodec.report.sections import report_verification, reported_board

        return report_verification(
            origin,
            loaded,
            chosen,
            result,
            board=reported_board(target, optimize, emulate=attachment.emulate),
            plan=reports.plan_of(loaded, target, attachment, optimize, opened),
        )

    return finish(streams, result, indices_out, lambda: reports.write(streams, report, make, force=force))


def show_commands(
    streams: Streams, bundle: Bundle, board: Board, attachment: Attachment, optimize: str, engine: Engine
) -> int:
    """Print what reaching the board would run."""
    from edgecodec.cli.commands_document import CommandsDocument
    from edgecodec.device.connect import describe
    from edgecodec.firmware.project import make_project

    project = make_project(bundle, attachment.checked(board), engine=engine, optimize=optimize)
    document = CommandsDocument(tuple(describe(project, attachment)))
    return streams.finish(
        document, lambda console: console.print("\n".join(document.commands), soft_wrap=True, markup=False)
    )
