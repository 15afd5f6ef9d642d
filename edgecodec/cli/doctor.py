"""``edgecodec doctor``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgecodec.cli.options import json_option, subcommand
from edgecodec.cli.output import Streams

if TYPE_CHECKING:
    from rich.console import Console

    from edgecodec.doctor import Check, DoctorDocument


@subcommand("doctor", example="edgecodec doctor")
@json_option
@click.pass_obj
def command(streams: Streams) -> int:
    """Check the tools that edgecodec uses.

    Says for each whether it is found, its version, what it is for, and how to get it when it is missing;
    which debug probes and serial ports are there and may be opened; and which boards can be built, emulated
    and flashed here.
    Exits with 0 when nothing is missing that verify-host, build-firmware and flash-and-verify on an
    emulated board need, otherwise with 2.
    """
    from edgecodec.doctor import DoctorDocument, boards_here, diagnose

    document = DoctorDocument.of(diagnose(), boards_here())
    return streams.finish(document, lambda console: _show(console, document), exit_code=0 if document.ready else 2)


def _show(console: Console, document: DoctorDocument) -> None:
    from edgecodec.cli.tables import facts, table

    table(
        console,
        ("tool", "status", "version", "for"),
        (
            (
                check.name,
                _status(check),
                check.version,
                check.purpose,
            )
            for check in document.checks
        ),
    )
    missing = {check.name: check.remedy for check in document.checks if not check.found}
    if missing:
        console.print()
        facts(console, missing)
    console.print()
    facts(
        console,
        {f"boards {what}": ", ".join(names) or "none" for what, names in vars(document.boards).items()},
    )


def _status(check: Check) -> str:
    if check.found:
        return "found"
    return "MISSING" if check.essential else "missing"
