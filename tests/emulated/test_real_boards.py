"""Boards of hardware, without hardware: their images, the tools that flash them, and their code in emulators."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

from edgecodec.boards.load import list_boards, load_board
from edgecodec.boards.schema import Board
from edgecodec.bundle import Bundle
from edgecodec.codec.reference import ReferenceExecutor
from edgecodec.device.connect import Attachment, connected
from edgecodec.device.flash import flash, plan_flash
from edgecodec.errors import DeviceError
from edgecodec.firmware.build import cached_firmware
from edgecodec.firmware.limits import SizeLimitError
from edgecodec.firmware.project import make_project
from edgecodec.firmware.report import Firmware
from edgecodec.firmware.symbols import function_at
from edgecodec.link.client import BoardExecutor
from edgecodec.link.protocol import (
    FLUSH,
    HelloReply,
    Message,
    MessageReader,
    ReadBack,
    encode_request,
    hello_request,
    parse_encode,
    parse_hello,
)
from edgecodec.verify.run import verify_board
from tests import tools
from tests.emulated.register_models import Chip, Machine, Nrf52, Rp2040, Stm32, Stm32F1, Stm32F4, Stm32V2

pytestmark = pytest.mark.emulated
REAL = [board.name for board in list_boards() if board.is_real]
STAND_INS = [board.name for board in list_boards() if board.is_real and board.emulator is not None]
CHIPS: dict[str, Callable[[], Rp2040 | Nrf52 | Stm32]] = {
    "nrf52832-dk": Nrf52,
    "nrf52840-dk": Nrf52,
    "nucleo-f103rb": Stm32F1,
    "nucleo-f401re": Stm32F4,
    "nucleo-f411re": Stm32F4,
    "nucleo-f446re": Stm32F4,
    "pico": Rp2040,
}
RP2040_BOOT_RAM = 0x20041F00


def connected_to(
    bundle: Bundle, board: Board, attachment: Attachment
) -> AbstractContextManager[tuple[BoardExecutor, Firmware | None]]:
    """The board, with firmware made for it as ``attachment`` reaches it."""
    return connected(make_project(bundle, attachment.checked(board)), attachment)


@pytest.mark.parametrize("name", REAL)
def test_image_starts_where_the_core_looks(bundle: Bundle, name: str) -> None:
    board = load_board(name)
    flash_region, ram = board.memory.flash, board.memory.ram
    with cached_firmware(make_project(bundle, board)).elf.open("rb") as file:
        segments = [s for s in ELFFile(file).iter_segments("PT_LOAD") if s["p_filesz"]]
        loaded = {segment["p_paddr"]: segment.data() for segment in segments}
    assert min(loaded) == flash_region.origin
    assert all(address + len(data) <= flash_region.origin + flash_region.length for address, data in loaded.items())
    image = loaded[flash_region.origin]
    vectors = image[256:] if name == "pico" else image
    stack, *handlers = struct.unpack("<16I", vectors[:64])
    assert stack % 8 == 0
    assert stack - board.stack_bytes == ram.origin
    assert all(handler & 1 and flash_region.origin < handler for handler in handlers if handler)
    assert handlers[0]


def crc32_of_the_rp2040(data: bytes) -> int:
    """RP2040 Datasheet, 2.8.1.3.1: polynomial 0x04C11DB7, from all ones, neither reflected nor inverted."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc >> 31 else crc << 1) & 0xFFFFFFFF
    return crc


def test_boot_rom_of_the_rp2040_takes_the_image(bundle: Bundle) -> None:
    assert crc32_of_the_rp2040(b"123456789") == 0x0376E6E7, "the published check value of this CRC (CRC-32/MPEG-2)"
    folder = cached_firmware(make_project(bundle, load_board("pico"))).folder
    image = (folder / "firmware.bin").read_bytes()
    assert crc32_of_the_rp2040(image[:252]) == struct.unpack("<I", image[252:256])[0]
    blocks = (folder / "firmware.uf2").read_bytes()
    pairs = [
        (struct.unpack("<I", blocks[at + 12 : at + 16])[0], blocks[at + 32 : at + 288])
        for at in range(0, len(blocks), 512)
    ]
    assert [address for address, _ in pairs] == [0x10000000 + 256 * i for i in range(len(pairs))]
    assert b"".join(data for _, data in pairs).rstrip(b"\0") == image.rstrip(b"\0")


