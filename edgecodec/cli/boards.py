"""``edgecodec boards``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgecodec.cli.options import json_option, subcommand
from edgecodec.cli.output import Streams

if TYPE_CHECKING:
    from rich.console import Console

    from edgecodec.device.boards import Board


@subcommand("boards", example="edgecodec boards\nedgecodec boards mps2-an386 --json")
@click.argument("board", required=False, metavar="[BOARD]")
@json_option
@click.pass_obj
def command(streams: Streams, board: str | None) -> int:
    """List the boards that firmware can be built for.

    BOARD, a name of the list or the path of a board file, shows that one in full.
    """
    from edgecodec.device.boards import list_boards, load_board

    if board is not None:
        chosen = load_board(board)
        return streams.finish(chosen.model_dump(mode="json"), lambda console: _show_one(console, chosen))
    boards = list_boards()
    document = {"boards": [each.model_dump(mode="json") for each in boards]}
    return streams.finish(document, lambda console: _show_all(console, boards))


def _show_all(console: Console, boards: list[Board]) -> None:
    from edgecodec.cli.tables import table

    table(
        console,
        ("board", "core", "flash", "RAM", "emulated", "description"),
        (
            (
                board.name,
                board.core,
                _kibibytes(board.memory.flash.length),
                _kibibytes(board.memory.ram.length),
                board.emulator is not None,
                board.description,
            )
            for board in boards
        ),
    )


def _show_one(console: Console, board: Board) -> None:
    from edgecodec.cli.tables import facts

    flash, ram, uart, timer = board.memory.flash, board.memory.ram, board.uart, board.timer
    facts(
        console,
        {
            "board": f"{board.name}, {board.description}",
            "core": f"{board.core} ({' '.join(board.cpu.flags)})",
            "flash": f"{_kibibytes(flash.length)} at {flash.origin:#010x}",
            "RAM": f"{_kibibytes(ram.length)} at {ram.origin:#010x}, {board.stack_bytes:,} bytes of it stack",
            "UART": f"{uart.kind} at {uart.base:#010x}, {uart.baud} baud",
            "timer": f"{timer.kind} at {timer.base:#010x}, {timer.hz:,} Hz, counts {timer.counts}",
            "emulator": "none" if board.emulator is None else f"qemu-system-arm -M {board.emulator.machine}",
            "sources": "; ".join(board.sources),
        },
    )


def _kibibytes(size_bytes: int) -> str:
    return f"{size_bytes // 1024:,} KiB"
