"""Tests need tools that a laptop may lack: skip there with the reason, fail in CI."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sysconfig
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest

EMULATOR = ("arm-none-eabi-gcc", "qemu-system-arm")
"""What an emulated board takes."""


def available(tool: str) -> bool:
    """Whether a tool is here: a program on the path, ``module:NAME``, ``Python.h``, ``cc`` or ``libFuzzer``."""
    if tool == "Python.h":
        return (Path(sysconfig.get_path("include")) / "Python.h").exists()
    if tool == "cc":
        return any(shutil.which(name) for name in ("cc", "gcc", "clang"))
    if tool == "libFuzzer":
        return _has_fuzzer()
    if tool.startswith("module:"):
        return importlib.util.find_spec(tool.removeprefix("module:")) is not None
    return shutil.which(tool) is not None


@cache
def _has_fuzzer() -> bool:
    """Whether clang has its runtime for fuzzers, which Debian has in a package of its own, libclang-rt-dev."""
    if not available("clang"):
        return False
    command = ["clang", "-print-runtime-dir"]
    folder = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return any(Path(folder).glob("*clang_rt.fuzzer*"))


def require(*tools: str) -> None:
    """Skip the calling test, or fail it when CI=true, unless every tool is there."""
    missing = [tool for tool in tools if not available(tool)]
    if missing:
        lack(f"{', '.join(missing)} not found; `edgecodec doctor` or .ci/run says how to get it")


def lack(reason: str) -> NoReturn:
    """Skip the calling test for want of something, or fail it when CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
