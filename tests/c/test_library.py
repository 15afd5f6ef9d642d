"""The library for vendors' SDKs: built, installed, found and run as its users would."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml

from edgecodec.boards.toolchain import _cmake as cmake_program
from edgecodec.bundle import Bundle
from edgecodec.codec.reference import ReferenceExecutor
from edgecodec.compile.library import write_package
from edgecodec.compile.render import codec_sources
from edgecodec.errors import InputError
from edgecodec.host.extension import STRICT_FLAGS
from edgecodec.link.protocol import (
    FLUSH,
    Message,
    MessageReader,
    ReadBack,
    encode_request,
    hello_request,
    parse_encode,
    parse_hello,
)
from tests.cli.run import assert_one_error, edgecodec
from tests.tools import require


@pytest.fixture(scope="module")
def library(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("library") / "codec"
    write_package(bundle, folder)
    return folder


def run(*words: object, cwd: Path) -> str:
    done = subprocess.run([str(word) for word in words], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def example(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, built with the installed package alone."""
    require("cc")
    folder = tmp_path_factory.mktemp("installed")
    cmake = cmake_program()
    run(cmake, "-S", library, "-B", "build", cwd=folder)
    run(cmake, "--build", "build", cwd=folder)
    run(cmake, "--install", "build", "--prefix", folder / "prefix", cwd=folder)
    run(cmake, "-S", library / "example", "-B", "example", f"-DCMAKE_PREFIX_PATH={folder / 'prefix'}", cwd=folder)
    run(cmake, "--build", "example", cwd=folder)
    return folder / "example" / "example"


def test_example_answers_as_a_board_does(bundle: Bundle, example: Path) -> None:
    frames = bundle.frames()[:4]
    read_back = ReadBack.INPUT | ReadBack.LATENT
    requests = [encode_request(n + 1, read_back, frame) for n, frame in enumerate(frames)]
    sent = FLUSH + hello_request(0) + b"".join(requests)
    done = subprocess.run([example], input=sent, capture_output=True, timeout=60, check=True)
    hello, *replies = [m for m in MessageReader(1 << 16).feed(done.stdout) if isinstance(m, Message)]
    said = parse_hello(hello.payload)
    assert (said.digest, said.board, said.counts_cycles) == (bundle.digest, "example", True)
    want = ReferenceExecutor(bundle.codec).stages(frames)
    got = [parse_encode(reply.payload, said.digest, said.shape, read_back) for reply in replies]
    np.testing.assert_array_equal([each.stages["indices"] for each in got], want.indices)
    np.testing.assert_array_equal([each.stages["latent"] for each in got], want.latent)


def test_package_of_another_version_is_refused(library: Path, example: Path, tmp_path: Path) -> None:
    prefix = example.parent.parent / "prefix"
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(p C)\nfind_package(edgecodec 99 CONFIG REQUIRED)\n"
    )
    command = [cmake_program(), "-S", ".", "-B", "build", f"-DCMAKE_PREFIX_PATH={prefix}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "compatible with requested version" in " ".join(done.stderr.split())


def test_folder_in_the_tree_of_another_project(library: Path, tmp_path: Path) -> None:
    require("cc")
    (tmp_path / "main.c").write_text(
        '#include "ppg_model.h"\n'
        "int main(void) { return edc_model_info(&ppg_model)->samples == PPG_MODEL_SAMPLES ? 0 : 1; }\n",
        encoding="utf-8",
    )
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(p C)\n"
        f"add_subdirectory({library.as_posix()} codec)\nadd_executable(p main.c)\n"
        "target_link_libraries(p PRIVATE edgecodec::codec)\n",
        encoding="utf-8",
    )
    run(cmake_program(), "-S", ".", "-B", "build", cwd=tmp_path)
    run(cmake_program(), "--build", "build", cwd=tmp_path)


def compiled(bundle: Bundle, folder: Path, core: str) -> str:
    """The generated model of a library whose codec and link the cross compiler takes for ``core``."""
    require("arm-none-eabi-gcc")
    files = write_package(bundle, folder, core=core)
    sources = [path for path in files if path.suffix == ".c" and path.parent.name in {"codec", "link"}]
    assert len(sources) > 6
    flags = ("-ffreestanding", "-mthumb", f"-mcpu={core}", "-O2", "-Icodec", "-Ilink", "-Iport", "-fsyntax-only")
    run("arm-none-eabi-gcc", *STRICT_FLAGS, *flags, *(path.relative_to(folder) for path in sources), cwd=folder)
    return (folder / "codec" / "ppg_model.c").read_text(encoding="utf-8")


@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m3", "cortex-m33", "cortex-m55"])
def test_compiles_for_the_core(bundle: Bundle, tmp_path: Path, core: str) -> None:
    kernels = compiled(bundle, tmp_path / "codec", core)
    assert ("edc_conv_mve" in kernels) == (core == "cortex-m55")
    assert ("edc_conv_twin" in kernels) == (core == "cortex-m0plus")


