"""Firmware projects: their files, their ELF, and what happens when something is missing or too large."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgecodec.boards import toolchain
from edgecodec.boards.load import load_board
from edgecodec.boards.schema import Board
from edgecodec.boards.toolchain import find_toolchain
from edgecodec.bundle import Bundle
from edgecodec.codec.reference import ReferenceExecutor
from edgecodec.compile.inspect import summarize
from edgecodec.errors import BuildError, InputError
from edgecodec.files.resources import firmware_dir
from edgecodec.firmware import build
from edgecodec.firmware.build import build_firmware, cached_firmware
from edgecodec.firmware.limits import LimitExceededError, Limits, SizeLimitError
from edgecodec.firmware.project import FirmwareProject, make_project
from edgecodec.firmware.report import read_firmware
from edgecodec.firmware.stack import measure_stack
from tests.cli.run import assert_one_error, edgecodec

compiled = pytest.mark.emulated
SMALL = ("stm32vldiscovery", "nucleo-f103rb")
"""Boards with little RAM for a stack."""


@pytest.fixture
def board() -> Board:
    return load_board("mps2-an386")


def resized(board: Board, **lengths: int) -> Board:
    regions = {
        name: getattr(board.memory, name).model_copy(update={"length": length}) for name, length in lengths.items()
    }
    return board.model_copy(update={"memory": board.memory.model_copy(update=regions)})


def test_project_is_the_same_each_time_and_self_contained(bundle: Bundle, board: Board) -> None:
    files = make_project(bundle, board).files
    assert files == make_project(bundle, board).files
    assert {"CMakeLists.txt", "toolchain.cmake", "board.ld", "edc_board.h", "README.md"} <= set(files)
    assert "port/cmsdk/uart.c" in files
    assert bundle.digest in files["README.md"]
    assert "LENGTH = 0x00400000" in files["board.ld"]
    assert "#define EDC_UART_BASE 0x40004000u" in files["edc_board.h"]
    assert "-mcpu=cortex-m4 -mthumb -mfloat-abi=hard" in files["toolchain.cmake"]
    root = str(Path(__file__).resolve().parents[2])
    for name, text in files.items():
        assert root not in text, name
        assert text.endswith("\n"), name
        assert "\n\n\n" not in text, name


def test_other_optimisation_is_refused(bundle: Bundle, board: Board) -> None:
    with pytest.raises(InputError, match="optimize is 'fast'; expected one of speed, balanced, flash"):
        make_project(bundle, board, optimize="fast")


@compiled
def test_build_gives_project_image_and_report(bundle: Bundle, board: Board, tmp_path: Path) -> None:
    out = tmp_path / "a folder (with) 'odd' name"
    firmware = build_firmware(make_project(bundle, board), out)
    assert {path.name for path in out.iterdir()} >= {
        "firmware.elf",
        "firmware.bin",
        "firmware.map",
        "build-report.json",
        "CMakeLists.txt",
        "codec",
    }
    report = json.loads((out / "build-report.json").read_text())
    size = subprocess.run(
        ["arm-none-eabi-size", "-A", firmware.elf], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    sections = {line.split()[0]: int(line.split()[1]) for line in size if line.startswith(".")}
    assert firmware.report.flash_bytes == sections[".text"] + sections[".rodata"] + sections.get(".data", 0)
    variables = sections.get(".data", 0) + sections[".bss"] + sections[".noinit"]
    assert firmware.report.ram_bytes == variables + sections[".stack"]
    assert (report["flash_bytes"], report["ram_bytes"]) == (firmware.report.flash_bytes, firmware.report.ram_bytes)
    assert report["bundle_digest"] == bundle.digest
    assert (out / "firmware.bin").stat().st_size == firmware.report.flash_bytes
    assert firmware.report.stack == board.stack_bytes
    assert firmware.report.bss > firmware.report.codec_state_bytes
    assert [symbol.bytes for symbol in firmware.report.symbols] == sorted(
        (symbol.bytes for symbol in firmware.report.symbols), reverse=True
    )
    assert any(symbol.name == "edc_layer0_weights" or "weights" in symbol.name for symbol in firmware.report.symbols)
    assert read_firmware(out) == firmware

    again = build_firmware(make_project(bundle, board), tmp_path / "b")
    assert again.elf.read_bytes() == firmware.elf.read_bytes()
    smaller = build_firmware(make_project(bundle, board, optimize="flash"), out)
    assert smaller.report.text < firmware.report.text


@compiled
def test_project_builds_by_itself(bundle: Bundle, board: Board, tmp_path: Path) -> None:
    tools = find_toolchain()
    make_project(bundle, board).write(tmp_path / "project")
    environment = {"PATH": f"{tools.compiler.parent}{os.pathsep}{tools.ninja.parent}{os.pathsep}/usr/bin:/bin"}
    for command in (["-G", "Ninja", "-S", "project", "-B", "out"], ["--build", "out"]):
        subprocess.run([tools.cmake, *command], cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert (tmp_path / "out" / "firmware.elf").exists()
    assert (tmp_path / "out" / "firmware.map").exists()


@compiled
@pytest.mark.parametrize("preset", ["flash", "debug"])
def test_presets_build_without_edgecodec(bundle: Bundle, board: Board, tmp_path: Path, preset: str) -> None:
    tools = find_toolchain()
    make_project(bundle, board, optimize="flash").write(tmp_path)
    environment = {"PATH": f"{tools.compiler.parent}{os.pathsep}{tools.ninja.parent}{os.pathsep}/usr/bin:/bin"}
    for command in (["--preset", preset, "-G", "Ninja"], ["--build", "--preset", preset]):
        subprocess.run([tools.cmake, *command], cwd=tmp_path, env=environment, check=True, capture_output=True)
    assert (tmp_path / "build" / preset / "firmware.elf").exists()
    assert (tmp_path / "build" / preset / "firmware.map").exists()
    commands = json.loads((tmp_path / "build" / preset / "compile_commands.json").read_text(encoding="utf-8"))
    flag = {"flash": "-Os", "debug": "-Og"}[preset]
    assert all(flag in command["command"].split() for command in commands)


CMAKE_BUILDS = [
    *((name, "speed", "speed") for name in ("microbit", "mps2-an386", "netduinoplus2", "mps3-an547", "pico")),
    *((name, optimize, "debug") for name in SMALL for optimize in ("speed", "balanced", "flash")),
]


def cmake_build(project: FirmwareProject, folder: Path, preset: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Build the project in ``folder`` as a user does who has no edgecodec."""
    tools = find_toolchain()
    project.write(folder)
    environment = {"PATH": f"{tools.compiler.parent}{os.pathsep}{tools.ninja.parent}{os.pathsep}/usr/bin:/bin"}
    configure = [tools.cmake, "--preset", preset, "-G", "Ninja", *options]
    subprocess.run(configure, cwd=folder, env=environment, check=True, capture_output=True)
    command = [tools.cmake, "--build", "--preset", preset]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@compiled
