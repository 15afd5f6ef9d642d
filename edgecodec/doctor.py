"""What edgecodec needs from this machine: found or not, which version, what for, how to get it."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import sysconfig
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from edgecodec.device.flash import TOOLS, available_methods
from edgecodec.device.flash.base import ProgramTool
from edgecodec.device.programs import output_of, version_of
from edgecodec.documents import Document
from edgecodec.errors import install_extra
from edgecodec.files.content_cache import cache_dir


@dataclass(frozen=True)
class Check:
    """One tool that edgecodec uses."""

    name: str
    """The tool's name as people know it: a program, a package, a kind of device."""
    found: bool
    """Whether it is here and can be used."""
    version: str | None
    """The version as the tool says it; null when it is missing or says none."""
    location: str | None
    """Where it is: a path, or the names of the devices found; null when it is missing."""
    purpose: str
    """The commands that need it, and what for."""
    remedy: str
    """How to get it."""
    essential: bool
    """Whether verify-host, build-firmware and flash-and-verify on an emulated board need it."""


@dataclass(frozen=True)
class BoardsHere:
    """The boards that come with edgecodec, by what this machine can do with them."""

    built: tuple[str, ...]
    """Names of the boards whose firmware can be built."""
    emulated: tuple[str, ...]
    """Names of the boards whose firmware can be built and run in QEMU, on their own machine or one that stands in."""
    flashed: tuple[str, ...]
    """Names of the boards whose firmware can be built and put onto the hardware."""


@dataclass(frozen=True)
class DoctorDocument(Document):
    """What edgecodec needs from this machine, and what it finds there."""

    SCHEMA = "edgecodec.doctor"

    ready: bool
    """Whether no essential tool is missing."""
    platform: str
    """Operating system and processor."""
    checks: tuple[Check, ...]
    """Each tool that edgecodec uses."""
    boards: BoardsHere
    """The boards that come with edgecodec, by what this machine can do with them."""

    @classmethod
    def of(cls, checks: Sequence[Check], boards: BoardsHere) -> DoctorDocument:
        """The document of what :func:`diagnose` and :func:`boards_here` found on this machine."""
        ready = all(check.found for check in checks if check.essential)
        return cls(ready, platform.platform(), tuple(checks), boards)


def diagnose() -> list[Check]:
    """Check every tool. Imports none of the heavy packages and runs nothing but ``--version``."""
    return [check() for check in _CHECKS]


def boards_here() -> BoardsHere:
    """What this machine can do with the boards that come with edgecodec."""
    from edgecodec.boards.load import list_boards

    boards = list_boards() if shutil.which("arm-none-eabi-gcc") else []
    machines = _emulated_machines()
    return BoardsHere(
        tuple(board.name for board in boards),
        tuple(board.name for board in boards if board.emulator is not None and board.emulator.machine in machines),
        tuple(board.name for board in boards if available_methods(board)),
    )


def _emulated_machines() -> set[str]:
    """Names of QEMU's machines."""
    program = shutil.which("qemu-system-arm")
    lines = output_of([program, "-M", "help"]).splitlines() if program else []
    return {line.split()[0] for line in lines if line.strip()}


def _python() -> Check:
    return Check(
        "python",
        sys.version_info >= (3, 11),
        platform.python_version(),
        sys.executable,
        "everything",
        "Python 3.11 to 3.13 (TensorFlow has packages for these)",
        essential=True,
    )


def _host_compiler() -> Check:
    path = next((found for found in map(shutil.which, ("cc", "gcc", "clang")) if found), None)
    return Check(
        "cc",
        path is not None,
        _version_at(path),
        path,
        "verify-host, flash-and-verify: the C on this machine",
        _system_package("gcc libc6-dev", mac="xcode-select --install"),
        essential=True,
    )


