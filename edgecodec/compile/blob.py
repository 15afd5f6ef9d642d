"""A model as a file that programs open, ``<prefix>.edcm``, instead of a constant that is linked (SPEC.md 6).

The generated source of the model is compiled for the device, and the file is made of the object: sections with pointers
are the structures, the others the tables. So structures have one definition, which the compiler reads.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecodec import processes
from edgecodec._version import __version__
from edgecodec.boards.toolchain import find_toolchain
from edgecodec.codec.numerics import INT8, Numerics
from edgecodec.compile.blob_header import with_header
from edgecodec.compile.codebook_search import choose_search
from edgecodec.compile.kernels import KERNELS
from edgecodec.compile.plan import Plan
from edgecodec.compile.render import (
    DEFAULT_PREFIX,
    LICENSE,
    codec_context,
    codec_sources,
    render_model,
    render_template,
    with_sources,
)
from edgecodec.compile.target import Target
from edgecodec.errors import BuildError
from edgecodec.files.temporary import temporary_folder
from edgecodec.signal.normalize import NORMALIZATIONS

if TYPE_CHECKING:
    from edgecodec.bundle import Bundle

_ALIGNMENT_MAX = 64
_ARM_FLAGS = ("-mcpu=cortex-m0", "-mthumb", "-ffreestanding")
"""All Cortex-M lay structures out alike; no C library is needed."""
_FLAGS = ("-std=c11", "-Os", "-fPIC", "-c")
"""Position-independent, so that constants with pointers are in sections of their own."""
_POINTER = {"EM_ARM": 2, "EM_AARCH64": 257, "EM_386": 1, "EM_X86_64": 1}
"""By machine, the relocation that puts an address into a word of a pointer's width."""
_LOADED = 2
"""SHF_ALLOC of ELF."""
_TABLE, _MEMORY, _KERNEL = 1, 2, 3
"""Kinds of words; 0 is a number."""

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)
_TYPES = re.compile(
    r"^#define (?!EDC_VERSION)EDC_\w+ \d+$|^(?:typedef )?struct[^;{]*\{[^}]*\}[^;]*;|^typedef [^;{]*;", re.MULTILINE
)
"""What decides how constants lie in memory and functions are called: numbers, structures, types."""


@dataclass(frozen=True)
class Blob:
    """A model as a file."""

    data: bytes
    """The file."""
    memory_bytes: int
    """RAM that opening takes."""
    alignment: int
    """Bytes that file and RAM are aligned to."""
    kernels: tuple[str, ...]
    """C names of what a program must have to open it, sorted."""


def blob_files(
    bundle: Bundle,
    plan: Plan,
    prefix: str = DEFAULT_PREFIX,
    *,
    all_kernels: bool = False,
    compiler: Sequence[str] = (),
) -> tuple[dict[str, str], Blob]:
    """The C of a program that opens a bundle's model, file name to text, and the model.

    The program has the kernels of this model, or with ``all_kernels`` all that any model may use for the plan's target.
    ``compiler`` is the command of the device's C compiler; Arm's GCC by default.

    Raises:
        InputError: ``prefix`` starts no C name of its own.
        BuildError: The compiler is missing or fails, or is for a machine that blobs are not made for.
    """
    context = codec_context(bundle, plan, prefix)
    linked = with_sources(render_model(context))
    blob = make_blob(linked, context["symbol"], bundle.digest, compiler)
    names = sorted({*blob.kernels, *(target_kernels(plan.target, bundle.codec.numerics) if all_kernels else ())})
    context |= {"blob": blob, "all_kernels": all_kernels}
    header = render_template("model.h.j2", **context)
    return with_sources({f"{context['symbol']}.h": header, f"{prefix}_kernels.c": kernel_set(prefix, names)}), blob


def kernel_set(prefix: str, names: Sequence[str]) -> str:
    """``<prefix>_kernels.c``: what a program that opens models has for them, by its C names."""
    kernels = [_kernel(name) for name in names]
    return render_template("kernels.c.j2", version=__version__, license=LICENSE, prefix=prefix, kernels=kernels)


