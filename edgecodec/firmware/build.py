"""A bundle's firmware: a plain CMake project, its ELF, and what it takes of the board's memory."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecodec import __version__
from edgecodec.boards.toolchain import Toolchain, find_toolchain
from edgecodec.compile.kernels import Target
from edgecodec.compile.library import OPTIMIZE_FLAGS, codec_files
from edgecodec.compile.plan import Plan, make_plan
from edgecodec.compile.render import render_template
from edgecodec.engines.tflm.codec_files import ARENA_ALIGNMENT_BYTES, ops_of, state_bytes, tflm_codec_files
from edgecodec.engines.tflm.library import TflmEngine
from edgecodec.errors import BuildError, InputError
from edgecodec.files.atomic import replace_folder
from edgecodec.files.content_cache import cache_dir
from edgecodec.files.resources import firmware_dir
from edgecodec.firmware.artifacts import BINARY, ELF, MAP, REPORT, UF2
from edgecodec.firmware.limits import NO_LIMITS, Limits, SizeLimitError, check_limits
from edgecodec.firmware.sizes import PartSize, parts_of_map
from edgecodec.firmware.stack import StackUse, measure_stack
from edgecodec.firmware.uf2 import uf2_blocks
from edgecodec.link.protocol import NATIVE, TFLM

if TYPE_CHECKING:
    from edgecodec.boards.schema import Board
    from edgecodec.bundle import Bundle

_TIMEOUT_S = 600
_SERVER_FILES = ("link/edc_*.[ch]", "port/edc_port.h", "port/cortex_m/*.[ch]")
# The engine is another, and newlib has what GCC calls on its own.
_TFLM_SERVER_FILES = (
    "link/edc_*.h",
    "link/edc_link.c",
    "link/edc_server.c",
    "tflm/*.[ch]",
    "port/edc_port.h",
    "port/cortex_m/*.h",
    "port/cortex_m/main.c",
    "port/cortex_m/startup.c",
)
# What calls through pointers take is not known from the code: 1,152 bytes were enough for release builds of
# TensorFlow Lite Micro, 1,576 for a default one.
_TFLM_STACK_BYTES = 2048
_ALIGNMENT_BYTES = 8
_STACK_SECTION = ".stack"
_ROOM_BYTES = 1 << 27
# A user's flags would make another firmware of the same sources.
_IGNORED_VARIABLES = (
    *("CC", "CFLAGS", "CXX", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH"),
    *("CMAKE_GENERATOR", "CMAKE_TOOLCHAIN_FILE"),
)


@dataclass(frozen=True)
class Symbol:
    """A function or object of the firmware."""

    name: str
    bytes: int
    section: str


@dataclass(frozen=True)
class Section:
    """A section of the firmware that takes memory."""

    name: str
    address: int
    bytes: int


@dataclass(frozen=True)
class Firmware:
    """A built firmware and its sizes in bytes."""

    elf: Path
    elf_sha256: str
    board: str
    bundle_digest: str
    engine: str
    """``"native"`` or ``"tflm"``."""
    optimize: str
    compiler: str
    text: int
    rodata: int
    data: int
    """Initialised variables: in RAM, with a copy in flash."""
    bss: int
    """Zeroed variables: codec state, link buffers."""
    stack: int
    """Reserved by the linker script."""
    codec_state_bytes: int
    """The codec's part of bss."""
    sections: tuple[Section, ...]
    """In the order of their addresses."""
    arena_bytes: int
    """The part of the codec's state that the encoder's tensors have, or TFLM's interpreter."""
    symbols: tuple[Symbol, ...]
    """All functions and objects, largest first."""
    parts: tuple[PartSize, ...]
    """The same bytes by whose they are."""
    stack_use: StackUse
    """Of the reserved stack, at the worst moment."""

    @property
    def flash_bytes(self) -> int:
        """Code, constants and the initial values of variables."""
        return self.text + self.rodata + self.data

    @property
    def ram_bytes(self) -> int:
        """Variables and reserved stack."""
        return self.data + self.bss + self.stack

    def memory(self) -> dict[str, Any]:
        """What it takes of flash, RAM and stack, in bytes by name."""
        sections = ("text", "rodata", "data", "bss", "stack")
        names = (*sections, "codec_state_bytes", "arena_bytes", "flash_bytes", "ram_bytes")
        sizes = {name: getattr(self, name) for name in names}
        return sizes | {"stack_use": asdict(self.stack_use), "parts": [asdict(part) for part in self.parts]}

    def to_json(self) -> dict[str, Any]:
        """The document of ``build-report.json``, the same bytes for the same build."""
        return asdict(self) | {
            "elf": self.elf.name,
            "flash_bytes": self.flash_bytes,
            "ram_bytes": self.ram_bytes,
        }


