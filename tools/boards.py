"""``make boards``: one codec on every board, by the whole of ``flash-and-verify``; writes ``docs/boards.md``.

Emulated boards run it; real boards run it on the emulator that stands in for them, or are built and no more, which
the table says. Further codecs (NAME=BUNDLE) are built for the smallest boards, to say which fit.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from edgecodec.boards.load import list_boards, load_board
from edgecodec.boards.schema import Board
from edgecodec.bundle import Bundle
from edgecodec.device.connect import Attachment
from edgecodec.firmware.build import cached_firmware
from edgecodec.firmware.limits import SizeLimitError
from edgecodec.firmware.project import make_project
from edgecodec.firmware.report import BuildReport
from edgecodec.verify.run import VerifyResult, verify_board
from tools.bench import table

ROOT = Path(__file__).resolve().parent.parent
SMALLEST = ("stm32vldiscovery", "microbit", "nucleo-f103rb")
GOALS = ("speed", "balanced", "flash")


@dataclass(frozen=True)
class Row:
    """A board and what ran on it."""

    board: Board
    optimize: str
    """The first of speed, balanced and flash that fits."""
    report: BuildReport
    result: VerifyResult | None
    """None when nothing can run it here."""
    real: tuple[str, BuildReport] | None
    """Of a real board: what is put on it, and how it was optimised; its emulator may have less memory."""


def fitting(bundle: Bundle, board: Board) -> tuple[str, BuildReport] | SizeLimitError:
    """The first goal whose firmware fits, or why the last does not."""
    problem = None
    for optimize in GOALS:
        try:
            return optimize, cached_firmware(make_project(bundle, board, optimize=optimize)).report
        except SizeLimitError as error:
            problem = error
    assert problem is not None
    return problem


def run(bundle: Bundle, board: Board, count: int) -> Row:
    emulated = board.emulated()
    found = fitting(bundle, emulated)
    if isinstance(found, SizeLimitError):
        raise SystemExit(f"{board.name}: {found}")
    optimize, report = found
    result = None
    if board.emulator is not None:
        frames = bundle.frames()
        assert frames is not None
        attachment = Attachment(emulate=board.is_real)
        result = verify_board(bundle, board, frames[:count], attachment=attachment, optimize=optimize)
        mismatches = sum(pair.mismatches for pair in result.comparison.pairs)
        print(f"{board.name:18} {optimize:9} {result.frames} frames, {mismatches} mismatches", file=sys.stderr)
    real = fitting(bundle, board) if board.is_real else None
    return Row(board, optimize, report, result, real if isinstance(real, tuple) else None)


def board_cells(row: Row) -> list[str]:
    board = row.board
    optimize, shown = row.real or (row.optimize, row.report)
    cells = [
        f"`{board.name}`",
        board.core,
        f"{shown.flash_bytes:,} of {board.memory.flash.length:,}",
        f"{shown.ram_bytes:,} of {board.memory.ram.length:,}",
        f"{shown.stack_use.bytes:,}" if shown.stack_use.bytes is not None else "not known",
        optimize if optimize == row.optimize else f"{optimize}, run with {row.optimize}",
    ]
    if row.result is None or row.result.run is None:
        return [*cells, "-", "-", "-", "-", "built only"]
    pairs = row.result.comparison.pairs
    where = "its own machine" if board.emulator and not board.emulator.stands_in else f"`{machine(board)}`"
    return [
        *cells,
        f"{(row.result.run.instructions_per_frame or 0) / 1e6:.2f} M",
        f"{row.result.frames:,}",
        f"{row.result.indices_compared:,}",
        str(sum(pair.mismatches for pair in pairs)),
        where,
    ]


def machine(board: Board) -> str:
    assert board.emulator is not None
    return board.emulator.machine


def fit_cells(name: str, bundle: Bundle, board: Board) -> list[str]:
    found = fitting(bundle, board)
    if isinstance(found, SizeLimitError):
        return [name, f"`{board.name}`", "no", str(found).partition("it needs ")[2].partition(";")[0]]
    optimize, report = found
    return [name, f"`{board.name}`", optimize, f"{report.ram_bytes:,} of {board.memory.ram.length:,} bytes of RAM"]


def document(bundle: Bundle, rows: list[Row], codecs: dict[str, Bundle]) -> str:
    head = ["board", "core", "flash", "RAM", "stack", "`--optimize`", "instructions a frame", "frames", "indices"]
    boards = table([*head, "mismatches", "run on"], [board_cells(row) for row in rows])
    small = [load_board(name) for name in SMALLEST]
    fits = table(
        ["codec", "board", "fits with `--optimize`", "takes"],
        [fit_cells(name, codec, board) for board in small for name, codec in codecs.items()],
    )
    codec = bundle.codec
    shape = f"T {codec.samples}, P {codec.positions}, D {codec.rvq.dimension}"
    return f"""# Boards

Written by `make boards`: the whole of `flash-and-verify` with one codec ({shape}, codebooks
{list(codec.rvq.codebook_sizes)}, {codec.graph.macs:,} MAC in the encoder). Each board's inputs, latents and indices
are compared with the C on the host, the numpy reference and TensorFlow Lite Micro; *mismatches* are over all pairs
and stages, *indices* are those of one executor.

No board of hardware has been run. `microbit-v1` and the Nucleo boards ran on the QEMU machine that is named, with the
counter of that machine in place of their own; `built only` are boards of families that QEMU has not: tests run their
firmware against models of their registers, from reset to answered frames (`tests/emulated/test_real_boards.py`).
Bytes are the whole firmware's, server and link included; *stack* is the worst case of the compiler's call graph.
Instructions are QEMU's count, which knows no wait states, caches or dual issue.

{boards}
## What fits the smallest boards

The first of `--optimize speed`, `balanced` and `flash` that fits; `make boards CODECS="NAME=BUNDLE ..."` names codecs.

{fits}"""


def codec_of(text: str) -> tuple[str, Bundle]:
    name, equals, path = text.partition("=")
    if not equals:
        raise SystemExit(f"{text}: expected NAME=BUNDLE")
    return name, Bundle.load(Path(path))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path, help="a bundle with frames, as `make demo` makes")
    parser.add_argument("codecs", nargs="*", metavar="NAME=BUNDLE", help="codecs to fit on the smallest boards")
    parser.add_argument("--frames", type=int, default=100, help="how many each board runs")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "boards.md")
    options = parser.parse_args()
    bundle = Bundle.load(options.bundle)
    codecs = dict(map(codec_of, options.codecs)) or {"demo": bundle}
    rows = [run(bundle, board, options.frames) for board in list_boards()]
    options.output.write_text(document(bundle, rows, codecs), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
