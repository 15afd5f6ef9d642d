"""What a board file may say: one YAML file a board in ``firmware/boards``, or a file of the user's."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from edgecodec.boards import cores
from edgecodec.errors import InputError
from edgecodec.files.resources import firmware_dir

_MAX_ADDRESS = 0xFFFFFFFF
_FLAG = r"^[a-z0-9][a-z0-9.+-]*$"
_KIND = r"^[a-z][a-z0-9_]*$"
_SCRIPT = r"^[A-Za-z0-9_.][A-Za-z0-9_./-]*\.cfg$"
_DEVICE = r"^[A-Za-z0-9_-]+$"
_PIN = r"^(P[A-K][0-9]{1,2}|P[0-3]\.[0-9]{2}|GP[0-9]{1,2})$"
_PORT_PINS = 32


def _check_line(text: str) -> str:
    """``text`` itself. Raises ValueError unless it is one line that prints as it is."""
    if not text.isprintable():
        raise ValueError("expected one line without control characters")
    return text


Line = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_check_line)]
"""Words for people."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Cpu(_Strict):
    """What the compiler is told about the CPU."""

    mcpu: str = Field(pattern=_FLAG)
    """Value of ``-mcpu``."""
    float_abi: Literal["soft", "softfp", "hard"]
    """Value of ``-mfloat-abi``."""
    fpu: str | None = Field(default=None, pattern=_FLAG)
    """Value of ``-mfpu``; null when ``-mcpu`` says it."""

    @property
    def flags(self) -> tuple[str, ...]:
        """Options of ``arm-none-eabi-gcc`` that choose the CPU."""
        flags = (f"-mcpu={self.mcpu}", "-mthumb", f"-mfloat-abi={self.float_abi}")
        return flags if self.fpu is None else (*flags, f"-mfpu={self.fpu}")

    @property
    def saves_floats(self) -> bool:
        """Whether there are floating-point registers for the program to use, which an exception saves."""
        return self.float_abi != "soft"


class Region(_Strict):
    """A piece of the memory map."""

    origin: int = Field(ge=0, le=_MAX_ADDRESS)
    """Address of the first byte."""
    length: int = Field(ge=1, le=_MAX_ADDRESS)
    """Size in bytes."""


class Memory(_Strict):
    """Where code and data go."""

    flash: Region
    """Memory that code and constants lie in; it starts with the vector table."""
    ram: Region
    """Memory that variables and stack lie in."""


class Uart(_Strict):
    """The UART that the link uses, 8N1."""

    kind: str = Field(pattern=_KIND)
    """Folder of ``firmware/port`` whose ``uart.c`` drives it."""
    base: int = Field(ge=0, le=_MAX_ADDRESS)
    """Address of its registers."""
    clock_hz: int = Field(ge=1, le=_MAX_ADDRESS)
    """Clock that the baud rate is divided from, in Hz."""
    baud: int = Field(ge=1200, le=12_000_000)
    """Rate of the link in bits a second."""
    rx_irq: int = Field(ge=0, le=479)
    """Interrupt number of "a byte has come", which ends the CPU's sleep."""


class Timer(_Strict):
    """The free-running counter that measures the codec."""

    kind: str = Field(pattern=_KIND)
    """Folder of ``firmware/port`` whose ``timer.c`` reads it."""
    base: int = Field(ge=0, le=_MAX_ADDRESS)
    """Address of its registers."""
    hz: int = Field(ge=1, le=_MAX_ADDRESS)
    """Nominal rate in ticks a second."""
    clock_hz: int | None = Field(default=None, ge=1, le=_MAX_ADDRESS)
    """Clock that the rate is divided from, in Hz; null when it is not divided."""
    counts: Literal["instructions", "cycles"]
    """What its ticks stand for: emulators know no cycles, and are calibrated at start-up."""


