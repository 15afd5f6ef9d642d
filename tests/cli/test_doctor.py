"""``doctor`` says what is there and what to do about what is not."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from edgecodec import doctor
from tests.cli.run import edgecodec

TOOLS = {
    "python",
    "cc",
    "Python.h",
    "arm-none-eabi-gcc",
    "qemu-system-arm",
    "cmake",
    "ninja",
    "ai-edge-litert",
    "tflite-micro",
    "tensorflow",
    "heartpy",
    "pyedflib",
    "wfdb",
    "distributed",
    "matplotlib",
    "cache folder",
    "serial ports",
    "arm-none-eabi-g++",
    "pyocd",
    "openocd",
    "J-Link Commander",
    "debug probes",
}

NO_BOARDS = doctor.BoardsHere((), (), ())


def check_of(name: str) -> doctor.Check:
    return next(check for check in doctor.diagnose() if check.name == name)


def test_every_tool_has_purpose_and_remedy() -> None:
    checks = doctor.diagnose()
    assert {check.name for check in checks} == TOOLS
    assert all(check.purpose and check.remedy for check in checks)
    assert all(check.location for check in checks if check.found)


@pytest.mark.parametrize(
    ("name", "extra"),
    [
        *(("tensorflow", "train"), ("heartpy", "train"), ("matplotlib", "train"), ("tflite-micro", "verify")),
        *(("pyedflib", "records"), ("wfdb", "records"), ("distributed", "fleet"), ("pyocd", "flash")),
    ],
)
def test_what_extras_bring_is_got_by_them(name: str, extra: str) -> None:
    assert f'pip install "edgecodec[{extra}]"' in check_of(name).remedy


def test_nothing_on_the_path(tmp_path: Path) -> None:
    result = edgecodec("doctor", "--json", env={"PATH": str(tmp_path)})
    assert result.returncode == 2
    document = json.loads(result.stdout)
    assert document["ready"] is False
    missing = {check["name"] for check in document["checks"] if not check["found"]}
    assert {"cc", "arm-none-eabi-gcc", "qemu-system-arm"} <= missing
    text = edgecodec("doctor", env={"PATH": str(tmp_path)})
    assert text.returncode == 2
    assert "MISSING" in text.stdout
    assert text.stdout.count("arm-none-eabi-gcc") >= 2, "once in the table, once with its remedy"


@pytest.mark.parametrize(
    ("printed", "version"),
    [
        ("arm-none-eabi-gcc (15:12.2.rel1-1) 12.2.1 20221205", "12.2.1"),
        ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)", "7.2.22"),
        ("cmake version 3.25.1", "3.25.1"),
        ("nothing of the kind", None),
        ("", None),
    ],
)
def test_version_of_a_program(
    printed: str, version: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "qemu-system-arm"
    program.write_text(f"#!/bin/sh\necho '{printed}'\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    check = check_of("qemu-system-arm")
    assert (check.found, check.version, check.location) == (True, version, str(program))


def test_program_that_fails_is_found_without_a_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "qemu-system-arm"
    program.write_bytes(b"\x7fELF nonsense")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    check = check_of("qemu-system-arm")
    assert (check.found, check.version) == (True, None)


def test_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGECODEC_CACHE", str(tmp_path / "file" / "below"))
    assert not check_of("cache folder").found


def test_report_is_ready_when_the_essentials_are_there() -> None:
    found = doctor.Check("a", True, "1.0", "/a", "all", "get it", essential=True)
    optional = doctor.Check("b", False, None, None, "some", "get it", essential=False)
    essential = doctor.Check("c", False, None, None, "all", "get it", essential=True)
    assert doctor.DoctorDocument.of([found, optional], NO_BOARDS).ready
    assert not doctor.DoctorDocument.of([found, essential], NO_BOARDS).ready


def usb_device(folder: Path, name: str, **files: str) -> None:
    (folder / name).mkdir(parents=True)
    for key, text in files.items():
        (folder / name / key).write_text(text + "\n", encoding="ascii")


def test_probes_and_rights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    devices, nodes = tmp_path / "devices", tmp_path / "nodes"
    usb_device(devices, "1-1", idVendor="0483", idProduct="374b", busnum="1", devnum="7", serial="066AFF")
    usb_device(devices, "1-2", idVendor="0d28", idProduct="0204", busnum="2", devnum="12")
    usb_device(devices, "1-3", idVendor="046d", idProduct="c077", busnum="1", devnum="8")
    usb_device(devices, "1-4", idVendor="not hex", idProduct="0204", busnum="1", devnum="9")
    usb_device(devices, "1-1:1.0", bInterfaceNumber="00")
    (nodes / "001").mkdir(parents=True)
    (nodes / "001" / "007").touch()
    found = doctor.usb_probes(devices, nodes)
    assert [(p.name, p.serial, p.usable) for p in found] == [
        ("ST-LINK/V2-1", "066AFF", True),
        ("DAPLink", "no serial number", False),
    ]
    monkeypatch.setattr(doctor, "usb_probes", lambda: found)
    check = check_of("debug probes")
    assert not check.found, "one of them may not be opened"
    assert check.location == "ST-LINK/V2-1 (0483:374b, 066AFF)"
    assert 'ATTR{idVendor}=="0d28"' in check.remedy
    assert "0483" not in check.remedy


def test_boards_by_what_can_be_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, script in (("arm-none-eabi-gcc", "true"), ("qemu-system-arm", "echo 'microbit  BBC micro:bit'")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    here = doctor.boards_here()
    assert here.emulated == ("microbit", "microbit-v1")
    assert len(here.built) == 17
    assert here.flashed == ()
    monkeypatch.setenv("PATH", "")
    assert doctor.boards_here() == doctor.BoardsHere((), (), ())