def _python_headers() -> Check:
    header = Path(sysconfig.get_path("include")) / "Python.h"
    found = header.is_file()
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return Check(
        "Python.h",
        found,
        platform.python_version() if found else None,
        str(header) if found else None,
        "verify-host, flash-and-verify: the C on this machine",
        _system_package(f"{version}-dev", mac="the Python of python.org or Homebrew has it"),
        essential=True,
    )


def _program(name: str, purpose: str, package: str, mac: str, essential: bool = True) -> Callable[[], Check]:
    def check() -> Check:
        path = shutil.which(name)
        return Check(
            name,
            path is not None,
            _version_at(path),
            path,
            purpose,
            _system_package(package, mac=mac),
            essential,
        )

    return check


def _scripts_program(name: str, purpose: str) -> Callable[[], Check]:
    """A program that a Python package brings: beside this Python, or on the path."""

    def check() -> Check:
        path = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
        return Check(
            name,
            path is not None,
            _version_at(path),
            path,
            purpose,
            f"pip install {name}",
            essential=True,
        )

    return check


def _module(
    module: str, packages: tuple[str, ...], purpose: str, remedy: str = "", essential: bool = False
) -> Callable[[], Check]:
    """A Python package, found without importing it."""

    def check() -> Check:
        spec = importlib.util.find_spec(module)
        location = None if spec is None or spec.origin is None else str(Path(spec.origin).parent)
        return Check(
            packages[0],
            spec is not None,
            _package_version(packages),
            location,
            purpose,
            remedy or f"pip install {packages[0]}",
            essential,
        )

    return check


def _cache() -> Check:
    folder = cache_dir()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    return Check(
        "cache folder",
        existing.is_dir() and os.access(existing, os.W_OK | os.X_OK),
        None,
        str(folder),
        "verify-host, flash-and-verify: builds are kept here",
        "set EDGECODEC_CACHE to a folder that can be written",
        essential=True,
    )


def _serial_ports() -> Check:
    from edgecodec.device.ports import list_ports

    ports = [port.device for port in list_ports()]
    denied = [port for port in ports if os.path.exists(port) and not os.access(port, os.R_OK | os.W_OK)]
    if denied:
        remedy = f"no permission for {', '.join(denied)}: sudo usermod -aG dialout $USER, then log in again"
    else:
        remedy = "connect a board by USB (emulated boards need none)"
    usable = [port for port in ports if port not in denied]
    return Check(
        "serial ports",
        bool(usable),
        None,
        ", ".join(usable) or None,
        "flash-and-verify --port: a real board",
        remedy,
        essential=False,
    )


def _flash_tool(tool: ProgramTool) -> Callable[[], Check]:
    """A program that flashes real boards."""

    def check() -> Check:
        location = tool.location()
        remedy = tool.remedy
        if tool.debian_package is not None:
            remedy = _system_package(tool.debian_package, mac=tool.mac_command or remedy)
        return Check(
            tool.title,
            location is not None,
            tool.version(),
            location,
            "flash-and-verify: real boards",
            remedy,
            essential=False,
        )

    return check


def _debug_probes() -> Check:
    """Debug probes on USB that the boards' files name, and whether this user may open them."""
    found = usb_probes()
    denied = [probe for probe in found if not probe.usable]
    if denied:
        rules = "; ".join(
            sorted({f'SUBSYSTEM=="usb", ATTR{{idVendor}}=="{p.vid:04x}", TAG+="uaccess"' for p in denied})
        )
        names = ", ".join(probe.name for probe in denied)
        remedy = f"no permission for {names}: write to /etc/udev/rules.d/60-probes.rules: {rules}; then plug in again"
    else:
        remedy = "connect a board with a debug probe by USB (emulated boards need none)"
    usable = [f"{probe.name} ({probe.vid:04x}:{probe.pid:04x}, {probe.serial})" for probe in found if probe.usable]
    return Check(
        "debug probes",
        bool(usable) and not denied,
        None,
        ", ".join(usable) or None,
        "flash-and-verify: real boards",
        remedy,
        essential=False,
    )


