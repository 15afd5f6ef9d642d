"""``edgecodec build-firmware``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgecodec.cli.engine import EngineChoice, engine_options
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

    from edgecodec.boards.schema import Board
    from edgecodec.firmware.report import BuildReport, MemoryUse
    from edgecodec.firmware.stack import StackUse

_SYMBOLS_SHOWN = 10


@subcommand(
    "build-firmware",
    example="edgecodec build-firmware bundle --board mps2-an386 -o firmware\n"
    "edgecodec build-firmware bundle --board mps2-an386 -o firmware --optimize flash --codec-only --ram-limit 9216\n"
    "edgecodec build-firmware bundle --board mps2-an386 -o firmware --engine tflm --tflm-dir TREE --tflm-lib LIB",
)
@bundle_argument
@board_option
@output_option("Folder for the CMake project, ELF, binary, map and size report.")
@optimize_option
@engine_options
@click.option("--codec-only", is_flag=True, help="Leave out link, UART and timer: the codec and what starts it.")
@click.option("--flash-limit", type=click.IntRange(min=1), metavar="BYTES", help="Fail when it takes more flash.")
@click.option("--ram-limit", type=click.IntRange(min=1), metavar="BYTES", help="Fail when it takes more RAM.")
@force_option
@json_option
@click.pass_obj
def command(
    streams: Streams,
    bundle: Path,
    board: str,
    trust_board: bool,
    output: Path,
    optimize: str,
    engine: EngineChoice,
    codec_only: bool,
    flash_limit: int | None,
    ram_limit: int | None,
    force: bool,
) -> int:
    """Build a bundle's firmware for a board.

    The report says what codec, weights, codebooks, link and port take of flash and RAM, and the worst-case
    stack. A firmware that does not fit its board or a limit is not written; the same table says why.

    With --engine tflm the encoder runs on TensorFlow Lite Micro, for those who must ship it: normaliser, codebook
    search and link stay ours. You bring its headers and library, which are checked against board and encoder.
    """
    from edgecodec.boards.load import load_board
    from edgecodec.bundle import Bundle
    from edgecodec.firmware.build import build_firmware
    from edgecodec.firmware.limits import Limits
    from edgecodec.firmware.project import make_project

    if codec_only and not engine.runs_alone:
        raise click.UsageError("--codec-only is for the native engine")
    loaded, target = Bundle.load(bundle), load_board(board, trust=trust_board)
    limits = Limits(flash_limit, ram_limit)
    with streams.progress(f"firmware for {target.name}") as progress:
        opened = engine.open(streams, loaded, target, optimize)
        project = make_project(loaded, target, engine=opened, optimize=optimize, codec_only=codec_only)
        firmware = build_firmware(project, output, limits=limits, force=force, progress=progress)
    report = replace(firmware.report, output=str(output))
    return streams.finish(report, lambda console: _show(console, report, firmware.elf, target, streams.verbose))


def show_parts(console: Console, memory: MemoryUse) -> None:
    """Print whose bytes a firmware's are."""
    from edgecodec.cli.tables import table

    rows = [(part.part, part.text, part.rodata, part.ram) for part in memory.parts]
    totals = [sum(column) for column in zip(*(row[1:] for row in rows), strict=True)]
    table(console, ("part", "code", "constants", "RAM"), [*rows, ("all", *totals)])


def memory_facts(memory: MemoryUse, board: Board) -> dict[str, str]:
    """Lines about a firmware's flash and RAM."""
    variables = memory.data + memory.bss
    return {
        "flash": f"{memory.flash_bytes:,} of {board.memory.flash.length:,} bytes (code {memory.text:,}, "
        f"constants {memory.rodata:,}, initial values {memory.data:,})",
        "RAM": f"{memory.ram_bytes:,} of {board.memory.ram.length:,} bytes (codec "
        f"{memory.codec_state_bytes:,}, variables {variables:,} in all, stack {memory.stack:,})",
        "stack": _stack(memory.stack_use),
    }


def _stack(use: StackUse) -> str:
    codec = "not known" if use.codec_bytes is None else f"{use.codec_bytes:,} bytes"
    exception = f"an exception takes {use.exception_bytes}"
    if use.bytes is None:
        return f"not known, {use.unknown}; the codec alone {codec}; {exception}"
    return f"{use.bytes:,} bytes at the worst, the codec alone {codec}; {exception}"


def _show(console: Console, report: BuildReport, elf: Path, board: Board, verbose: bool) -> None:
    from edgecodec.cli.inspect import longest_call_text, search_bound_text
    from edgecodec.cli.tables import facts, table

    facts(
        console,
        {
            "firmware": elf,
            "board": report.board,
            "engine": f"{report.engine}, arena {report.arena_bytes:,} bytes",
            "digest": report.bundle_digest,
            "compiler": report.compiler,
            "search": search_bound_text(report.search),
            "longest call": longest_call_text(report.longest_call),
        }
        | memory_facts(report, board),
    )
    console.print()
    show_parts(console, report)
    console.print()
    table(
        console,
        ("section", "address", "bytes"),
        ((section.name, f"{section.address:#010x}", section.bytes) for section in report.sections),
    )
    console.print()
    shown = report.symbols if verbose else report.symbols[:_SYMBOLS_SHOWN]
    table(
        console,
        ("symbol", "section", "bytes"),
        ((symbol.name, symbol.section, symbol.bytes) for symbol in shown),
    )
