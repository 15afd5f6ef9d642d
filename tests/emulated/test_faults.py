"""Firmware that faults on an emulated board: it restarts, and the host says where it was."""

from __future__ import annotations

import json
import re
import socket
import struct
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from edgecodec.boards.load import load_board
from edgecodec.boards.schema import Board
from edgecodec.bundle import Bundle
from edgecodec.codec.numerics import INT8, INT16X8, Numerics
from edgecodec.device.emulator import Emulator
from edgecodec.errors import DeviceError
from edgecodec.firmware.build import cached_firmware
from edgecodec.firmware.project import FirmwareProject, make_project
from edgecodec.firmware.symbols import function_at
from edgecodec.link import client
from edgecodec.link.client import BoardExecutor
from edgecodec.link.protocol import Fault
from edgecodec.verify import run as verify_run

pytestmark = pytest.mark.emulated

WITHOUT_STATUS = {"microbit"}
BOARDS = ["microbit", "mps2-an385", "mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547", "netduinoplus2"]
ENDS_BELOW_RAM = ["microbit", "stm32vldiscovery", "netduinoplus2", "mps2-an505", "mps3-an547"]
"""Boards with nothing below their RAM; the other emulated MPS2 boards take what is written there and forget it."""
FORGIVING = {"microbit"}
"""Boards that QEMU lets access what is not there without a fault; a jump there faults by its address alone."""
STORE, UNDEFINED, JUMP, OVERFLOW = 32001, 32002, 32003, 32004
UNMAPPED = 0xFB000000
POISON = """
void poison(int16_t kind);
void sink(volatile uint8_t *bytes, int16_t depth);
__attribute__((noinline, noclone)) void sink(volatile uint8_t *bytes, int16_t depth) {
  volatile uint8_t more[64];
  more[0] = bytes[0];
  if (depth != 0) {
    sink(more, depth);
  }
  bytes[0] = more[0];
}
__attribute__((noinline, noclone)) void poison(int16_t kind) {
  if (kind == 32001) {
    *(volatile uint32_t *)0xFB000000u = 1;
    __asm volatile("dsb");
  }
  if (kind == 32002) {
    __builtin_trap();
  }
  if (kind == 32003) {
#if __ARM_ARCH == 6
    ((void (*)(void))0xFB000100u)(); /* no Thumb code */
#else
    ((void (*)(void))0xFB000101u)();
#endif
  }
  if (kind == 32004) {
    volatile uint8_t first[4] = {0};
    sink(first, 1);
  }
}

static void answer_encode(void) {
  poison(request.encode.frame[0]);
"""


def poisoned(bundle: Bundle, board: Board | str) -> FirmwareProject:
    """Firmware that faults at frames whose first sample is one of the numbers above, in its function ``poison``."""
    project = make_project(bundle, load_board(board) if isinstance(board, str) else board)
    server = project.files["link/edc_server.c"]
    edited = server.replace("static void answer_encode(void) {\n", POISON, 1)
    assert edited != server
    return replace(project, files={**project.files, "link/edc_server.c": edited})


def fault_of(project: FirmwareProject, kind: int) -> tuple[Fault, str]:
    """Fault that the board's HELLO tells after a poisoned frame, and what the host says of it."""
    firmware = cached_firmware(project)
    frames = project.bundle.frames()[:3].copy()
    frames[1, 0] = kind
    names = partial(function_at, firmware.elf)
    with Emulator(project.board, firmware.elf) as emulator:
        board = BoardExecutor(project.bundle, emulator.url, reply_timeout_s=1.0, function_at=names)
        with board:
            assert board.hello.fault is None
            with pytest.raises(DeviceError) as during:
                board.stages(frames)
        again = BoardExecutor(project.bundle, emulator.url, function_at=names)
        with pytest.raises(DeviceError) as later, again:
            pass
    # The board that has restarted may have answered the frame behind.
    assert re.fullmatch(r"after [12] of 3 frames: " + re.escape(str(later.value)), str(during.value))
    assert again.hello.fault is not None
    return again.hello.fault, str(later.value)


@pytest.mark.parametrize("name", [name for name in BOARDS if name not in FORGIVING])
def test_store_to_nowhere(bundle: Bundle, name: str) -> None:
    fault, message = fault_of(poisoned(bundle, name), STORE)
    assert fault.exception == 3
    assert f"the board restarted after a HardFault at PC {fault.pc:#010x} (poison), LR {fault.lr & ~1:#010x}" in message
    assert fault.hfsr >> 30 & 1, "escalated"
    assert fault.cfsr >> 8 & 0xFF in (0x82, 0x02, 0x04)
    assert "[PRECISERR, address 0xfb000000]" in message
    assert fault.address == UNMAPPED