def target_kernels(target: Target, numerics: Numerics = INT8) -> list[str]:
    """C names of all that models of ``numerics`` may point to, whatever their layers, normaliser and packets."""
    kernels = [
        kernel
        for kernel in KERNELS
        if kernel.numerics == numerics and target.optimize in kernel.goals and kernel.runs_on(target)
    ]
    wide = "" if numerics == INT8 else "16"
    return [
        *(f"{kernel}_run" for kernel in kernels),
        *(f"edc_{kind}{wide}_normalize" for kind in NORMALIZATIONS),
        *("edc_next_layer", "edc_next_chunk"),
        choose_search(numerics, vectors=target.vectors),
        *("edc_context_model", "edc_causal_model"),
    ]


def kernel_number(name: str) -> int:
    """The number by which blobs ask for a function or an object of the codec's C.

    It is the CRC-32 of the name and of all types in the header that declares it and in those which that includes, so
    that what has changed since has another number.
    """
    text = " ".join([name, *_types(_declaring(name))])
    return zlib.crc32(" ".join(text.split()).encode())


def _kernel(name: str) -> dict[str, Any]:
    """What ``kernels.c.j2`` is told of a function or an object."""
    header = _declaring(name)
    is_object = re.search(rf"^extern const \w+ {name};", _headers()[header], re.MULTILINE) is not None
    return {"name": name, "header": header, "number": f"0x{kernel_number(name):08x}", "is_object": is_object}


@cache
def _headers() -> dict[str, str]:
    """The hand-written headers without comments: name to text."""
    headers = [source for source in codec_sources() if source.suffix == ".h"]
    return {header.name: _COMMENT.sub("", header.read_text(encoding="utf-8")) for header in headers}


def _declaring(name: str) -> str:
    """The header that declares ``name``."""
    (found,) = (header for header, text in _headers().items() if re.search(rf"\b{name}\b", text))
    return found


def _types(header: str, seen: set[str] | None = None) -> Iterator[str]:
    """The types of a header, behind those of the headers that it includes."""
    seen = set() if seen is None else seen
    seen.add(header)
    text = re.sub(r"[ \t]+$", "", _headers()[header], flags=re.MULTILINE)
    for included in _INCLUDE.findall(text):
        if included not in seen:
            yield from _types(included, seen)
    yield from _TYPES.findall(text)


def make_blob(files: Mapping[str, str], symbol: str, digest: str, compiler: Sequence[str] = ()) -> Blob:
    """The blob of a generated model.

    Args:
        files: C of the codec, file name to text; of sources, ``<symbol>.c`` alone is compiled.
        symbol: C name of the model.
        digest: The bundle's.
        compiler: Command of the device's C compiler; Arm's GCC by default.

    Raises:
        BuildError: The compiler is missing or fails, or is for a machine that blobs are not made for.
    """
    command = list(compiler) or [str(find_toolchain().compiler), *_ARM_FLAGS]
    with temporary_folder("blob") as folder:
        for file, text in files.items():
            (folder / file).write_text(text, encoding="utf-8")
        _run([*command, *_FLAGS, f"{symbol}.c", "-o", "model.o"], folder)
        data = (folder / "model.o").read_bytes()
    return _Object(data, command[0]).blob(symbol, bytes.fromhex(digest))


def _run(command: Sequence[str], folder: Path) -> None:
    compiler = Path(command[0]).name
    try:
        done = processes.run(command, cwd=folder)
    except OSError as error:
        raise BuildError(f"{command[0]} cannot be run ({error.strerror})") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        first = next((line for line in lines if "error" in line), lines[0])
        raise BuildError(f"{compiler} failed on the model (exit {done.returncode}): {first}", done.stderr)


def _is_constant(section: Any) -> bool:
    """Whether a section of an object is loaded, and no note."""
    is_loaded = bool(section["sh_flags"] & _LOADED) and section["sh_type"] in ("SHT_PROGBITS", "SHT_NOBITS")
    return is_loaded and section["sh_size"] > 0


class _Part:
    """Sections of an object one behind the other, those that are aligned most first."""

    def __init__(self, sections: Mapping[int, Any]) -> None:
        self.data = bytearray()
        self.starts: dict[int, int] = {}
        """Where each section begins, by its number."""
        self.alignment = max((section["sh_addralign"] for section in sections.values()), default=1)
        for number, section in sorted(sections.items(), key=lambda item: -item[1]["sh_addralign"]):
            self.pad(section["sh_addralign"])
            self.starts[number] = len(self.data)
            # Of zeros alone, an object holds the size.
            self.data += bytes(section["sh_size"]) if section["sh_type"] == "SHT_NOBITS" else section.data()

    def pad(self, alignment: int) -> None:
        """Add zeros."""
        self.data += bytes(-len(self.data) % alignment)


