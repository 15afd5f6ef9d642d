"""``edgecodec ports``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgecodec.cli.options import json_option, subcommand
from edgecodec.cli.output import Streams

if TYPE_CHECKING:
    from rich.console import Console

    from edgecodec.device.ports import PortsDocument


@subcommand("ports", example="edgecodec ports --json")
@json_option
@click.pass_obj
def command(streams: Streams) -> int:
    """List the serial ports of this machine.

    A port of a USB device that a board's file names is listed with the boards that it may be.
    """
    from edgecodec.boards.load import list_boards
    from edgecodec.device.ports import PortsDocument

    document = PortsDocument.of(list_boards())
    return streams.finish(document, lambda console: _show(console, document))


def _show(console: Console, document: PortsDocument) -> None:
    from edgecodec.cli.tables import table

    if not document.ports:
        console.print("no serial ports found; connect a board by USB (emulated boards need none)")
        return
    table(
        console,
        ("port", "description", "hardware", "may be"),
        (
            (each.port.device, each.port.description, each.port.hardware_id, " ".join(each.boards) or None)
            for each in document.ports
        ),
    )
