"""Instructions of a packet on a Cortex-M4, by function, counted by QEMU: ``python -m tools.packet_counts BUNDLE``.

The C of a packet format runs over frames of indices on the emulated ``mps2-an386``, without firmware around it, and
what it writes is compared with the reference there. The instructions are counted at every address (``qemu_counts.c``).
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgecodec.boards import cores
from edgecodec.bundle import Bundle
from edgecodec.codec.reference import ReferenceExecutor
from edgecodec.compile.render import packet_files
from edgecodec.entropy.packet import PacketFormat
from edgecodec.files.resources import firmware_dir
from tools.qemu_counts import build_plugin, read_blocks, read_functions

CORE = "cortex-m4"
MACHINES = {
    # Instructions of Armv6-M are those of Armv7-M, and no machine with a Cortex-M0 has the memory.
    "cortex-m0": "mps2-an385",
    "cortex-m3": "mps2-an385",
    CORE: "mps2-an386",
    "cortex-m7": "mps2-an500",
    # Its instructions are a part of those of Armv8.1-M.
    "cortex-m33": "mps3-an547",
    "cortex-m55": "mps3-an547",
}
"""QEMU's machine for each core. All have RAM at 0 and at :data:`_RAM`."""
FLAGS = ("-mthumb", "-std=c11", "-ffreestanding", "-ffunction-sections", "-fdata-sections")
_RAM = {"mps3-an547": 0x30000000}
_LINKER_SCRIPT = """
ENTRY(start)
SECTIONS {{
  .text 0x00000000 : {{ KEEP(*(.vectors)) *(.text*) *(.rodata*) }}
  .data {ram:#x} : {{ *(.data*) *(.bss*) *(COMMON) }}
}}
stack_top = {ram:#x} + 0x20000;
"""
VECTORS = """
extern const uint32_t stack_top;
/* Floating point and vectors are off until allowed (CPACR). */
__attribute__((naked)) void boot(void) {
#if defined(__ARM_FEATURE_MVE)
  __asm volatile("ldr r0, =0xE000ED88; ldr r1, [r0]; orr r1, r1, #0xF00000; str r1, [r0]; dsb; isb; b start");
#else
  __asm volatile("ldr r0, =start; bx r0");
#endif
}
__attribute__((section(".vectors"), used)) static const void *const vectors[2] = {&stack_top, boot};
"""
_MAIN = """
#include "edc_packet_model.h"
#include "frames.h"
static int32_t state[EDC_PACKET_STATE_WORDS];
static uint8_t out[EDC_PACKET_BYTES_MAX];
__attribute__((noinline)) void mark(void) { __asm volatile("nop"); }
__attribute__((noinline)) void right(void) { __asm volatile("nop"); }
__attribute__((noinline)) void start(void) {
  for (uint32_t i = 0; i < FRAMES; i++) {
    const edc_packet_frame frame = {
      .indices = indices[i], .spread = spreads[i], .offset = offsets[i], .levels = LEVELS, .sequence = (uint8_t)i};
    mark();
    const uint32_t size = edc_packet_write(&edc_packet_model, state, &frame, out);
    mark();
    uint32_t same = size == sizes[i];
    for (uint32_t at = 0; at < size; at++) same &= out[at] == packets[i][at];
    if (same) right();
    mark();
  }
  mark();
  for (;;) {}
}
"""


@dataclass(frozen=True)
class PacketCounts:
    """What packets took."""

    frames: list[Counter[str]]
    """Instructions of each frame's packet, by function."""


def count(
    packets: PacketFormat,
    indices: npt.NDArray[np.uint16],
    offsets: npt.NDArray[np.int32],
    spreads: npt.NDArray[np.uint64],
    optimize: str = "-O2",
) -> PacketCounts:
    """Count frames' indices ``[N, P, L]``. Raises AssertionError when a packet is not the reference's."""
    frames = list(zip(indices, offsets.tolist(), spreads.tolist(), strict=True))
    expected = [packets.encode(row, o, s, number) for number, (row, o, s) in enumerate(frames)]
    header = _frames(indices, offsets, spreads, expected)
    files = packet_files(packets) | {"main.c": _MAIN + VECTORS, "frames.h": header}
    found = count_between_marks(files, 3 * len(frames) + 1, optimize)
    packets_of = [found[3 * number + 1] for number in range(len(frames))]
    for number in range(len(frames)):
        assert found[3 * number + 2]["right"], f"packet {number} differs on the emulated core"
    for counter in packets_of:
        for function in ("start", "mark"):
            counter.pop(function, None)
    return PacketCounts(packets_of)


