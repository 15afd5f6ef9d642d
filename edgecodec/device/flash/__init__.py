"""Puts firmware onto real boards. A flash tool is a class in a file of its own and a row of :data:`TOOLS`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgecodec.device.flash.base import FlashPlan, FlashTool, check_probe
from edgecodec.device.flash.jlink import JLink
from edgecodec.device.flash.openocd import OpenOcd
from edgecodec.device.flash.pyocd import PyOcd
from edgecodec.device.flash.uf2 import Uf2Drive
from edgecodec.errors import DeviceError, InputError

if TYPE_CHECKING:
    from edgecodec.boards.schema import Board

TOOLS: tuple[FlashTool, ...] = (PyOcd(), OpenOcd(), JLink(), Uf2Drive())
"""Every flash tool, in the order of the keys that a board's file has for them."""


def flash_tool(name: str) -> FlashTool:
    """The tool called ``name``. Raises InputError for another name."""
    for tool in TOOLS:
        if tool.name == name:
            return tool
    raise InputError(f"no flash tool is called {name!r}; expected one of {', '.join(tool.name for tool in TOOLS)}")


def plan_flash(board: Board, folder: Path, *, method: str | None = None, probe: str | None = None) -> FlashPlan:
    """How to put the firmware in ``folder`` onto a board.

    ``folder`` is one that :func:`edgecodec.firmware.build.build_firmware` wrote. ``method`` is the name of a tool, by
    default of the best of the board's that is here; ``probe`` is the serial number of the debug probe or, for a tool
    that copies to a drive, the drive's path. Raises DeviceError when the board cannot be flashed or a tool is missing,
    InputError for a tool that does not flash this board and for a probe that is no serial number.
    """
    if board.flash is None:
        raise DeviceError(f"board {board.name} is emulated only; there is nothing to flash")
    named = None if method is None else flash_tool(method)
    if named is not None:
        named.keys(board)
    check_probe(probe)
    return (named or _best(board)).plan(board, folder, probe)


def flash(plan: FlashPlan) -> None:
    """Carry out ``plan``; the board then starts the firmware. Raises DeviceError with what the tool said."""
    plan.run()


def available_tools(board: Board) -> list[FlashTool]:
    """The tools that flash this board and are here, best first."""
    found = [tool for tool in TOOLS if tool.flashes(board) and tool.is_available(board)]
    return sorted(found, key=lambda tool: tool.preference_on(board))


def available_methods(board: Board) -> list[str]:
    """The names of the tools that flash this board and are here, best first."""
    return [tool.name for tool in available_tools(board)]


def _best(board: Board) -> FlashTool:
    found = available_tools(board)
    if not found:
        ways = "; or ".join(f"{tool.name}: {tool.remedy}" for tool in TOOLS if tool.flashes(board))
        raise DeviceError(f"nothing here can flash {board.name}", hint=ways)
    return found[0]
