"""What each part of a firmware takes of flash and RAM, from the linker's map."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from edgecodec.engines.base import MapRules


class PartName(StrEnum):
    """Whose bytes they are."""

    CODEC = "codec"
    WEIGHTS = "weights"
    CODEBOOKS = "codebooks"
    STATE = "codec state"
    LINK = "link"
    PORT = "port"
    ENGINE = "engine"
    """An engine's own code, under the name that its rules give it."""
    PROGRAM = "program"
    """``main.c`` of a program that only encodes: its frame and indices."""
    LIBRARY = "compiler's library"
    STACK = "stack"
    OTHER = "other"
    """Gaps between sections, and what no rule knows."""


@dataclass(frozen=True)
class PartSize:
    """What one part of a firmware takes."""

    part: str
    """Whose the bytes are."""
    text: int
    """Bytes of code."""
    rodata: int
    """Bytes of constants."""
    ram: int
    """Bytes of variables; of the part ``stack``, the reserved stack."""


_INPUT_SECTION = re.compile(r"^ (\.[\w.$-]+)\n? +(0x[0-9a-f]+) +(0x[0-9a-f]+) (\S.*)$", re.MULTILINE)
_NOWHERE = 1 << 32
_MAP_STARTS = "Linker script and memory map"
_KINDS = {".text": "text", ".vectors": "text", ".rodata": "rodata", ".data": "ram", ".bss": "ram", ".noinit": "ram"}
# The generated tables, and the server's or the bare program's state, by the names of their sections.
_BY_SECTION = {
    re.compile(r"\.rodata\.edc_codebook\d+_.*"): PartName.CODEBOOKS,
    re.compile(r"\.bss\.model"): PartName.STATE,
}
_BY_FOLDER = {
    "codec": PartName.CODEC,
    "link": PartName.LINK,
    "port": PartName.PORT,
    "main": PartName.PROGRAM,
}


def parts_of_map(
    text: str,
    rules: MapRules,
    *,
    text_bytes: int,
    rodata_bytes: int,
    ram_bytes: int,
    stack: int,
) -> tuple[PartSize, ...]:
    """The parts of a firmware with the linker map ``text``, in the order of :class:`PartName`, empty ones left out.

    The totals are those of the linked sections, ``ram_bytes`` without ``stack``; what the map does not account
    for is ``other``. ``rules`` says which bytes are the engine's.
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
        found[_part_of(section, place, rules)][_KINDS["." + section.split(".")[1]]] += used
    found[PartName.STACK]["ram"] = stack
    totals = {"text": text_bytes, "rodata": rodata_bytes, "ram": ram_bytes + stack}
    for kind, total in totals.items():
        found[PartName.OTHER][kind] += total - sum(sizes[kind] for sizes in found.values())
    named = {name: rules.part if name is PartName.ENGINE else str(name) for name in PartName}
    return tuple(PartSize(named[name], **sizes) for name, sizes in found.items() if any(sizes.values()))


def _part_of(section: str, place: str, rules: MapRules) -> PartName:
    if re.fullmatch(rules.weights, section):
        return PartName.WEIGHTS
    for pattern, name in _BY_SECTION.items():
        if pattern.fullmatch(section):
            return name
    if place.endswith(")"):
        library = place.rpartition("(")[0].rpartition("/")[2]
        return PartName.ENGINE if library in rules.libraries else PartName.LIBRARY
    found = re.search(r"\.dir/(\w+)", place)
    if found is None:
        return PartName.OTHER
    return PartName.ENGINE if found[1] in rules.folders else _BY_FOLDER.get(found[1], PartName.OTHER)