class _Object:
    """A relocatable ELF object of constants."""

    def __init__(self, data: bytes, compiler: str) -> None:
        from elftools.common.exceptions import ELFError
        from elftools.elf.elffile import ELFFile
        from elftools.elf.relocation import RelocationSection

        self._compiler = compiler
        try:
            image = ELFFile(io.BytesIO(data))
        except ELFError as error:
            raise self._refusal("makes no ELF objects") from error
        self._machine = image["e_machine"]
        if self._machine not in _POINTER or not image.little_endian:
            raise self._refusal(f"is for {self._machine}; expected little-endian, {', '.join(_POINTER)}")
        self._word = image.elfclass // 8
        sections = list(enumerate(image.iter_sections()))
        constants = {number: each for number, each in sections if _is_constant(each)}
        pointers = [
            each for _, each in sections if isinstance(each, RelocationSection) and each["sh_info"] in constants
        ]
        moved = {each["sh_info"] for each in pointers}
        self._symbols: Any = image.get_section_by_name(".symtab")
        self._tables = _Part({number: each for number, each in constants.items() if number not in moved})
        self._memory = _Part({number: constants[number] for number in moved})
        for part in (self._tables, self._memory):
            part.pad(self._word)
        self._pointers = [(each["sh_info"], entry) for each in pointers for entry in each.iter_relocations()]

    def _refusal(self, what: str) -> BuildError:
        return BuildError(f"{Path(self._compiler).name} {what}: no blob is made of it")

    def blob(self, symbol: str, digest: bytes) -> Blob:
        """The blob, whose model is the constant ``symbol``."""
        places = [self._place(*pointer) for pointer in self._pointers]
        names = sorted({target for _, kind, target in places if kind == _KERNEL})
        image, words = bytearray(self._memory.data), len(self._memory.data) // self._word
        kinds = bytearray(-(-words // 4))
        for at, kind, target in places:
            value = names.index(target) if kind == _KERNEL else target
            image[at : at + self._word] = value.to_bytes(self._word, "little")
            word = at // self._word
            kinds[word // 4] |= kind << 2 * (word % 4)
        (model,) = self._symbols.get_symbol_by_name(symbol)
        numbers = struct.pack(f"<{len(names)}I", *map(kernel_number, names))
        body = bytes(self._tables.data + image) + numbers + kinds
        alignment = max(self._word, self._tables.alignment, self._memory.alignment)
        if alignment > _ALIGNMENT_MAX:
            raise self._refusal(f"aligns to {alignment} bytes, more than {_ALIGNMENT_MAX}")
        model_at = self._memory.starts[model["st_shndx"]] + model["st_value"]
        facts = (len(self._tables.data), len(image), model_at, len(names), alignment)
        data = with_header(self._word, *facts, digest, body)
        return Blob(data, len(image), alignment, tuple(names))

    def _place(self, section: int, entry: Any) -> tuple[int, int, Any]:
        """Where in the memory a pointer is, what it points into, and where there, or to which name."""
        at = self._memory.starts[section] + entry["r_offset"]
        if entry["r_info_type"] != _POINTER[self._machine] or at % self._word:
            raise self._refusal(f"leaves a relocation of type {entry['r_info_type']}")
        symbol = self._symbols.get_symbol(entry["r_info_sym"])
        there = int.from_bytes(self._memory.data[at : at + self._word], "little")
        addend = entry["r_addend"] if entry.is_RELA() else there
        if symbol["st_shndx"] == "SHN_UNDEF":
            return at, _KERNEL, symbol.name
        for kind, part in ((_TABLE, self._tables), (_MEMORY, self._memory)):
            if symbol["st_shndx"] in part.starts:
                return at, kind, part.starts[symbol["st_shndx"]] + symbol["st_value"] + addend
        raise self._refusal(f"puts {symbol.name or 'a constant'} where no constants are")