def machine_of(bundle: Bundle, board: Board, chip: Chip) -> Machine:
    machine = Machine(board, cached_firmware(make_project(bundle, board)).elf, chip)
    boot(machine, board)
    return machine


def boot(machine: Machine, board: Board) -> None:
    """Reset, and run until the firmware sleeps."""
    machine.reset(board.memory.flash.origin)
    if isinstance(machine.chip, Rp2040):
        machine.write_memory(RP2040_BOOT_RAM, machine.read_memory(board.memory.flash.origin, 256))
        machine.start_at(RP2040_BOOT_RAM)
    machine.run()


def board_and_chip(name: str) -> tuple[Board, Rp2040 | Nrf52 | Stm32]:
    """A board and its model; ``stm32v2`` is none that is shipped: a later USART on a Nucleo."""
    if name != "stm32v2":
        return load_board(name), CHIPS[name]()
    board = load_board("nucleo-f446re")
    return board.model_copy(update={"uart": board.uart.model_copy(update={"kind": name})}), Stm32V2()


def answers(machine: Machine, request: bytes) -> list[Message]:
    machine.chip.sent.clear()
    machine.chip.received.extend(FLUSH + request)
    machine.run()
    return [m for m in MessageReader(1 << 16).feed(bytes(machine.chip.sent)) if isinstance(m, Message)]


@pytest.mark.parametrize("name", CHIPS)
def test_from_reset_to_indices_on_modelled_registers(bundle: Bundle, name: str) -> None:
    board = load_board(name)
    model = CHIPS[name]()
    machine = machine_of(bundle, board, model)
    assert board.setup is not None
    assert model.core_hz() == board.setup.core_hz == board.timer.hz
    assert model.baud() == pytest.approx(board.uart.baud, rel=0.005)
    (hello,) = answers(machine, hello_request(0))
    said: HelloReply = parse_hello(hello.payload)
    assert (said.board, said.digest, said.counts_cycles, said.window) == (name, bundle.digest, True, 1)
    want = ReferenceExecutor(bundle.codec).stages(bundle.frames()[:3])
    for number, frame in enumerate(bundle.frames()[:3]):
        read_back = ReadBack.INPUT | ReadBack.LATENT
        (reply,) = answers(machine, encode_request(number + 1, read_back, frame))
        got = parse_encode(reply.payload, said.digest, said.shape, read_back)
        np.testing.assert_array_equal(got.stages["indices"], want.indices[number])
        np.testing.assert_array_equal(got.stages["latent"], want.latent[number])
        assert min(got.ticks) > 0


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("pico", {"tx": "GP4"}),
        ("pico", {"function": 3}),
        ("nucleo-f446re", {"tx": "PA9"}),
        ("nucleo-f446re", {"rx": "PB3"}),
        ("nucleo-f446re", {"function": 8}),
        ("nucleo-f103rb", {"tx": "PA9"}),
        ("nrf52840-dk", {"rx": "P1.08"}),
    ],
)
def test_model_sends_nothing_over_wrong_pins(bundle: Bundle, name: str, wrong: dict[str, object]) -> None:
    """The models can fail: firmware that connects other pins is silent."""
    board = load_board(name)
    assert board.setup is not None
    broken = board.model_copy(update={"setup": board.setup.model_copy(update=wrong)})
    machine = machine_of(bundle, broken, CHIPS[name]())
    assert answers(machine, hello_request(0)) == []
    assert machine.chip.sent == b""


@pytest.mark.parametrize("name", STAND_INS)
def test_stand_in_runs_the_firmware(bundle: Bundle, name: str) -> None:
    """The Nucleo's USART and the nRF51 as QEMU has them; clocks and pins do nothing there."""
    x = bundle.frames()[:8]
    result = verify_board(bundle, load_board(name), x, attachment=Attachment(emulate=True))
    assert result.exit_code == 0
    assert result.run is not None
    assert result.run.board == name
    assert (result.run.instructions_per_frame or 0) > bundle.codec.graph.macs
    assert result.indices_compared == x.shape[0] * bundle.codec.positions * bundle.codec.levels