def count_between_marks(files: Mapping[str, str], marks: int, optimize: str, core: str = CORE) -> list[Counter[str]]:
    """Instructions of a program before the first call of its function ``mark`` and between the others, by function.

    ``files`` are all of its C, file name to text, with ``start`` and :data:`VECTORS`; it ends by waiting for ever.
    """
    machine = MACHINES[core]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        more = {
            "link.ld": _LINKER_SCRIPT.format(ram=_RAM.get(machine, 0x20000000)),
            "memory.c": (firmware_dir() / "port" / "cortex_m" / "memory.c").read_text(encoding="utf-8"),
        }
        files = {**files, **more}
        for file, text in files.items():
            (folder / file).write_text(text, encoding="utf-8")
        sources = sorted(file for file in files if file.endswith(".c"))
        options = [
            f"-mcpu={core}",
            *(("-mfloat-abi=hard",) if cores.has_vectors(core) else ()),
            *FLAGS,
            optimize,
            "-fno-tree-loop-distribute-patterns",
            "-nostdlib",
            "-T",
            "link.ld",
            "-Wl,--gc-sections",
        ]
        elf = folder / "program.elf"
        subprocess.run(["arm-none-eabi-gcc", *options, *sources, "-lgcc", "-o", elf], cwd=folder, check=True)
        functions = read_functions(elf)
        mark = next(address for address, function in functions if function == "mark")
        plugin = f"{build_plugin(folder)},out={folder / 'counts'},mark={mark:x}"
        command = ["qemu-system-arm", "-M", machine, "-nographic", "-monitor", "none", "-serial", "none"]
        process = subprocess.Popen([*command, "-kernel", str(elf), "-plugin", plugin])
        try:
            blocks = _wait(folder / "counts", marks, process)
        finally:
            process.kill()
            process.wait()
        return read_blocks(folder / "counts", functions)[:blocks]


def _wait(path: Path, blocks: int, process: subprocess.Popen[bytes]) -> int:
    """Wait until ``blocks`` marks have run."""
    while process.poll() is None:
        if path.exists() and path.read_text().count("=\n") >= blocks:
            return blocks
        time.sleep(0.2)
    raise RuntimeError("QEMU ended early")


def _frames(
    indices: npt.NDArray[np.uint16],
    offsets: npt.NDArray[np.int32],
    spreads: npt.NDArray[np.uint64],
    expected: list[bytes],
) -> str:
    longest = max(map(len, expected))

    def rows(values: list[list[int]]) -> str:
        return ",\n".join("{" + ", ".join(map(str, row)) + "}" for row in values)

    frames, positions, levels = indices.shape
    return f"""
enum {{ FRAMES = {frames}, LEVELS = {levels} }};
static const uint16_t indices[FRAMES][{positions * levels}] = {{ {rows(indices.reshape(frames, -1).tolist())} }};
static const int32_t offsets[FRAMES] = {{ {", ".join(map(str, offsets.tolist()))} }};
static const uint64_t spreads[FRAMES] = {{ {", ".join(f"{value}u" for value in spreads.tolist())} }};
static const uint32_t sizes[FRAMES] = {{ {", ".join(str(len(packet)) for packet in expected)} }};
static const uint8_t packets[FRAMES][{longest}] = {{ {rows([list(packet) for packet in expected])} }};
"""


def main() -> None:
    """Print the instructions of a bundle's frames' packets, by function."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--optimize", default="-O2")
    options = parser.parse_args()
    bundle = Bundle.load(options.bundle)
    packets, frames = bundle.packets(), bundle.frames()
    if packets is None or frames is None:
        parser.error(f"{options.bundle} has no packets, or ships no frames")
    stages = ReferenceExecutor(bundle.codec).stages(frames[:16])
    assert stages.offset is not None
    assert stages.spread is not None
    counts = count(packets, stages.indices, stages.offset, stages.spread, options.optimize)
    totals = [frame.total() for frame in counts.frames]
    print(f"{len(totals)} frames: {min(totals):,} to {max(totals):,} instructions, {np.mean(totals):,.0f} on average")
    for function, instructions in sum(counts.frames, Counter()).most_common():
        print(f"    {function:28} {instructions / len(totals):12,.0f}")


if __name__ == "__main__":
    main()
