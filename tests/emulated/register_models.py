"""Models of the registers that firmware of real boards touches, for chips that QEMU has not.

Each model does what its manual says and no more: a clock that was not started never becomes stable, a UART whose
pins, reset or clock were forgotten sends nothing. Firmware runs on Unicorn from the reset vector, on the RP2040
from what its ROM does with the first 256 bytes of flash.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from elftools.elf.elffile import ELFFile
from unicorn import UC_ARCH_ARM, UC_HOOK_CODE, UC_MODE_MCLASS, UC_MODE_THUMB, Uc
from unicorn.arm_const import (
    UC_ARM_REG_IPSR,
    UC_ARM_REG_LR,
    UC_ARM_REG_MSP,
    UC_ARM_REG_PC,
    UC_ARM_REG_SP,
    UC_CPU_ARM_CORTEX_M0,
    UC_CPU_ARM_CORTEX_M3,
    UC_CPU_ARM_CORTEX_M4,
)

from edgecodec.boards.schema import Board

_CPUS = {
    "cortex-m0": UC_CPU_ARM_CORTEX_M0,
    "cortex-m0plus": UC_CPU_ARM_CORTEX_M0,
    "cortex-m3": UC_CPU_ARM_CORTEX_M3,
    "cortex-m4": UC_CPU_ARM_CORTEX_M4,
}
_PAGE = 0x1000
_WFI = b"\x30\xbf"
_DEBUG_CONTROL = 0xE000EDFC
_DWT = 0xE0001000
_AIRCR = 0xE000ED0C
_RESET_REQUEST = 0x05FA0004
_EDC_FAULT = "edc_fault"
_MAX_RUNS = 20_000
_RUN_US = 5_000_000
"""Between two sleeps; the model of a chip takes a fraction of a second for a small codec's frame."""


class Chip:
    """Peripherals as registers of a dictionary; subclasses say what reading and writing does beside."""

    spaces: tuple[tuple[int, int], ...] = ()

    def __init__(self) -> None:
        self.never_ready: set[int] = set()
        """Addresses of registers that read as 0 for ever: what they tell does not come to pass."""
        self.tx_is_stuck = False
        """Whether the UART has room for no byte, for ever."""
        self.overruns = 0
        """Bytes that were lost since the firmware last cleared the flag that says so."""
        self.registers: dict[int, int] = {}
        self.received: deque[int] = deque()
        """Bytes on their way to the firmware."""
        self.sent = bytearray()

    def look(self, address: int) -> int:
        """What the firmware reads."""
        return 0 if address in self.never_ready else self.read(address)

    @property
    def interrupts(self) -> bool:
        """Whether the UART asks for the core, so that it does not sleep."""
        return bool(self.received)

    def read(self, address: int) -> int:
        return self.registers.get(address, 0)

    def write(self, address: int, value: int) -> None:
        self.registers[address] = value


