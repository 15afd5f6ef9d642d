"""``edgecodec build-firmware``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    from edgecodec.firmware.build import Firmware

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

    if codec_only and engine.source is not None:
        raise click.UsageError("--codec-only is for the native engine")
    loaded, target = Bundle.load(bundle), load_board(board)
    firmware = build_firmware(
        loaded,
        target,
        output,
        optimize=optimize,
        codec_only=codec_only,
        engine=engine.open(streams, loaded, target, optimize),
        limits=Limits(flash_limit, ram_limit),
        force=force,
    )
    return streams.finish(
        firmware.to_json() | {"output": str(output)}, lambda console: _show(console, firmware, target)
    )


def show_parts(console: Console, memory: dict[str, Any]) -> None:
    """Print whose bytes a firmware's are, of :meth:`edgecodec.firmware.build.Firmware.memory`."""
    from edgecodec.cli.tables import table

    parts = memory["parts"]
    columns = ("text", "rodata", "ram")
    rows = [(part["part"], *(part[column] for column in columns)) for part in parts]
    total = ("all", *(sum(part[column] for part in parts) for column in columns))
    table(console, ("part", "code", "constants", "RAM"), [*rows, total])


def memory_facts(memory: dict[str, Any], board: Board) -> dict[str, str]:
    """Lines about a firmware's flash and RAM, of :meth:`edgecodec.firmware.build.Firmware.memory`."""
    variables = memory["data"] + memory["bss"]
    return {
        "flash": f"{memory['flash_bytes']:,} of {board.memory.flash.length:,} bytes (code {memory['text']:,}, "
        f"constants {memory['rodata']:,}, initial values {memory['data']:,})",
        "RAM": f"{memory['ram_bytes']:,} of {board.memory.ram.length:,} bytes (codec "
        f"{memory['codec_state_bytes']:,}, variables {variables:,} in all, stack {memory['stack']:,})",
        "stack": _stack(memory["stack_use"]),
    }


def _stack(use: dict[str, Any]) -> str:
    codec = "not known" if use["codec_bytes"] is None else f"{use['codec_bytes']:,} bytes"
    exception = f"an exception takes {use['exception_bytes']}"
    if use["bytes"] is None:
        return f"not known, {use['unknown']}; the codec alone {codec}; {exception}"
    return f"{use['bytes']:,} bytes at the worst, the codec alone {codec}; {exception}"


def _show(console: Console, firmware: Firmware, board: Board) -> None:
    from edgecodec.cli.tables import facts, table

    facts(
        console,
        {
            "firmware": firmware.elf,
            "board": firmware.board,
            "engine": f"{firmware.engine}, arena {firmware.arena_bytes:,} bytes",
            "digest": firmware.bundle_digest,
            "compiler": firmware.compiler,
        }
        | memory_facts(firmware.memory(), board),
    )
    console.print()
    show_parts(console, firmware.memory())
    console.print()
    table(
        console,
        ("section", "address", "bytes"),
        ((section.name, f"{section.address:#010x}", section.bytes) for section in firmware.sections),
    )
    console.print()
    table(
        console,
        ("symbol", "section", "bytes"),
        ((symbol.name, symbol.section, symbol.bytes) for symbol in firmware.symbols[:_SYMBOLS_SHOWN]),
    )
