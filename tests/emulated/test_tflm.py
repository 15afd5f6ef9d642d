"""Firmware on the user's TensorFlow Lite Micro: its checks, its arena, its verdict, with a stand-in for the library.

The last tests take a real one, which EDGECODEC_TFLM_DIR and EDGECODEC_TFLM_LIB name.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from edgecodec.boards.load import load_board
from edgecodec.boards.schema import Board
from edgecodec.boards.toolchain import find_toolchain
from edgecodec.bundle import Bundle
from edgecodec.cli.build_firmware import command as build_firmware_command
from edgecodec.cli.flash_and_verify import command as flash_and_verify_command
from edgecodec.cli.output import Streams
from edgecodec.codec.numerics import NUMERICS, Numerics
from edgecodec.codec.reference import ReferenceExecutor, run_every_layer
from edgecodec.compile.plan import Plan
from edgecodec.device import tflm_arena as arena
from edgecodec.device.connect import Attachment
from edgecodec.device.emulator import Emulator
from edgecodec.device.tflm_arena import open_tflm
from edgecodec.engines.native import NATIVE_ENGINE
from edgecodec.engines.tflm.codec_files import ops_of
from edgecodec.engines.tflm.engine import TflmEngine
from edgecodec.engines.tflm.library import TflmSource, open_library
from edgecodec.errors import BuildError, DeviceError, InputError
from edgecodec.firmware.build import build_firmware, cached_firmware
from edgecodec.firmware.limits import Limits, SizeLimitError
from edgecodec.firmware.project import make_project
from edgecodec.link.client import BoardExecutor
from edgecodec.verify.profile import profile_board
from edgecodec.verify.run import VerifyResult, verify_board
from tests import tflm_stand_in as stand_in
from tests import tools
from tests.cli.run import assert_one_error, edgecodec
from tests.packets import bundle_with_packets, kinds_of_frames

pytestmark = pytest.mark.emulated
M4_FLAGS = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")


@pytest.fixture(scope="module")
def board() -> Board:
    return load_board("mps2-an386")


@pytest.fixture(scope="module")
def source(bundle: Bundle, board: Board, tmp_path_factory: pytest.TempPathFactory) -> TflmSource:
    """A library that does everything right."""
    tools.require(*tools.EMULATOR)
    return stand_in.build(bundle, board, tmp_path_factory.mktemp("tflm"))


@pytest.fixture
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in.without_c_library(monkeypatch)


def frames_of(bundle: Bundle) -> np.ndarray:
    frames = bundle.frames()
    assert frames is not None
    return frames


def mismatches(result: VerifyResult) -> dict[tuple[str, str], int]:
    return {(pair.a, pair.b): pair.mismatches for pair in result.comparison.pairs if pair.mismatches}


@pytest.mark.usefixtures("_stand_in")
def test_both_engines_agree_with_all_others(
    bundle: Bundle, board: Board, source: TflmSource, plans: list[Plan]
) -> None:
    tools.require("module:tflite_micro")
    engine = open_tflm(source, bundle, board)
    plans.clear()
    result = verify_board(bundle, board, frames_of(bundle), engine=engine)
    assert (result.verdict, result.layer_divergences) == ("equal", ())
    assert len(plans) == 2, "one for each engine"
    assert {"tflm", "reference", "host", "board", "board-tflm"} == set(result.stages)
    compared = {(pair.a, pair.b, pair.stage): pair.compared for pair in result.comparison.pairs}
    assert compared["board", "board-tflm", "latent"] == 16 * 48
    assert compared["reference", "board-tflm", "input"] == 16 * 64
    native, tflm = result.runs
    assert (native.engine, tflm.engine, result.run) == ("native", "tflm", tflm)
    document = json.loads(json.dumps(result.document.to_json()))
    assert (document["engine"], document["arena_bytes"]) == ("tflm", tflm.arena_bytes)
    assert [run["engine"] for run in document["runs"]] == ["native", "tflm"]
    assert result.executor is result.stages["board-tflm"]


@pytest.mark.usefixtures("_stand_in")
@pytest.mark.parametrize("kind", ["plain", "tables", "network"])
def test_packets_are_the_same_with_either_engine(bundle: Bundle, board: Board, tmp_path: Path, kind: str) -> None:
    tools.require("module:tflite_micro")
    packed = bundle_with_packets(bundle, tmp_path / "b", kind)
    engine = open_tflm(stand_in.build(packed, board, tmp_path / "tflm"), packed, board)
    result = verify_board(packed, board, kinds_of_frames(packed.codec.samples), engine=engine)
    assert (result.verdict, result.layer_divergences) == ("equal", ())
    compared = {(pair.a, pair.b) for pair in result.comparison.pairs if pair.stage == "packet" and pair.compared}
    # Models of TensorFlow Lite Micro have no encoder object.
    pushed = {("reference", "host-encoder"), ("reference", "board-encoder")}
    assert compared == {*combinations(("reference", "host", "board", "board-tflm"), 2), *pushed}
    assert [run.encoder_bytes > 0 for run in result.runs] == [True, False]
    native, tflm = (run.breakdown.packet for run in result.runs)
    assert native is not None
    assert native == pytest.approx(tflm, rel=0.01)


@pytest.mark.usefixtures("_stand_in")
def test_arena_is_the_smallest_with_which_it_starts(bundle: Bundle, board: Board, source: TflmSource) -> None:
    engine = open_tflm(source, bundle, board)
    # What the stand-in wants: the state of the generated C.
    used = cached_firmware(make_project(bundle, board)).report.codec_state_bytes
    assert engine.interpreter_bytes == -(-used // 16) * 16
    with (
        Emulator(board, cached_firmware(make_project(bundle, board, engine=engine)).elf) as emulator,
        BoardExecutor(bundle, emulator.url) as device,
    ):
        assert (device.hello.engine, device.hello.arena_bytes) == ("tflm", used)
        assert device.name == "board-tflm"
    too_small = TflmEngine(engine.library, engine.interpreter_bytes - 16)
    with (
        Emulator(board, cached_firmware(make_project(bundle, board, engine=too_small)).elf) as emulator,
        BoardExecutor(bundle, emulator.url) as device,
    ):
        assert device.hello.arena_bytes == 0
        with pytest.raises(DeviceError, match=r"engine failed, status 5 \(ENGINE\).*larger arena"):
            device.encode(frames_of(bundle)[:1])
        with pytest.raises(DeviceError, match=r"engine failed, status 5 \(ENGINE\)"):
            device.read_layer(frames_of(bundle)[0], 0)


@pytest.mark.usefixtures("_stand_in")
def test_an_interpreter_that_takes_more_to_start_gets_it(bundle: Bundle, board: Board, tmp_path: Path) -> None:
    used = cached_firmware(make_project(bundle, board)).report.codec_state_bytes
    engine = open_tflm(stand_in.build(bundle, board, tmp_path, start_bytes=200), bundle, board)
    assert used + 200 <= engine.interpreter_bytes < used + 400
    never = stand_in.build(bundle, board, tmp_path, start_bytes=1 << 20)
    with pytest.raises(DeviceError, match=r"arena cannot be measured: .* does not start on mps2-an386.*--tflm-arena"):
        open_tflm(never, bundle, board)


@pytest.mark.usefixtures("_stand_in")
@pytest.mark.parametrize("numerics", NUMERICS.values(), ids=lambda numerics: numerics.name)
def test_the_layer_that_goes_wrong_is_named(
    bundles: Mapping[Numerics, Bundle], board: Board, tmp_path: Path, numerics: Numerics
) -> None:
    tools.require("module:tflite_micro")
    bundle = bundles[numerics]
    frames = frames_of(bundle)
    engine = open_tflm(stand_in.build(bundle, board, tmp_path, "STAND_IN_FAULT=1"), bundle, board)
    result = verify_board(bundle, board, frames, engine=engine)
    assert result.exit_code == 1
    assert {b for _, b in mismatches(result)} == {"board-tflm"}
    assert {a for a, _ in mismatches(result)} == {"tflm", "reference", "host", "board"}
    # Only the encoder is another, so its first wrong output is where the fault was put: the last position, channel 1.
    (found,) = result.layer_divergences
    layer = bundle.codec.graph.layers[1]
    outputs = run_every_layer(
        bundle.codec.graph, ReferenceExecutor(bundle.codec).stages(frames[found.frame][None]).input
    )
    expected = int(outputs[1][0, -1, 1])
    assert (found.executor, found.layer, found.name, found.op) == ("board-tflm", 1, layer.name, str(layer.op))
    assert (found.position, found.last_position, found.channel) == (layer.output.width - 1, layer.output.width - 1, 1)
    assert (found.expected, found.received) == (expected, expected ^ 4)
    assert (found.mismatches, found.compared) == (1, layer.output.size_bytes // numerics.activation.itemsize)
    assert result.document.to_json()["layer_divergences"] == [vars(found)]
    assert f"layer 1 (CONV_2D {layer.name}), position 15 of 0..15: 1 of 192 values" in found.describe()


@pytest.mark.usefixtures("_stand_in")
def test_every_layer_is_read_back_from_both_engines(bundle: Bundle, board: Board, source: TflmSource) -> None:
    frames = frames_of(bundle)
    expected = run_every_layer(bundle.codec.graph, ReferenceExecutor(bundle.codec).stages(frames[3:4]).input)
    for engine in (NATIVE_ENGINE, open_tflm(source, bundle, board)):
        elf = cached_firmware(make_project(bundle, board, engine=engine)).elf
        with Emulator(board, elf) as emulator, BoardExecutor(bundle, emulator.url) as device:
            for index, output in enumerate(expected):
                found = device.read_layer(frames[3], index)
                assert found is not None
                np.testing.assert_array_equal(found, output.reshape(-1), err_msg=f"{device.name}, layer {index}")
            assert device.read_layer(frames[3], len(expected)) is None


@pytest.mark.usefixtures("_stand_in")
def test_layers_are_timed(bundle: Bundle, board: Board, source: TflmSource) -> None:
    engine = open_tflm(source, bundle, board)
    document = profile_board(bundle, board, frames_of(bundle)[:2], engine=engine).to_json()
    assert document["engine"] == "tflm"
    layers = [row for row in document["layers"] if row["kind"] == "layer"]
    assert [row["name"] for row in layers] == [layer.name for layer in bundle.codec.graph.layers]
    assert {row["kernel"] for row in layers} == {"TFLM"}
    native = profile_board(bundle, board, frames_of(bundle)[:2]).to_json()
    # The stand-in runs the same kernels, with a call or two around each.
    for ours, theirs in zip(layers, (row for row in native["layers"] if row["kind"] == "layer"), strict=True):
        assert ours["cost"] == pytest.approx(theirs["cost"], rel=0.05, abs=60)


@pytest.mark.usefixtures("_stand_in")
def test_build_and_its_report(bundle: Bundle, board: Board, source: TflmSource, tmp_path: Path) -> None:
    engine = open_tflm(source, bundle, board)
    out = tmp_path / "firmware"
    project = make_project(bundle, board, engine=engine)
    firmware = build_firmware(project, out)
    report = firmware.report
    assert (report.engine, report.arena_bytes) == ("tflm", engine.interpreter_bytes)
    assert report.codec_state_bytes > engine.interpreter_bytes
    assert (out / "firmware.bin").stat().st_size == report.flash_bytes
    parts = {part.part: part for part in report.parts}
    assert parts["TFLM"].text > 1000
    assert parts["weights"].rodata >= (bundle.path / "encoder.tflite").stat().st_size
    assert parts["codec state"].ram == report.codec_state_bytes
    assert report.stack > board.stack_bytes
    # The library, its headers and the places they came from are in none of the project's files.
    texts = [path.read_text() for path in out.rglob("*") if path.suffix in {".c", ".h", ".cc", ".txt", ".cmake", ".md"}]
    assert not any(str(source.library.parent) in text or str(source.tree) in text for text in texts)
    assert build_firmware(project, tmp_path / "b").elf.read_bytes() == firmware.elf.read_bytes()
    with pytest.raises(SizeLimitError, match="RAM, the limit is 1,000"):
        build_firmware(project, tmp_path / "c", limits=Limits(ram=1000))


@pytest.mark.usefixtures("_stand_in")
def test_project_builds_by_itself(bundle: Bundle, board: Board, source: TflmSource, tmp_path: Path) -> None:
    engine = open_tflm(source, bundle, board)
    build_firmware(make_project(bundle, board, engine=engine), tmp_path / "project")
    cmake = find_toolchain().cmake
    configure = [cmake, "-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={find_toolchain().ninja}", "-S", "project", "-B", "out"]
    refused = subprocess.run(configure, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "pass -DTFLM_INCLUDE_FOLDERS=... and -DTFLM_LIBRARY=..." in " ".join(refused.stderr.split())
    subprocess.run([*configure, *engine.library.cmake_arguments], cwd=tmp_path, capture_output=True, check=True)
    subprocess.run([cmake, "--build", "out"], cwd=tmp_path, capture_output=True, check=True)
    assert (tmp_path / "out" / "firmware.elf").exists()


@pytest.mark.usefixtures("_stand_in")
def test_running_firmware_of_the_other_engine_is_refused(bundle: Bundle, board: Board, source: TflmSource) -> None:
    engine = open_tflm(source, bundle, board)
    frames = frames_of(bundle)[:2]
    with Emulator(board, cached_firmware(make_project(bundle, board)).elf) as emulator:
        there = Attachment(port=emulator.url, flash=False)
        with pytest.raises(DeviceError, match="engine is native; expected tflm; build and flash it again"):
            verify_board(bundle, board, frames, attachment=there, engine=engine)
    with Emulator(board, cached_firmware(make_project(bundle, board, engine=engine)).elf) as emulator:
        result = verify_board(bundle, board, frames, attachment=Attachment(port=emulator.url, flash=False))
    assert (result.verdict, [run.engine for run in result.runs]) == ("equal", ["tflm"])


@pytest.mark.usefixtures("_stand_in")
def test_commands(bundle: Bundle, board: Board, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tools.require("module:tflite_micro")
    brought = stand_in.build(bundle, board, tmp_path / "lib", "STAND_IN_CHECKS", "STAND_IN_PRINTS", "STAND_IN_FAULT=1")
    options = ["--engine", "tflm", "--tflm-dir", str(brought.tree), "--tflm-lib", str(brought.library)]
    arguments = [str(bundle.path), "-o", str(tmp_path / "out"), *options]
    assert build_firmware_command.main(arguments, obj=Streams(False), standalone_mode=False) == 0
    shown = capsys.readouterr()
    assert re.search(r"engine +tflm, arena \d+ bytes", shown.out)
    assert shown.err.count("warning: ") == 2
    assert "not a release build: its kernels check every access (no NDEBUG)" in shown.err
    assert "carries its error texts (no TF_LITE_STRIP_ERROR_STRINGS)" in shown.err
    arguments = [str(bundle.path), "--limit", "2", *options, "--tflm-arena", "1000"]
    assert flash_and_verify_command.main(arguments, obj=Streams(False), standalone_mode=False) == 1
    shown = capsys.readouterr()
    assert "wrong in board-tflm  frame 0, layer 1 (CONV_2D" in shown.out
    assert "beside, native" in shown.out


def test_options_that_contradict(bundle: Bundle, tmp_path: Path) -> None:
    out = ("-o", tmp_path / "out")
    assert_one_error(edgecodec("build-firmware", bundle.path, *out, "--engine", "tflm"), "needs --tflm-dir and")
    assert_one_error(edgecodec("profile", bundle.path, "--tflm-arena", "4096"), "need --engine tflm")
    both = ("--engine", "tflm", "--tflm-dir", stand_in.TREE, "--tflm-lib", "x.a", "--codec-only")
    assert_one_error(edgecodec("build-firmware", bundle.path, *out, *both), "--codec-only is for the native engine")
    assert not (tmp_path / "out").exists()


def test_a_library_that_is_missing_or_damaged(bundle: Bundle, source: TflmSource, tmp_path: Path) -> None:
    damaged = tmp_path / "cut.a"
    damaged.write_bytes(source.library.read_bytes()[:-100])
    other = tmp_path / "other.a"
    other.write_text("int main;")
    for library, message in (
        (tmp_path / "none.a", "cannot be read (No such file or directory)"),
        (tmp_path, "cannot be read (Is a directory)"),
        (damaged, "a damaged archive"),
        (other, "not a static library"),
    ):
        options = ("--engine", "tflm", "--tflm-dir", source.tree, "--tflm-lib", library)
        result = edgecodec("build-firmware", bundle.path, "-o", tmp_path / "out", *options)
        assert_one_error(result, str(library), message)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("_stand_in")
def test_paths_may_hold_anything_but_a_semicolon(
    bundle: Bundle, board: Board, source: TflmSource, tmp_path: Path
) -> None:
    odd = tmp_path / "a folder (with) 'odd' \"name\" $HOME, & more"
    shutil.copytree(source.tree, odd / "tree")
    library = Path(shutil.copy(source.library, odd / "lib tflm.a"))
    engine = open_tflm(TflmSource(odd / "tree", library, arena_bytes=4096), bundle, board)
    assert build_firmware(make_project(bundle, board, engine=engine), tmp_path / "out").report.engine == "tflm"
    with pytest.raises(InputError, match="CMake takes the semicolon in this path for its end"):
        open_tflm(TflmSource(source.tree, tmp_path / "a;b" / "lib.a"), bundle, board)


def test_headers_that_are_missing(bundle: Bundle, board: Board, source: TflmSource, tmp_path: Path) -> None:
    ops, toolchain = ops_of(bundle.codec.graph), find_toolchain()
    with pytest.raises(InputError, match="no such folder"):
        open_library(TflmSource(tmp_path / "none", source.library), board, ops, toolchain)
    with pytest.raises(InputError, match=r"micro/kernels/kernel_util\.h is missing \(and 5 more\)"):
        open_library(TflmSource(tmp_path, source.library), board, ops, toolchain)
    tree = Path(shutil.copytree(source.tree, tmp_path / "tree"))
    (tree / "tensorflow/lite/micro/kernels/depthwise_conv.h").unlink()
    with pytest.raises(InputError, match=r"depthwise_conv\.h is missing; --tflm-dir names the folder"):
        open_library(TflmSource(tree, source.library), board, ops, toolchain)
    shutil.copy(
        source.tree / "tensorflow/lite/micro/kernels/conv.h", tree / "tensorflow/lite/micro/kernels/depthwise_conv.h"
    )
    # A checkout that was built in keeps FlatBuffers elsewhere.
    downloads = tree / "tensorflow/lite/micro/tools/make/downloads"
    downloads.mkdir(parents=True)
    (tree / "third_party" / "flatbuffers").rename(downloads / "flatbuffers")
    found = open_library(TflmSource(tree, source.library), board, ops, toolchain)
    assert found.include_folders == (tree, downloads / "flatbuffers/include")
    shutil.rmtree(downloads)
    with pytest.raises(InputError, match=r"flatbuffers/flatbuffers\.h is missing; expected it in third_party or"):
        open_library(TflmSource(tree, source.library), board, ops, toolchain)


def test_kernels_that_are_missing(bundle: Bundle, board: Board, tmp_path: Path) -> None:
    without = stand_in.build(bundle, board, tmp_path, "STAND_IN_NO_DEPTHWISE")
    with pytest.raises(InputError, match=r"no kernel of DEPTHWISE_CONV_2D \(tflite::Register_DEPTHWISE_CONV_2D\)"):
        open_library(without, board, ops_of(bundle.codec.graph), find_toolchain())
    subprocess.run(["arm-none-eabi-ar", "d", without.library, "interpreter.o"], check=True)
    with pytest.raises(InputError, match=r"no tflite::MicroInterpreter among its \d+ symbols"):
        open_library(without, board, ops_of(bundle.codec.graph), find_toolchain())


@pytest.mark.parametrize(
    ("built_for", "board_name", "problem"),
    [
        (("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=soft"), "mps2-an386", "passes floats in core registers"),
        (
            ("-mcpu=cortex-m55", "-mthumb", "-mfloat-abi=hard"),
            "mps2-an386",
            r"Armv8\.1-M Mainline, which the core does",
        ),
        (("-mcpu=cortex-m3", "-mthumb"), "microbit", "Armv7-M, which the core does not run"),
        (("-mcpu=cortex-m7", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv5-d16"), "mps2-an386", "floating-point"),
        (("-mcpu=cortex-m55+nomve", "-mthumb", "-mfloat-abi=hard"), "mps2-an505", r"Armv8\.1-M Mainline"),
        (("-mcpu=cortex-m0", "-mthumb"), "mps2-an385", None),
        (M4_FLAGS, "mps2-an500", None),
        (M4_FLAGS, "mps2-an505", None),
    ],
)
def test_a_library_of_another_core(
    bundle: Bundle, tmp_path: Path, built_for: tuple[str, ...], board_name: str, problem: str | None
) -> None:
    # The state of the generated C is as large for every core that has no vectors.
    brought = stand_in.build(bundle, load_board("microbit"), tmp_path, cpu=built_for)
    ops = ops_of(bundle.codec.graph)
    if problem is None:
        assert open_library(brought, load_board(board_name), ops, find_toolchain()).warnings == ()
        return
    target = load_board(board_name)
    with pytest.raises(InputError, match=problem) as caught:
        open_library(brought, target, ops, find_toolchain())
    assert "interpreter.o is built for" in str(caught.value)
    assert f"build the library with {' '.join(target.cpu.flags)}" in str(caught.value)


def test_a_library_without_vectors_is_told(bundle: Bundle, source: TflmSource) -> None:
    found = open_library(source, load_board("mps3-an547"), ops_of(bundle.codec.graph), find_toolchain())
    assert len(found.warnings) == 1
    assert "the vectors of cortex-m55 stay idle" in found.warnings[0]


@pytest.mark.usefixtures("_stand_in")
def test_a_real_boards_arena_is_measured_on_an_emulated_one(bundle: Bundle, board: Board, source: TflmSource) -> None:
    real = load_board("nucleo-f446re")
    assert open_tflm(source, bundle, real).interpreter_bytes == open_tflm(source, bundle, board).interpreter_bytes


def test_without_an_emulator_the_arena_is_the_users_to_say(
    bundle: Bundle, board: Board, source: TflmSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arena, "list_boards", list)
    with pytest.raises(BuildError, match=r"arena cannot be measured: no emulated board.*--tflm-arena"):
        open_tflm(source, bundle, load_board("nucleo-f446re"))
    said = TflmSource(source.tree, source.library, arena_bytes=4001)
    assert open_tflm(said, bundle, load_board("nucleo-f446re")).interpreter_bytes == 4016
    with pytest.raises(InputError, match="arena is 0 bytes; expected a positive number"):
        open_tflm(TflmSource(source.tree, source.library, arena_bytes=0), bundle, board)


@pytest.fixture(scope="module")
def brought() -> TflmSource:
    """The TensorFlow Lite Micro that the environment names."""
    tree, library = os.environ.get("EDGECODEC_TFLM_DIR"), os.environ.get("EDGECODEC_TFLM_LIB")
    if not tree or not library:
        pytest.skip("EDGECODEC_TFLM_DIR and EDGECODEC_TFLM_LIB name no TensorFlow Lite Micro")
    return TflmSource(Path(tree), Path(library))


def test_real_library(codec: Bundle, brought: TflmSource) -> None:
    """EDGECODEC_TFLM_BOARD is the emulated board that the library is for, by default one with a Cortex-M4."""
    tools.require("module:tflite_micro")
    target = load_board(os.environ.get("EDGECODEC_TFLM_BOARD", "mps2-an386"))
    engine = open_tflm(brought, codec, target)
    frames = np.random.default_rng(1).integers(-3000, 3000, (20, codec.codec.samples)).astype(np.int16)
    result = verify_board(codec, target, frames, engine=engine)
    tflm = result.runs[-1]
    assert (tflm.engine, tflm.arena_bytes > 0) == ("tflm", True)
    assert engine.interpreter_bytes - 16 < tflm.arena_bytes <= engine.interpreter_bytes
    if "CMSIS_NN" in engine.library.definitions and any(code.vectors for code in engine.library.code):
        # CMSIS-NN's convolution with vectors misjudges the padding at the right edge.
        (found,) = result.layer_divergences
        assert (found.executor, found.op) == ("board-tflm", "CONV_2D")
        assert found.position == found.positions - 1
        assert {b for _, b in mismatches(result)} == {"board-tflm"}
    else:
        assert (result.verdict, mismatches(result)) == ("equal", {})
