"""What a linked firmware takes, read from its ELF, its map and what the compiler wrote beside each object."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgecodec.boards.toolchain import Toolchain
from edgecodec.compile.search_bound import bound_search
from edgecodec.firmware.artifacts import ELF, MAP
from edgecodec.firmware.project import FirmwareProject
from edgecodec.firmware.report import BuildReport, Section, Symbol, file_sha256
from edgecodec.firmware.sizes import parts_of_map
from edgecodec.firmware.stack import measure_stack

_STACK_SECTION = ".stack"
_KEPT_SECTION = ".noinit"
"""Variables that a reset leaves as they are."""


def measure(build: Path, project: FirmwareProject, toolchain: Toolchain) -> BuildReport:
    """The report of ``project`` built in the folder ``build``. Raises BuildError when its program cannot be read."""
    from elftools.elf.elffile import ELFFile

    elf = build / ELF
    with elf.open("rb") as file:
        image = ELFFile(file)
        sections = _sections(image)
        symbols = _symbols(image)
    sizes = {section.name: section.bytes for section in sections}
    text, rodata, data, stack = (sizes.get(name, 0) for name in (".text", ".rodata", ".data", _STACK_SECTION))
    bss = sizes.get(".bss", 0) + sizes.get(_KEPT_SECTION, 0)
    link_map = (build / MAP).read_text(encoding="utf-8", errors="replace")
    return BuildReport(
        text=text,
        rodata=rodata,
        data=data,
        bss=bss,
        stack=stack,
        codec_state_bytes=project.state_bytes,
        arena_bytes=project.arena_bytes,
        flash_bytes=text + rodata + data,
        ram_bytes=data + bss + stack,
        stack_use=measure_stack(
            elf, build.rglob("*.su"), toolchain.objdump, saves_floats=project.board.cpu.saves_floats
        ),
        parts=parts_of_map(
            link_map,
            project.engine.map_rules,
            text_bytes=text,
            rodata_bytes=rodata,
            ram_bytes=data + bss,
            stack=stack,
        ),
        elf=ELF,
        elf_sha256=file_sha256(elf),
        board=project.board.name,
        bundle_digest=project.bundle.digest,
        engine=project.engine.name,
        optimize=project.optimize,
        compiler=toolchain.compiler_version,
        search=bound_search(project.bundle.codec, project.plan),
        longest_call=project.engine.longest_call(project.plan),
        sections=sections,
        symbols=symbols,
    )


def _sections(image: Any) -> tuple[Section, ...]:
    from elftools.elf.constants import SH_FLAGS

    allocated = (section for section in image.iter_sections() if section["sh_flags"] & SH_FLAGS.SHF_ALLOC)
    found = [Section(each.name, int(each["sh_addr"]), int(each["sh_size"])) for each in allocated if each["sh_size"]]
    return tuple(sorted(found, key=lambda section: section.address))


def _symbols(image: Any) -> tuple[Symbol, ...]:
    table = image.get_section_by_name(".symtab")
    named = [
        symbol
        for symbol in table.iter_symbols()
        if symbol["st_info"]["type"] in {"STT_FUNC", "STT_OBJECT"} and isinstance(symbol["st_shndx"], int)
    ]
    # A handler that nothing defines is another name of the one for faults, whose bytes are there once.
    named.sort(key=lambda symbol: (symbol["st_info"]["bind"] == "STB_WEAK", symbol.name))
    places: dict[tuple[int, int], Symbol] = {}
    for symbol in named:
        section = image.get_section(symbol["st_shndx"]).name
        place = symbol["st_shndx"], symbol["st_value"]
        places.setdefault(place, Symbol(symbol.name, int(symbol["st_size"]), section))
    return tuple(sorted(places.values(), key=lambda symbol: (-symbol.bytes, symbol.name)))
