"""``edgecodec profile``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgecodec.cli.engine import EngineChoice, engine_options
from edgecodec.cli.options import (
    attachment_options,
    board_option,
    bundle_argument,
    force_option,
    json_option,
    optimize_option,
    path,
    reading_options,
    report_option,
    subcommand,
)
from edgecodec.cli.output import Streams

if TYPE_CHECKING:
    from rich.console import Console

    from edgecodec.boards.schema import Board
    from edgecodec.device.connect import Attachment
    from edgecodec.report.sections import Origin, Report
    from edgecodec.signal.reading import Reading
    from edgecodec.verify.profile import FrameCost, ProfileDocument, ProfileRow

_BAR_CELLS = 24
_FEWEST_BAR_CELLS = 4


@subcommand(
    "profile",
    example="edgecodec profile bundle --board mps2-an386\nedgecodec profile bundle --board microbit --json\n"
    "edgecodec profile bundle --board mps2-an386 --report report",
)
@bundle_argument
@board_option
@attachment_options
@engine_options
@optimize_option
@click.option(
    "--frames",
    type=path,
    metavar="FILE",
    help="Recordings, file or folder; the bundle's own frames by default.",
)
@click.option(
    "--limit", type=click.IntRange(min=1), default=16, show_default=True, metavar="N", help="Measure N frames at most."
)
@report_option
@force_option
@reading_options
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
    limit: int,
    report: Path | None,
    force: bool,
    reading: Reading,
) -> int:
    """Show what each layer costs on a board.

    The firmware times every layer, the normaliser, the codebook search and the packing of its reply:
    instructions on an emulated board, CPU cycles on a real one. Beside them stand multiply-accumulates,
    flash, RAM and worst-case stack.
    """
    from edgecodec.boards.load import load_board
    from edgecodec.bundle import Bundle
    from edgecodec.cli import report as reports
    from edgecodec.cli.flash_and_verify import show_commands
    from edgecodec.cli.verify import verification_frames
    from edgecodec.device.connect import check
    from edgecodec.verify.profile import profile_board

    reports.check(report, force=force, dry_run=dry_run)
    loaded = Bundle.load(bundle)
    target = load_board(board, trust=trust_board)
    if dry_run:
        opened = engine.open(streams, loaded, target, optimize)
        return show_commands(streams, loaded, target, attachment, optimize, opened)
    chosen = verification_frames(streams, loaded, frames, limit, reading)
    check(target, attachment)
    opened = engine.open(streams, loaded, target, optimize)
    with streams.progress("profiling") as progress:
        document = profile_board(
            loaded, target, chosen, attachment=attachment, optimize=optimize, engine=opened, progress=progress
        )
    exit_code = streams.finish(document, lambda console: _show(console, document, target))

    def make(origin: Origin) -> Report:
        from edgecodec.report.sections import report_profile, reported_board

        plan = reports.plan_of(loaded, target, attachment, optimize, opened)
        return report_profile(
            origin, loaded, document, reported_board(target, optimize, emulate=attachment.emulate), plan
        )

    reports.write(streams, report, make, force=force)
    return exit_code


def _show(console: Console, document: ProfileDocument, board: Board) -> None:
    from edgecodec.cli.build_firmware import memory_facts
    from edgecodec.cli.inspect import longest_call_text
    from edgecodec.cli.tables import facts, table

    header = ("name", "kernel", "MAC", document.unit, "per MAC", "%")
    rows = [
        (
            row.name,
            row.kernel,
            row.macs,
            round(row.cost),
            None if row.per_mac is None else f"{row.per_mac:.2f}",
            f"{100 * row.share:.1f}",
        )
        for row in document.layers
    ]
    cells = _room(console.width, [header, *rows])
    if cells < _FEWEST_BAR_CELLS:
        table(console, header, rows)
    else:
        shares = [row.share for row in document.layers]
        bars = [_bar(share, max(shares), min(cells, _BAR_CELLS), console.encoding) for share in shares]
        table(console, (*header, ""), [(*row, bar) for row, bar in zip(rows, bars, strict=True)])
    console.print()
    facts(
        console,
        {
            "board": f"{document.board} ({document.core}), optimised for {document.optimize}",
            "engine": document.engine,
            "frame": f"{document.cost_per_frame:,.0f} {document.unit}, mean of {document.frames}",
            "range": _range(document.frame, "with the search at its bound"),
            "search": _range(next(row for row in document.layers if row.kind == "rvq"), "at most"),
            "longest call": longest_call_text(document.longest_call),
        }
        | ({} if document.memory is None else memory_facts(document.memory, board)),
    )


def _range(cost: FrameCost | ProfileRow, what: str) -> str:
    """The least and the most of what frames cost, and ``what`` the bound is."""
    bound = "" if cost.bound is None else f"; {what} {cost.bound:,.0f}"
    return f"{cost.least:,.0f} to {cost.most:,.0f}{bound}"


def _room(width: int, rows: list[tuple[object, ...]]) -> int:
    """Cells that the columns of a table leave of the console's width."""
    from edgecodec.cli.tables import GAP_CELLS

    longest = [
        max(len(f"{cell:,}" if isinstance(cell, int) else str(cell)) for cell in column)
        for column in zip(*rows, strict=True)
    ]
    return width - sum(longest) - GAP_CELLS * len(longest)


def _bar(share: float, largest: float, cells: int, encoding: str) -> str:
    """A bar as long as ``share`` is of ``largest``, at least a hair when it is not 0."""
    cell = "\u2588" if encoding.lower().startswith("utf") else "#"
    return cell * max(round(cells * share / largest), 1) if share > 0 else ""