@pytest.mark.parametrize(("name", "optimize", "preset"), CMAKE_BUILDS)
def test_stack_is_checked_without_edgecodec(
    codec: Bundle, tmp_path: Path, name: str, optimize: str, preset: str
) -> None:
    """By CMake alone, to the same figure; the smallest boards' presets for a debugger fit."""
    project = make_project(codec, load_board(name), optimize=optimize)
    done = cmake_build(project, tmp_path, preset)
    assert done.returncode == 0, done.stdout
    found = re.search(r"worst-case stack: (\d+) of (\d+) bytes", done.stdout)
    assert found is not None, done.stdout
    folder, objdump = tmp_path / "build" / preset, find_toolchain().objdump
    floats = project.board.cpu.saves_floats
    use = measure_stack(folder / "firmware.elf", folder.rglob("*.su"), objdump, saves_floats=floats)
    reserved = project.board.stack_bytes + (192 if preset == "debug" else 0)
    assert (int(found[1]), int(found[2])) == (use.bytes, reserved)
    assert use.bytes is not None
    assert use.bytes <= reserved


@compiled
def test_stack_that_may_overflow_fails_the_build(bundle: Bundle, board: Board, tmp_path: Path) -> None:
    done = cmake_build(make_project(bundle, board, optimize="speed"), tmp_path, "speed", "-DEDC_STACK_BYTES=256")
    assert done.returncode != 0
    said = " ".join(done.stdout.split())
    assert re.search(r"the stack may overflow: \d+ bytes at the worst, 256 are reserved \(deepest: edc_reset >", said)
    again = cmake_build(
        make_project(bundle, board, optimize="speed"),
        tmp_path,
        "speed",
        "-DEDC_STACK_BYTES=256",
        "-DEDC_CHECK_STACK=OFF",
    )
    assert again.returncode == 0, again.stdout


