"""Finds the programs that build firmware."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edgecodec import processes
from edgecodec.errors import BuildError

COMPILER = "arm-none-eabi-gcc"
COMPILER_PACKAGE = "gcc-arm-none-eabi"
"""The Debian package that has :data:`COMPILER`."""
_TIMEOUT_S = 30


@dataclass(frozen=True)
class Toolchain:
    """Cross compiler and build tools, each by its absolute path."""

    compiler: Path
    """GCC for C, with Arm's bare-metal ABI."""
    compiler_version: str
    """Name and version of the C compiler, as its ``--version`` says it."""
    cxx_compiler: Path
    """GCC for C++ beside the C compiler. It may not be there: only the TFLM engine needs it."""
    objcopy: Path
    """Makes the image in flash from an ELF file."""
    objdump: Path
    """Prints sections and machine code of an ELF file."""
    cmake: Path
    """CMake: of its Python package, otherwise on the path."""
    ninja: Path
    """Ninja: of its Python package, otherwise on the path."""


@cache
def find_toolchain() -> Toolchain:
    """The tools of this machine. Raises BuildError that names what is missing and its package."""
    compiler = _on_path(COMPILER, f"install the Debian package {COMPILER_PACKAGE}, or Arm's GNU toolchain")
    binutils = "install the Debian package binutils-arm-none-eabi"
    objcopy, objdump = (_on_path(f"arm-none-eabi-{tool}", binutils) for tool in ("objcopy", "objdump"))
    cxx_compiler = compiler.with_name(compiler.name.replace("gcc", "g++"))
    return Toolchain(compiler, _version(compiler), cxx_compiler, objcopy, objdump, _cmake(), _ninja())


def _cmake() -> Path:
    try:
        import cmake
    except ImportError:
        return _on_path("cmake", "pip install cmake")
    return _on_path("cmake", "pip install cmake", first=cmake.CMAKE_BIN_DIR)


def _ninja() -> Path:
    try:
        import ninja
    except ImportError:
        return _on_path("ninja", "pip install ninja")
    return _on_path("ninja", "pip install ninja", first=ninja.BIN_DIR)


def _on_path(program: str, remedy: str, *, first: str = "") -> Path:
    """A program in the folder ``first``, or else on the path. Raises BuildError when it is in neither."""
    found = (shutil.which(program, path=first) if first else None) or shutil.which(program)
    if found is None:
        raise BuildError(f"{program} not found", hint=remedy)
    return Path(found).absolute()


def _version(program: Path) -> str:
    """First line of what ``program --version`` prints. Raises BuildError when it does not run."""
    try:
        done = processes.run([program, "--version"], timeout_s=_TIMEOUT_S)
        done.check_returncode()
    except (OSError, subprocess.SubprocessError) as error:
        stderr = error.stderr if isinstance(error, subprocess.CalledProcessError) else ""
        raise BuildError(
            f"{program} does not run ({error})", stderr, hint=f"install {COMPILER_PACKAGE} again"
        ) from error
    # The program's name as it was called comes first: it is replaced, so that reports do not depend on it.
    return re.sub(r"^\S*", COMPILER, done.stdout.splitlines()[0] if done.stdout else "")