def test_cycle_counter_that_stands_still_is_told(bundle: Bundle) -> None:
    """QEMU has no DWT: the very firmware of the board runs there, and its ticks say 0."""
    board = load_board("nucleo-f446re")
    assert board.emulator is not None
    exact = board.model_copy(update={"emulator": board.emulator.model_copy(update={"timer": None})})
    with connected_to(bundle, exact, Attachment(emulate=True)) as (executor, _):
        got = executor.stages(bundle.frames()[:2])
        assert executor.costs is not None
        assert (executor.costs.unit, executor.costs.total) == ("cycles", 0)
    np.testing.assert_array_equal(got.indices, ReferenceExecutor(bundle.codec).stages(bundle.frames()[:2]).indices)


def test_other_rate_is_built_in(bundle: Bundle) -> None:
    with connected_to(bundle, load_board("nucleo-f446re"), Attachment(emulate=True, baud=57600)) as (
        executor,
        firmware,
    ):
        executor.stages(bundle.frames()[:1])
    assert firmware is not None
    header = (firmware.folder / "edc_board.h").read_text(encoding="utf-8")
    assert "#define EDC_UART_BAUD 57600u" in header


def test_stand_in_with_less_memory(codec: Bundle) -> None:
    """The board has room for the codec, its stand-in has not."""
    board = load_board("nucleo-f103rb")
    assert board.emulator is not None
    smaller = board.model_copy(update={"emulator": board.emulator.model_copy(update={"ram_bytes": 4096})})
    assert cached_firmware(make_project(codec, smaller)).report.ram_bytes > 4096
    with (
        pytest.raises(SizeLimitError, match=r"nucleo-f103rb: it needs [4-9],[0-9]{3} bytes of RAM, 4,096 are there"),
        connected_to(codec, smaller, Attachment(emulate=True)),
    ):
        pass


