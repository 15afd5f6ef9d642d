"""Instructions of each function in each part of a codec, counted by QEMU: ``python tools/qemu_counts.py BUNDLE``.

Where ``edgecodec profile`` asks the firmware's timer, this counts the instructions at every address
(``qemu_counts.c``), so it tells functions apart and judges the timer.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile

from edgecodec.boards.load import load_board
from edgecodec.boards.schema import Board
from edgecodec.bundle import Bundle
from edgecodec.codec.arrays import Frames
from edgecodec.compile.library import OPTIMIZE_FLAGS
from edgecodec.compile.target import DEFAULT_OPTIMIZE
from edgecodec.device.emulator import Emulator
from edgecodec.firmware.build import cached_firmware
from edgecodec.firmware.project import make_project, plan_for
from edgecodec.link.client import BoardExecutor
from edgecodec.link.costs import LayerCosts

SOURCE = Path(__file__).with_suffix(".c")
MARK = "edc_port_ticks"
"""Called before and after each part."""
FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror", "-fPIC")
# QEMU gives the functions that stay undefined.
LINK_FLAGS = ("-bundle", "-undefined", "dynamic_lookup") if sys.platform == "darwin" else ("-shared",)


@dataclass(frozen=True)
class Counts:
    """Instructions of one frame, part by part: normaliser, layers, rvq, packet if the bundle has packets, reply."""

    parts: list[Counter[str]]
    """By function. Reading the counter is not in it."""
    timed: LayerCosts
    """What the firmware said of the same frame."""


def build_plugin(folder: Path) -> Path:
    """Compile the plug-in into ``folder``."""
    plugin = folder / "qemu_counts.so"
    subprocess.run(["cc", *FLAGS, *LINK_FLAGS, SOURCE, "-o", plugin], check=True)
    return plugin


def count(bundle: Bundle, board: Board, frame: Frames, *, optimize: str = DEFAULT_OPTIMIZE) -> Counts:
    """Count one frame int16 ``[1, T]``."""
    assert board.emulator is not None
    project = make_project(bundle, board, optimize=optimize)
    elf, has_packets = cached_firmware(project).elf, bundle.packets() is not None
    functions = read_functions(elf)
    mark = next(address for address, name in functions if name == MARK)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        options = f"{build_plugin(folder)},out={folder / 'counts'},mark={mark:x}"
        emulator = board.emulator.model_copy(update={"args": (*board.emulator.args, "-plugin", options)})
        with (
            Emulator(board.model_copy(update={"emulator": emulator}), elf) as running,
            BoardExecutor(bundle, running.url) as executor,
        ):
            executor.stages(frame, want=("layers", "packet") if has_packets else ("layers",))
            timed = executor.layer_costs
        blocks = read_blocks(folder / "counts", functions)
    assert timed is not None
    return Counts(parts_of(blocks, [call.layer for call in project.plan.calls], has_packets=has_packets), timed)


def read_functions(elf: Path) -> list[tuple[int, str]]:
    """Start and name of each function, by address; what the compiler adds to a copy's name (``.isra.0``) left out."""
    with elf.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        symbols = [symbol for symbol in table.iter_symbols() if symbol["st_info"]["type"] == "STT_FUNC"]
    return sorted((symbol["st_value"] & ~1, symbol.name.partition(".")[0]) for symbol in symbols)


def read_blocks(path: Path, functions: list[tuple[int, str]]) -> list[Counter[str]]:
    """Instructions by function before each mark."""
    starts = [address for address, _ in functions]
    blocks, block = [], Counter[str]()
    for line in path.read_text().splitlines():
        if line == "=":
            blocks.append(block)
            block = Counter()
            continue
        address, instructions = line.split()
        block[functions[bisect_right(starts, int(address, 16)) - 1][1]] += int(instructions)
    return blocks


def parts_of(blocks: list[Counter[str]], calls: list[int], *, has_packets: bool) -> list[Counter[str]]:
    """The blocks that lie within a part, of the last frame; ``calls`` are the layers in the order in which they run.

    It looks at the counter before and after normaliser, encoder, nothing and each call within the encoder, rvq, packet
    if there is one, reply and nothing; what the look costs is taken off as the firmware's own figures have it.
    """
    within = [None, None, *(look for layer in calls for look in (None, layer))]
    packet = (None, "packet") if has_packets else ()
    looks = ["normaliser", None, *within, None, None, "rvq", *packet, None, "reply", None, "nothing"]
    last = blocks[-len(looks) :]
    empty = last[-1].total()
    found: dict[str | int, Counter[str]] = {part: Counter() for part in ["normaliser", *sorted(set(calls))]}
    for name, block in zip(looks, last, strict=True):
        if name is not None and name != "nothing":
            part = found.setdefault(name, Counter())
            part.update(block)
            part["(looking at the counter)"] -= empty
    return list(found.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--board", default="mps2-an386")
    parser.add_argument("--optimize", default=DEFAULT_OPTIMIZE, choices=OPTIMIZE_FLAGS)
    options = parser.parse_args()
    if shutil.which("cc") is None:
        parser.error("no C compiler (cc)")
    bundle, board = Bundle.load(options.bundle), load_board(options.board)
    frames = bundle.frames()
    if frames is None:
        parser.error(f"{options.bundle} ships no frames")
    counts = count(bundle, board, frames[:1], optimize=options.optimize)
    names = [step.layer.name for step in plan_for(bundle, board, options.optimize).steps]
    names = ["normaliser", *names, "rvq", *(["packet"] if bundle.packets() is not None else []), "reply"]
    for name, part, cost in zip(names, counts.parts, counts.timed.parts, strict=True):
        print(f"{name:40} {part.total():12,}   timer {cost:14,.0f}")
        for function, instructions in part.most_common():
            print(f"    {function:36} {instructions:12,}")


if __name__ == "__main__":
    main()
