"""Whose bytes a firmware's are, from a linker's map written by hand."""

from __future__ import annotations

from edgecodec.engines.base import MapRules
from edgecodec.engines.native import NATIVE_ENGINE
from edgecodec.firmware.sizes import PartSize, parts_of_map

MAP = """
Discarded input sections

 .text.unused   0x00000000       0x40 CMakeFiles/firmware.elf.dir/codec/edc_rvq.c.obj

Linker script and memory map

 .text.edc_rvq_quantize
                0x00000100       0x20 CMakeFiles/firmware.elf.dir/codec/edc_rvq.c.obj
 .text.poll     0x00000120       0x10 CMakeFiles/firmware.elf.dir/link/edc_server.c.obj
 .text._ZN6tflite3RunEv
                0x00000130       0x30 /a path/lib tflm.a(conv.o)
 .text.__udivdi3
                0x00000160       0x08 /usr/lib/libgcc.a(udivdi3.o)
 .rodata.edc_tflm_model
                0x00000170       0x40 CMakeFiles/firmware.elf.dir/tflm/edc_tflm_model.c.obj
 .rodata.a.str1.1
                0x000001b0       0x10 /a path/lib tflm.a(conv.o)
                                 0x18 (size before relaxing)
 .rodata.b.str1.1
                0x000001b0       0x18 /a path/lib tflm.a(graph.o)
 .bss.edc_state
                0x20000000       0x50 CMakeFiles/firmware.elf.dir/link/edc_engine.c.obj
 .debug_info    0x00000000      0x999 CMakeFiles/firmware.elf.dir/link/edc_server.c.obj
"""


def test_parts_by_hand() -> None:
    rules = MapRules(
        r"\.rodata\.edc_tflm_model", part="TFLM", folders=frozenset({"tflm"}), libraries=frozenset({"lib tflm.a"})
    )
    parts = parts_of_map(MAP, rules, text_bytes=0x70, rodata_bytes=0x60, ram_bytes=0x50, stack=1024)
    # The code ends at 0x168 and the constants start at 0x170: eight bytes are nobody's. Merged strings count once.
    assert parts == (
        PartSize("codec", 0x20, 0, 0),
        PartSize("weights", 0, 0x40, 0),
        PartSize("codec state", 0, 0, 0x50),
        PartSize("link", 0x10, 0, 0),
        PartSize("TFLM", 0x30, 0x18, 0),
        PartSize("compiler's library", 0x08, 0, 0),
        PartSize("stack", 0, 0, 1024),
        PartSize("other", 0x08, 0x08, 0),
    )
    other = parts_of_map(MAP, NATIVE_ENGINE.map_rules, text_bytes=0x70, rodata_bytes=0x60, ram_bytes=0x50, stack=0)
    assert {part.part: part.text for part in other}["compiler's library"] == 0x38