@pytest.mark.parametrize("name", REAL)
def test_pyocd_knows_target_and_memory(bundle: Bundle, name: str) -> None:
    """Built-in targets by their memory map; of the others, that they are none of pyOCD's own."""
    tools.require("module:pyocd")
    board = load_board(name)
    assert board.flash is not None
    assert board.flash.pyocd is not None
    script = """
import json, sys
from pyocd.target import builtin
from pyocd.core.memory_map import MemoryType
targets = {name: [(r.start, r.end) for r in cls.MEMORY_MAP if r.type in (MemoryType.FLASH, MemoryType.RAM)]
           for name, cls in builtin.BUILTIN_TARGETS.items() if name == sys.argv[1]}
print(json.dumps(targets))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, board.flash.pyocd.target], capture_output=True, text=True, check=True
    )
    regions = json.loads(done.stdout)
    assert (regions == {}) == board.flash.pyocd.pack
    for first, last in [] if board.flash.pyocd.pack else [span(board, "flash"), span(board, "ram")]:
        assert any(start <= first and last <= end for start, end in regions[board.flash.pyocd.target])


def span(board: Board, name: str) -> tuple[int, int]:
    region = getattr(board.memory, name)
    return region.origin, region.origin + region.length - 1


TOOLS = {"openocd": "openocd", "pyocd": "module:pyocd"}
NO_PROBE = {
    "openocd": "open failed|No J-Link device|matching CMSIS-DAP",
    "pyocd": "No connected debug probes|No target device",
}
"""What the tools say when nothing but the probe is missing."""


@pytest.mark.parametrize(
    ("name", "method"),
    [*((name, "openocd") for name in REAL), ("nrf52840-dk", "pyocd"), ("pico", "pyocd"), ("microbit-v1", "pyocd")],
)
def test_whole_command_up_to_the_probe(bundle: Bundle, name: str, method: str) -> None:
    tools.require(TOOLS[method])
    plan = plan_flash(load_board(name), cached_firmware(make_project(bundle, load_board(name))).folder, method=method)
    with pytest.raises(DeviceError, match=rf"{method} could not .*({NO_PROBE[method]})"):
        flash(plan)


@pytest.mark.parametrize("name", ["nucleo-f446re", "nrf52840-dk", "pico"])
def test_openocd_takes_the_image(bundle: Bundle, name: str) -> None:
    """Written to a flash that OpenOCD only pretends to have, at the board's address and of its size."""
    tools.require("openocd")
    board = load_board(name)
    firmware = cached_firmware(make_project(bundle, board))
    region = board.memory.flash
    commands = (
        "adapter driver dummy",
        "transport select jtag",
        "jtag newtap t tap -irlen 4",
        "target create t.cpu testee -chain-position t.tap",
        f"flash bank f faux {region.origin:#x} {region.length:#x} 0 0 t.cpu",
        "init",
        "flash write_image firmware.elf",
        "shutdown",
    )
    words = [word for command in commands for word in ("-c", command)]
    done = subprocess.run(
        ["openocd", *words], cwd=firmware.folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"wrote {firmware.report.flash_bytes} bytes from file firmware.elf" in done.stderr


NEVER_READY = [
    *((name, Nrf52.CLOCK + 0x100) for name in ("nrf52832-dk", "nrf52840-dk")),
    *(("pico", register) for register in (Rp2040.XOSC + 4, Rp2040.CLOCKS + 0x38, Rp2040.CLOCKS + 0x44, Rp2040.PLL)),
    ("pico", Rp2040.RESETS + 8),
]


@pytest.mark.parametrize(("name", "register"), NEVER_READY)
def test_clock_that_never_gets_ready_restarts_the_board(bundle: Bundle, name: str, register: int) -> None:
    """And HELLO names its register, once it does get ready."""
    board, chip = load_board(name), CHIPS[name]()
    chip.never_ready.add(register)
    machine = machine_of(bundle, board, chip)
    assert machine.restarts == 1
    chip.never_ready.clear()
    boot(machine, board)
    (hello,) = answers(machine, hello_request(0))
    fault = parse_hello(hello.payload).fault
    assert fault is not None
    assert (fault.exception, fault.address) == (256, register)
    found = function_at(cached_firmware(make_project(bundle, board)).elf, fault.pc)
    assert found in {"edc_port_init", "edc_chip_setup", "start_clocks", "release", "choose_source", "main"}
    assert f"register {register:#010x} did not become ready" in fault.describe(lambda _: None)


@pytest.mark.parametrize("name", ["nrf52840-dk", "nucleo-f103rb", "nucleo-f446re", "stm32v2", "pico"])
def test_uart_that_takes_no_byte_is_given_up(bundle: Bundle, name: str) -> None:
    """The answer is lost, the board goes on: when the UART takes bytes again, the next request is answered."""
    board, chip = board_and_chip(name)
    machine = machine_of(bundle, board, chip)
    if isinstance(chip, Nrf52):
        chip.never_ready.add(chip.UART + 0x11C)
    chip.tx_is_stuck = True
    assert answers(machine, hello_request(0)) == []
    assert len(chip.sent) <= 1
    chip.never_ready.clear()
    chip.tx_is_stuck = False
    (reply,) = answers(machine, hello_request(1))
    assert parse_hello(reply.payload).board == board.name


def test_counter_that_stands_is_read(bundle: Bundle) -> None:
    machine = machine_of(bundle, load_board("pico"), Rp2040())
    machine.systick_stands = True
    (hello,) = answers(machine, hello_request(0))
    said = parse_hello(hello.payload)
    (reply,) = answers(machine, encode_request(1, ReadBack.NONE, bundle.frames()[0]))
    assert parse_encode(reply.payload, said.digest, said.shape, ReadBack.NONE).ticks == (0, 0, 0)


@pytest.mark.parametrize("name", [*CHIPS, "stm32v2"])
def test_fault_on_modelled_registers(bundle: Bundle, name: str) -> None:
    """For the chips that QEMU has not: what the handler reads and asks for, and what the next start makes of it."""
    board, chip = board_and_chip(name)
    machine = machine_of(bundle, board, chip)
    place = machine.fault()
    machine.system |= {0xE000ED28: 0x8200, 0xE000ED2C: 0x40000000, 0xE000ED38: 0xA0000000}
    machine.run()
    assert machine.restarts == 1
    boot(machine, board)
    (hello,) = answers(machine, hello_request(0))
    fault = parse_hello(hello.payload).fault
    assert fault is not None
    assert (fault.exception, fault.pc, fault.xpsr) == (3, place, 0x01000000)
    status = (0, 0, 0) if name == "pico" else (0x8200, 0x40000000, 0xA0000000)
    assert (fault.cfsr, fault.hfsr, fault.address) == status
    boot(machine, board)
    (hello,) = answers(machine, hello_request(0))
    assert parse_hello(hello.payload).fault is None, "a reset of another cause"


@pytest.mark.parametrize("name", CHIPS)
def test_start_up_sets_the_vector_table(bundle: Bundle, name: str) -> None:
    machine = machine_of(bundle, load_board(name), CHIPS[name]())
    assert machine.system[0xE000ED08] == load_board(name).memory.flash.origin + (256 if name == "pico" else 0)


@pytest.mark.parametrize("name", ["nucleo-f103rb", "nucleo-f446re", "stm32v2"])
@pytest.mark.parametrize("with_byte", [False, True])
def test_overrun_does_not_keep_the_core_awake(bundle: Bundle, name: str, with_byte: bool) -> None:
    """A lost byte asks for the interrupt until its flag is cleared, whether or not another byte has come."""
    board, chip = board_and_chip(name)
    machine = machine_of(bundle, board, chip)
    chip.overruns = 1
    chip.received.extend(b"\0" if with_byte else b"")
    machine.run()
    assert chip.overruns == 0
    (hello,) = answers(machine, hello_request(0))
    assert parse_hello(hello.payload).board == board.name


def test_later_usart_from_reset_to_indices(bundle: Bundle) -> None:
    board, chip = board_and_chip("stm32v2")
    machine = machine_of(bundle, board, chip)
    assert isinstance(chip, Stm32V2)
    assert chip.baud() == pytest.approx(board.uart.baud, rel=0.005)
    (hello,) = answers(machine, hello_request(0))
    said = parse_hello(hello.payload)
    frame = bundle.frames()[0]
    (reply,) = answers(machine, encode_request(1, ReadBack.NONE, frame))
    got = parse_encode(reply.payload, said.digest, said.shape, ReadBack.NONE)
    np.testing.assert_array_equal(got.stages["indices"], ReferenceExecutor(bundle.codec).stages(frame[None]).indices[0])


def test_cycle_counter_behind_a_lock_counts(bundle: Bundle) -> None:
    """As on a Cortex-M7, whose counter takes no write after reset."""
    board = load_board("nucleo-f446re")
    machine = Machine(board, cached_firmware(make_project(bundle, board)).elf, Stm32F4())
    machine.dwt_is_locked = True
    boot(machine, board)
    (hello,) = answers(machine, hello_request(0))
    said = parse_hello(hello.payload)
    (reply,) = answers(machine, encode_request(1, ReadBack.NONE, bundle.frames()[0]))
    assert min(parse_encode(reply.payload, said.digest, said.shape, ReadBack.NONE).ticks) > 0


@pytest.mark.parametrize(
    ("part", "revision", "uicr", "written"),
    [
        (0x06, 6, 0x5A, None),
        (0x06, 7, 0xFFFFFF5A, 0xFFFFFF5A),
        (0x06, 7, 0xFFFFFFFF, 0xFFFFFFFF),
        (0x0D, 1, 0x5A, None),
        (0x0D, 2, 0x5A, 0x5A),
        (0x08, 4, 0x5A, None),
        (0x08, 5, 0x5A, 0x5A),
        (0x08, 6, 0x00, 0x00),
        (0x99, 9, 0x5A, None),
    ],
)
def test_debug_port_of_the_nrf52_stays_as_uicr_has_it(
    bundle: Bundle, part: int, revision: int, uicr: int, written: int | None
) -> None:
    """Nordic's configuration 249: nRF52832 from revision 7 on, nRF52833 from 2, nRF52840 from 5."""
    chip = Nrf52()
    chip.registers |= {chip.PART: part, chip.PART + 4: revision, chip.APPROTECT: uicr}
    machine_of(bundle, load_board("nrf52840-dk"), chip)
    assert chip.registers.get(chip.APPROTECT_DISABLE) == written