def plan_for(bundle: Bundle, board: Board, optimize: str = "speed") -> Plan:
    """The plan of a bundle's codec for a board's core. Raises PlanError when it cannot be executed exactly."""
    return make_plan(bundle.codec, Target.of_core(board.core, optimize, board.cpu.mcpu))


def project_files(
    bundle: Bundle,
    board: Board,
    *,
    optimize: str = "speed",
    codec_only: bool = False,
    tflm_arena_bytes: int | None = None,
) -> dict[str, str]:
    """Every file of the firmware project, path to text; the same bundle and board give the same bytes.

    ``codec_only`` leaves out link, UART and timer: a program that only encodes. With ``tflm_arena_bytes`` the encoder
    runs on TensorFlow Lite Micro, in an arena of as many bytes, which is a multiple of 16.
    Raises PlanError when the codec cannot be executed exactly, InputError for another ``optimize`` than
    ``"speed"``, ``"balanced"`` and ``"flash"``, and for ``codec_only`` with TensorFlow Lite Micro.
    """
    if optimize not in OPTIMIZE_FLAGS:
        raise InputError(f"optimize is {optimize!r}; expected one of {', '.join(OPTIMIZE_FLAGS)}")
    plan = plan_for(bundle, board, optimize)
    if tflm_arena_bytes is None:
        files, engine = _native_files(bundle, board, plan, codec_only)
    elif codec_only:
        raise InputError("the codec alone (--codec-only) is generated C; expected the engine native")
    else:
        files, engine = _tflm_files(bundle, board, plan, tflm_arena_bytes)
    context = engine | {
        "version": __version__,
        "board": board,
        "bundle": bundle,
        "plan": plan,
        "optimize_flag": OPTIMIZE_FLAGS[optimize],
        "preset": optimize,
        "codec_only": codec_only,
        "sources": sorted(path for path in files if path.endswith(".c")),
        "include_folders": sorted({str(Path(path).parent.as_posix()) for path in files if path.endswith(".h")}),
    }
    names = ("board.ld", "toolchain.cmake", "CMakeLists.txt", "CMakePresets.json", "README.md")
    for name in names if codec_only else ("edc_board.h", *names):
        files[name] = render_template(f"firmware_{name}.j2", **context)
    return files


def _native_files(bundle: Bundle, board: Board, plan: Plan, codec_only: bool) -> tuple[dict[str, str], dict[str, Any]]:
    """The sources of a firmware whose encoder is generated C, and what its templates are told of the engine."""
    files = {f"codec/{name}": text for name, text in codec_files(bundle, plan).items()}
    files |= _bare_files(board) if codec_only else _copied(board, _SERVER_FILES)
    return files, {
        "tflm": False,
        "alignment": _ALIGNMENT_BYTES,
        "state_bytes": plan.state_bytes,
        "stack_bytes": board.stack_bytes,
    }


def _tflm_files(bundle: Bundle, board: Board, plan: Plan, arena_bytes: int) -> tuple[dict[str, str], dict[str, Any]]:
    """The same of one whose encoder TensorFlow Lite Micro runs."""
    files = tflm_codec_files(bundle, plan, arena_bytes) | _copied(board, _TFLM_SERVER_FILES)
    return files, {
        "tflm": True,
        "alignment": ARENA_ALIGNMENT_BYTES,
        "ops": ops_of(bundle.codec.graph),
        "arena_bytes": arena_bytes,
        "state_bytes": state_bytes(plan, arena_bytes),
        "stack_bytes": max(board.stack_bytes, _TFLM_STACK_BYTES),
    }


def write_project(bundle: Bundle, board: Board, folder: Path, *, optimize: str = "speed") -> None:
    """Write the firmware project into ``folder``. Raises as :func:`project_files`."""
    _write_files(project_files(bundle, board, optimize=optimize), folder)


