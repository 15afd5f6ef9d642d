"""The TensorFlow Lite Micro that a user brings: header tree and static library, checked before anything is built.

Nothing of it comes with edgecodec. What would show as a linker's riddle, a fault on the device or a firmware
seven times too slow is said here by name.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgecodec import processes
from edgecodec.boards.schema import Board
from edgecodec.boards.toolchain import Toolchain
from edgecodec.engines.tflm.archive import (
    Archive,
    ArmAttributes,
    Member,
    arm_attributes,
    read_archive,
    undefined_symbols,
)
from edgecodec.engines.tflm.codec_files import TflmOp
from edgecodec.errors import BuildError, InputError
from edgecodec.files.temporary import temporary_folder

_INTERPRETER = "_ZN6tflite16MicroInterpreter15AllocateTensorsEv"
_MICRO_PRINTF = "_Z11MicroPrintfPKcz"
_INT8_KERNELS = "_ZN6tflite21Register_CONV_2D_INT8Ev"
"""Only libraries with kernels for int8 alone define it; headers look at CMSIS_NN to declare it."""
_COMPRESSION = "DecompressTensorToBuffer"
"""Part of a symbol of libraries built with USE_TFLM_COMPRESSION, which changes the layout of classes."""
_CHECKS_TEXT = b"HALTED"
_ABORT = "abort"
_HEADERS = (
    "tensorflow/lite/micro/kernels/kernel_util.h",
    "tensorflow/lite/micro/micro_interpreter.h",
    "tensorflow/lite/micro/micro_mutable_op_resolver.h",
    "tensorflow/lite/schema/schema_generated.h",
)
_HEADER_FOLDERS = ("tensorflow/lite", "signal")
_THIRD_PARTY = ("third_party", "tensorflow/lite/micro/tools/make/downloads")
"""Where a tree made for other projects, and a checkout that was built in, keep what TFLM includes."""
_THIRD_PARTY_FOLDERS = ("flatbuffers/include", "gemmlowp", "ruy")
_FLATBUFFERS = "flatbuffers/flatbuffers.h"
_TIMEOUT_S = 60

_V6_M, _V6S_M, _V7, _V7E_M, _V8_M_BASE, _V8_M_MAIN, _V8_1_M_MAIN = 11, 12, 10, 13, 16, 17, 21
_ARCHITECTURES = {
    _V6_M: "Armv6-M",
    _V6S_M: "Armv6-M",
    _V7: "Armv7-M",
    _V7E_M: "Armv7E-M",
    _V8_M_BASE: "Armv8-M Baseline",
    _V8_M_MAIN: "Armv8-M Mainline",
    _V8_1_M_MAIN: "Armv8.1-M Mainline",
}
_ENUM_SIZES = {1: "as few bytes as they need", 2: "four bytes"}
_SMALL = {_V6_M, _V6S_M}
_RUNS = {
    _V6_M: _SMALL,
    _V6S_M: _SMALL,
    _V7: _SMALL | {_V7},
    _V7E_M: _SMALL | {_V7, _V7E_M},
    _V8_M_BASE: _SMALL | {_V8_M_BASE},
    _V8_M_MAIN: _SMALL | {_V7, _V8_M_BASE, _V8_M_MAIN},
    _V8_1_M_MAIN: _SMALL | {_V7, _V8_M_BASE, _V8_M_MAIN, _V8_1_M_MAIN},
}
"""Architectures whose code each runs; Armv7E-M's on Armv8-M with the DSP extension besides."""


@dataclass(frozen=True)
class TflmSource:
    """What a user says of their TFLM."""

    tree: Path
    """Folder with ``tensorflow/lite/micro`` below it."""
    library: Path
    """Static library, for the board's core."""
    arena_bytes: int | None = None
    """RAM for the interpreter; None to measure it."""


@dataclass(frozen=True)
class TflmLibrary:
    """A TFLM that has passed the checks for a board."""

    source: TflmSource
    include_folders: tuple[Path, ...]
    definitions: tuple[str, ...]
    """Macros that its headers need to fit the library."""
    code: tuple[ArmAttributes, ...]
    """Build attributes of its members, each kind once."""
    warnings: tuple[str, ...]
    """What works and costs more than it must."""
    digest: str
    """SHA-256 over library and headers, hex."""

    @property
    def cmake_arguments(self) -> tuple[str, ...]:
        """What the firmware project is configured with."""
        return (
            f"-DTFLM_LIBRARY={self.source.library.absolute()}",
            f"-DTFLM_INCLUDE_FOLDERS={';'.join(str(folder.absolute()) for folder in self.include_folders)}",
            f"-DTFLM_DEFINITIONS={';'.join(self.definitions)}",
        )


