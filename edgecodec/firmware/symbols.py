"""Which function of a linked firmware has code at an address."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def function_at(elf: Path, address: int) -> str | None:
    """Name of the function of the program ``elf`` whose code is at ``address``; None when there is none.

    The code is from the symbol's address on for its size; global names go before local ones at one address. Raises
    OSError when ``elf`` cannot be read.
    """
    from elftools.elf.elffile import ELFFile

    with elf.open("rb") as file:
        table: Any = ELFFile(file).get_section_by_name(".symtab")
        found = [
            (symbol["st_info"]["bind"] != "STB_LOCAL", symbol.name)
            for symbol in table.iter_symbols()
            if symbol["st_info"]["type"] == "STT_FUNC"
            and 0 <= address - (symbol["st_value"] & ~1) < max(symbol["st_size"], 1)
        ]
    return max(found)[1] if found else None