class Setup(_Strict):
    """What a chip needs before its UART works: clocks and pins."""

    kind: str = Field(pattern=_KIND)
    """Folder of ``firmware/port`` whose ``setup.c`` does it."""
    core_hz: int = Field(ge=1, le=_MAX_ADDRESS)
    """Clock of the core afterwards, in Hz."""
    tx: str = Field(pattern=_PIN)
    """Pin that the UART sends on, as the manual names it: ``PA2``, ``P0.06``, ``GP0``."""
    rx: str = Field(pattern=_PIN)
    """Pin that the UART receives on, as the manual names it: ``PA3``, ``P0.08``, ``GP1``."""
    function: int | None = Field(default=None, ge=0, le=31)
    """Number of the UART among the pins' functions; null where pins have none."""

    @property
    def pins(self) -> dict[str, tuple[int, int]]:
        """Port and bit of each pin: ``{"tx": (0, 2), "rx": (0, 3)}`` for PA2 and PA3."""
        return {"tx": _port_and_bit(self.tx), "rx": _port_and_bit(self.rx)}

    @field_validator("tx", "rx", mode="after")
    @classmethod
    def _has_bit(cls, pin: str) -> str:
        if _port_and_bit(pin)[1] >= (16 if pin[1].isalpha() and pin[0] == "P" else _PORT_PINS):
            raise ValueError("no port has as many pins")
        return pin


def _port_and_bit(pin: str) -> tuple[int, int]:
    if pin.startswith("GP"):
        return 0, int(pin[2:])
    if "." in pin:
        return int(pin[1]), int(pin[3:])
    return ord(pin[1]) - ord("A"), int(pin[2:])


class PyocdTarget(_Strict):
    """How pyOCD flashes the board."""

    target: str = Field(pattern=_FLAG)
    """Value of ``--target``."""
    pack: bool = False
    """Whether pyOCD knows the target only once ``pyocd pack install`` has fetched its vendor's pack."""


class OpenocdScripts(_Strict):
    """How OpenOCD flashes the board."""

    scripts: tuple[Annotated[str, Field(pattern=_SCRIPT)], ...] = Field(min_length=1, strict=False)
    """Values of ``-f``: scripts that come with OpenOCD, or a path."""


class JlinkDevice(_Strict):
    """How J-Link Commander flashes the board."""

    device: str = Field(pattern=_DEVICE)
    """Value of ``-Device``."""


class Uf2Volume(_Strict):
    """How the board flashes itself from a file copied to the drive it shows."""

    family: int = Field(ge=0, le=_MAX_ADDRESS)
    """Family ID in the file's blocks."""
    board_id: str = Field(pattern=_DEVICE)
    """``Board-ID`` in the drive's INFO_UF2.TXT."""


class Flashing(_Strict):
    """The ways of flashing the board: a key for each tool of :data:`edgecodec.device.flash.TOOLS`, by its name."""

    pyocd: PyocdTarget | None = None
    """What pyOCD needs to know; null when it does not flash the board."""
    openocd: OpenocdScripts | None = None
    """What OpenOCD needs to know; null when it does not flash the board."""
    jlink: JlinkDevice | None = None
    """What J-Link Commander needs to know; null when it does not flash the board."""
    uf2: Uf2Volume | None = None
    """What is known of the drive that the board shows; null when it shows none."""

    @model_validator(mode="after")
    def _has_a_way(self) -> Flashing:
        if not self.methods:
            raise ValueError(f"expected one of {', '.join(type(self).model_fields)}")
        return self

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the tools that flash the board, in the order of the keys."""
        return tuple(name for name in type(self).model_fields if getattr(self, name) is not None)


class UsbId(_Strict):
    """A USB device that carries the board's serial port."""

    vid: int = Field(ge=1, le=0xFFFF)
    """USB vendor ID."""
    pid: int = Field(ge=0, le=0xFFFF)
    """USB product ID."""
    name: Line
    """What the device is called."""