@compiled
def test_stack_that_cannot_be_known_is_said_by_the_build(bundle: Bundle, board: Board, tmp_path: Path) -> None:
    project = make_project(bundle, board, optimize="speed")
    recursion = "void down(int n);\n__attribute__((noinline)) void down(int n) {\n  volatile char b[64];\n"
    recursion += "  b[0] = (char)n;\n  if (n) { down(n - 1); }\n  (void)b[0];\n}\nint main(void) {\n  down(3);\n"
    main = project.files["port/cortex_m/main.c"].replace("int main(void) {\n", recursion)
    done = cmake_build(replace(project, files={**project.files, "port/cortex_m/main.c": main}), tmp_path, "speed")
    assert done.returncode == 0, done.stdout
    assert "worst-case stack is not known: down calls itself; 1024 bytes are reserved" in done.stdout


@compiled
def test_report_has_every_section_and_symbol(bundle: Bundle, board: Board) -> None:
    firmware = cached_firmware(make_project(bundle, board))
    report = firmware.report
    listing = subprocess.run(
        ["arm-none-eabi-size", "-A", firmware.elf], capture_output=True, text=True, check=True
    ).stdout
    said = {
        fields[0]: (int(fields[1]), int(fields[2]))
        for fields in map(str.split, listing.splitlines())
        if len(fields) == 3 and fields[1].isdigit()
    }
    for section in report.sections:
        assert said[section.name] == (section.bytes, section.address)
    assert {".text", ".rodata", ".stack", ".bss"} <= {section.name for section in report.sections}
    names = [symbol.name for symbol in report.symbols]
    assert {"edc_server_poll", "edc_port_read", "edc_reset", "edc_state"} <= set(names)
    functions = sum(symbol.bytes for symbol in report.symbols if symbol.section == ".text")
    assert 0.9 * report.text < functions <= report.text


@compiled
def test_elf_calls_nothing_of_a_c_library_and_no_float(bundle: Bundle, board: Board) -> None:
    listing = subprocess.run(
        ["arm-none-eabi-nm", cached_firmware(make_project(bundle, board)).elf],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    names = {line.split()[-1] for line in listing.splitlines()}
    assert not names & {"malloc", "free", "_sbrk", "printf", "__libc_init_array", "_start"}
    assert not {name for name in names if name.startswith(("__aeabi_f", "__aeabi_d2", "__aeabi_dadd", "__aeabi_dmul"))}


@compiled
@pytest.mark.parametrize("lengths", [{"flash": 4096}, {"ram": 1536}, {"flash": 4096, "ram": 1536}])
def test_codec_that_does_not_fit(bundle: Bundle, board: Board, tmp_path: Path, lengths: dict[str, int]) -> None:
    needs = cached_firmware(make_project(bundle, board)).report
    parts = {
        "flash": f"{needs.flash_bytes:,} bytes of flash, 4,096 are there",
        "ram": f"{needs.ram_bytes:,} bytes of RAM, 1,536 are there",
    }
    message = f"does not fit mps2-an386: it needs {'; '.join(parts[name] for name in lengths)}; choose"
    with pytest.raises(BuildError, match=message) as caught:
        build_firmware(make_project(bundle, resized(board, **lengths)), tmp_path / "out")
    assert "overflowed" in caught.value.stderr
    assert list(tmp_path.iterdir()) == []


@compiled
@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(flash=4096), "bytes of flash, the limit is 4,096; choose"),
        (Limits(ram=1024), "bytes of RAM, the limit is 1,024; choose"),
        (Limits(flash=1, ram=1), r"bytes of flash, the limit is 1; [0-9,]+ bytes of RAM, the limit is 1"),
    ],
)
def test_limits_of_the_user(bundle: Bundle, board: Board, tmp_path: Path, limits: Limits, message: str) -> None:
    needs = cached_firmware(make_project(bundle, board)).report
    with pytest.raises(SizeLimitError, match=message) as caught:
        build_firmware(make_project(bundle, board), tmp_path / "out", limits=limits)
    assert caught.value.memory == needs.memory
    assert list(tmp_path.iterdir()) == []
    exact = Limits(needs.flash_bytes, needs.ram_bytes)
    assert (
        build_firmware(make_project(bundle, board), tmp_path / "out", limits=exact).report.flash_bytes
        == needs.flash_bytes
    )