def build_firmware(
    bundle: Bundle,
    board: Board,
    out: str | os.PathLike[str],
    *,
    optimize: str = "speed",
    codec_only: bool = False,
    engine: TflmEngine | None = None,
    limits: Limits = NO_LIMITS,
    force: bool = False,
) -> Firmware:
    """Write the firmware project, ELF, binary, map and report into the folder ``out``.

    Without ``engine`` the encoder is generated C. An earlier build there is replaced; nothing is left behind on
    failure. Raises BuildError when a tool is missing or the compiler fails, SizeLimitError when the codec does not fit
    the board or ``limits``, InputError when ``out`` holds other files, and as :func:`project_files`.
    """
    files = project_files(
        bundle, board, optimize=optimize, codec_only=codec_only, tflm_arena_bytes=_arena_bytes(engine)
    )
    with replace_folder(out, marker=REPORT, force=force) as folder:
        _build(files, bundle, board, optimize, folder, limits, engine)
    return read_firmware(Path(out))


def build_project(files: dict[str, str], bundle: Bundle, board: Board, optimize: str, folder: Path) -> Firmware:
    """Build a project of ``files``, those of :func:`project_files` or others made from them, into a new ``folder``.

    Raises as :func:`build_firmware`.
    """
    _build(files, bundle, board, optimize, folder)
    return read_firmware(folder)