def open_library(source: TflmSource, board: Board, ops: Sequence[TflmOp], toolchain: Toolchain) -> TflmLibrary:
    """Check that ``source`` can run ``ops`` on ``board``.

    Raises InputError when headers, the library or kernels are missing or the library is for another core, BuildError
    when the compiler cannot tell what the board's core is.
    """
    for path in (source.tree, source.library):
        if ";" in str(path.absolute()):
            raise InputError(
                f"{path}: CMake takes the semicolon in this path for its end", hint="move or link it elsewhere"
            )
    folders = _include_folders(source.tree, ops)
    archive = read_archive(source.library)
    _check_symbols(archive, ops)
    code = _members_by_attributes(archive, board)
    warnings = [*_check_core(archive, code, board, core_attributes(board, toolchain)), *_build_warnings(archive, ops)]
    definitions = []
    if _INT8_KERNELS in archive.symbols:
        definitions.append("CMSIS_NN")
    if any(_COMPRESSION in symbol for symbol in archive.symbols):
        definitions.append("USE_TFLM_COMPRESSION")
    digest = _digest(source.library, folders)
    return TflmLibrary(source, folders, tuple(definitions), tuple(code), tuple(warnings), digest)


def library_runs_on(library: TflmLibrary, core: ArmAttributes) -> bool:
    """Whether another core than that of :func:`open_library` runs a library."""
    return all(runs_on(code, core) is None for code in library.code)


def runs_on(code: ArmAttributes, core: ArmAttributes) -> str | None:
    """Why ``code`` cannot run on ``core``, or None when it can."""
    allowed = _RUNS.get(core.architecture, set())
    if core.dsp:
        allowed = allowed | {_V7E_M}
    if code.architecture not in allowed:
        return f"it is {_name_of(code)}, which the core does not run"
    if code.hard_float_arguments != core.hard_float_arguments:
        return f"it passes floats {_passing(code)}, the board's firmware {_passing(core)}"
    if code.enums and core.enums and code.enums != core.enums:
        return f"its enumerations take {_ENUM_SIZES.get(code.enums)}, the firmware's {_ENUM_SIZES.get(core.enums)}"
    if code.vectors > core.vectors:
        return "it uses the M-profile Vector Extension (MVE), which the core lacks"
    if code.fp > core.fp:
        return "it uses floating-point instructions that the core lacks"
    if code.fp and core.fp_use == 1 and code.fp_use != 1:
        return "it uses double-precision instructions, and the core's FPU is for single precision"
    return None


def core_attributes(board: Board, toolchain: Toolchain) -> ArmAttributes:
    """What the compiler says of the board's core. Raises BuildError when it does not know it."""
    with temporary_folder("attributes") as folder:
        source, target = folder / "empty.c", folder / "empty.o"
        source.write_text("")
        program = toolchain.compiler.name
        command = [str(toolchain.compiler), *board.cpu.flags, "-c", str(source), "-o", str(target)]
        try:
            done = processes.run(command, timeout_s=_TIMEOUT_S)
        except (OSError, subprocess.SubprocessError) as error:
            raise BuildError(f"{program} cannot be run ({error})") from error
        if done.returncode:
            problem = next(iter(done.stderr.splitlines()), "no message")
            raise BuildError(f"{program} failed on {board.name}'s CPU: {problem}", done.stderr)
        found = arm_attributes(target.read_bytes())
    if found is None:
        raise BuildError(f"{program} gives no Arm build attributes for {board.name}", hint="is it for Arm?")
    return found


def _include_folders(tree: Path, ops: Sequence[TflmOp]) -> tuple[Path, ...]:
    if not tree.is_dir():
        raise InputError(f"{tree}: no such folder; expected the TensorFlow Lite Micro tree (--tflm-dir)")
    headers = [*_HEADERS, *(f"tensorflow/lite/micro/kernels/{op.header}" for op in ops)]
    missing = [header for header in headers if not (tree / header).is_file()]
    if missing:
        raise InputError(
            f"{tree}: {missing[0]} is missing{_more(missing)}",
            hint="--tflm-dir names the folder that tensorflow/lite/micro lies in",
        )
    places = [tree / place / folder for place in _THIRD_PARTY for folder in _THIRD_PARTY_FOLDERS]
    folders = (tree, *(place for place in places if place.is_dir()))
    if not any((folder / _FLATBUFFERS).is_file() for folder in folders):
        raise InputError(
            f"{tree}: {_FLATBUFFERS} is missing; expected it in {' or '.join(_THIRD_PARTY)}, below flatbuffers/include"
        )
    return folders


