"""``edgecodec ports``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from edgecodec.cli.options import json_option, subcommand
from edgecodec.cli.output import Streams

if TYPE_CHECKING:
    from rich.console import Console

    from edgecodec.device.transport import PortInfo


@subcommand("ports", example="edgecodec ports --json")
@json_option
@click.pass_obj
def command(streams: Streams) -> int:
    """List the serial ports of this machine."""
    from edgecodec.device.transport import list_ports

    ports = list_ports()
    return streams.finish({"ports": [asdict(port) for port in ports]}, lambda console: _show(console, ports))


def _show(console: Console, ports: list[PortInfo]) -> None:
    from edgecodec.cli.tables import table

    if not ports:
        console.print("no serial ports found; connect a board by USB (emulated boards need none)")
        return
    table(
        console,
        ("port", "description", "hardware"),
        ((port.device, port.description, port.hardware_id) for port in ports),
    )
