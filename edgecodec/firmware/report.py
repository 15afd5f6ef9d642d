"""What a build says of itself: the document beside a firmware, and reading both back."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from edgecodec.compile.plan import LongestCall
from edgecodec.compile.search_bound import SearchBound
from edgecodec.documents import Document
from edgecodec.errors import BuildError, InputError
from edgecodec.files.limits import DOCUMENT
from edgecodec.files.regular import read_regular
from edgecodec.files.strict_json import parse_json
from edgecodec.firmware.artifacts import REPORT
from edgecodec.firmware.sizes import PartSize
from edgecodec.firmware.stack import StackUse

if TYPE_CHECKING:
    from pydantic import TypeAdapter


@dataclass(frozen=True)
class Symbol:
    """A function or object of a firmware."""

    name: str
    """Name in the program, mangled when it is C++."""
    bytes: int
    """Size in bytes."""
    section: str
    """Section that it lies in, such as ``.text``."""


@dataclass(frozen=True)
class Section:
    """A section of a firmware that takes memory."""

    name: str
    """Name in the linker script, such as ``.rodata``."""
    address: int
    """Where it lies when the program runs."""
    bytes: int
    """Size in bytes."""


@dataclass(frozen=True)
class MemoryUse:
    """What a firmware takes of flash, RAM and stack."""

    text: int
    """Bytes of code."""
    rodata: int
    """Bytes of constants."""
    data: int
    """Bytes of initialised variables: in RAM, with a copy in flash."""
    bss: int
    """Bytes of variables that flash has no value for: codec's state, link's buffers, a fault kept over a reset."""
    stack: int
    """Bytes that the linker script reserves for the stack."""
    codec_state_bytes: int
    """Bytes of ``bss`` that are the codec's state."""
    arena_bytes: int
    """Bytes of the codec's state that the encoder's tensors have (``tflm``: the interpreter)."""
    flash_bytes: int
    """Bytes of flash: code, constants and the initial values of variables."""
    ram_bytes: int
    """Bytes of RAM: variables and reserved stack."""
    stack_use: StackUse
    """What the program takes of the reserved stack at the worst moment."""
    parts: tuple[PartSize, ...]
    """The bytes of flash and RAM by whose they are."""

    def __post_init__(self) -> None:
        flash, ram = self.text + self.rodata + self.data, self.data + self.bss + self.stack
        if (self.flash_bytes, self.ram_bytes) != (flash, ram):
            raise ValueError(
                f"flash and RAM are {self.flash_bytes} and {self.ram_bytes} bytes; the sections add up to {flash} and "
                f"{ram}"
            )


@dataclass(frozen=True)
class BuildReport(MemoryUse, Document):
    """What ``build-firmware --json`` prints and ``build-report.json`` keeps, the same bytes for the same build."""

    SCHEMA = "edgecodec.build"

    elf: str
    """File name of the program with its symbols."""
    elf_sha256: str
    """SHA-256 of that file, in hex."""
    board: str
    """Name of the board."""
    bundle_digest: str
    """Digest of the bundle, in hex."""
    engine: str
    """What runs the encoder: ``native`` or ``tflm``."""
    optimize: str
    """What kernels and compiler flags were chosen for: ``speed``, ``balanced`` or ``flash``."""
    compiler: str
    """Name and version of the compiler."""
    search: SearchBound
    """The most that the codebook search of a frame takes, whatever the latent is."""
    longest_call: LongestCall | None
    """The call of a kernel that takes the most instructions; null where the engine's are not known."""
    sections: tuple[Section, ...]
    """The sections that take memory, by their addresses."""
    symbols: tuple[Symbol, ...]
    """All functions and objects, largest first."""
    output: str | None = None
    """Folder of the build as it was named; null in the folder's own file, which may be moved."""

    @property
    def memory(self) -> MemoryUse:
        """The figures of memory alone."""
        return MemoryUse(**{field.name: getattr(self, field.name) for field in fields(MemoryUse)})


@dataclass(frozen=True)
class Firmware:
    """A built firmware: the folder with its files, and what the build says of it."""

    folder: Path
    """Folder of project, program, image and map."""
    report: BuildReport
    """Sizes and origin."""

    @property
    def elf(self) -> Path:
        """The program with its symbols."""
        return self.folder / self.report.elf

    def __repr__(self) -> str:
        report = self.report
        return (
            f"Firmware({str(self.folder)!r}: {report.board}, engine {report.engine}, {report.flash_bytes:,} bytes of "
            f"flash, {report.ram_bytes:,} of RAM)"
        )


def write_report(report: BuildReport, folder: Path) -> None:
    """Write ``build-report.json`` into ``folder``."""
    text = json.dumps(report.to_json(), indent=2) + "\n"
    (folder / REPORT).write_text(text, encoding="utf-8", newline="\n")


def read_firmware(folder: Path) -> Firmware:
    """The firmware in a folder that :func:`edgecodec.firmware.build.build_firmware` wrote.

    Raises BuildError when the report is missing, damaged or of another version, or the ELF is not the one reported.
    """
    path = folder / REPORT
    remedy = "build the firmware again"
    try:
        document = parse_json(read_regular(path, "the report of a build", DOCUMENT))
        kind = (document.pop("schema"), document.pop("schema_version"))
        if kind != (BuildReport.SCHEMA, BuildReport.SCHEMA_VERSION):
            raise ValueError(f"schema and version are {kind}")
        firmware = Firmware(folder, _adapter().validate_python(document))
        damaged = file_sha256(firmware.elf) != firmware.report.elf_sha256
    except (InputError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = str(error).partition("\n")[0]
        raise BuildError(f"{path}: not a readable build report ({reason})", hint=remedy) from error
    if damaged:
        raise BuildError(f"{firmware.elf}: not the file that the build wrote", hint=remedy)
    return firmware


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hex. Raises OSError."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@cache
def _adapter() -> TypeAdapter[BuildReport]:
    from pydantic import TypeAdapter

    return TypeAdapter(BuildReport)
