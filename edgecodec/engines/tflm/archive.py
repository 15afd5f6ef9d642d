"""Static libraries (``ar`` archives): their members, their symbol table, and what Arm code in them asks of a CPU."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgecodec.errors import InputError

_MAGIC = b"!<arch>\n"
_THIN_MAGIC = b"!<thin>\n"
_HEADER_BYTES = 60
_HEADER_END = b"`\n"
_SYMBOLS = "/"
_NAMES = "//"
_REMEDY = "build the library again"


@dataclass(frozen=True)
class Archive:
    """The members of a static library, in the GNU format that ``arm-none-eabi-ar`` writes."""

    path: Path
    members: dict[int, Member] = field(repr=False)
    """By the offset of their header, which is how the symbol table names them."""
    symbols: dict[str, int] = field(repr=False)
    """Defined global symbols (mangled): offset of the member."""

    def member_of(self, symbol: str) -> Member | None:
        """The member that defines a symbol."""
        offset = self.symbols.get(symbol)
        return None if offset is None else self.members.get(offset)


@dataclass(frozen=True)
class Member:
    """One file of an archive."""

    name: str
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class ArmAttributes:
    """Build attributes of Arm object code: what it asks of the CPU (Arm IHI 0045, "Addenda to the ABI")."""

    architecture: int
    """Tag_CPU_arch"""
    fp: int
    """Tag_FP_arch; 0 without floating-point instructions."""
    fp_use: int
    """Tag_ABI_HardFP_use: 1 for single precision alone."""
    hard_float_arguments: bool
    """Tag_ABI_VFP_args: floats are passed in registers of the FPU."""
    vectors: int
    """Tag_MVE_arch; 0 without the M-profile Vector Extension."""
    enums: int
    """Tag_ABI_enum_size: 1 for as few bytes as the values need, 2 for four; 0 without any."""
    dsp: bool
    """Tag_DSP_extension, which counts from Armv8-M on."""


def read_archive(path: Path) -> Archive:
    """Read a static library. Raises InputError when it is missing, none, thin, cut short or without a symbol table."""
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    if data.startswith(_THIN_MAGIC):
        raise InputError(f"{path}: a thin archive, which holds no code", hint="make a whole one with `ar rcs`")
    if not data.startswith(_MAGIC):
        raise InputError(f"{path}: not a static library; expected an archive such as libtensorflow-microlite.a")
    raw = _raw_members(path, data)
    tables = {name: content for name, content in raw.values() if name in (_SYMBOLS, _NAMES)}
    if _SYMBOLS not in tables:
        raise InputError(f"{path}: has no symbol table", hint="make one with `arm-none-eabi-ranlib`")
    names = tables.get(_NAMES, b"")
    members = {
        offset: Member(_long_name(name, names), content)
        for offset, (name, content) in raw.items()
        if name not in (_SYMBOLS, _NAMES)
    }
    symbols = _symbols(path, tables[_SYMBOLS])
    if not members.keys() >= set(symbols.values()):
        raise InputError(f"{path}: a damaged archive (members are missing from its end)", hint=_REMEDY)
    return Archive(path, members, symbols)


def undefined_symbols(member: Member) -> frozenset[str]:
    """Names that a member takes from others; none when it is no object file."""
    image = _image(member.data)
    table = None if image is None else image.get_section_by_name(".symtab")
    if table is None:
        return frozenset()
    return frozenset(symbol.name for symbol in table.iter_symbols() if symbol["st_shndx"] == "SHN_UNDEF")


def arm_attributes(data: bytes) -> ArmAttributes | None:
    """The attributes of an object file; None when ``data`` is none or has none."""
    from elftools.common.exceptions import ELFError

    image = _image(data)
    section = None if image is None else image.get_section_by_name(".ARM.attributes")
    if section is None:
        return None
    try:
        found = {
            attribute.tag: attribute.value
            for subsection in section.iter_subsections()
            for part in subsection.iter_subsubsections()
            for attribute in part.iter_attributes()
        }
    except (ELFError, ValueError, KeyError, IndexError):
        return None
    return ArmAttributes(
        architecture=int(found.get("TAG_CPU_ARCH", 0)),
        fp=int(found.get("TAG_FP_ARCH", 0)),
        fp_use=int(found.get("TAG_ABI_HARDFP_USE", 0)),
        hard_float_arguments=found.get("TAG_ABI_VFP_ARGS", 0) == 1,
        vectors=int(found.get("TAG_MVE_ARCH", 0)),
        enums=int(found.get("TAG_ABI_ENUM_SIZE", 0)),
        dsp=found.get("TAG_DSP_EXTENSION", 0) == 1,
    )


def _raw_members(path: Path, data: bytes) -> dict[int, tuple[str, bytes]]:
    found: dict[int, tuple[str, bytes]] = {}
    at = len(_MAGIC)
    while at < len(data):
        header = data[at : at + _HEADER_BYTES]
        size = header[48:58].strip()
        start = at + _HEADER_BYTES
        if not header.endswith(_HEADER_END) or not size.isdigit() or start + int(size) > len(data):
            raise InputError(f"{path}: a damaged archive (at byte {at} of {len(data)})", hint=_REMEDY)
        end = start + int(size)
        found[at] = (header[:16].decode("latin-1").rstrip(), data[start:end])
        at = end + end % 2
    return found


def _long_name(name: str, names: bytes) -> str:
    """``file.o/``, or ``/123``: the name at that place of the table of long names."""
    if not name[1:].isdigit():
        return name.rstrip("/")
    return names[int(name[1:]) :].partition(b"\n")[0].decode("latin-1").rstrip("/")


def _symbols(path: Path, table: bytes) -> dict[str, int]:
    try:
        (count,) = struct.unpack_from(">I", table)
        offsets = struct.unpack_from(f">{count}I", table, 4)
    except struct.error as error:
        raise InputError(f"{path}: a damaged archive (its symbol table is cut short)", hint=_REMEDY) from error
    names = table[4 + 4 * count :].split(b"\0")
    return {name.decode("latin-1"): offset for name, offset in zip(names, offsets, strict=False)}


def _image(data: bytes) -> Any:
    """The ELF file in ``data``, or None."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        return ELFFile(io.BytesIO(data))
    except (ELFError, ValueError):
        return None
