"""How much RAM TensorFlow Lite Micro's interpreter takes: nobody says beforehand, so it is run and asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgecodec.boards.load import list_boards
from edgecodec.boards.schema import Board
from edgecodec.boards.toolchain import find_toolchain
from edgecodec.compile.plan import make_plan
from edgecodec.device.emulator import Emulator
from edgecodec.engines.tflm.codec_files import aligned, ops_of
from edgecodec.engines.tflm.library import (
    TflmEngine,
    TflmLibrary,
    TflmSource,
    core_attributes,
    library_runs_on,
    open_library,
)
from edgecodec.errors import BuildError, DeviceError, EdgecodecError, InputError
from edgecodec.firmware.build import cached_firmware
from edgecodec.link.client import BoardExecutor

if TYPE_CHECKING:
    from edgecodec.bundle import Bundle

_AMPLE_BYTES = 1 << 16
_AMPLE_FACTOR = 4
"""Of the native engine's arena without a chain: TFLM holds a layer's input and output side by side, and scratch."""
_OTHER_RAM_BYTES = 1 << 13
"""Roughly what the rest of a firmware takes."""
_STEPS_BYTES = (0, 64, 256, 1024, 4096)
"""Above what is in use once the interpreter stands: it may take more while it starts."""


def open_engine(source: TflmSource, bundle: Bundle, board: Board, *, optimize: str = "speed") -> TflmEngine:
    """Check a user's TFLM for ``bundle`` on ``board`` and find the arena, by measurement unless ``source`` says it.

    The smallest arena with which the interpreter starts is found on an emulated board: ``board`` itself or another
    that runs the library. Raises InputError as :func:`edgecodec.engines.tflm.library.open_library` and for an arena
    that is no positive number of bytes, BuildError and DeviceError when it cannot be measured, with the way out.
    """
    library = open_library(source, board, ops_of(bundle.codec.graph), find_toolchain())
    if source.arena_bytes is None:
        return TflmEngine(library, _measure(library, bundle, board, optimize))
    if source.arena_bytes <= 0:
        raise InputError(f"the arena is {source.arena_bytes} bytes; expected a positive number")
    return TflmEngine(library, aligned(source.arena_bytes))


def _measure(library: TflmLibrary, bundle: Bundle, board: Board, optimize: str) -> int:
    ample = aligned(_AMPLE_FACTOR * make_plan(bundle.codec, chain=None).arena_bytes + _AMPLE_BYTES)
    try:
        measuring = _measuring_board(library, board, ample)
        used = _used_bytes(TflmEngine(library, ample), bundle, measuring, optimize)
        if used == 0:
            raise DeviceError(
                f"TensorFlow Lite Micro does not start on {measuring.name} with an arena of {ample:,} bytes; "
                "the library cannot run this encoder"
            )
        for more in _STEPS_BYTES:
            arena_bytes = aligned(used) + more
            if _used_bytes(TflmEngine(library, arena_bytes), bundle, measuring, optimize):
                return arena_bytes
    except EdgecodecError as error:
        raise type(error)(f"the arena cannot be measured: {error}; or give its size (--tflm-arena)") from error
    raise DeviceError(
        f"TensorFlow Lite Micro uses {used:,} bytes of its arena and does not start on {measuring.name} with "
        f"{arena_bytes:,}; give its size (--tflm-arena)"
    )


def _measuring_board(library: TflmLibrary, board: Board, arena_bytes: int) -> Board:
    """An emulated board with room for the arena that runs the library, ``board`` or one of its core if possible."""
    toolchain = find_toolchain()
    roomy = [
        each
        for each in [board, *list_boards()]
        if each.emulator is not None and not each.is_real and each.memory.ram.length >= arena_bytes + _OTHER_RAM_BYTES
    ]
    for each in sorted(roomy, key=lambda each: (each.name != board.name, each.core != board.core)):
        if library_runs_on(library, core_attributes(each, toolchain)):
            return each
    raise BuildError(f"no emulated board with {arena_bytes:,} bytes of RAM runs {library.source.library}")


def _used_bytes(engine: TflmEngine, bundle: Bundle, board: Board, optimize: str) -> int:
    """Bytes of the arena in use; 0 when it is too small."""
    firmware = cached_firmware(bundle, board, optimize=optimize, engine=engine)
    with Emulator(board, firmware.elf) as emulator, BoardExecutor(bundle, emulator.url) as device:
        return device.hello.arena_bytes