class Rp2040(Chip):
    """RP2040 Datasheet: 2.14 resets, 2.15 clocks, 2.16 XOSC, 2.18 PLL, 2.19 GPIO, 4.2 UART, 4.10 SSI."""

    spaces = ((0x18000000, _PAGE), (0x40000000, 0x80000))
    RESETS, XOSC, PLL, CLOCKS, UART, IO = 0x4000C000, 0x40024000, 0x40028000, 0x40008000, 0x40034000, 0x40014000

    def __init__(self) -> None:
        super().__init__()
        self.registers[self.RESETS] = 0x01FFFFFF
        self.registers[self.PLL + 4] = 0x2D

    def write(self, address: int, value: int) -> None:
        register, alias = address & ~0x3000, address & 0x3000
        if register >> 28 != 4:
            register, alias = address, 0
        old = self.registers.get(register, 0)
        new = {0: value, 0x1000: old ^ value, 0x2000: old | value, 0x3000: old & ~value}[alias]
        self.registers[register] = new
        if register == self.UART and self._uart_runs():
            self.sent.append(value & 0xFF)

    def read(self, address: int) -> int:
        if address == self.RESETS + 8:
            return ~self.registers[self.RESETS] & 0x01FFFFFF
        if address == self.XOSC + 4:
            runs = self.registers.get(self.XOSC) == 0xFABAA0 and self.registers.get(self.XOSC + 0xC) == 47
            return 0x80000000 if runs else 0
        if address == self.PLL:
            powered = self.registers[self.PLL + 4] & 0x21 == 0 and self._released(12)
            return self.registers.get(self.PLL, 0) | (0x80000000 if powered else 0)
        if address in (self.CLOCKS + 0x38, self.CLOCKS + 0x44):
            return 1 << (self.registers.get(address - 8, 0) & 3)
        if address == self.UART + 0x18:
            return (0x20 if self.tx_is_stuck else 0x80) | (0 if self.received else 0x10)
        if address == self.UART:
            return self.received.popleft()
        return super().read(address)

    def core_hz(self) -> float:
        r = self.registers
        assert r[self.CLOCKS + 0x30] == 2, "the reference clock comes from the crystal"
        assert r[self.CLOCKS + 0x3C] == 1, "the system clock comes from the PLL"
        assert r[self.PLL + 4] & 0x29 == 0, "the PLL and its dividers have power"
        dividers = r[self.PLL + 0xC]
        return 12e6 * r[self.PLL + 8] / r[self.PLL] / (dividers >> 16 & 7) / (dividers >> 12 & 7)

    def baud(self) -> float:
        divider = self.registers[self.UART + 0x24] + self.registers[self.UART + 0x28] / 64
        return self.core_hz() / (16 * divider)

    def _released(self, bit: int) -> bool:
        return not self.registers[self.RESETS] >> bit & 1

    def _uart_runs(self) -> bool:
        r = self.registers
        pins = r.get(self.IO + 4) == 2 and r.get(self.IO + 12) == 2
        on = r.get(self.UART + 0x30) == 0x301 and r.get(self.CLOCKS + 0x48, 0) == 0x800
        return pins and on and all(self._released(bit) for bit in (5, 8, 22))


class Nrf52(Chip):
    """nRF52840 Product Specification: CLOCK, GPIO (two ports), UART."""

    spaces = ((0x40000000, 0x20000), (0x50000000, _PAGE), (0x10000000, 2 * _PAGE))
    CLOCK, UART, GPIO = 0x40000000, 0x40002000, 0x50000000
    PART, APPROTECT, APPROTECT_DISABLE = 0x10000130, 0x10001208, 0x40000558

    def write(self, address: int, value: int) -> None:
        super().write(address, value)
        if address == self.CLOCK and value == 1:
            self.registers[self.CLOCK + 0x100] = 1
        if address == self.UART + 0x51C and self._uart_runs():
            self.sent.append(value & 0xFF)
            self.registers[self.UART + 0x11C] = 1

    def read(self, address: int) -> int:
        if address == self.UART + 0x108:
            return int(bool(self.received))
        if address == self.UART + 0x518:
            return self.received.popleft()
        if address in (self.PART, self.PART + 4, self.APPROTECT):
            return self.registers.get(address, 0xFFFFFFFF)  # erased
        return super().read(address)

    def core_hz(self) -> float:
        assert self.registers[self.CLOCK + 0x100] == 1, "the crystal runs"
        return 64e6

    def baud(self) -> float:
        return self.registers[self.UART + 0x524] * 16e6 / 2**32

    def _uart_runs(self) -> bool:
        r = self.registers
        tx, rx = r.get(self.UART + 0x50C), r.get(self.UART + 0x514)
        if tx is None or rx is None:
            return False
        high = r.get(self.GPIO + 0x508, 0) >> tx & 1 and r.get(self.GPIO + 0x518, 0) >> tx & 1
        pulled = r.get(self.GPIO + 0x700 + 4 * rx) == 0xC
        started = r.get(self.UART) == 1 and r.get(self.UART + 8) == 1
        return bool(high and pulled and started and r.get(self.UART + 0x500) == 4)