@compiled
def test_codec_that_does_not_fit_shows_what_takes_the_space(bundle: Bundle, board: Board, tmp_path: Path) -> None:
    with pytest.raises(SizeLimitError) as caught:
        build_firmware(make_project(bundle, resized(board, ram=1536)), tmp_path / "out")
    assert caught.value.memory == cached_firmware(make_project(bundle, board)).report.memory
    assert not isinstance(caught.value, LimitExceededError)


@compiled
def test_limit_is_exceeded_by_a_codec_that_does_not_fit_the_board_either(
    bundle: Bundle, board: Board, tmp_path: Path
) -> None:
    with pytest.raises(LimitExceededError, match="bytes of RAM, the limit is 1,024"):
        build_firmware(make_project(bundle, resized(board, ram=1536)), tmp_path / "out", limits=Limits(ram=1024))


@compiled
def test_exit_codes_of_limits(bundle: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "out"
    over = edgecodec("build-firmware", bundle.path, "-o", out, "--ram-limit", "1000", "--json")
    assert over.returncode == 1
    assert json.loads(over.stdout)["verdict"] == "exceeded"
    assert not out.exists()
    within = edgecodec("build-firmware", bundle.path, "-o", out, "--ram-limit", "100000", "--json")
    assert within.returncode == 0


@compiled
def test_table_of_what_takes_the_space_stands_before_the_error(bundle: Bundle, tmp_path: Path) -> None:
    result = edgecodec("build-firmware", bundle.path, "-o", tmp_path / "out", "--ram-limit", "1000", "-q")
    # Known, and so no error like others: 1.
    assert result.returncode == 1
    assert "bytes of RAM, the limit is 1,000" in result.stderr.splitlines()[-1]
    assert [line.split()[0] for line in result.stderr.splitlines()[2:-1]] == [
        *("codec", "weights", "codebooks", "codec", "link", "port", "stack", "other", "all")
    ]
    assert not (tmp_path / "out").exists()


@compiled
def test_parts_are_the_symbols_by_whose_they_are(codec: Bundle, board: Board) -> None:
    project = make_project(codec, board)
    report, plan = cached_firmware(project).report, project.plan
    parts = {part.part: part for part in report.parts}
    for column, total in (
        ("text", report.text),
        ("rodata", report.rodata),
        ("ram", report.ram_bytes),
    ):
        assert sum(getattr(part, column) for part in report.parts) == total
    assert parts["weights"].rodata == sum(step.table_bytes for step in plan.steps)
    assert parts["codebooks"].rodata == summarize(codec, plan.target).flash.codebook_bytes
    assert parts["codec state"].ram == plan.state_bytes == report.codec_state_bytes
    assert parts["stack"].ram == board.stack_bytes
    assert abs(parts["other"].text) + abs(parts["other"].rodata) + abs(parts["other"].ram) < 64
    assert parts["link"].text > 500
    assert parts["link"].ram > codec.codec.samples * 2


@compiled
def test_codec_alone(codec: Bundle, board: Board, tmp_path: Path) -> None:
    """The figures that firmware with a link of its own starts from (preset 08x, least flash)."""
    out = tmp_path / "out"
    result = edgecodec(
        "build-firmware", codec.path, "--board", board.name, "-o", out, "--codec-only", "--optimize", "flash", "--json"
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    parts = {part["part"] for part in report["parts"]}
    assert "link" not in parts
    assert {"codec", "weights", "codebooks", "codec state", "program"} <= parts
    assert report["text"] + report["rodata"] <= 48 * 1024
    assert report["codec_state_bytes"] <= 9 * 1024
    assert report["stack_use"]["bytes"] <= 1024
    names = subprocess.run(["arm-none-eabi-nm", out / "firmware.elf"], capture_output=True, text=True, check=True)
    assert "edc_server" not in names.stdout
    assert "edc_encode" in names.stdout
    assert not list(out.glob("**/uart.c"))


@compiled
@pytest.mark.skipif(sys.platform == "win32", reason="no sockets with names")
def test_codec_alone_encodes(bundle: Bundle, board: Board, tmp_path: Path) -> None:
    """It has no link to ask, so the indices of its frame, all zeros, are looked up in RAM."""
    firmware = build_firmware(make_project(bundle, board, codec_only=True), tmp_path / "out")
    symbols = subprocess.run(["arm-none-eabi-nm", firmware.elf], capture_output=True, text=True, check=True).stdout
    (address,) = (int(line.split()[0], 16) for line in symbols.splitlines() if line.endswith(" edc_indices"))
    expected = ReferenceExecutor(bundle.codec).encode(np.zeros((1, bundle.codec.samples), np.int16))[0]
    assert expected.any(), "memory that was never written would not do"
    control, dump = tmp_path / "qmp", tmp_path / "indices"
    options = ["-display", "none", "-monitor", "none", "-nodefaults", "-qmp", f"unix:{control},server=on,wait=off"]
    process = subprocess.Popen(["qemu-system-arm", "-M", board.name, "-kernel", firmware.elf, *options])
    try:
        deadline = time.monotonic() + 20
        found = b""
        while found != expected.tobytes() and time.monotonic() < deadline:
            time.sleep(0.1)
            with suppress(OSError):
                save_memory(control, address, expected.nbytes, dump)
                found = dump.read_bytes()
        assert found == expected.tobytes()
    finally:
        process.kill()
        process.wait()


def save_memory(control: Path, address: int, size: int, dump: Path) -> None:
    """Have the QEMU behind the QMP socket ``control`` write a piece of memory into a file."""
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(control))
        stream = link.makefile("rw")
        stream.readline()
        region = {"val": address, "size": size, "filename": str(dump)}
        for command in ({"execute": "qmp_capabilities"}, {"execute": "memsave", "arguments": region}):
            stream.write(json.dumps(command) + "\n")
            stream.flush()
            assert "return" in json.loads(stream.readline())


@compiled
def test_codec_of_full_size_on_small_boards(codec: Bundle, tmp_path: Path) -> None:
    assert cached_firmware(make_project(codec, load_board("microbit"))).report.ram_bytes <= 16384
    smallest = load_board("stm32vldiscovery")
    ram = cached_firmware(make_project(codec, smallest)).report.ram_bytes
    assert ram <= smallest.memory.ram.length == 8192
    shipped = (firmware_dir() / "boards" / "stm32vldiscovery.yaml").read_text(encoding="utf-8")
    own, out = tmp_path / "own.yaml", tmp_path / "out"
    own.write_text(shipped.replace("length: 0x00002000", "length: 0x00001000"), encoding="utf-8")
    result = edgecodec("build-firmware", codec.path, "--board", own, "-o", out)
    # In less memory the program is the same.
    assert_one_error(result, f"does not fit stm32vldiscovery: it needs {ram:,} bytes of RAM, 4,096 are there")
    assert not out.exists()


@compiled
def test_compiler_error_is_shown_and_nothing_is_left(bundle: Bundle, board: Board, tmp_path: Path) -> None:
    project = make_project(bundle, board)
    broken = replace(project, files={**project.files, "link/edc_link.c": "int x = ;\n"})
    with pytest.raises(BuildError, match=r"cmake failed: .*edc_link\.c:1:9: error: ") as caught:
        build_firmware(broken, tmp_path / "out")
    assert "error:" in caught.value.stderr
    assert list(tmp_path.iterdir()) == []


@compiled
def test_temporary_folder_with_characters_that_cmake_does_not_take(
    bundle: Bundle, board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / 'a,b";c $d'
    odd.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(odd))
    firmware = build_firmware(make_project(bundle, board), tmp_path / "out")
    assert firmware.elf.stat().st_size > 0
    assert list(odd.iterdir()) == []
    monkeypatch.setattr("edgecodec.files.temporary._PLAIN_PATH", re.compile("nothing"))
    with pytest.raises(BuildError, match="CMake builds in no folder with such characters") as caught:
        build_firmware(make_project(bundle, board), tmp_path / "other")
    assert caught.value.hint == "set TMPDIR to another one"
    assert not (tmp_path / "other").exists()


def test_folder_of_somebody_else_is_kept(bundle: Bundle, board: Board, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("x")
    with pytest.raises(InputError, match="holds other files"):
        build_firmware(make_project(bundle, board), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@compiled
def test_cache_builds_once_and_heals(
    bundle: Bundle, board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGECODEC_CACHE", str(tmp_path / "cache"))
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: cached_firmware(make_project(bundle, board)), range(2))
    assert first == second
    stamp = first.elf.stat().st_mtime_ns
    assert cached_firmware(make_project(bundle, board)).elf.stat().st_mtime_ns == stamp
    good = first.elf.read_bytes()
    first.elf.write_bytes(good[:1000])
    assert cached_firmware(make_project(bundle, board)).elf.read_bytes() == good
    assert [path.name for path in (tmp_path / "cache" / "firmware").iterdir()] == [first.elf.parent.name]
    assert cached_firmware(make_project(bundle, load_board("mps2-an385"))).elf != first.elf


def test_missing_compiler_names_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(toolchain, "find_toolchain", toolchain.find_toolchain.__wrapped__)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match="arm-none-eabi-gcc not found; install the Debian package gcc-arm-none-eabi"):
        toolchain.find_toolchain()


def test_compiler_that_does_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("arm-none-eabi-gcc", "arm-none-eabi-objcopy", "arm-none-eabi-objdump"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 3\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with pytest.raises(BuildError, match="arm-none-eabi-gcc does not run"):
        toolchain.find_toolchain.__wrapped__()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"elf": 3, "symbols": [], "flash_bytes": 1, "ram_bytes": 1}'])
def test_damaged_report_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "build-report.json").write_text(text)
    with pytest.raises(BuildError, match="not a readable build report"):
        read_firmware(tmp_path)


@compiled
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schema_version": 0}, "schema and version are"),
        ({"schema": "edgecodec.profile"}, "schema and version are"),
        ({"flash_bytes": 1}, "validation error"),
        ({"symbols": [{"name": "x"}]}, "validation error"),
        ({"elf": "other.elf"}, "No such file"),
        ({"elf_sha256": "ab" * 32}, "not the file that the build wrote; build the firmware again"),
    ],
)
def test_report_that_is_not_of_this_build(
    bundle: Bundle, board: Board, tmp_path: Path, change: dict[str, object], reason: str
) -> None:
    built = cached_firmware(make_project(bundle, board))
    folder = Path(shutil.copytree(built.folder, tmp_path / "moved"))
    assert read_firmware(folder) == replace(built, folder=folder)
    document = json.loads((folder / "build-report.json").read_text())
    assert document["output"] is None
    (folder / "build-report.json").write_text(json.dumps(document | change))
    with pytest.raises(BuildError, match=reason) as caught:
        read_firmware(folder)
    assert "\n" not in str(caught.value)


def test_output_of_a_missing_tool(board: Board, tmp_path: Path) -> None:
    runner = build._Runner(board, tmp_path)
    with pytest.raises(BuildError, match="no-such-tool cannot be run"):
        runner([Path("/no-such-tool")])
