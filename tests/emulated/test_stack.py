"""Worst-case stack of small programs whose frames and calls are known."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from edgecodec.boards.load import list_boards, load_board
from edgecodec.bundle import Bundle
from edgecodec.firmware.build import cached_firmware
from edgecodec.firmware.project import make_project
from edgecodec.firmware.stack import StackUse, measure_stack

pytestmark = pytest.mark.emulated

HEAD = """
#define KEEP __attribute__((noinline, noclone, used))
void take(char *bytes);
KEEP void take(char *bytes) { bytes[0] = 1; __asm volatile("" ::: "memory"); }
void edc_reset(void);
"""
VECTORS = """
void edc_fault(void);
KEEP void edc_fault(void) { for (;;) {} }
__attribute__((section(".text.vectors"), used)) static void (*const vectors[])(void) = {0, edc_reset, edc_fault, %s};
"""


def measure(folder: Path, source: str, *flags: str, usage: bool = True) -> StackUse:
    """Compile and link ``source`` for a Cortex-M4 without floating point."""
    (folder / "a.c").write_text(HEAD + source)
    command = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-O2", "-ffreestanding", "-nostdlib", *flags]
    command += ["-Wl,-e,edc_reset", "-Wl,-Ttext=0", "-fstack-usage", "a.c", "-lgcc", "-o", "a.elf"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    objdump = shutil.which("arm-none-eabi-objdump")
    assert objdump is not None
    files = folder.glob("*.su") if usage else []
    return measure_stack(folder / "a.elf", files, Path(objdump), saves_floats=False)


CHAIN = """
KEEP static void inner(void) { char b[96]; take(b); take(b + 1); }
KEEP static void outer(void) { char b[192]; take(b); inner(); take(b + 1); }
void edc_reset(void) { outer(); for (;;) {} }
"""


@pytest.mark.parametrize("usage", [True, False])
def test_frames_of_the_deepest_calls_add_up(tmp_path: Path, usage: bool) -> None:
    """With the compiler's own figures, and from the instructions alone."""
    found = measure(tmp_path, CHAIN, usage=usage)
    # 96 and 192 bytes, and the return address with one register more to keep 8-byte alignment; reset keeps one pair.
    assert found.path[:3] == ("edc_reset", "outer", "inner")
    assert found.bytes == (96 + 8) + (192 + 8) + 8
    assert (found.codec_bytes, found.exception_bytes, found.unknown) == (0, 36, None)


def test_tail_calls_count(tmp_path: Path) -> None:
    source = """
KEEP static void last(void) { char b[320]; take(b); take(b + 1); }
KEEP void first(void);
KEEP void first(void) { last(); }
void edc_reset(void) { first(); for (;;) {} }
"""
    found = measure(tmp_path, source)
    assert found.path[-3:-1] == ("first", "last") or found.path[-2:] == ("first", "last")
    assert found.bytes is not None
    assert 320 <= found.bytes <= 320 + 24


def test_an_exception_lies_on_top(tmp_path: Path) -> None:
    handler = """
void edc_tick(void);
KEEP void edc_tick(void) { char b[64]; take(b); take(b + 1); }
"""
    without = measure(tmp_path, CHAIN + VECTORS % "edc_fault")
    found = measure(tmp_path, CHAIN + handler + VECTORS % "edc_tick")
    assert without.bytes == 312
    assert found.bytes == 312 + 36 + 64 + 8


@pytest.mark.parametrize(
    ("source", "unknown"),
    [
        (
            "KEEP int down(int n); int down(int n) { char b[64]; take(b); return n ? down(n - 1) + b[0] : 0; }\n"
            "void edc_reset(void) { volatile int n = 3; n = down(n); for (;;) {} }",
            "down calls itself",
        ),
        (
            "void (*volatile pointer)(void); KEEP void through(void); void through(void) { pointer(); pointer(); }\n"
            "void edc_reset(void) { through(); for (;;) {} }",
            "through calls through a pointer",
        ),
        (
            "KEEP void grow(int n); void grow(int n) { char b[n]; take(b); }\n"
            "void edc_reset(void) { volatile int n = 3; grow(n); for (;;) {} }",
            "the frame of grow changes its size",
        ),
    ],
)
@pytest.mark.parametrize("usage", [True, False])
def test_what_cannot_be_known_is_said(tmp_path: Path, source: str, unknown: str, usage: bool) -> None:
    found = measure(tmp_path, source, usage=usage)
    assert (found.bytes, found.unknown) == (None, unknown)


FIRMWARES = [(board.name, optimize) for board in list_boards() for optimize in ("speed", "flash") if board.emulator]


@pytest.mark.parametrize(("name", "optimize"), FIRMWARES)
def test_stack_of_every_firmware_is_known(codec: Bundle, name: str, optimize: str) -> None:
    use = cached_firmware(make_project(codec, load_board(name), optimize=optimize)).report.stack_use
    assert use.unknown is None
    assert use.codec_bytes is not None
    assert use.bytes is not None
    assert 100 < use.codec_bytes < use.bytes <= 1024
    assert use.path[0] == "edc_reset"