class Stm32(Chip):
    """USART2 of STM32F1 and F4 (RM0008, RM0390); a peripheral without its clock takes no writes."""

    RCC = UART_ENABLE = GPIO_ENABLE = 0
    GPIO_BIT = 0
    GPIO, UART = 0, 0x40004400
    HZ = 0.0
    status_read = False

    def write(self, address: int, value: int) -> None:
        gated = (self.GPIO, self.GPIO_ENABLE, self.GPIO_BIT), (self.UART, self.UART_ENABLE, 17)
        for base, enable, bit in gated:
            if base <= address < base + 0x400 and not self.registers.get(enable, 0) >> bit & 1:
                return
        super().write(address, value)
        if address == self.UART + 4 and self.registers.get(self.UART + 0xC) == 0x202C and self.pins_are_connected():
            self.sent.append(value & 0xFF)

    def read(self, address: int) -> int:
        if address == self.UART:
            self.status_read = True
            return (0 if self.tx_is_stuck else 0x80) | (0x20 if self.received else 0) | (8 if self.overruns else 0)
        if address == self.UART + 4:
            # RM0390, USART_SR: a read of the status and then of the data clears an overrun.
            self.overruns = 0 if self.status_read else self.overruns
            self.status_read = False
            return self.received.popleft() if self.received else 0
        return super().read(address)

    @property
    def interrupts(self) -> bool:
        """RM0390, USART interrupt requests: RXNEIE enables those of RXNE and of ORE."""
        return bool(self.received or self.overruns)

    def core_hz(self) -> float:
        """After reset, which the firmware leaves as it is."""
        assert self.RCC not in self.registers, "no oscillator was touched"
        assert self.RCC + 4 not in self.registers
        return self.HZ

    def baud(self) -> float:
        return self.HZ / self.registers[self.UART + 8]

    def pins_are_connected(self) -> bool:
        raise NotImplementedError


class Stm32F4(Stm32):
    """RM0390: chapters on RCC, GPIO, USART."""

    spaces = ((0x40000000, 0x40000),)
    RCC, GPIO, HZ = 0x40023800, 0x40020000, 16e6
    UART_ENABLE, GPIO_ENABLE = RCC + 0x40, RCC + 0x30

    def pins_are_connected(self) -> bool:
        r = self.registers
        return (
            r[self.GPIO] & 0xF0 == 0xA0 and r[self.GPIO + 0x20] & 0xFF00 == 0x7700 and r[self.GPIO + 0xC] & 0xC0 == 0x40
        )


class Stm32V2(Stm32F4):
    """The USART of later STM32 (RM0385, chapter on USART) with the F4's clocks and pins."""

    def write(self, address: int, value: int) -> None:
        super().write(address, value)
        if address == self.UART + 0x20 and value & 8:
            self.overruns = 0
        if address == self.UART + 0x28 and self.registers.get(self.UART) == 0x2D and self.pins_are_connected():
            self.sent.append(value & 0xFF)

    def read(self, address: int) -> int:
        if address == self.UART + 0x1C:
            return (0 if self.tx_is_stuck else 0x80) | (0x20 if self.received else 0) | (8 if self.overruns else 0)
        if address == self.UART + 0x24:
            return self.received.popleft()
        return self.registers.get(address, 0)

    def baud(self) -> float:
        return self.HZ / self.registers[self.UART + 0xC]


class Stm32F1(Stm32):
    """RM0008: chapters on RCC, GPIO, USART."""

    spaces = ((0x40000000, 0x40000),)
    RCC, GPIO, HZ = 0x40021000, 0x40010800, 8e6
    UART_ENABLE, GPIO_ENABLE, GPIO_BIT = RCC + 0x1C, RCC + 0x18, 2

    def pins_are_connected(self) -> bool:
        r = self.registers
        return r[self.GPIO] & 0xFF00 == 0x8A00 and bool(r[self.GPIO + 0x10] >> 3 & 1)


