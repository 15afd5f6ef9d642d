"""``edgecodec ports``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from edgecodec.cli.options import json_option, subcommand
from edgecodec.cli.output import Streams

if TYPE_CHECKING:
    from rich.console import Console

    from edgecodec.boards.schema import Board
    from edgecodec.device.ports import PortInfo


@subcommand("ports", example="edgecodec ports --json")
@json_option
@click.pass_obj
def command(streams: Streams) -> int:
    """List the serial ports of this machine.

    A port of a USB device that a board's file names is listed with the boards that it may be.
    """
    from edgecodec.boards.load import list_boards
    from edgecodec.device.ports import list_ports

    ports = list_ports()
    names = {port.device: _boards_of(port, list_boards()) for port in ports}
    document = {"ports": [asdict(port) | {"boards": names[port.device]} for port in ports]}
    return streams.finish(document, lambda console: _show(console, ports, names))


def _boards_of(port: PortInfo, boards: list[Board]) -> list[str]:
    """Boards that name the port's USB device."""
    return [board.name for board in boards if any((usb.vid, usb.pid) == (port.vid, port.pid) for usb in board.usb)]


def _show(console: Console, ports: list[PortInfo], names: dict[str, list[str]]) -> None:
    from edgecodec.cli.tables import table

    if not ports:
        console.print("no serial ports found; connect a board by USB (emulated boards need none)")
        return
    table(
        console,
        ("port", "description", "hardware", "may be"),
        ((port.device, port.description, port.hardware_id, " ".join(names[port.device]) or None) for port in ports),
    )
