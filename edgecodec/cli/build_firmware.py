"""``edgecodec build-firmware``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgecodec.cli.options import (
    board_option,
    bundle_argument,
    force_option,
    json_option,
    optimize_option,
    output_option,
    subcommand,
)
from edgecodec.cli.output import Streams

if TYPE_CHECKING:
    from rich.console import Console

    from edgecodec.device.boards import Board
    from edgecodec.device.build import Firmware

_SYMBOLS_SHOWN = 10


@subcommand("build-firmware", example="edgecodec build-firmware bundle --board mps2-an386 -o firmware")
@bundle_argument
@board_option
@output_option("Folder for the CMake project, ELF, binary, map and size report.")
@optimize_option
@force_option
@json_option
@click.pass_obj
def command(streams: Streams, bundle: Path, board: str, output: Path, optimize: str, force: bool) -> int:
    """Build a bundle's firmware for a board."""
    from edgecodec.bundle import Bundle
    from edgecodec.device.boards import load_board
    from edgecodec.device.build import build_firmware

    target = load_board(board)
    firmware = build_firmware(Bundle.load(bundle), target, output, optimize=optimize, force=force)
    return streams.finish(
        firmware.to_json() | {"output": str(output)}, lambda console: _show(console, firmware, target)
    )


def memory_facts(memory: dict[str, Any], board: Board) -> dict[str, str]:
    """Lines about a firmware's flash and RAM, of :meth:`edgecodec.device.build.Firmware.memory`."""
    variables = memory["data"] + memory["bss"]
    return {
        "flash": f"{memory['flash_bytes']:,} of {board.memory.flash.length:,} bytes (code {memory['text']:,}, "
        f"constants {memory['rodata']:,}, initial values {memory['data']:,})",
        "RAM": f"{memory['ram_bytes']:,} of {board.memory.ram.length:,} bytes (codec "
        f"{memory['codec_state_bytes']:,}, variables {variables:,} in all, stack {memory['stack']:,})",
    }


def _show(console: Console, firmware: Firmware, board: Board) -> None:
    from edgecodec.cli.tables import facts, table

    facts(
        console,
        {
            "firmware": firmware.elf,
            "board": firmware.board,
            "digest": firmware.bundle_digest,
            "compiler": firmware.compiler,
        }
        | memory_facts(firmware.memory(), board),
    )
    console.print()
    table(
        console,
        ("symbol", "section", "bytes"),
        ((symbol.name, symbol.section, symbol.bytes) for symbol in firmware.symbols[:_SYMBOLS_SHOWN]),
    )