def _check_symbols(archive: Archive, ops: Sequence[TflmOp]) -> None:
    if _INTERPRETER not in archive.symbols:
        raise InputError(
            f"{archive.path}: no tflite::MicroInterpreter among its {len(archive.symbols)} symbols; "
            "expected a library of TensorFlow Lite Micro"
        )
    missing = [op for op in ops if _kernel_symbol(op) not in archive.symbols]
    if missing:
        names = ", ".join(op.name for op in missing)
        raise InputError(
            f"{archive.path}: no kernel of {names} (tflite::Register_{missing[0].name}), which the encoder needs",
            hint="build the library with it",
        )


def _members_by_attributes(archive: Archive, board: Board) -> dict[ArmAttributes, Member]:
    """The kinds of code in an archive, with a member of each."""
    found: dict[ArmAttributes, Member] = {}
    for member in archive.members.values():
        attributes = arm_attributes(member.data)
        if attributes is not None:
            found.setdefault(attributes, member)
    if not found:
        raise InputError(f"{archive.path}: holds no Arm code; expected a library for {board.core}")
    return found


def _check_core(archive: Archive, code: Mapping[ArmAttributes, Member], board: Board, core: ArmAttributes) -> list[str]:
    for attributes, member in code.items():
        reason = runs_on(attributes, core)
        if reason is not None:
            raise InputError(
                f"{archive.path}: {member.name} is built for {_describe(attributes)}; {board.core} of {board.name} is "
                f"{_describe(core)}: {reason}",
                hint=f"build the library with {' '.join(board.cpu.flags)}",
            )
    if core.vectors and not any(attributes.vectors for attributes in code):
        return [
            f"{archive.path}: built for {_describe(next(iter(code)))}, so the vectors of {board.core} stay idle; "
            f"build it with {' '.join(board.cpu.flags)}"
        ]
    return []


def _build_warnings(archive: Archive, ops: Sequence[TflmOp]) -> list[str]:
    kernels = [archive.member_of(_kernel_symbol(op)) for op in ops]
    warnings = []
    if any(member is not None and _has_checks(member) for member in kernels):
        warnings.append(
            f"{archive.path}: not a release build: its kernels check every access (no NDEBUG), which costs up to 7 "
            "times the instructions (reference kernels on Cortex-M4: 62 M instead of 9 M a frame); build it with "
            "BUILD_TYPE=release"
        )
    if _MICRO_PRINTF in archive.symbols:
        warnings.append(
            f"{archive.path}: carries its error texts (no TF_LITE_STRIP_ERROR_STRINGS), some 15 kB of "
            "flash; build it with BUILD_TYPE=release"
        )
    return warnings


def _has_checks(member: Member) -> bool:
    """Whether TFLITE_DCHECK does something: it halts, with a text, or calls abort."""
    return _CHECKS_TEXT in member.data or _ABORT in undefined_symbols(member)


def _kernel_symbol(op: TflmOp) -> str:
    """``tflite::Register_CONV_2D()`` as the Itanium C++ ABI mangles it."""
    name = f"Register_{op.name}"
    return f"_ZN6tflite{len(name)}{name}Ev"


def _name_of(attributes: ArmAttributes) -> str:
    return _ARCHITECTURES.get(attributes.architecture, f"Arm architecture {attributes.architecture}")


def _passing(attributes: ArmAttributes) -> str:
    return "in FPU registers (hard)" if attributes.hard_float_arguments else "in core registers (soft)"


def _describe(attributes: ArmAttributes) -> str:
    parts = [_name_of(attributes), "hard float" if attributes.hard_float_arguments else "soft float"]
    return ", ".join([*parts, *(["MVE"] if attributes.vectors else [])])


def _more(missing: Sequence[str]) -> str:
    return f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""


def _digest(library: Path, folders: Sequence[Path]) -> str:
    """SHA-256 over the library and the headers that the firmware's one C++ file may include."""
    digest = hashlib.sha256(library.read_bytes())
    tree, *others = folders
    for folder in (*(tree / name for name in _HEADER_FOLDERS), *others):
        for path in sorted(folder.rglob("*.h")):
            digest.update(f"{path.relative_to(folder)}\0".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
