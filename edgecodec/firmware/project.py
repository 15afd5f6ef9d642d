"""A bundle's firmware before it is built: a plain CMake project that needs no edgecodec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgecodec._version import __version__
from edgecodec.boards import cores
from edgecodec.boards.schema import Board
from edgecodec.bundle import Bundle
from edgecodec.compile.library import OPTIMIZE_FLAGS
from edgecodec.compile.plan import Plan
from edgecodec.compile.render import render_template
from edgecodec.compile.target import DEFAULT_OPTIMIZE, Target
from edgecodec.engines.base import Engine
from edgecodec.engines.native import NATIVE_ENGINE
from edgecodec.errors import InputError
from edgecodec.files.resources import firmware_dir
from edgecodec.firmware.stack import exception_bytes

LINKER_SCRIPT = "board.ld"
_STACK_CHECK = "cmake/check_stack.cmake"
_BOARD_HEADER = "edc_board.h"
_RENDERED = (LINKER_SCRIPT, "toolchain.cmake", "CMakeLists.txt", "CMakePresets.json", "README.md")
_DEBUG_STACK_BYTES = 192
"""What the preset for a debugger reserves besides: -Og takes up to 100 bytes more than the other presets."""
_ALONE = {
    "main.c": "codec_only/main.c",
    "port/cortex_m/startup.c": "port/cortex_m/startup.c",
    "port/cortex_m/memory.c": "port/cortex_m/memory.c",
    "port/cortex_m/edc_cortex_m.h": "port/cortex_m/edc_cortex_m.h",
    "port/edc_fault.h": "port/edc_fault.h",
}
"""Files of a program that has the codec alone, and where they are in ``firmware/``."""


@dataclass(frozen=True)
class FirmwareProject:
    """All that a firmware is built from. Made once, by :func:`make_project`, and passed on."""

    bundle: Bundle
    """The codec."""
    board: Board
    """The board as it is reached: with the emulator's counter and RAM where an emulator stands in for it."""
    engine: Engine
    """What runs the encoder."""
    plan: Plan
    """Kernels and memory of the codec on the board's core."""
    files: Mapping[str, str]
    """Every file of the project, path to text."""
    optimize: str
    """``"speed"``, ``"balanced"`` or ``"flash"``."""
    codec_only: bool
    """Whether link, UART and timer are left out: a program that only encodes."""

    @property
    def arena_bytes(self) -> int:
        """RAM that the encoder's tensors have."""
        return self.engine.arena_bytes(self.plan)

    @property
    def state_bytes(self) -> int:
        """RAM of the whole codec."""
        return self.engine.state_bytes(self.plan)

    def write(self, folder: Path) -> None:
        """Write the files into ``folder``, which is made."""
        for name, text in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")

    def __repr__(self) -> str:
        return (
            f"FirmwareProject({self.bundle.digest[:12]} on {self.board.name}, engine {self.engine.name}, optimised for "
            f"{self.optimize}{', codec only' if self.codec_only else ''}, {len(self.files)} files)"
        )


def make_project(
    bundle: Bundle,
    board: Board,
    *,
    engine: Engine = NATIVE_ENGINE,
    optimize: str = DEFAULT_OPTIMIZE,
    codec_only: bool = False,
    plan: Plan | None = None,
) -> FirmwareProject:
    """The firmware project of a bundle for a board; the same arguments give the same bytes.

    ``codec_only`` leaves out link, UART and timer. ``plan`` is the engine's for the board's core by default; another
    must be one that the core can run.

    Raises PlanError when the codec cannot be executed exactly, or not by this engine, InputError for another
    ``optimize`` than ``"speed"``, ``"balanced"`` and ``"flash"``, and for ``codec_only`` with an engine that does not
    run alone.
    """
    if optimize not in OPTIMIZE_FLAGS:
        raise InputError(f"optimize is {optimize!r}; expected one of {', '.join(OPTIMIZE_FLAGS)}")
    if codec_only and not engine.runs_alone:
        raise InputError(
            f"the engine {engine.name} does not run without the link (--codec-only)", hint="use the engine native"
        )
    if plan is None:
        plan = plan_for(bundle, board, optimize, engine)
    files = engine.files(bundle, plan) | (_files_alone(board) if codec_only else _server_files(board, engine))
    files |= _texts([firmware_dir() / _STACK_CHECK])
    ours = [path for path in files if not path.startswith(tuple(f"{folder}/" for folder in engine.sources_apart))]
    context = {
        "version": __version__,
        "board": board,
        "has_vtor": cores.has_vtor(board.core),
        "bundle": bundle,
        "engine": engine,
        "state_bytes": engine.state_bytes(plan),
        "stack_bytes": max(board.stack_bytes, engine.least_stack_bytes),
        "debug_stack_bytes": _DEBUG_STACK_BYTES,
        "optimize_flag": OPTIMIZE_FLAGS[optimize],
        "exception_bytes": exception_bytes(saves_floats=board.cpu.saves_floats),
        "preset": optimize,
        "codec_only": codec_only,
        "without_encoder": not codec_only and not _has_room_for_encoder(bundle, board),
        "sources": sorted(path for path in ours if path.endswith(".c")),
        "include_folders": sorted({str(Path(path).parent.as_posix()) for path in ours if path.endswith(".h")}),
    }
    context |= engine.template_values(bundle, plan)
    for name in _RENDERED if codec_only else (_BOARD_HEADER, *_RENDERED):
        files[name] = render_template(engine.templates.get(name, f"firmware_{name}.j2"), **context)
    return FirmwareProject(bundle, board, engine, plan, files, optimize, codec_only)


def _has_room_for_encoder(bundle: Bundle, board: Board) -> bool:
    """Whether the server on ``board`` may have an encoder object, for verification alone, if the bundle has packets.

    That is where two frames of samples and one of indices, which it takes beside the codec's state, are at most an
    eighth of the RAM.
    """
    shape = bundle.codec.shape
    more = 2 * 2 * shape.samples + 2 * shape.positions * shape.levels
    return bundle.packets() is None or 8 * more <= board.memory.ram.length


def plan_for(bundle: Bundle, board: Board, optimize: str = DEFAULT_OPTIMIZE, engine: Engine = NATIVE_ENGINE) -> Plan:
    """The plan of a bundle's codec for a board's core. Raises PlanError when it cannot be executed exactly."""
    return engine.plan(bundle.codec, Target.of_core(board.core, optimize, board.cpu.mcpu))


def _server_files(board: Board, engine: Engine) -> dict[str, str]:
    """The hand-written files of a program with the server: the engine's, and the drivers of the board."""
    root = firmware_dir()
    paths = [path for pattern in engine.server_files for path in root.glob(pattern)]
    paths += (root / "port" / board.uart.kind).glob("*.h")
    paths += [root / "port" / board.uart.kind / "uart.c", root / "port" / board.timer.kind / "timer.c"]
    if board.setup is not None:
        paths.append(root / "port" / board.setup.kind / "setup.c")
    return _texts([*paths, *_boot_sources(board)])


def _files_alone(board: Board) -> dict[str, str]:
    """The hand-written files of a program that has the codec alone."""
    root = firmware_dir()
    return _texts(_boot_sources(board)) | {
        name: (root / path).read_text(encoding="utf-8") for name, path in _ALONE.items()
    }


def _boot_sources(board: Board) -> list[Path]:
    """What the chip's ROM runs before the firmware."""
    return [] if board.setup is None else [*(firmware_dir() / "port" / board.setup.kind).glob("boot.c")]


def _texts(paths: Sequence[Path]) -> dict[str, str]:
    root = firmware_dir()
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in paths}
