"""Tests need tools that a laptop may lack: skip there with the reason, fail in CI."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sysconfig
from pathlib import Path
from typing import NoReturn

import pytest

EMULATOR = ("arm-none-eabi-gcc", "qemu-system-arm")
"""What an emulated board takes."""


def available(tool: str) -> bool:
    """Whether a tool is here: ``Python.h``, ``cc``, a module (``module:NAME``) or a program on the path."""
    if tool == "Python.h":
        return (Path(sysconfig.get_path("include")) / "Python.h").exists()
    if tool == "cc":
        return any(shutil.which(name) for name in ("cc", "gcc", "clang"))
    if tool.startswith("module:"):
        return importlib.util.find_spec(tool.removeprefix("module:")) is not None
    return shutil.which(tool) is not None


def require(*tools: str) -> None:
    """Skip the calling test, or fail it when CI=true, unless every tool is there."""
    missing = [tool for tool in tools if not available(tool)]
    if missing:
        lack(f"{', '.join(missing)} not found; `edgecodec doctor` says how to get it")


def lack(reason: str) -> NoReturn:
    """Skip the calling test for want of something, or fail it when CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
