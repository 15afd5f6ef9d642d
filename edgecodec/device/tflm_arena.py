"""Opens a user's TensorFlow Lite Micro as an engine: checks it, and measures the arena of its interpreter.

Nobody says beforehand how much RAM the interpreter takes, so it is run on an emulated board and asked. That is why this
is here, above the engines.
"""

from __future__ import annotations

from dataclasses import replace

from edgecodec.boards.load import list_boards
from edgecodec.boards.schema import Board
from edgecodec.boards.toolchain import find_toolchain
from edgecodec.bundle import Bundle
from edgecodec.compile.plan import make_plan
from edgecodec.compile.target import DEFAULT_OPTIMIZE
from edgecodec.device.emulator import Emulator
from edgecodec.engines.tflm.codec_files import aligned, ops_of
from edgecodec.engines.tflm.engine import TflmEngine
from edgecodec.engines.tflm.library import (
    TflmLibrary,
    TflmSource,
    core_attributes,
    library_runs_on,
    open_library,
)
from edgecodec.errors import BuildError, DeviceError, EdgecodecError, InputError
from edgecodec.firmware.build import cached_firmware
from edgecodec.firmware.project import make_project, plan_for
from edgecodec.link.client import BoardExecutor

_AMPLE_BYTES = 1 << 16
_AMPLE_FACTOR = 4
"""How many times the native engine's arena without a cascade to start from: TFLM holds a layer's input and output
side by side, and scratch."""
_OTHER_RAM_BYTES = 1 << 13
"""Roughly what the rest of a firmware takes."""
_STEPS_BYTES = (0, 64, 256, 1024, 4096)
"""Above what is in use once the interpreter stands: it may take more while it starts."""
_REMEDY = "give its size (--tflm-arena)"


def open_tflm(source: TflmSource, bundle: Bundle, board: Board, *, optimize: str = DEFAULT_OPTIMIZE) -> TflmEngine:
    """The engine that is a user's TFLM, for ``bundle`` on ``board``; its arena is measured unless ``source`` says it.

    The smallest arena with which the interpreter starts is found on an emulated board: ``board`` itself or another
    that runs the library. Raises InputError when headers, the library or kernels are missing, the library is for
    another core, or an arena is no positive number of bytes; BuildError and DeviceError when the arena cannot be
    measured, with the way out.
    """
    library = open_library(source, board, ops_of(bundle.codec.graph), find_toolchain())
    if source.arena_bytes is None:
        return TflmEngine(library, _measure(library, bundle, board, optimize))
    if source.arena_bytes <= 0:
        raise InputError(f"the arena is {source.arena_bytes} bytes; expected a positive number")
    return TflmEngine(library, aligned(source.arena_bytes))


def _measure(library: TflmLibrary, bundle: Bundle, board: Board, optimize: str) -> int:
    ample = TflmEngine(
        library, aligned(_AMPLE_FACTOR * make_plan(bundle.codec, cascades=()).arena_bytes + _AMPLE_BYTES)
    )
    try:
        scale = _Scale(bundle, _measuring_board(ample, board), optimize)
        used = scale.used_bytes(ample)
        if used == 0:
            raise DeviceError(
                f"TensorFlow Lite Micro does not start on {scale.board.name} with an arena of "
                f"{ample.interpreter_bytes:,} bytes; the library cannot run this encoder"
            )
        for more in _STEPS_BYTES:
            tried = replace(ample, interpreter_bytes=aligned(used) + more)
            if scale.used_bytes(tried):
                return tried.interpreter_bytes
    except EdgecodecError as error:
        error.within("the arena cannot be measured")
        error.hint = f"{error.hint}; or {_REMEDY}" if error.hint else _REMEDY
        raise
    raise DeviceError(
        f"TensorFlow Lite Micro uses {used:,} bytes of its arena and does not start on {scale.board.name} with "
        f"{tried.interpreter_bytes:,}",
        hint=_REMEDY,
    )


def _measuring_board(engine: TflmEngine, board: Board) -> Board:
    """An emulated board with room for the arena that runs the library, ``board`` or one of its core if possible."""
    toolchain = find_toolchain()
    room = engine.interpreter_bytes + _OTHER_RAM_BYTES
    roomy = [
        each
        for each in [board, *list_boards()]
        if each.emulator is not None and not each.is_real and each.memory.ram.length >= room
    ]
    for each in sorted(roomy, key=lambda each: (each.name != board.name, each.core != board.core)):
        if library_runs_on(engine.library, core_attributes(each, toolchain)):
            return each
    raise BuildError(
        f"no emulated board with {engine.interpreter_bytes:,} bytes of RAM runs {engine.library.source.library}"
    )


class _Scale:
    """An emulated board on which arenas are tried."""

    def __init__(self, bundle: Bundle, board: Board, optimize: str) -> None:
        self.board = board
        self._bundle = bundle
        self._optimize = optimize
        self._plan = plan_for(bundle, board, optimize)

    def used_bytes(self, engine: TflmEngine) -> int:
        """Bytes of the arena in use; 0 when it is too small."""
        project = make_project(self._bundle, self.board, engine=engine, optimize=self._optimize, plan=self._plan)
        with (
            Emulator(self.board, cached_firmware(project).elf) as emulator,
            BoardExecutor(self._bundle, emulator.url) as device,
        ):
            return device.hello.arena_bytes