@pytest.mark.parametrize(
    ("name", "numerics"),
    [*((name, INT8) for name in BOARDS), ("mps2-an386", INT16X8)],
    ids=lambda value: getattr(value, "name", value),
)
def test_instruction_that_is_none(bundles: Mapping[Numerics, Bundle], name: str, numerics: Numerics) -> None:
    fault, message = fault_of(poisoned(bundles[numerics], name), UNDEFINED)
    assert (fault.exception, fault.address) == (3, 0)
    assert f"the board restarted after a HardFault at PC {fault.pc:#010x} (poison), LR 0x" in message
    if name in WITHOUT_STATUS:
        assert (fault.cfsr, fault.hfsr) == (0, 0)
    assert ("[UNDEFINSTR]" in message) == (name not in WITHOUT_STATUS)


@pytest.mark.parametrize("name", BOARDS)
def test_jump_to_nowhere(bundle: Bundle, name: str) -> None:
    """PC is where there is no function; LR names the one that called."""
    fault, message = fault_of(poisoned(bundle, name), JUMP)
    assert (fault.exception, fault.pc) == (3, 0xFB000100)
    assert "at PC 0xfb000100, LR 0x" in message


@pytest.mark.parametrize("name", ENDS_BELOW_RAM)
def test_stack_that_overflows(bundle: Bundle, name: str) -> None:
    """It grows out of RAM, so that neither the function's own store nor the CPU's of its registers has a place."""
    fault, message = fault_of(poisoned(bundle, name), OVERFLOW)
    assert (fault.exception, fault.pc, fault.lr, fault.xpsr) == (3, 0, 0, 0)
    assert "the board restarted after a HardFault with its stack overflowed" in message
    assert ("STKERR" in message) == (name not in WITHOUT_STATUS)


def test_board_that_was_reset_since_says_nothing(bundle: Bundle) -> None:
    """Whoever resets the board has seen it, and firmware that is flashed next did not fault."""
    project = poisoned(bundle, "mps2-an386")
    board = project.board
    assert board.emulator is not None
    with tempfile.TemporaryDirectory() as folder:
        control = f"{folder}/qmp"
        emulator = board.emulator.model_copy(update={"args": ("-qmp", f"unix:{control},server=on,wait=off")})
        frames = bundle.frames()[:1].copy()
        frames[0, 0] = UNDEFINED
        with Emulator(board.model_copy(update={"emulator": emulator}), cached_firmware(project).elf) as running:
            with (
                BoardExecutor(bundle, running.url, reply_timeout_s=1.0) as executor,
                pytest.raises(DeviceError, match="restarted after a HardFault"),
            ):
                executor.stages(frames)
            with socket.socket(socket.AF_UNIX) as link:
                link.connect(control)
                stream = link.makefile("rw")
                stream.readline()
                for command in ("qmp_capabilities", "system_reset"):
                    stream.write(json.dumps({"execute": command}) + "\n")
                    stream.flush()
                    while "return" not in json.loads(stream.readline()):
                        pass
            with BoardExecutor(bundle, running.url) as executor:
                assert executor.hello.fault is None
                executor.stages(bundle.frames()[:1])


def test_verification_ends_with_one_line(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``flash-and-verify`` prints it, with the function's name from the firmware that it built."""
    made = poisoned(bundle, "mps2-an386")
    monkeypatch.setattr(verify_run, "make_project", lambda *arguments, **options: made)
    monkeypatch.setattr(client, "_RESTART_S", 0.5)
    frames = bundle.frames()[:2].copy()
    frames[1, 0] = STORE
    with pytest.raises(DeviceError) as caught:
        verify_run.verify_board(bundle, load_board("mps2-an386"), frames)
    assert re.fullmatch(
        r"after 1 of 2 frames: port socket://\S+: the board restarted after a HardFault at PC 0x[0-9a-f]{8} "
        r"\(poison\), LR 0x[0-9a-f]{8} \(\w+\) \[PRECISERR, address 0xfb000000\]; reset it to go on; .*",
        str(caught.value),
    )


VECTORS_AT = 0x8000


def test_vector_table_is_found_behind_a_boot_loader(bundle: Bundle, tmp_path: Path) -> None:
    """VTOR is still at the boot loader's table, which says nothing of faults; so that SysTick counts, too."""
    board = load_board("mps2-an386")
    assert board.emulator is not None
    flash = board.memory.flash.model_copy(update={"origin": VECTORS_AT})
    moved = board.model_copy(update={"memory": board.memory.model_copy(update={"flash": flash})})
    firmware = cached_firmware(poisoned(bundle, moved))
    with firmware.elf.open("rb") as file:
        entry = ELFFile(file).header["e_entry"]
    loader = tmp_path / "loader.bin"
    loader.write_bytes(struct.pack("<16I", 0x20001000, entry | 1, *[0] * 14))
    args = ("-device", f"loader,addr=0,file={loader},force-raw=on")
    emulator = board.emulator.model_copy(update={"args": args})
    frames = bundle.frames()[:2].copy()
    frames[1, 0] = STORE
    with (
        Emulator(moved.model_copy(update={"emulator": emulator}), firmware.elf) as running,
        BoardExecutor(bundle, running.url, reply_timeout_s=1.0) as executor,
        pytest.raises(DeviceError, match="restarted after a HardFault"),
    ):
        executor.stages(frames)