@dataclass(frozen=True)
class UsbProbe:
    """A USB device that a board's file names."""

    name: str
    """What the board's file calls it."""
    vid: int
    """USB vendor ID."""
    pid: int
    """USB product ID."""
    serial: str
    """Serial number, or that it has none."""
    usable: bool
    """Whether this user may open it."""


def usb_probes(devices: Path = Path("/sys/bus/usb/devices"), nodes: Path = Path("/dev/bus/usb")) -> list[UsbProbe]:
    """Debug probes that Linux sees; none on other systems, whose drivers give every user the right."""
    from edgecodec.boards.load import list_boards

    known = {(usb.vid, usb.pid): usb.name for board in list_boards() for usb in board.usb}
    found = []
    for folder in sorted(devices.glob("*")):
        with suppress(OSError, ValueError):
            vid, pid = (int(_word(folder / name), 16) for name in ("idVendor", "idProduct"))
            if (vid, pid) not in known:
                continue
            node = nodes / f"{int(_word(folder / 'busnum')):03d}" / f"{int(_word(folder / 'devnum')):03d}"
            serial = _word(folder / "serial") if (folder / "serial").exists() else "no serial number"
            found.append(UsbProbe(known[vid, pid], vid, pid, serial, os.access(node, os.R_OK | os.W_OK)))
    return found


def _word(path: Path) -> str:
    return path.read_text(encoding="ascii", errors="replace").strip()


def _version_at(path: str | None) -> str | None:
    return None if path is None else version_of(path)


def _package_version(packages: tuple[str, ...]) -> str | None:
    for package in packages:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _system_package(debian: str, mac: str) -> str:
    if sys.platform == "darwin":
        return mac
    if shutil.which("apt-get"):
        return f"sudo apt-get install --no-install-recommends {debian}"
    return f"your system's package for (Debian names): {debian}"


_CHECKS: tuple[Callable[[], Check], ...] = (
    _python,
    _host_compiler,
    _python_headers,
    _program(
        "arm-none-eabi-gcc",
        "build-firmware, flash-and-verify",
        "gcc-arm-none-eabi",
        "brew install --cask gcc-arm-embedded",
    ),
    _program("qemu-system-arm", "flash-and-verify, demo: emulated boards", "qemu-system-arm", "brew install qemu"),
    _scripts_program("cmake", "build-firmware, flash-and-verify"),
    _scripts_program("ninja", "build-firmware, flash-and-verify"),
    _module("ai_edge_litert", ("ai-edge-litert",), "everything: reads .tflite files", essential=True),
    _module(
        "tflite_micro",
        ("tflite-micro",),
        "verify-host, flash-and-verify: the TFLM oracle",
        f"{install_extra('verify')} (Linux on x86_64 only)",
    ),
    _module("tensorflow", ("tensorflow", "tensorflow-cpu"), "train, quantize, demo", install_extra("train")),
    _module("heartpy", ("heartpy",), "train, demo: real PPG", install_extra("train")),
    _module("pyedflib", ("pyedflib",), "train --data: EDF records", install_extra("records")),
    _module("wfdb", ("wfdb",), "train --data: WFDB records", install_extra("records")),
    _module("distributed", ("distributed",), "decode --scheduler: a Dask cluster", install_extra("fleet")),
    _module("matplotlib", ("matplotlib",), "evaluate: --plot", install_extra("train")),
    _program(
        "arm-none-eabi-g++",
        "build-firmware --engine tflm, with your TensorFlow Lite Micro",
        "gcc-arm-none-eabi libstdc++-arm-none-eabi-newlib",
        "brew install --cask gcc-arm-embedded",
        essential=False,
    ),
    *(_flash_tool(tool) for tool in TOOLS if isinstance(tool, ProgramTool)),
    _cache,
    _serial_ports,
    _debug_probes,
)
