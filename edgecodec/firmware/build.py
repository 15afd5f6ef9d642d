"""Builds firmware: CMake, Ninja and the cross compiler run over a project, and what they say when they fail."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from edgecodec import processes
from edgecodec.boards.schema import Board
from edgecodec.boards.toolchain import Toolchain, find_toolchain
from edgecodec.errors import BuildError
from edgecodec.files.atomic import replace_folder
from edgecodec.files.content_cache import cached
from edgecodec.files.temporary import temporary_folder
from edgecodec.firmware.artifacts import BINARY, ELF, MAP, REPORT, UF2
from edgecodec.firmware.limits import NO_LIMITS, Limits, SizeLimitError, check_limits, check_stack
from edgecodec.firmware.measure import measure
from edgecodec.firmware.project import LINKER_SCRIPT, FirmwareProject
from edgecodec.firmware.report import Firmware, read_firmware, write_report
from edgecodec.firmware.uf2 import uf2_blocks

_TIMEOUT_S = 600
_ROOM_BYTES = 1 << 27
# A user's flags would make another firmware of the same sources.
_IGNORED_VARIABLES = (
    *("CC", "CFLAGS", "CXX", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH"),
    *("CMAKE_GENERATOR", "CMAKE_TOOLCHAIN_FILE"),
)


Progress = Callable[[int, int, str], None]
"""``progress(done, total, step)``, steps of a build and the one that runs now."""
_STEPS = 3


def build_firmware(
    project: FirmwareProject,
    out: str | os.PathLike[str],
    *,
    limits: Limits = NO_LIMITS,
    force: bool = False,
    progress: Progress | None = None,
) -> Firmware:
    """Write the firmware project, ELF, binary, map and report into the folder ``out``.

    An earlier build there is replaced; nothing is left behind on failure. ``progress(done, total, step)`` is called as
    each step of the build starts. Raises BuildError when a tool is missing or
    the compiler fails (``stderr`` has what it printed), SizeLimitError when the firmware does not fit the board,
    LimitExceededError when it takes more than ``limits``, InputError when ``out`` holds other files and ``force`` is
    not set.
    """
    with replace_folder(out, marker=REPORT, force=force) as folder:
        _build(project, folder, limits, progress or _silent)
    return read_firmware(Path(out))


def cached_firmware(project: FirmwareProject) -> Firmware:
    """The firmware of a project, in the cache folder.

    Built only when a source, a flag, the compiler or what measures it has changed.
    Safe for processes that build at the same time. Raises BuildError when a tool is missing, the compiler fails or the
    cache cannot be written, SizeLimitError when the firmware does not fit the board.
    """
    # The report lies beside the firmware, so what measures is an input, too.
    measures = {path.name: path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("*.py")}
    inputs = [dict(project.files), find_toolchain().compiler_version, project.engine.digest, measures]
    digest = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
    return cached("firmware", digest, lambda folder: _build(project, folder, NO_LIMITS, _silent), read_firmware)


def _silent(done: int, total: int, step: str) -> None:
    """Report to nobody."""


def _build(project: FirmwareProject, folder: Path, limits: Limits, progress: Progress) -> None:
    """Build ``project`` and put its files and all that comes of it into ``folder``."""
    toolchain = find_toolchain()
    project.write(folder)
    with temporary_folder("build", plain=True) as work:
        source, build = work / "project", work / "build"
        project.write(source)
        run = _Runner(project.board, work)
        progress(0, _STEPS, "configuring")
        run([toolchain.cmake, *_configure_arguments(toolchain, source, build, project)])
        progress(1, _STEPS, "compiling")
        try:
            run([toolchain.cmake, "--build", build])
        except SizeLimitError as error:
            # Linked with room enough, it shows what takes the space.
            progress(2, _STEPS, "measuring what does not fit")
            roomy = None
            with suppress(BuildError):
                script = _with_room(project.files[LINKER_SCRIPT])
                (source / LINKER_SCRIPT).write_text(script, encoding="utf-8", newline="\n")
                run([toolchain.cmake, "--build", build])
                roomy = measure(build, project, toolchain)
            if roomy is not None:
                error.memory = roomy.memory
                # Too large for the board is too large for a limit below it as well.
                check_limits(roomy, limits)
            raise
        progress(2, _STEPS, "measuring")
        run([toolchain.objcopy, "-O", "binary", build / ELF, build / BINARY])
        report = measure(build, project, toolchain)
        check_limits(report, limits)
        check_stack(report)
        for output in (ELF, BINARY, MAP):
            shutil.copyfile(build / output, folder / output)
    flash = project.board.flash
    if flash is not None and flash.uf2 is not None:
        image = (folder / BINARY).read_bytes()
        (folder / UF2).write_bytes(uf2_blocks(image, project.board.memory.flash.origin, flash.uf2.family))
    write_report(report, folder)


def _configure_arguments(toolchain: Toolchain, source: Path, build: Path, project: FirmwareProject) -> list[str | Path]:
    return [
        "-G",
        "Ninja",
        "-S",
        source,
        "-B",
        build,
        f"-DCMAKE_MAKE_PROGRAM={toolchain.ninja}",
        f"-DCMAKE_C_COMPILER={toolchain.compiler}",
        f"-DCMAKE_TOOLCHAIN_FILE={source / 'toolchain.cmake'}",
        "-DEDC_CHECK_STACK=OFF",  # what it would say, measure() finds
        *project.engine.cmake_arguments(toolchain),
    ]


class _Runner:
    """Runs build tools and turns their failures into BuildError."""

    def __init__(self, board: Board, folder: Path) -> None:
        self._board = board
        self._environment = {key: value for key, value in os.environ.items() if key not in _IGNORED_VARIABLES}
        self._environment |= {"LC_ALL": "C", "TMPDIR": str(folder)}

    def __call__(self, command: list[str | Path]) -> None:
        program = Path(command[0]).name
        try:
            done = processes.run(command, merge=True, timeout_s=_TIMEOUT_S, env=self._environment)
        except subprocess.TimeoutExpired as error:
            raise BuildError(
                f"{program} did not end within {_TIMEOUT_S} s", hint="is the machine overloaded?"
            ) from error
        except OSError as error:
            raise BuildError(f"{program} cannot be run ({error.strerror})") from error
        if done.returncode != 0:
            overflows = dict(re.findall(r"region `(\w+)' overflowed by (\d+) bytes", done.stdout))
            if overflows:
                raise self._overflow({name.lower(): int(count) for name, count in overflows.items()}, done.stdout)
            raise BuildError(self._message(program, done.stdout), done.stdout)

    def _message(self, program: str, output: str) -> str:
        problem = re.compile(r"\berror\b|undefined reference", re.IGNORECASE)
        errors = [line.strip() for line in output.splitlines() if problem.search(line)]
        return f"{program} failed: {errors[0] if errors else 'see its output'}"

    def _overflow(self, overflows: dict[str, int], output: str) -> SizeLimitError:
        parts = []
        for name, excess in sorted(overflows.items()):
            length = getattr(self._board.memory, name).length
            parts.append(f"{length + excess:,} bytes of {'RAM' if name == 'ram' else name}, {length:,} are there")
        return SizeLimitError(
            f"the firmware does not fit {self._board.name}: it needs {'; '.join(parts)}",
            stderr=output,
            hint="choose a larger board, a smaller model or --optimize flash",
        )


def _with_room(linker_script: str) -> str:
    """A linker script with the regions of ``linker_script`` made large enough for every firmware."""
    return re.sub(r"(LENGTH = )0x[0-9A-Fa-f]+", rf"\g<1>{_ROOM_BYTES:#x}", linker_script)
