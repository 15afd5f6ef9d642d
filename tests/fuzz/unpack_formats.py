"""Packet formats as ``edc_unpack.h`` has them, printed as C: the constants that Python makes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from edgecodec.entropy.packet import PacketFormat
from edgecodec.entropy.side_information import SideInformation
from edgecodec.host.unpack import PacketUnpacker
from tests.packets import SIDE, network, packet_format, tables


@functools.cache
def formats() -> tuple[PacketFormat, ...]:
    """Of every kind: plain, tables, networks, with side information of every form and without."""
    linear = SideInformation(320, 8, 8, squared=False)
    small = {"channels": 4, "hidden": 4, "embedding": 1, "dilations": (2, 1)}
    return (
        packet_format(0xABC, tables(6, 6, (40, 17, 2)), 6, (40, 17, 2)),
        packet_format(0xABC, network(6, (16, 5)), 7, (16, 5)),
        packet_format(0x123, None, 5, (65536, 3, 1), None),
        packet_format(0x800, tables(3, 4, (3, 1)), 4, (3, 1), linear),
        packet_format(0x001, network(5, (9,), gain=2, **small), 3, (9,), SideInformation(320, 5, 6, 100, 10, 2)),
        packet_format(0xFFF, None, 1, (2,), SIDE),
    )


def header(given: Sequence[PacketFormat]) -> str:
    """``formats.h`` for unpack.c: ``formats``, each with the words that it works in."""
    printer = _Printer()
    rows = [printer.add(PacketUnpacker(packets)) for packets in given]
    table = ", ".join(f"{{{name}, {words}}}" for name, words in rows)
    return "\n".join(
        [
            '#include "edc_unpack.h"',
            *printer.lines,
            "typedef struct { const edc_unpack_format *format; size_t work_words; } fuzz_format;",
            f"enum {{ FORMATS = {len(rows)} }};",
            f"static const fuzz_format formats[FORMATS] = {{{table}}};",
            "",
        ]
    )


class _Printer:
    """Prints cffi's arrays and structures as C of the same content, pointers by the names of what they point to."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._count = 0

    def add(self, unpacker: PacketUnpacker) -> tuple[str, int]:
        """Print a format. Returns its name, as a pointer, and its words."""
        constants, self._ffi = unpacker._constants, unpacker._ffi
        owned = [*constants._kept, constants.format]
        owned = [each for each in owned if self._size(each)]
        names = {self._address(each): f"constant{self._count + number}" for number, each in enumerate(owned)}
        self._count += len(owned)
        items = [self._ffi.typeof(each).item for each in owned]
        declared = [
            f"static {item.cname} {names[self._address(each)]}[{self._size(each)}]"
            for each, item in zip(owned, items, strict=True)
        ]
        # Those that point to later ones want them declared.
        self.lines += [f"{declaration};" for declaration in declared]
        for each, item, declaration in zip(owned, items, declared, strict=True):
            values = ", ".join(self._text(item, each[i], names) for i in range(self._size(each)))
            self.lines.append(f"{declaration} = {{{values}}};")
        return names[self._address(constants.format)], constants.work_words

    def _size(self, each: Any) -> int:
        return len(each) if self._ffi.typeof(each).kind == "array" else 1

    def _address(self, each: Any) -> int:
        return int(self._ffi.cast("uintptr_t", each))

    def _text(self, kind: Any, value: Any, names: dict[int, str]) -> str:
        if kind.kind == "struct":
            members = (
                f".{name} = {self._text(field.type, getattr(value, name), names)}" for name, field in kind.fields
            )
            return f"{{{', '.join(members)}}}"
        if kind.kind == "pointer":
            return f"(void *){names.get(self._address(value), '0')}"
        return str(int(value))
