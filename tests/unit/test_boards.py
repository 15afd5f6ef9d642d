"""Board files: those that come with edgecodec, and everything that can be wrong with one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from edgecodec.boards.load import list_boards, load_board
from edgecodec.boards.schema import Board, Region
from edgecodec.boards.toolchain import find_toolchain
from edgecodec.errors import BuildError, InputError
from edgecodec.files.resources import firmware_dir
from edgecodec.firmware.project import make_project
from tests.tflite_builder import CONV, LayerSpec, build_encoder, bundle_of

GOOD: dict[str, Any] = {
    "name": "my-board",
    "description": "A board",
    "core": "cortex-m4",
    "cpu": {"mcpu": "cortex-m4", "float_abi": "hard", "fpu": "fpv4-sp-d16"},
    "memory": {
        "flash": {"origin": 0x08000000, "length": 0x40000},
        "ram": {"origin": 0x20000000, "length": 0x10000},
    },
    "stack_bytes": 1024,
    "uart": {"kind": "cmsdk", "base": 0x40004000, "clock_hz": 25_000_000, "baud": 115200, "rx_irq": 0},
    "timer": {"kind": "cmsdk", "base": 0x40000000, "hz": 25_000_000, "counts": "cycles"},
    "window": 1,
    "sources": ["data sheet"],
}

IN_BRACES = {"flash.pyocd", "flash.openocd", "flash.jlink", "flash.uf2", "usb", "emulator.timer"}
"""Sections whose keys the table of board files names in one row."""
SETUP = {"core_hz": 16_000_000, "tx": "PA2", "rx": "PA3", "function": 7}


def write(folder: Path, document: object) -> Path:
    path = folder / "board.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document), encoding="utf-8")
    return path


def changed(key: str, value: object) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(yaml.safe_dump(GOOD))
    target = document
    *parents, last = key.split(".")
    for parent in parents:
        target = target[parent]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return document


def test_boards_that_come_with_edgecodec() -> None:
    boards = {board.name: board for board in list_boards()}
    assert set(boards) >= {
        "lm3s6965evb",
        "microbit",
        "mps2-an385",
        "mps2-an386",
        "mps2-an500",
        "mps2-an505",
        "mps3-an547",
        "netduinoplus2",
        "stm32vldiscovery",
    }
    assert list(boards) == sorted(boards)
    for name, board in boards.items():
        assert load_board(name) == board
        assert board.sources
    # Arm AN386: 4 MiB of code SRAM at 0, 4 MiB of data SRAM at 0x20000000, UART0 and timer 0 of the CMSDK.
    m4 = boards["mps2-an386"]
    assert (m4.memory.flash.origin, m4.memory.ram.origin, m4.memory.ram.length) == (0, 0x20000000, 4 << 20)
    assert (m4.uart.base, m4.timer.base, m4.timer.hz) == (0x40004000, 0x40000000, 25_000_000)
    assert m4.cpu.flags == ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")
    assert boards["mps2-an385"].cpu.flags == ("-mcpu=cortex-m3", "-mthumb", "-mfloat-abi=soft")
    # GCC's own choice of FPU for a Cortex-M55 has Helium.
    assert boards["mps3-an547"].cpu.flags == ("-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard")
    kib = {name: (board.memory.flash.length >> 10, board.memory.ram.length >> 10) for name, board in boards.items()}
    assert (kib["stm32vldiscovery"], kib["microbit"], kib["lm3s6965evb"]) == ((128, 8), (256, 16), (256, 64))


def test_every_key_is_documented() -> None:
    text = (firmware_dir() / "boards" / "README.md").read_text(encoding="utf-8")

    def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
        for name, field in model.model_fields.items():
            kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
            section = next((kind for kind in kinds if issubclass(kind, BaseModel)), None)
            if section is None or section is Region or f"{prefix}{name}" in IN_BRACES:
                yield f"{prefix}{name}"
            else:
                yield from keys(section, f"{prefix}{name}.")

    documented = set(re.findall(r"`([a-z0-9_.]+)`", text.partition("| key |")[2].partition("\n\n")[0]))
    assert set(keys(Board)) <= documented
    for source in ("uart", "timer", "setup"):
        for path in (firmware_dir() / "port").glob(f"*/{source}.c"):
            assert path.parent.name in documented


def test_pins_as_numbers() -> None:
    assert load_board("nucleo-f446re").setup.pins == {"tx": (0, 2), "rx": (0, 3)}  # type: ignore[union-attr]
    assert load_board("microbit-v1").setup.pins == {"tx": (0, 24), "rx": (0, 25)}  # type: ignore[union-attr]
    assert load_board("pico").setup.pins == {"tx": (0, 0), "rx": (0, 1)}  # type: ignore[union-attr]


def test_file_of_ones_own(tmp_path: Path) -> None:
    board = load_board(write(tmp_path, GOOD))
    assert (board.name, board.emulator, board.window) == ("my-board", None, 1)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mps2-an368", "unknown; did you mean mps2-an38"),
        ("zzz", "unknown; known boards: .*mps2-an385"),
        ("", "unknown"),
        ("no/such.yaml", "cannot be read"),
        ("nothing.yaml", "cannot be read"),
        ("a\0b.yaml", "cannot be read"),
    ],
)
def test_unknown_board(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_board(name)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("uart.base", "0x40004000", r"uart\.base: .*integer.*found '0x40004000'"),
        ("uart.base", -1, r"uart\.base: .*greater"),
        ("uart.base", 1 << 32, r"uart\.base"),
        ("uart.baud", True, r"uart\.baud"),
        ("uart.baud", 115200.5, r"uart\.baud"),
        ("uart.kind", "pl999", r"uart: .*no port/pl999/uart\.c; kind is one of cmsdk, nrf, pl011, stm32"),
        ("uart.kind", "../cmsdk", r"uart\.kind"),
        ("timer.kind", "cortex_m", r"timer: .*no port/cortex_m/timer\.c"),
        ("timer.clock_hz", 0, r"timer\.clock_hz: .*greater"),
        ("timer.counts", "seconds", r"timer\.counts: .*'instructions' or 'cycles'"),
        ("uart.rx_irq", ..., r"uart\.rx_irq: Field required"),
        ("memory.ram.length", 0, r"memory\.ram\.length"),
        ("memory.ram", ..., r"memory\.ram: Field required"),
        ("cpu.float_abi", "medium", r"cpu\.float_abi"),
        ("cpu.mcpu", "cortex-m4 -fplugin=x", r"cpu\.mcpu"),
        ("name", 'x"; system("y', "name: "),
        ("name", "My Board", "name: "),
        ("core", "avr", "core: "),
        ("window", 0, "window: "),
        ("stack_bytes", 1001, "stack_bytes: "),
        ("sources", [], "sources: "),
        ("color", "red", "color: Extra inputs"),
        ("uart.colour", "red", r"uart\.colour: Extra inputs"),
        ("emulator", {"machine": "x y"}, r"emulator\.machine"),
        ("emulator", {"machine": "x", "args": [1]}, r"emulator\.args\.0"),
        ("emulator", {"machine": "x", "serial": 9}, r"emulator\.serial"),
        (
            "setup",
            {"kind": "stm32f9", **SETUP},
            r"setup: .*no port/stm32f9/setup\.c; kind is one of nrf, rp2040, stm32f1",
        ),
        ("setup", {"kind": "stm32f4", **SETUP, "tx": "PA16"}, r"setup\.tx: .*as many pins"),
        ("setup", {"kind": "stm32f4", **SETUP, "tx": "A2"}, r"setup\.tx: "),
        ("setup", {"kind": "stm32f4"}, r"setup\.core_hz: Field required"),
        ("flash", {}, r"flash: .*expected one of pyocd, openocd, jlink, uf2"),
        ("flash", {"pyocd": {"target": "x y"}}, r"flash\.pyocd\.target"),
        ("flash", {"openocd": {"scripts": ["-c shutdown"]}}, r"flash\.openocd\.scripts\.0"),
        ("flash", {"openocd": {"scripts": []}}, r"flash\.openocd\.scripts"),
        ("flash", {"jlink": {"device": "A\nexit"}}, r"flash\.jlink\.device"),
        ("flash", {"uf2": {"family": -1, "board_id": "X"}}, r"flash\.uf2\.family"),
        ("usb", [{"vid": 0x10000, "pid": 1, "name": "x"}], r"usb\.0\.vid"),
        ("usb", [{"vid": 1, "pid": 1, "name": "\x1b[2J"}], r"usb\.0\.name: .*control characters"),
        ("description", "one\ntwo", "description: .*one line"),
    ],
)
def test_wrong_key_is_named(tmp_path: Path, key: str, value: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_board(write(tmp_path, changed(key, value)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected keys"),
        ("- a\n- b", "expected keys such as name"),
        ("just text", "expected keys"),
        ("a: [", "not valid YAML"),
        ("a: !!python/object/apply:os.system ['true']", "not valid YAML"),
        ("\x01", "not valid YAML"),
        ("a: " + "[" * 5000, "not valid YAML"),
        ("# " + "x" * 70_000, "70,002 bytes; at most 65,536 are read"),
        ("a: &a [x]\nb: *a", r"not valid YAML \(aliases \(\*name\) are not read\)"),
        ("a: &a {x: 1}\nb: {<<: *a}", "aliases"),
    ],
)
def test_file_that_is_no_board(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_board(write(tmp_path, text))
    assert "\n" not in str(caught.value)


HOSTILE = [
    ("emulator", {"machine": "x", "args": ["-netdev", "tap,script=/bin/sh"]}, r"emulator\.args: '-netdev' may run"),
    ("emulator", {"machine": "x", "args": ["-D", "/etc/passwd"]}, r"emulator\.args: '-D'"),
    ("emulator", {"machine": "x", "args": ["-m", "64M,x=/etc"]}, r"emulator\.args: '-m'"),
    ("emulator", {"machine": "x", "args": ["-nographic", "-m"]}, r"emulator\.args: '-m'"),
    ("emulator", {"machine": "x", "args": ["-m", "64M\n"]}, r"emulator\.args: '-m'"),
    ("emulator", {"machine": "x", "args": ["kernel.elf"]}, r"emulator\.args: 'kernel\.elf'"),
    (
        "flash",
        {"openocd": {"scripts": ["target/stm32f4x.cfg", "./evil.cfg"]}},
        r"flash\.openocd\.scripts: \./evil\.cfg",
    ),
    ("flash", {"openocd": {"scripts": ["board/../../evil.cfg"]}}, r"flash\.openocd\.scripts"),
]


@pytest.mark.parametrize(("key", "value", "message"), HOSTILE)
def test_file_that_may_run_anything_is_taken_on_trust_alone(
    tmp_path: Path, key: str, value: object, message: str
) -> None:
    path = write(tmp_path, changed(key, value))
    with pytest.raises(InputError, match=message) as caught:
        load_board(path)
    assert "pass --trust-board" in str(caught.value.hint)
    assert load_board(path, trust=True).name == "my-board"


def test_script_called_as_one_of_openocds_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, changed("flash", {"openocd": {"scripts": ["board/st_nucleo_f4.cfg"]}}))
    monkeypatch.chdir(tmp_path)
    assert load_board(path).flash is not None
    (tmp_path / "board").mkdir()
    (tmp_path / "board" / "st_nucleo_f4.cfg").write_text("shutdown")
    with pytest.raises(InputError, match="may run anything"):
        load_board(path)


def test_harmless_options_need_no_trust(tmp_path: Path) -> None:
    options = ["-m", "16M", "-smp", "1", "-cpu", "cortex-m4", "-nographic"]
    board = load_board(write(tmp_path, changed("emulator", {"machine": "x", "args": options})))
    assert board.emulator is not None
    assert list(board.emulator.args) == options


def test_description_stays_within_its_comment(tmp_path: Path) -> None:
    board = load_board(write(tmp_path, changed("description", "x */ int evil; /* y")))
    bundle = bundle_of(tmp_path / "bundle", build_encoder([LayerSpec(CONV, 4, 3, 2, "SAME")], 16, seed=0), sizes=(4,))
    text = make_project(bundle, board).files["edc_board.h"]
    assert "x * / int evil; / * y" in text


def test_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "board.yaml"
    path.write_bytes(b"name: \x80\x81")
    with pytest.raises(InputError, match="not valid YAML"):
        load_board(path)
    with pytest.raises(InputError, match="cannot be read"):
        load_board(f"{tmp_path}/")


def test_tools_that_are_missing_or_do_not_run_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, script in (("gcc", "echo 'no such library' >&2; exit 1"), ("objcopy", ""), ("objdump", "")):
        program = tmp_path / f"arm-none-eabi-{name}"
        program.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match=r"gcc does not run .*; install gcc-arm-none-eabi again") as caught:
        find_toolchain.__wrapped__()
    assert caught.value.stderr == "no such library\n"
    (tmp_path / "arm-none-eabi-gcc").write_text("#!/bin/sh\necho 12\n", encoding="utf-8")
    for name, folder in (("cmake", "CMAKE_BIN_DIR"), ("ninja", "BIN_DIR")):
        with monkeypatch.context() as patch:
            patch.setattr(f"{name}.{folder}", str(tmp_path / "nowhere"))  # a package without its program
            with pytest.raises(BuildError, match=f"^{name} not found; pip install {name}$"):
                find_toolchain.__wrapped__()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BuildError) as caught:
        find_toolchain.__wrapped__()
    assert caught.value.message == "arm-none-eabi-gcc not found"
    assert str(caught.value.hint).startswith("install the Debian package gcc-arm-none-eabi")