def cached_firmware(
    bundle: Bundle, board: Board, *, optimize: str = "speed", engine: TflmEngine | None = None
) -> Firmware:
    """The same, in the cache folder: built only when a source, a flag or the compiler has changed.

    Safe for processes that build at the same time. Raises as :func:`build_firmware`.
    """
    files = project_files(bundle, board, optimize=optimize, tflm_arena_bytes=_arena_bytes(engine))
    brought = None if engine is None else engine.library.digest
    inputs = json.dumps([files, find_toolchain().compiler_version, brought], sort_keys=True)
    folder = cache_dir() / "firmware" / hashlib.sha256(inputs.encode()).hexdigest()
    with suppress(BuildError):
        return read_firmware(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".build.", dir=folder.parent))
    except OSError as error:
        raise BuildError(
            f"the cache {folder.parent} cannot be written ({error.strerror}); set EDGECODEC_CACHE to a folder"
        ) from error
    try:
        _build(files, bundle, board, optimize, beside / "done", engine=engine)
        _install(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return read_firmware(folder)


def read_firmware(folder: Path) -> Firmware:
    """The firmware in a folder that :func:`build_firmware` wrote. Raises BuildError when it is damaged."""
    path = folder / REPORT
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        sections = tuple(Section(**section) for section in document.pop("sections"))
        symbols = tuple(Symbol(**symbol) for symbol in document.pop("symbols"))
        parts = tuple(PartSize(**part) for part in document.pop("parts"))
        use = document.pop("stack_use")
        stack_use = StackUse(**use | {"path": tuple(use["path"])})
        for derived in ("flash_bytes", "ram_bytes"):
            del document[derived]
        nested = {"sections": sections, "symbols": symbols, "parts": parts, "stack_use": stack_use}
        firmware = Firmware(**document | nested | {"elf": folder / document["elf"]})
        damaged = _sha256(firmware.elf) != firmware.elf_sha256
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BuildError(f"{path}: not a readable build report ({error}); build the firmware again") from error
    if damaged:
        raise BuildError(f"{firmware.elf}: not the file that the build wrote; build the firmware again")
    return firmware


def _arena_bytes(engine: TflmEngine | None) -> int | None:
    return None if engine is None else engine.arena_bytes


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _install(beside: Path, folder: Path) -> None:
    """Rename ``beside/done`` to ``folder``, unless another process has just put the same build there."""
    with suppress(OSError):
        os.rename(beside / "done", folder)
        return
    with suppress(BuildError):
        read_firmware(folder)
        return
    try:
        os.rename(folder, beside / "damaged")
        os.rename(beside / "done", folder)
    except OSError as error:
        raise BuildError(f"{folder} cannot be replaced ({error.strerror}); delete it") from error


def _copied(board: Board, patterns: Sequence[str]) -> dict[str, str]:
    """What a program with the server needs: ``patterns`` of ``firmware``, and the drivers of the board."""
    root = firmware_dir()
    paths = [path for pattern in patterns for path in root.glob(pattern)]
    paths += (root / "port" / board.uart.kind).glob("*.h")
    paths += [root / "port" / board.uart.kind / "uart.c", root / "port" / board.timer.kind / "timer.c"]
    if board.setup is not None:
        paths.append(root / "port" / board.setup.kind / "setup.c")
    paths += _boot_sources(board)
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def _boot_sources(board: Board) -> list[Path]:
    """What the chip's ROM runs before the firmware."""
    return [] if board.setup is None else [*(firmware_dir() / "port" / board.setup.kind).glob("boot.c")]


def _bare_files(board: Board) -> dict[str, str]:
    """What a program needs that has the codec alone."""
    root = firmware_dir()
    paths = [root / "port" / "cortex_m" / name for name in ("startup.c", "memory.c")] + _boot_sources(board)
    files = {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in paths}
    return files | {"main.c": (root / "codec_only" / "main.c").read_text(encoding="utf-8")}


def _write_files(files: dict[str, str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")


def _build(
    files: dict[str, str],
    bundle: Bundle,
    board: Board,
    optimize: str,
    folder: Path,
    limits: Limits = NO_LIMITS,
    engine: TflmEngine | None = None,
) -> None:
    toolchain = find_toolchain()
    _write_files(files, folder)
    with tempfile.TemporaryDirectory(prefix="edgecodec-build-") as name:
        # CMake takes no project path with some of the characters that a user's folder may have.
        project, build = Path(name) / "project", Path(name) / "build"
        _write_files(files, project)
        run = _Runner(board)
        arguments = _configure_arguments(toolchain, project, build)
        if engine is not None:
            arguments += [f"-DCMAKE_CXX_COMPILER={_cxx_compiler(toolchain)}", *engine.library.cmake_arguments]
        run([toolchain.cmake, *arguments])
        try:
            run([toolchain.cmake, "--build", build])
        except SizeLimitError as error:
            # Linked with room enough, it shows what takes the space.
            with suppress(BuildError):
                (project / "board.ld").write_text(_with_room(files["board.ld"]), encoding="utf-8", newline="\n")
                run([toolchain.cmake, "--build", build])
                error.memory = _measure(build, bundle, board, optimize, toolchain, engine).memory()
            raise
        run([toolchain.objcopy, "-O", "binary", build / ELF, build / BINARY])
        firmware = _measure(build, bundle, board, optimize, toolchain, engine)
        check_limits(firmware, board, limits)
        for output in (ELF, BINARY, MAP):
            shutil.copyfile(build / output, folder / output)
        if board.flash is not None and board.flash.uf2 is not None:
            image = (build / BINARY).read_bytes()
            (folder / UF2).write_bytes(uf2_blocks(image, board.memory.flash.origin, board.flash.uf2.family))
    report = json.dumps(firmware.to_json(), indent=2) + "\n"
    (folder / REPORT).write_text(report, encoding="utf-8", newline="\n")


def _configure_arguments(toolchain: Toolchain, project: Path, build: Path) -> list[str | Path]:
    return [
        "-G",
        "Ninja",
        "-S",
        project,
        "-B",
        build,
        f"-DCMAKE_MAKE_PROGRAM={toolchain.ninja}",
        f"-DCMAKE_C_COMPILER={toolchain.compiler}",
        f"-DCMAKE_TOOLCHAIN_FILE={project / 'toolchain.cmake'}",
    ]


def _cxx_compiler(toolchain: Toolchain) -> Path:
    if not toolchain.cxx_compiler.exists():
        raise BuildError(
            f"{toolchain.cxx_compiler.name} not found beside {toolchain.compiler.name}; TensorFlow Lite Micro is C++: "
            "install the Debian packages gcc-arm-none-eabi and libstdc++-arm-none-eabi-newlib, or Arm's GNU toolchain"
        )
    return toolchain.cxx_compiler


class _Runner:
    """Runs build tools and turns their failures into BuildError."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._environment = {key: value for key, value in os.environ.items() if key not in _IGNORED_VARIABLES}
        self._environment["LC_ALL"] = "C"

    def __call__(self, command: list[str | Path]) -> None:
        program = Path(command[0]).name
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                timeout=_TIMEOUT_S,
                env=self._environment,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise BuildError(f"{program} did not end within {_TIMEOUT_S} s; is the machine overloaded?") from error
        except OSError as error:
            raise BuildError(f"{program} cannot be run ({error.strerror})") from error
        if done.returncode != 0:
            overflows = dict(re.findall(r"region `(\w+)' overflowed by (\d+) bytes", done.stdout))
            if overflows:
                message = self._overflow_message({name.lower(): int(count) for name, count in overflows.items()})
                raise SizeLimitError(message, stderr=done.stdout)
            raise BuildError(self._message(program, done.stdout), done.stdout)

    def _message(self, program: str, output: str) -> str:
        problem = re.compile(r"\berror\b|undefined reference", re.IGNORECASE)
        errors = [line.strip() for line in output.splitlines() if problem.search(line)]
        return f"{program} failed: {errors[0] if errors else 'see its output'}"

    def _overflow_message(self, overflows: dict[str, int]) -> str:
        parts = []
        for name, excess in sorted(overflows.items()):
            length = getattr(self._board.memory, name).length
            parts.append(f"{length + excess:,} bytes of {'RAM' if name == 'ram' else name}, {length:,} are there")
        return (
            f"the firmware does not fit {self._board.name}: it needs {'; '.join(parts)}; "
            "choose a larger board, a smaller model or --optimize flash"
        )


def _with_room(linker_script: str) -> str:
    """The same memory map with regions that hold every firmware."""
    return re.sub(r"(LENGTH = )0x[0-9A-Fa-f]+", rf"\g<1>{_ROOM_BYTES:#x}", linker_script)


def _measure(
    build: Path, bundle: Bundle, board: Board, optimize: str, toolchain: Toolchain, engine: TflmEngine | None
) -> Firmware:
    from elftools.elf.elffile import ELFFile

    elf = build / ELF
    with elf.open("rb") as file:
        image = ELFFile(file)
        sections = _sections(image)
        symbols = _symbols(image)
    sizes = {section.name: section.bytes for section in sections}
    text, rodata, data, bss, stack = (
        sizes.get(name, 0) for name in (".text", ".rodata", ".data", ".bss", _STACK_SECTION)
    )
    link_map = (build / MAP).read_text(encoding="utf-8", errors="replace")
    plan = plan_for(bundle, board, optimize)
    state, arena = plan.state_bytes, plan.arena_bytes
    if engine is not None:
        state, arena = state_bytes(plan, engine.arena_bytes), engine.arena_bytes
    saves_floats = board.cpu.float_abi != "soft"
    return Firmware(
        elf=elf,
        elf_sha256=_sha256(elf),
        board=board.name,
        bundle_digest=bundle.digest,
        engine=NATIVE if engine is None else TFLM,
        optimize=optimize,
        compiler=toolchain.compiler_version,
        text=text,
        rodata=rodata,
        data=data,
        bss=bss,
        stack=stack,
        codec_state_bytes=state,
        sections=sections,
        arena_bytes=arena,
        symbols=symbols,
        parts=parts_of_map(
            link_map,
            text_bytes=text,
            rodata_bytes=rodata,
            ram_bytes=data + bss,
            stack=stack,
            tflm_library=None if engine is None else engine.library.source.library.name,
        ),
        stack_use=measure_stack(elf, build.rglob("*.su"), toolchain.objdump, saves_floats=saves_floats),
    )


def _sections(image: Any) -> tuple[Section, ...]:
    from elftools.elf.constants import SH_FLAGS

    allocated = (section for section in image.iter_sections() if section["sh_flags"] & SH_FLAGS.SHF_ALLOC)
    found = [Section(each.name, int(each["sh_addr"]), int(each["sh_size"])) for each in allocated if each["sh_size"]]
    return tuple(sorted(found, key=lambda section: section.address))


def _symbols(image: Any) -> tuple[Symbol, ...]:
    table = image.get_section_by_name(".symtab")
    found = [
        Symbol(symbol.name, int(symbol["st_size"]), image.get_section(symbol["st_shndx"]).name)
        for symbol in table.iter_symbols()
        if symbol["st_info"]["type"] in {"STT_FUNC", "STT_OBJECT"} and isinstance(symbol["st_shndx"], int)
    ]
    return tuple(sorted(found, key=lambda symbol: (-symbol.bytes, symbol.name)))
