"""Flashing: what is run for each board and tool, drives and UF2 files, and every way it can fail."""

from __future__ import annotations

import os
import struct
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path

import click
import pytest

from edgecodec import doctor
from edgecodec.boards.load import list_boards, load_board
from edgecodec.boards.schema import Board, Flashing
from edgecodec.cli import flash_and_verify
from edgecodec.device.flash import TOOLS, available_methods, flash, flash_tool, plan_flash
from edgecodec.device.flash import uf2 as uf2_tool
from edgecodec.device.flash.base import CommandPlan, FlashPlan, ProgramTool
from edgecodec.device.flash.openocd import OpenOcd
from edgecodec.device.flash.uf2 import CopyPlan, Uf2Drive
from edgecodec.errors import DeviceError, InputError
from edgecodec.firmware.uf2 import find_volumes, uf2_blocks

FOLDER = Path("/build")


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of fake tools, alone on the path; pyOCD is there, no drive is."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    pyocd = ModuleSpec("pyocd", None, origin="/site-packages/pyocd/__init__.py")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: pyocd if name == "pyocd" else None)
    monkeypatch.setattr(uf2_tool, "find_volumes", lambda board_id, candidates=None: [])
    return folder


def fake(folder: Path, name: str, script: str = "exit 0") -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)


def command_plan(board: Board, **wishes: str) -> CommandPlan:
    plan: FlashPlan = plan_flash(board, FOLDER, **wishes)
    assert isinstance(plan, CommandPlan)
    return plan


def test_a_tool_for_every_key_of_a_board() -> None:
    """The keys of board files, the order in which --flash-with offers the tools, and their names are the same."""
    assert [tool.name for tool in TOOLS] == list(Flashing.model_fields)
    assert len({tool.preference for tool in TOOLS}) == len(TOOLS)
    for board in list_boards():
        assert [tool.name for tool in TOOLS if tool.flashes(board)] == list(board.flash.methods if board.flash else ())
    with pytest.raises(InputError, match="no flash tool is called 'dfu'; expected one of pyocd, openocd, jlink, uf2"):
        flash_tool("dfu")


def test_the_command_line_offers_every_tool_and_doctor_looks_at_each_program() -> None:
    options = {option.name: option for option in flash_and_verify.command.params}
    choice = options["flash_with"].type
    assert isinstance(choice, click.Choice)
    assert list(choice.choices) == [tool.name for tool in TOOLS]
    checked = {check.name for check in doctor.diagnose()}
    assert {tool.title for tool in TOOLS if isinstance(tool, ProgramTool)} <= checked


def test_command_of_each_tool(tools: Path) -> None:
    fake(tools, "openocd")
    fake(tools, "JLinkExe")
    board = load_board("nucleo-f446re")
    assert command_plan(board, method="openocd").command == (
        *("openocd", "-f", "board/st_nucleo_f4.cfg", "-c", "program firmware.elf verify reset exit"),
    )
    assert command_plan(board, method="openocd", probe="066BFF").command[3:5] == ("-c", "adapter serial {066BFF}")
    assert command_plan(load_board("nrf52840-dk"), method="pyocd", probe="0006").command == (
        *(sys.executable, "-m", "pyocd", "load", "--no-config", "--no-wait"),
        *("--target", "nrf52840", "--uid", "0006", "firmware.elf"),
    )
    jlink = command_plan(board, method="jlink", probe="683")
    assert jlink.scripts["flash.jlink"] == "r\nloadbin firmware.bin, 0x08000000\nr\ng\nexit\n"
    assert jlink.command[1:] == (
        *("-Device", "STM32F446RE", "-If", "SWD", "-Speed", "4000", "-SelectEmuBySN", "683"),
        *("-AutoConnect", "1", "-ExitOnError", "1", "-NoGui", "1", "-CommandFile", "flash.jlink"),
    )
    assert jlink.lines()[0] == "cd /build"
    assert jlink.lines()[2].endswith("-CommandFile flash.jlink")


def test_first_tool_that_is_here(tools: Path) -> None:
    """PyOCD needs no vendor's pack for the nRF52, but would fetch one for the STM32F4."""
    nordic, nucleo = load_board("nrf52840-dk"), load_board("nucleo-f446re")
    assert available_methods(nucleo) == ["pyocd"]
    fake(tools, "openocd")
    assert available_methods(nordic) == ["pyocd", "openocd"]
    assert available_methods(nucleo) == ["openocd", "pyocd"]
    assert plan_flash(nucleo, FOLDER).tool == flash_tool("openocd")
    assert available_methods(load_board("mps2-an386")) == []


def test_drive_that_is_mounted_comes_first(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uf2_tool, "find_volumes", lambda board_id, candidates=None: [Path("/media/me/RPI-RP2")])
    plan = plan_flash(load_board("pico"), FOLDER)
    assert plan == CopyPlan(flash_tool("uf2"), FOLDER, Path("/media/me/RPI-RP2"))
    assert plan.lines() == ["cp /build/firmware.uf2 /media/me/RPI-RP2"]
    monkeypatch.setattr(uf2_tool, "find_volumes", lambda board_id, candidates=None: [Path("/a"), Path("/b")])
    with pytest.raises(DeviceError, match=r"several drives of pico: /a, /b; choose one with --probe"):
        plan_flash(load_board("pico"), FOLDER)