class Machine:
    """A core with flash, RAM, a chip's registers and the system registers that our firmware uses."""

    def __init__(self, board: Board, elf: Path, chip: Chip) -> None:
        self.chip = chip
        self.cycles = 0
        self.dwt_is_locked = False
        """As that of a Cortex-M7 is after reset: it takes no write until it is unlocked."""
        self.systick_stands = False
        """Whether SysTick does not count, so that it stays at 0."""
        self.restarts = 0
        """Times that the firmware asked for a reset."""
        self.system: dict[int, int] = {}
        self._idle = False
        self._uc = Uc(UC_ARCH_ARM, UC_MODE_THUMB | UC_MODE_MCLASS)
        self._uc.ctl_set_cpu_model(_CPUS[board.core])
        for region in (board.memory.flash, board.memory.ram):
            self._uc.mem_map(region.origin, region.length)
        for start, size in chip.spaces:
            self._map(start, size, chip.look, chip.write)
        self._map(0xE0000000, 0x100000, self._read_system, self._write_system)
        with elf.open("rb") as file:
            image = ELFFile(file)
            for segment in image.iter_segments("PT_LOAD"):
                if segment["p_filesz"]:
                    self._uc.mem_write(segment["p_paddr"], segment.data())
            symbols = image.get_section_by_name(".symtab")
            (reader,) = symbols.get_symbol_by_name("edc_port_read")
            self._fault = symbols.get_symbol_by_name(_EDC_FAULT)[0]["st_value"]
        start = reader["st_value"] & ~1
        code = bytes(self._uc.mem_read(start, reader["st_size"]))
        sleep = start + code.index(_WFI)
        self._uc.hook_add(UC_HOOK_CODE, self._sleep, begin=sleep, end=sleep)

    def reset(self, vectors: int) -> None:
        """Start as the core does."""
        self._uc.reg_write(UC_ARM_REG_IPSR, 0)
        stack, entry = struct.unpack("<2I", self._uc.mem_read(vectors, 8))
        self._uc.reg_write(UC_ARM_REG_SP, stack)
        self._uc.reg_write(UC_ARM_REG_PC, entry | 1)

    def start_at(self, address: int) -> None:
        self._uc.reg_write(UC_ARM_REG_PC, address | 1)

    def read_memory(self, address: int, count: int) -> bytes:
        return bytes(self._uc.mem_read(address, count))

    def write_memory(self, address: int, data: bytes) -> None:
        page = address & ~(_PAGE - 1)
        if not any(start <= page <= end for start, end, _ in self._uc.mem_regions()):
            self._uc.mem_map(page, _PAGE)
        self._uc.mem_write(address, data)

    def fault(self) -> int:
        """HardFault where the firmware stands, as the core enters it; returns the address of that place."""
        place = self._uc.reg_read(UC_ARM_REG_PC)
        frame = (0, 1, 2, 3, 12, self._uc.reg_read(UC_ARM_REG_LR), place, 0x01000000)
        stack = self._uc.reg_read(UC_ARM_REG_SP) - 32 & ~7
        self._uc.mem_write(stack, struct.pack("<8I", *frame))
        self._uc.reg_write(UC_ARM_REG_MSP, stack)
        self._uc.reg_write(UC_ARM_REG_LR, 0xFFFFFFF9)
        self._uc.reg_write(UC_ARM_REG_IPSR, 3)
        self._uc.reg_write(UC_ARM_REG_PC, self._fault | 1)
        return int(place)

    def run(self) -> None:
        """Until the firmware sleeps with nothing left to receive, or restarts."""
        restarts = self.restarts
        for _ in range(_MAX_RUNS):
            self._idle = False
            self._uc.emu_start(self._uc.reg_read(UC_ARM_REG_PC) | 1, 0xFFFFFFFE, timeout=_RUN_US)
            if (self._idle and not self.chip.interrupts) or self.restarts > restarts:
                return
            if not self._idle:
                break
        raise AssertionError(f"the firmware does not come to rest (pc {self._uc.reg_read(UC_ARM_REG_PC):#x})")

    def _map(self, start: int, size: int, read: Callable[[int], int], write: Callable[[int, int], None]) -> None:
        def on_read(_: Any, offset: int, count: int, __: Any) -> int:
            assert count == 4, "registers are words"
            return read(start + offset)

        def on_write(_: Any, offset: int, count: int, value: int, __: Any) -> None:
            assert count == 4, "registers are words"
            write(start + offset, value)

        self._uc.mmio_map(start, size, on_read, None, on_write, None)

    def _read_system(self, address: int) -> int:
        if address == _DWT + 4:
            self.cycles += 100
            return self.cycles if self.system.get(_DWT, 0) & 1 and self.system.get(_DEBUG_CONTROL, 0) >> 24 else 0
        if address == 0xE000E018:
            if self.systick_stands:
                return 0
            self.cycles += 100
            return 0xFFFFFF - self.cycles % 0xFFFFFF
        return self.system.get(address, 0)

    def _write_system(self, address: int, value: int) -> None:
        if address == _DWT + 0xFB0:
            self.dwt_is_locked = self.dwt_is_locked and value != 0xC5ACCE55
        if _DWT <= address < _DWT + 0xFB0 and self.dwt_is_locked:
            return
        self.system[address] = value
        if address == _AIRCR and value == _RESET_REQUEST:
            self.restarts += 1
            self._uc.emu_stop()

    def _sleep(self, uc: Uc, address: int, size: int, _: Any) -> None:
        """WFI: a byte that waits wakes the core at once."""
        self._idle = True
        uc.reg_write(UC_ARM_REG_PC, (address + size) | 1)
        uc.emu_stop()
