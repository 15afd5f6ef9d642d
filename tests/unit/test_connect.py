"""Which port is a board's, and which goals contradict each other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from edgecodec.boards.load import load_board
from edgecodec.bundle import Bundle
from edgecodec.device import connect
from edgecodec.device.connect import Attachment, find_port
from edgecodec.device.ports import PortInfo
from edgecodec.errors import DeviceError, EdgecodecError, InputError, LinkError
from edgecodec.firmware.project import make_project
from tests import tools

CONSOLE = PortInfo("/dev/ttyS0", "n/a", "n/a")
FIRST = PortInfo("/dev/ttyACM0", "STM32 STLink", "USB", 0x0483, 0x374B, "066AFF01")
SECOND = PortInfo("/dev/ttyACM1", "STM32 STLink", "USB", 0x0483, 0x374B, "066AFF02")
MICROBIT = PortInfo("/dev/ttyACM2", "DAPLink", "USB", 0x0D28, 0x0204, None)


def test_port_by_usb_id() -> None:
    assert find_port(load_board("nucleo-f446re"), None, [CONSOLE, MICROBIT, FIRST]) == FIRST
    assert find_port(load_board("microbit-v1"), None, [CONSOLE, MICROBIT, FIRST]) == MICROBIT


def test_port_by_serial_number() -> None:
    nucleo = load_board("nucleo-f446re")
    assert find_port(nucleo, "066aff02", [FIRST, SECOND]) == SECOND
    with pytest.raises(
        DeviceError, match=r"several ports may be nucleo-f446re: /dev/ttyACM0 \(serial number 066AFF01\)"
    ):
        find_port(nucleo, None, [FIRST, SECOND])
    with pytest.raises(DeviceError, match=r"with serial number 07; ports here: /dev/ttyACM0, /dev/ttyACM1"):
        find_port(nucleo, "07", [FIRST, SECOND])


def test_nothing_plugged_in() -> None:
    with pytest.raises(DeviceError, match=r"no pico found: .*Debug Probe \(2e8a:000c\).*ports here: none; plug it in"):
        find_port(load_board("pico"), None, [])
    with pytest.raises(DeviceError, match="names no USB device; pass --port"):
        find_port(load_board("mps2-an386"), None, [FIRST])


@pytest.mark.parametrize(
    ("board", "goals", "error", "message"),
    [
        ("mps2-an386", {"flash": False}, InputError, "name the --port"),
        ("mps2-an386", {"probe": "1"}, InputError, "nothing to flash"),
        ("mps2-an386", {"method": "openocd"}, InputError, "nothing to flash"),
        ("mps2-an386", {"baud": 2_000_000}, InputError, "2000000 baud is not possible .* expected 1200 to 1562500"),
        ("mps2-an386", {"baud": 0}, InputError, "0 baud"),
        ("nucleo-f446re", {"emulate": True, "port": "COM3"}, InputError, "--emulate .* takes no port"),
        ("nucleo-f446re", {"emulate": True, "flash": False}, InputError, "--emulate"),
        ("pico", {"emulate": True}, DeviceError, "no emulator"),
        ("pico", {"probe": ""}, InputError, "serial number is empty"),
    ],
)
def test_goals_that_contradict(board: str, goals: dict[str, Any], error: type[EdgecodecError], message: str) -> None:
    with pytest.raises(error, match=message):
        Attachment(**goals).checked(load_board(board))


def test_board_as_it_is_reached() -> None:
    nucleo = load_board("nucleo-f103rb")
    assert Attachment(baud=57600).checked(nucleo).uart.baud == 57600
    assert Attachment().checked(nucleo).timer.counts == "cycles"
    emulated = Attachment(emulate=True).checked(nucleo)
    assert (emulated.timer.counts, emulated.memory.ram.length) == ("instructions", 8192)
    assert not Attachment(port="COM3").emulates(load_board("mps2-an386"))
    assert Attachment().emulates(load_board("mps2-an386"))


def test_nothing_runs_without_a_port_or_a_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    nucleo = load_board("nucleo-f446re")
    monkeypatch.setattr(connect, "list_ports", lambda: [FIRST])
    with pytest.raises(LinkError, match="port /dev/nosuch: no such port"):
        connect.check(nucleo, Attachment(port="/dev/nosuch", flash=False))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DeviceError, match="cannot be flashed by openocd"):
        connect.check(nucleo, Attachment(method="openocd"))
    connect.check(nucleo, Attachment(flash=False))
    monkeypatch.setattr(connect, "list_ports", lambda: [FIRST, SECOND])
    with pytest.raises(DeviceError, match="several ports"):
        connect.check(nucleo)


def test_the_probe_beside_the_port_is_flashed(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With two boards plugged in and one of their ports named, its own probe is told to the tool."""
    tools.require("arm-none-eabi-gcc")
    (tmp_path / "openocd").write_text("#!/bin/sh\n", encoding="utf-8")
    (tmp_path / "openocd").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(connect, "list_ports", lambda: [FIRST, SECOND])
    monkeypatch.setattr(os.path, "exists", lambda path: True)
    goals = Attachment(port=SECOND.device, method="openocd")
    lines = connect.describe(make_project(bundle, load_board("nucleo-f446re")), goals)
    assert "adapter serial {066AFF02}" in lines[1]
    assert lines[2] == f"# then frames at 115200 baud over port {SECOND.device}"


def test_a_project_for_the_board_as_it_is_not_reached(bundle: Bundle) -> None:
    """A real board's firmware counts its own cycles; the emulator that stands in for it has no such counter."""
    with pytest.raises(InputError, match="project is for board nucleo-f446re with other RAM, counter or rate"):
        connect.describe(make_project(bundle, load_board("nucleo-f446re")), Attachment(emulate=True))
