"""``--report``: what several commands do with it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgecodec.cli.output import Streams

if TYPE_CHECKING:
    from edgecodec.boards.schema import Board
    from edgecodec.bundle import Bundle
    from edgecodec.compile.plan import Plan
    from edgecodec.device.connect import Attachment
    from edgecodec.engines.base import Engine
    from edgecodec.report.sections import Origin, Report


def check(folder: Path | None, *others: Path | None, force: bool, dry_run: bool = False) -> None:
    """Refuse, before long work, a folder that could not be written in the end, or would take ``others`` with it.

    ``others`` are written by the same command. Raises InputError and UsageError.
    """
    if folder is None:
        return
    target = os.path.realpath(folder)
    for other in others:
        if other is not None and Path(os.path.realpath(other)).is_relative_to(target):
            raise click.UsageError(f"{other} lies in the folder of --report, which is replaced as a whole")
    if dry_run:
        raise click.UsageError("--dry-run finds nothing to report")
    from edgecodec.report.folder import check_report

    check_report(folder, force=force)


def write(streams: Streams, folder: Path | None, make: Callable[[Origin], Report], *, force: bool) -> None:
    """Write the report that ``make`` returns, if one is asked for, after the result was printed. Raises InputError."""
    if folder is None:
        return
    from edgecodec.report.folder import PAGE, write_report
    from edgecodec.report.sections import Origin

    command = click.get_current_context().info_name or ""
    write_report(make(Origin(command, shlex.join(("edgecodec", *streams.arguments)))), folder, force=force)
    streams.say(f"report: {folder / PAGE}")


def plan_of(bundle: Bundle, board: Board, attachment: Attachment, optimize: str, engine: Engine) -> Plan | None:
    """The plan of the firmware that ran; None of another engine's, and of firmware that was there already."""
    from edgecodec.engines.native import NATIVE_ENGINE
    from edgecodec.firmware.project import make_project

    if engine is not NATIVE_ENGINE or not attachment.builds(board):
        return None
    return make_project(bundle, attachment.checked(board), engine=engine, optimize=optimize).plan