class EmulatorInfo(_Strict):
    """How QEMU emulates the board."""

    machine: str = Field(pattern=_FLAG)
    """Value of ``-M``."""
    args: tuple[str, ...] = Field(default=(), strict=False)
    """Further options of ``qemu-system-arm``; from a file of the user's only those that run nothing, without trust."""
    serial: int = Field(default=0, ge=0, le=7)
    """Which of the machine's serial ports is the board's UART."""
    timer: Timer | None = None
    """The counter to use instead of the board's, where QEMU has no such one; null where it has."""
    ram_bytes: int | None = Field(default=None, ge=1, le=_MAX_ADDRESS)
    """RAM of the machine in bytes, when it has less than the board; null otherwise."""
    stands_in: Line | None = None
    """What the machine shares with the board and what not; null when it is the board."""


class Board(_Strict):
    """A board. The file's keys are these fields."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")
    """What ``--board`` takes."""
    description: Line
    """The board's full name and what is special about it."""
    core: str
    """Name of the core, such as ``cortex-m4``: one of ``edgecodec.boards.cores.CORES``."""
    cpu: Cpu
    """What the compiler is told about the CPU."""
    memory: Memory
    """Where code and data go."""
    stack_bytes: int = Field(ge=256, multiple_of=8)
    """RAM kept for the stack, in bytes."""
    uart: Uart
    """The UART that the link uses."""
    timer: Timer
    """The counter that measures the codec."""
    setup: Setup | None = None
    """Clocks and pins that must be set up; null when the UART works after reset, as on emulated boards."""
    window: int = Field(ge=1, le=64)
    """Requests the host may have in flight; 1 where the UART would lose bytes while the CPU is busy."""
    flash: Flashing | None = None
    """The ways of flashing the board; null when only the emulated board exists."""
    usb: tuple[UsbId, ...] = Field(default=(), strict=False)
    """The USB devices whose serial ports are the board's."""
    emulator: EmulatorInfo | None = None
    """How QEMU emulates the board; null when only the real board exists."""
    sources: tuple[Line, ...] = Field(min_length=1, strict=False)
    """Where the figures come from."""

    @property
    def is_real(self) -> bool:
        """Whether there is a board to flash."""
        return self.flash is not None

    def emulated(self) -> Board:
        """The board as its emulator is: with the emulator's counter and RAM, where these are others."""
        if self.emulator is None:
            return self
        ram = self.memory.ram.model_copy(update={"length": self.emulator.ram_bytes or self.memory.ram.length})
        memory = self.memory.model_copy(update={"ram": ram})
        return self.model_copy(update={"timer": self.emulator.timer or self.timer, "memory": memory})

    def with_baud(self, baud: int | None) -> Board:
        """The board with ``baud`` as the rate of its link, in bits a second; None leaves the rate as it is.

        Raises InputError for a rate that the UART cannot be set to.
        """
        if baud is None:
            return self
        if not 1200 <= baud <= self.uart.clock_hz // 16:
            raise InputError(
                f"{baud} baud is not possible on {self.name}: expected 1200 to {self.uart.clock_hz // 16} "
                f"(a sixteenth of the UART's clock)"
            )
        return self.model_copy(update={"uart": self.uart.model_copy(update={"baud": baud})})

    @field_validator("core", mode="after")
    @classmethod
    def _is_known(cls, core: str) -> str:
        if core not in cores.CORES:
            raise ValueError(f"expected one of {', '.join(cores.CORES)}")
        return core

    @field_validator("uart", "timer", "setup", mode="after")
    @classmethod
    def _has_driver(cls, part: Uart | Timer | Setup | None) -> Uart | Timer | Setup | None:
        if part is None:
            return None
        source = f"{type(part).__name__.lower()}.c"
        families = sorted(path.parent.name for path in (firmware_dir() / "port").glob(f"*/{source}"))
        if part.kind not in families:
            raise ValueError(f"no port/{part.kind}/{source}; kind is one of {', '.join(families)}")
        return part