@pytest.mark.parametrize("name", ["08x_light", "32x_light"])
def test_library_with_packets(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "codec"
    assert "edc_packet_format" in compiled(Bundle.load(name), folder, "cortex-m4")
    told = (folder / "README.md").read_text(encoding="utf-8")
    assert "`edc_encoder.h`" in told
    assert "`EDC_SERVED_WITHOUT_ENCODER`" in told


FLAGS = {
    "debugger": ("-Og", "-g", "-fno-omit-frame-pointer"),
    "nothing": ("-O0", "-fno-omit-frame-pointer"),
    "size": ("-Os", "-fno-omit-frame-pointer"),
    "fixed": ("-O3", "-fno-omit-frame-pointer", "-ffixed-r9", "-DEDC_KEEP_R9"),
    "fixed debugger": ("-Og", "-fno-omit-frame-pointer", "-ffixed-r9", "-DEDC_KEEP_R9"),
    "fixed alone": ("-O2", "-ffixed-r9"),
    "position": ("-O2", "-fpic"),
}


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m3", "cortex-m4", "cortex-m33", "cortex-m55"])
def test_kernels_compile_with_fewer_registers(tmp_path: Path, core: str, flags: str) -> None:
    """A frame pointer, or a register that the system reserves: every kernel to an object, whatever the core uses."""
    require("arm-none-eabi-gcc")
    folder = tmp_path
    for path in codec_sources():
        shutil.copy(path, folder)
    sources = [path.name for path in codec_sources() if path.suffix == ".c"]
    assert "edc_conv_twin.c" in sources
    options = ("-ffreestanding", "-mthumb", f"-mcpu={core}", "-mfloat-abi=soft", "-c")
    if core == "cortex-m55":
        options = ("-ffreestanding", "-mthumb", f"-mcpu={core}", "-mfloat-abi=hard", "-c")
    keeps = "-DEDC_KEEP_R9" in FLAGS[flags]
    listed = ["-save-temps=obj"] if keeps else []
    run("arm-none-eabi-gcc", *STRICT_FLAGS, *options, *FLAGS[flags], *listed, *sources, cwd=folder)
    if keeps:
        listing = "".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.s")))
        assert "edc_conv_twin:" in listing
        assert not re.findall(r"^.*\b(?:r9|sb)\b.*$", listing, re.MULTILINE)


ZEPHYR = """
set(CONFIG_EDGECODEC y)
set(CONFIG_EDGECODEC_SERVER {server})
function(zephyr_library_named name)
  message(STATUS "library ${{name}}")
endfunction()
function(zephyr_library_sources)
  foreach(source IN LISTS ARGN)
    message(STATUS "source ${{source}}")
  endforeach()
endfunction()
function(zephyr_include_directories)
  foreach(folder IN LISTS ARGN)
    message(STATUS "include ${{folder}}")
  endforeach()
endfunction()
include(${{CMAKE_CURRENT_LIST_DIR}}/zephyr/CMakeLists.txt)
"""


@pytest.mark.parametrize("server", ["y", ""])
def test_zephyr_module_names_what_is_there(library: Path, server: str) -> None:
    """Zephyr's functions are replaced by ones that print; Zephyr itself is not here."""
    script = library / "as-zephyr.cmake"
    script.write_text(ZEPHYR.format(server=server), encoding="utf-8")
    try:
        lines = run(cmake_program(), "-P", script, cwd=library).splitlines()
    finally:
        script.unlink()
    said = [line.removeprefix("-- ").split() for line in lines]
    assert said[0] == ["library", "edgecodec"]
    paths = [library / "zephyr" / path for kind, path in said if kind in {"source", "include"}]
    assert len(paths) == len(set(paths)) > 5
    assert all(path.exists() for path in paths)
    assert any(path.name == "edc_server.c" for path in paths) == bool(server)


def test_zephyr_module_file_and_options(library: Path) -> None:
    kconfiglib = pytest.importorskip("kconfiglib")
    module = yaml.safe_load((library / "zephyr" / "module.yml").read_text(encoding="utf-8"))
    assert module["name"] == "edgecodec"
    assert (library / module["build"]["cmake"] / "CMakeLists.txt").is_file()
    options = kconfiglib.Kconfig(library / module["build"]["kconfig"], warn_to_stderr=False)
    assert options.warnings == []
    codec, server = options.syms["EDGECODEC"], options.syms["EDGECODEC_SERVER"]
    server.set_value(2)
    assert server.str_value == "n", "the server needs the codec"
    codec.set_value(2)
    assert server.str_value == "y"


def test_same_bytes_each_time(bundle: Bundle, library: Path, tmp_path: Path) -> None:
    again = write_package(bundle, tmp_path / "again")
    for path in again:
        name = path.relative_to(tmp_path / "again")
        assert path.read_bytes() == (library / name).read_bytes(), name
        assert b"/tmp" not in path.read_bytes()
    assert bundle.digest in (library / "README.md").read_text(encoding="utf-8")


def test_each_file_of_c_says_its_licence(library: Path) -> None:
    """As a scanner of licences reads it; the example is the user's from the first line on."""
    sources = [path for path in library.rglob("*.[ch]") if "example" not in path.parts]
    assert len(sources) > 20
    silent = [path.name for path in sources if "SPDX-License-Identifier: Apache-2.0" not in path.read_text("utf-8")]
    assert not silent


def test_errors_and_folders_of_others(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="core 'cortex-a53' is unknown; expected one of cortex-m0"):
        write_package(bundle, tmp_path / "out", core="cortex-a53")
    assert not (tmp_path / "out").exists()
    (tmp_path / "thesis.txt").write_text("x", encoding="utf-8")
    result = edgecodec("generate", bundle.path, "-o", tmp_path, "--library")
    assert_one_error(result, "holds other files")
    assert edgecodec("generate", bundle.path, "-o", tmp_path / "lib", "--library", "--json").returncode == 0
    assert edgecodec("generate", bundle.path, "-o", tmp_path / "lib", "--library").returncode == 0
