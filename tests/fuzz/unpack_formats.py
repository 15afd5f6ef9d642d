"""Packet formats as ``edc_unpack.h`` has them, printed as C: the constants that Python makes."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from edgecodec.compile.decoder_library import ConstantsPrinter
from edgecodec.decoding.packet_constants import unpack_constants
from edgecodec.entropy.packet import PacketFormat
from edgecodec.entropy.side_information import SideInformation
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
    printer, rows = ConstantsPrinter(), []
    for number, packets in enumerate(given):
        constants = unpack_constants(packets)
        rows.append((printer.add(constants.format, f"format{number}"), constants.work_words))
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
