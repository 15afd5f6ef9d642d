"""``edgecodec boards``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgecodec.cli.options import common_options, complete_board, json_option, subcommand
from edgecodec.cli.output import Streams

if TYPE_CHECKING:
    from rich.console import Console

    from edgecodec.boards.documents import BoardsDocument
    from edgecodec.boards.schema import Board, EmulatorInfo


@click.group(
    "boards",
    invoke_without_command=True,
    epilog="\b\nExample:\n  edgecodec boards\n  edgecodec boards show nucleo-f446re --json",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@json_option
@click.pass_context
def command(ctx: click.Context) -> int:
    """List the boards that firmware can be built for.

    They run as hardware that is flashed, in QEMU, or on a machine of QEMU's that stands in for the board.
    `boards show` says all that a board's file holds.
    """
    from edgecodec.boards.documents import BoardsDocument
    from edgecodec.boards.load import list_boards

    if ctx.invoked_subcommand is not None:
        return 0
    document = BoardsDocument(tuple(list_boards()))
    streams: Streams = ctx.obj
    return streams.finish(document, lambda console: _show_all(console, document))


@subcommand("show", example="edgecodec boards show nucleo-f446re\nedgecodec boards show ./my-board.yaml --json")
@click.argument("board", shell_complete=complete_board)
@json_option
@click.pass_obj
def show(streams: Streams, board: str) -> int:
    """Show a board in full: a name of the list or the path of a board file."""
    from edgecodec.boards.documents import BoardDocument
    from edgecodec.boards.load import load_board

    document = BoardDocument(load_board(board, trust=True))
    return streams.finish(document, lambda console: _show_one(console, document.board))


command.add_command(show)
command.params.extend(common_options())


def _show_all(console: Console, document: BoardsDocument) -> None:
    from edgecodec.cli.tables import table

    table(
        console,
        ("board", "core", "flash", "RAM", "runs on", "description"),
        (
            (
                board.name,
                board.core,
                _kibibytes(board.memory.flash.length),
                _kibibytes(board.memory.ram.length),
                _runs_on(board),
                board.description,
            )
            for board in document.boards
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
            "clock and pins": _setup(board),
            "flashed by": "nothing, emulated only" if board.flash is None else ", ".join(board.flash.methods),
            "USB": ", ".join(f"{usb.name} ({usb.vid:04x}:{usb.pid:04x})" for usb in board.usb) or "none known",
            "emulator": "none" if board.emulator is None else _emulator(board.emulator),
            "sources": "; ".join(board.sources),
        },
    )


def _runs_on(board: Board) -> str:
    ways = ["hardware"] if board.is_real else []
    if board.emulator is not None:
        ways.append("stand-in" if board.emulator.stands_in else "QEMU")
    return ", ".join(ways)


def _emulator(emulator: EmulatorInfo) -> str:
    command = f"qemu-system-arm -M {emulator.machine}"
    return command if emulator.stands_in is None else f"{command}, which stands in: {emulator.stands_in}"


def _setup(board: Board) -> str:
    setup = board.setup
    if setup is None:
        return "as after reset"
    return f"{setup.kind}, core at {setup.core_hz:,} Hz, sends on {setup.tx}, receives on {setup.rx}"


def _kibibytes(size_bytes: int) -> str:
    return f"{size_bytes // 1024:,} KiB"