@pytest.mark.parametrize(
    ("board", "method", "probe", "error", "message"),
    [
        ("mps2-an386", None, None, DeviceError, "emulated only"),
        ("nucleo-f446re", "uf2", None, InputError, "not flashed by uf2; expected one of pyocd, openocd, jlink"),
        ("nucleo-f446re", "openocd", None, DeviceError, "not here; install the Debian package openocd"),
        ("nucleo-f446re", "jlink", None, DeviceError, "not here; install SEGGER"),
        ("pico", "uf2", None, DeviceError, "hold BOOTSEL"),
        ("nrf52840-dk", None, "", InputError, "no serial number"),
        ("nrf52840-dk", None, "a}; shutdown; {", InputError, "no serial number"),
        ("nrf52840-dk", None, "a\nb", InputError, "no serial number"),
    ],
)
def test_what_cannot_be_flashed(
    tools: Path, board: str, method: str | None, probe: str | None, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        plan_flash(load_board(board), FOLDER, method=method, probe=probe)
    assert "\n" not in str(caught.value)


def test_what_to_try_is_the_hint(tools: Path, tmp_path: Path) -> None:
    board = load_board("nucleo-f446re")
    for tool in TOOLS[1:]:
        if tool.flashes(board):
            with pytest.raises(DeviceError) as caught:
                plan_flash(board, FOLDER, method=tool.name)
            assert caught.value.message == f"{board.name} cannot be flashed by {tool.name}: it is not here"
            assert caught.value.hint == tool.remedy
    fake(tools, "openocd", "exit 1")
    with pytest.raises(DeviceError) as caught:
        flash(plan_flash(board, tmp_path, method="openocd"))
    assert caught.value.message == "openocd could not flash the board: it printed nothing"
    assert str(caught.value.hint).startswith("is its probe plugged in?")


def test_no_tool_at_all(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DeviceError, match=r"nothing here can flash pico; pyocd: pip install .*; or uf2: hold BOOTSEL"):
        plan_flash(load_board("pico"), FOLDER)


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'Info : clock'; echo 'Error: open failed' >&2; echo bye; exit 1", "openocd .*: Error: open failed;"),
        ("echo something else; exit 3", "something else"),
        ("exit 1", "it printed nothing"),
    ],
)
def test_tool_that_fails(tmp_path: Path, tools: Path, script: str, message: str) -> None:
    fake(tools, "openocd", script)
    plan = plan_flash(load_board("nucleo-f446re"), tmp_path, method="openocd")
    with pytest.raises(DeviceError, match=message):
        flash(plan)


def test_tool_runs_where_the_firmware_is(tmp_path: Path, tools: Path) -> None:
    fake(tools, "JLinkExe", "cp flash.jlink ran")
    os.environ["PATH"] += ":/bin:/usr/bin"
    flash(plan_flash(load_board("nucleo-f446re"), tmp_path, method="jlink"))
    assert "loadbin firmware.bin" in (tmp_path / "ran").read_text(encoding="utf-8")


def test_tool_that_hangs(tmp_path: Path, tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tools, "openocd", "/bin/sleep 30")
    monkeypatch.setattr(OpenOcd, "timeout_s", 0.2)
    with pytest.raises(DeviceError, match=r"openocd did not end within 0.2 s; unplug the probe"):
        flash(plan_flash(load_board("nucleo-f446re"), tmp_path, method="openocd"))


def drive(folder: Path, board_id: str) -> Path:
    folder.mkdir()
    text = f"UF2 Bootloader v3.0\r\nModel: Raspberry Pi RP2\r\nBoard-ID: {board_id}\r\n"
    (folder / "INFO_UF2.TXT").write_text(text, encoding="utf-8")
    return folder


def test_copy_to_a_drive(tmp_path: Path) -> None:
    volume = drive(tmp_path / "RPI-RP2", "RPI-RP2")
    other = drive(tmp_path / "FEATHER", "nRF52840-Feather")
    (tmp_path / "plain").mkdir()
    assert find_volumes("RPI-RP2", [other, tmp_path / "plain", tmp_path / "gone", volume]) == [volume]
    (tmp_path / "firmware.uf2").write_bytes(b"blocks")
    flash(CopyPlan(Uf2Drive(), tmp_path, volume))
    assert (volume / "firmware.uf2").read_bytes() == b"blocks"
    with pytest.raises(DeviceError, match="cannot be copied"):
        flash(CopyPlan(Uf2Drive(), tmp_path, tmp_path / "gone"))


def test_drive_where_no_one_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pico, volume = load_board("pico"), drive(tmp_path / "drive", "RPI-RP2")
    assert plan_flash(pico, FOLDER, method="uf2", probe=str(volume)) == CopyPlan(flash_tool("uf2"), FOLDER, volume)
    with pytest.raises(DeviceError, match="is no drive of pico"):
        plan_flash(pico, FOLDER, method="uf2", probe=str(tmp_path))


def test_uf2_block_by_hand() -> None:
    image = bytes(range(256)) + b"\x01\x02\x03"
    blocks = uf2_blocks(image, 0x10000000, 0xE48BFF56)
    assert len(blocks) == 1024
    second = blocks[512:]
    assert second[:4] == b"UF2\n"
    assert struct.unpack("<7I", second[4:32]) == (0x9E5D5157, 0x2000, 0x10000100, 256, 1, 2, 0xE48BFF56)
    assert second[32:288] == b"\x01\x02\x03" + bytes(253)
    assert second[288:508] == bytes(220)
    assert second[508:] == bytes.fromhex("306fb10a")


def test_every_real_board_says_how_and_where() -> None:
    real: list[Board] = [board for board in list_boards() if board.is_real]
    assert {board.name for board in real} == {
        *("microbit-v1", "nrf52832-dk", "nrf52840-dk", "nucleo-f103rb"),
        *("nucleo-f401re", "nucleo-f411re", "nucleo-f446re", "pico"),
    }
    for board in real:
        assert board.setup is not None
        assert board.usb
        assert board.timer.counts == "cycles"
        assert board.window == 1
