"""What each part of a firmware takes of flash and RAM, from the linker's map."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise


class PartName(StrEnum):
    """Whose bytes they are."""

    CODEC = "codec"
    WEIGHTS = "weights"
    CODEBOOKS = "codebooks"
    STATE = "codec state"
    LINK = "link"
    PORT = "port"
    TFLM = "TFLM"
    """The interpreter and its kernels, and what ties them to the server."""
    PROGRAM = "program"
    """``main.c`` of a program that only encodes: its frame and indices."""
    LIBRARY = "compiler's library"
    STACK = "stack"
    OTHER = "other"
    """Gaps between sections, and what no rule knows."""


@dataclass(frozen=True)
class PartSize:
    """Bytes of one part."""

    part: str
    text: int
    rodata: int
    ram: int
    """Variables; of the part ``stack`` the reserved stack."""


_INPUT_SECTION = re.compile(r"^ (\.[\w.$-]+)\n? +(0x[0-9a-f]+) +(0x[0-9a-f]+) (\S.*)$", re.MULTILINE)
_NOWHERE = 1 << 32
_MAP_STARTS = "Linker script and memory map"
_KINDS = {".text": "text", ".vectors": "text", ".rodata": "rodata", ".data": "ram", ".bss": "ram"}
# The generated tables, and the server's or the bare program's state, by the names of their sections.
_BY_SECTION = {
    re.compile(r"\.rodata\.edc_layer\d+_.*|\.rodata\.edc_tflm_model"): PartName.WEIGHTS,
    re.compile(r"\.rodata\.edc_codebook\d+_.*"): PartName.CODEBOOKS,
    re.compile(r"\.bss\.model"): PartName.STATE,
}
_BY_FOLDER = {
    "codec": PartName.CODEC,
    "link": PartName.LINK,
    "port": PartName.PORT,
    "main": PartName.PROGRAM,
    "tflm": PartName.TFLM,
}


def parts_of_map(
    text: str,
    *,
    text_bytes: int,
    rodata_bytes: int,
    ram_bytes: int,
    stack: int,
    tflm_library: str | None = None,
) -> tuple[PartSize, ...]:
    """The parts of a firmware with the linker map ``text``, in the order of :class:`PartName`, empty ones left out.

    The totals are those of the linked sections, ``ram_bytes`` without ``stack``; what the map does not account
    for is ``other``. ``tflm_library`` is the file name of the library whose members are ``TFLM``.
    """
    found = {name: {"text": 0, "rodata": 0, "ram": 0} for name in PartName}
    _, _, linked = text.partition(_MAP_STARTS)
    placed = sorted(
        (int(address, 16), int(size, 16), section, place)
        for section, address, size, place in _INPUT_SECTION.findall(linked)
        if "." + section.split(".")[1] in _KINDS
    )
    for (address, size, section, place), (following, *_) in pairwise([*placed, (_NOWHERE, 0, "", "")]):
        # Merged strings are listed at one address with the size of all.
        used = min(size, following - address)
        found[_part_of(section, place, tflm_library)][_KINDS["." + section.split(".")[1]]] += used
    found[PartName.STACK]["ram"] = stack
    totals = {"text": text_bytes, "rodata": rodata_bytes, "ram": ram_bytes + stack}
    for kind, total in totals.items():
        found[PartName.OTHER][kind] += total - sum(sizes[kind] for sizes in found.values())
    return tuple(PartSize(str(name), **sizes) for name, sizes in found.items() if any(sizes.values()))


def _part_of(section: str, place: str, tflm_library: str | None) -> PartName:
    for pattern, name in _BY_SECTION.items():
        if pattern.fullmatch(section):
            return name
    if place.endswith(")"):
        library = place.rpartition("(")[0].rpartition("/")[2]
        return PartName.TFLM if library == tflm_library else PartName.LIBRARY
    found = re.search(r"\.dir/(\w+)", place)
    return _BY_FOLDER.get(found[1], PartName.OTHER) if found else PartName.OTHER
