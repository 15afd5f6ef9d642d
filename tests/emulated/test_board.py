"""Real firmware on emulated boards, over a real serial link."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgecodec.boards.load import load_board
from edgecodec.boards.schema import Board
from edgecodec.bundle import Bundle
from edgecodec.codec.numerics import INT8, INT16X8, Numerics
from edgecodec.codec.reference import ReferenceExecutor, run_every_layer
from edgecodec.codec.stages import Stages
from edgecodec.compile.cascade import make_cascade
from edgecodec.compile.codebook_search import Search
from edgecodec.compile.plan import Plan, make_plan
from edgecodec.compile.target import Target
from edgecodec.device.emulator import Emulator
from edgecodec.errors import BuildError, DeviceError, LinkError
from edgecodec.firmware.build import cached_firmware
from edgecodec.firmware.project import FirmwareProject, make_project, plan_for
from edgecodec.link.client import BoardExecutor
from edgecodec.link.costs import Costs
from edgecodec.verify.compare import Verdict
from edgecodec.verify.profile import profile_board
from edgecodec.verify.run import verify_board
from tests import tools
from tests.random_encoders import random_encoder
from tests.tflite_builder import CONV, DEPTHWISE, LayerSpec, build_encoder, bundle_of, ppg_frames, small_bundle

pytestmark = pytest.mark.emulated
ROOT = Path(__file__).resolve().parents[2]
BOARDS = {
    "lm3s6965evb": "cortex-m3",
    "microbit": "cortex-m0",
    "mps2-an385": "cortex-m3",
    "mps2-an386": "cortex-m4",
    "mps2-an500": "cortex-m7",
    "mps2-an505": "cortex-m33",
    "mps3-an547": "cortex-m55",
    "netduinoplus2": "cortex-m4",
    "stm32vldiscovery": "cortex-m3",
}
STAGES = ("input", "latent", "indices", "offset", "spread")
NS_PER_INSTRUCTION = 64
"""QEMU's clock runs at 2^6 ns an instruction."""


def frames_of(bundle: Bundle, count: int) -> np.ndarray:
    rng = np.random.default_rng(5)
    wild = rng.integers(-32768, 32768, (count // 2, bundle.codec.samples)).astype(np.int16)
    wild[0] = 7  # no variance
    return np.concatenate([ppg_frames(count - len(wild), bundle.codec.samples), wild])


def assert_equal(got: Stages, want: Stages, where: str) -> None:
    for stage in STAGES:
        np.testing.assert_array_equal(getattr(got, stage), getattr(want, stage), err_msg=f"{where}: {stage}")


def costs_of(bundle: Bundle, board: Board, frames: np.ndarray) -> Costs:
    elf = cached_firmware(make_project(bundle, board)).elf
    with Emulator(board, elf) as emulator, BoardExecutor(bundle, emulator.url) as executor:
        executor.stages(frames)
        assert executor.costs is not None
        return executor.costs


@pytest.mark.parametrize("name", BOARDS)
def test_every_byte_equals_the_reference(bundle: Bundle, name: str) -> None:
    board = load_board(name)
    assert board.core == BOARDS[name]
    firmware = cached_firmware(make_project(bundle, board))
    x = frames_of(bundle, 60)
    with Emulator(board, firmware.elf) as emulator, BoardExecutor(bundle, emulator.url) as executor:
        hello = executor.hello
        got = executor.stages(x)
        costs = executor.costs
    assert (hello.board, hello.digest, hello.window) == (name, bundle.digest, board.window)
    assert hello.state_bytes == firmware.report.codec_state_bytes
    assert_equal(got, ReferenceExecutor(bundle.codec).stages(x), name)
    assert (executor.statistics.retries, executor.statistics.bad_messages) == (0, 0)
    assert hello.per_tick == pytest.approx(1e9 / (board.timer.hz * NS_PER_INSTRUCTION), rel=2e-6)
    assert costs is not None
    assert costs.unit == "instructions"
    assert bundle.codec.graph.macs < costs.encoder < 100 * bundle.codec.graph.macs


def cpu_seconds(emulator: Emulator) -> float:
    assert emulator._process is not None
    fields = Path(f"/proc/{emulator._process.pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def test_codec_of_full_size(codec: Bundle) -> None:
    """On every board, at the same cost on boards of one core."""
    x = codec.frames()[:4]
    want = ReferenceExecutor(codec.codec).stages(x)
    totals: dict[str, list[float]] = {}
    for board in map(load_board, sorted(BOARDS)):
        with (
            Emulator(board, cached_firmware(make_project(codec, board)).elf) as emulator,
            BoardExecutor(codec, emulator.url) as executor,
        ):
            assert_equal(executor.stages(x), want, board.name)
            assert executor.costs is not None
            totals.setdefault(board.core, []).append(executor.costs.total)
    for core in ("cortex-m3", "cortex-m4"):
        first, *others = totals[core]
        assert first > 1_000_000
        assert others
        assert others == pytest.approx([first] * len(others), abs=50)


@pytest.mark.skipif(sys.platform != "linux", reason="CPU time is read from /proc")
@pytest.mark.parametrize("name", BOARDS)
def test_idle_board_sleeps_and_wakes(bundle: Bundle, name: str) -> None:
    """A wrong interrupt number would let the board sleep for ever, one that stays pending would never let it."""
    board = load_board(name)
    with (
        Emulator(board, cached_firmware(make_project(bundle, board)).elf) as emulator,
        BoardExecutor(bundle, emulator.url) as executor,
    ):
        time.sleep(0.1)
        before = cpu_seconds(emulator)
        time.sleep(0.5)
        assert cpu_seconds(emulator) - before < 0.2
        executor.encode(frames_of(bundle, 2))
        assert executor.statistics.retries == 0


def test_instruction_counts_repeat(bundle: Bundle) -> None:
    x = frames_of(bundle, 8)
    board = load_board("mps2-an386")
    assert costs_of(bundle, board, x).total == pytest.approx(costs_of(bundle, board, x).total, abs=10)


@pytest.mark.parametrize(
    ("a", "b"),
    [("mps2-an385", "lm3s6965evb"), ("mps2-an385", "stm32vldiscovery"), ("mps2-an386", "netduinoplus2")],
)
def test_boards_of_one_core_count_the_same(bundle: Bundle, a: str, b: str) -> None:
    x = frames_of(bundle, 16)
    first, second = costs_of(bundle, load_board(a), x), costs_of(bundle, load_board(b), x)
    for stage in ("normalize", "encoder", "rvq"):
        # To read SysTick takes 11 instructions more than to read the CMSDK's timer.
        assert getattr(second, stage) == pytest.approx(getattr(first, stage), abs=15), stage


def edited(project: FirmwareProject, edit: Callable[[dict[str, str]], None]) -> FirmwareProject:
    """The project with some of its files changed."""
    files = dict(project.files)
    edit(files)
    assert files != project.files
    return replace(project, files=files)


SYSTICK_BOARDS = [name for name in BOARDS if load_board(name).timer.kind == "systick"]


@pytest.mark.parametrize("name", SYSTICK_BOARDS)
def test_wraps_of_systick_are_counted(bundle: Bundle, name: str) -> None:
    """A stage of 134 million instructions, which is 6 to 12 wraps."""
    board = load_board(name)

    def lengthen(files: dict[str, str]) -> None:
        files["port/cortex_m/main.c"] = files["port/cortex_m/main.c"].replace("UINT32_C(1) << 21", "UINT32_C(1) << 26")

    elf = cached_firmware(edited(make_project(bundle, board), lengthen)).elf
    with Emulator(board, elf) as emulator, BoardExecutor(bundle, emulator.url) as executor:
        hello = executor.hello
    assert hello.calibration_instructions == 1 << 27
    instructions = hello.calibration_ticks * 1e9 / (board.timer.hz * NS_PER_INSTRUCTION)
    wraps = hello.calibration_ticks >> 24
    assert wraps >= 6
    assert 0 <= instructions - (1 << 27) <= 6 * wraps


@pytest.mark.parametrize("name", SYSTICK_BOARDS)
def test_systick_never_steps_back(bundle: Bundle, name: str) -> None:
    """Read two million times in a row over some ten thousand wraps, of 2^12 ticks for this test."""
    board = load_board(name)
    longest_step = """static uint32_t time_loop(uint32_t turns) {
  uint32_t longest = 0;
  uint32_t last = edc_port_ticks();
  for (uint32_t i = 0; i < turns; ++i) {
    uint32_t now = edc_port_ticks();
    longest = now - last > longest ? now - last : longest;
    last = now;
  }
  return turns == 1 ? 0 : longest;
}

static void calibrate("""

    def shorten(files: dict[str, str]) -> None:
        timer = files["port/systick/timer.c"]
        assert "COUNTER_BITS 24" in timer
        timer = timer.replace("COUNTER_BITS 24", "COUNTER_BITS 12").replace("0x00FFFFFFu", "0x00000FFFu")
        main = files["port/cortex_m/main.c"]
        loop = re.compile(r"static uint32_t time_loop\(.*?static void calibrate\(", re.DOTALL)
        files |= {"port/systick/timer.c": timer, "port/cortex_m/main.c": loop.sub(longest_step, main, count=1)}

    elf = cached_firmware(edited(make_project(bundle, board), shorten)).elf
    with Emulator(board, elf) as emulator, BoardExecutor(bundle, emulator.url) as executor:
        assert executor.hello.calibration_ticks < 100


def stack_depth(bundle: Bundle, board: Board) -> int:
    """Bytes of the stack that were written, which QEMU hands over zeroed, at the start of RAM."""
    assert board.emulator is not None
    with tempfile.TemporaryDirectory() as folder:
        control, dump = f"{folder}/qmp", Path(folder) / "stack"
        emulator = board.emulator.model_copy(update={"args": ("-qmp", f"unix:{control},server=on,wait=off")})
        with Emulator(
            board.model_copy(update={"emulator": emulator}), cached_firmware(make_project(bundle, board)).elf
        ) as running:
            with BoardExecutor(bundle, running.url) as executor:
                executor.stages(frames_of(bundle, 4))
            with socket.socket(socket.AF_UNIX) as link:
                link.connect(control)
                stream = link.makefile("rw")
                stream.readline()
                region = {"val": board.memory.ram.origin, "size": board.stack_bytes, "filename": str(dump)}
                for command in ({"execute": "qmp_capabilities"}, {"execute": "memsave", "arguments": region}):
                    stream.write(json.dumps(command) + "\n")
                    stream.flush()
                    assert "return" in json.loads(stream.readline())
        return len(dump.read_bytes().lstrip(b"\0"))


@pytest.mark.skipif(sys.platform == "win32", reason="no sockets with names")
@pytest.mark.parametrize("name", BOARDS)
def test_stack_has_room(bundle: Bundle, name: str) -> None:
    """What was seen is within what was worked out, which counts an exception where one is handled."""
    board = load_board(name)
    use = cached_firmware(make_project(bundle, board)).report.stack_use
    assert use.bytes is not None, use.unknown
    exceptions = use.exception_bytes + 16 if board.timer.kind == "systick" else 0
    seen = stack_depth(bundle, board)
    assert 100 < seen <= use.bytes
    # Not every call at its deepest need have come to pass.
    assert use.bytes - exceptions < 2 * seen
    assert use.bytes <= board.stack_bytes


CORE_KERNELS = {
    "microbit": {"edc_conv_twin"},
    "mps2-an385": {"edc_conv_paired", "edc_conv_winograd", "edc_depthwise_paired"},
    "mps2-an386": {"edc_conv_paired", "edc_conv_winograd", "edc_depthwise_paired", "edc_pointwise"},
    "mps3-an547": {"edc_conv_mve", "edc_depthwise_mve"},
}


@pytest.mark.parametrize(
    ("name", "optimize", "kernels"),
    [
        *((name, "speed", kernels) for name, kernels in CORE_KERNELS.items()),
        ("mps2-an386", "balanced", {"edc_conv_bytes"}),
    ],
)
def test_kernels_of_the_core(tmp_path: Path, name: str, optimize: str, kernels: set[str]) -> None:
    """Widths odd and even, windows that end in part of a vector, and every remainder of three positions."""
    board = load_board(name)
    used = set()
    for seed, width in enumerate((21, 26, 33, 40, 47, 64)):
        first = LayerSpec(CONV, 8 + 4 * seed, 7, 2, "SAME", "RELU", zero_point=-128)
        middle = LayerSpec(CONV, 12, 1 + seed, 1 + seed % 2, "SAME")
        depthwise = LayerSpec(DEPTHWISE, 0, (7, 3, 8, 5, 1, 2)[seed], 2 - seed % 2, "SAME")
        layers = [first, middle, depthwise, LayerSpec(CONV, 4, 1)]
        made = bundle_of(tmp_path / str(seed), build_encoder(layers, width, seed=seed), sizes=(40, 5), seed=seed)
        used |= {str(step.kernel) for step in plan_for(made, board, optimize).steps}
        x = frames_of(made, 8)
        with (
            Emulator(board, cached_firmware(make_project(made, board, optimize=optimize)).elf) as emulator,
            BoardExecutor(made, emulator.url) as executor,
        ):
            assert_equal(executor.stages(x), ReferenceExecutor(made.codec).stages(x), f"width {width}")
    assert kernels <= used


@pytest.mark.parametrize(
    ("name", "numerics"),
    [*((name, INT8) for name in CORE_KERNELS), ("mps2-an386", INT16X8)],
    ids=lambda value: getattr(value, "name", value),
)
def test_stripes_on_the_core(tmp_path: Path, name: str, numerics: Numerics) -> None:
    """A cascade of all kernels of the core, whose inner layers can be timed but not read back."""
    board = load_board(name)
    layers = [
        LayerSpec(CONV, 8, 7, 2, "SAME", "RELU", zero_point=-128),
        LayerSpec(CONV, 12, 7, 2, "SAME", "RELU", zero_point=-128),
        *(LayerSpec(DEPTHWISE, 0, 7, 2, "SAME"), LayerSpec(CONV, 16, 1), LayerSpec(CONV, 4, 1)),
    ]
    made = bundle_of(tmp_path / "b", build_encoder(layers, 101, seed=4, numerics=numerics), sizes=(40, 5))
    whole = plan_for(made, board)
    cascade = make_cascade([step.packed for step in whole.steps], 0, 3, [8, 4, 3, 3])
    plan = make_plan(made.codec, whole.target, [cascade])
    x = frames_of(made, 8)
    expected = ReferenceExecutor(made.codec).stages(x)
    with (
        Emulator(board, cached_firmware(make_project(made, board, plan=plan)).elf) as emulator,
        BoardExecutor(made, emulator.url) as executor,
    ):
        assert_equal(executor.stages(x), expected, "in stripes")
        assert_equal(executor.stages(x, want=("input", "latent", "layers")), expected, "layer by layer")
        costs = executor.layer_costs
        assert costs is not None
        assert all(cost > layer.macs / 8 for cost, layer in zip(costs.layers, made.codec.graph.layers, strict=True))
        assert [executor.read_layer(x[0], layer) for layer in range(3)] == [None] * 3
        wanted = run_every_layer(made.codec.graph, expected.input[:1])
        for layer in (3, 4):
            np.testing.assert_array_equal(executor.read_layer(x[0], layer), wanted[layer].reshape(-1))


@pytest.mark.parametrize("name", ["mps2-an386", "mps3-an547"])
def test_search_of_the_core(tmp_path: Path, name: str) -> None:
    """Pruned and full searches with every third code twice, in dimensions that leave part of a vector or none."""
    board = load_board(name)
    for seed, dimension in enumerate((3, 8, 20)):
        encoder = build_encoder([LayerSpec(CONV, dimension, 7, 2, "SAME")], 64, seed=seed)
        made = bundle_of(tmp_path / str(seed), encoder, sizes=(203, 45, 7), seed=seed)
        books = [np.concatenate([book, book[::3]]) for book in made.codec.rvq.codebooks]
        made = replace(made, codec=replace(made.codec, rvq=replace(made.codec.rvq, codebooks=tuple(books))))
        plan = plan_for(made, board)
        assert plan.search is (Search.MVE if name == "mps3-an547" else Search.PLAIN)
        assert [found is not None for found in plan.codebooks] == [True, True, False]
        x = frames_of(made, 16)
        for optimize in ("speed", "flash"):
            firmware = cached_firmware(make_project(made, board, optimize=optimize))
            with Emulator(board, firmware.elf) as emulator, BoardExecutor(made, emulator.url) as executor:
                assert_equal(executor.stages(x), ReferenceExecutor(made.codec).stages(x), f"{dimension} for {optimize}")


def test_random_encoders(tmp_path: Path) -> None:
    board = load_board("mps2-an386")
    for seed in range(20):
        made = bundle_of(tmp_path / str(seed), random_encoder(seed).data, sizes=(9, 5), seed=seed)
        x = frames_of(made, 12)
        with (
            Emulator(board, cached_firmware(make_project(made, board)).elf) as emulator,
            BoardExecutor(made, emulator.url) as executor,
        ):
            assert_equal(executor.stages(x), ReferenceExecutor(made.codec).stages(x), f"seed {seed}")


def test_codec_is_planned_once(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plans: list[Plan]
) -> None:
    """By a verification with nothing in the cache: project, host shim and measurements share the plan."""
    tools.require("cc", "Python.h")
    monkeypatch.setenv("EDGECODEC_CACHE", str(tmp_path))
    board = load_board("mps2-an385")
    result = verify_board(bundle, board, frames_of(bundle, 4))
    assert (result.verdict, len(plans)) == (Verdict.EQUAL, 1)
    assert plans[0].target == Target.of_core(board.core)
    profile_board(bundle, board, frames_of(bundle, 2))
    assert len(plans) == 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mps2-an385", "mps2-an386"])
def test_thousand_frames_of_every_executor(bundle: Bundle, name: str) -> None:
    tools.require("module:tflite_micro")
    result = verify_board(bundle, load_board(name), ppg_frames(1000, bundle.codec.samples, seed=11))
    assert result.verdict is Verdict.EQUAL
    compared = {(pair.a, pair.stage): pair.compared for pair in result.comparison.pairs if pair.b == "board"}
    positions = 1000 * bundle.codec.positions
    values = {"latent": positions * bundle.codec.rvq.dimension, "indices": positions * bundle.codec.levels}
    assert compared == {
        **{("tflm", stage): count for stage, count in values.items()},
        **{(a, stage): count for a in ("reference", "host") for stage, count in values.items()},
        **{(a, "input"): 1000 * bundle.codec.samples for a in ("reference", "host")},
    }
    assert sum(pair.mismatches for pair in result.comparison.pairs) == 0
    assert result.run is not None
    assert (result.run.link.retries, result.run.link.bad_messages) == (0, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo terminals")
def test_pseudo_terminal(bundle: Bundle) -> None:
    """The port as a device with terminal settings, as a USB serial port is."""
    board = load_board("mps2-an386")
    assert board.emulator is not None
    program = shutil.which("qemu-system-arm")
    assert program is not None
    options = ["-display", "none", "-monitor", "none", "-nodefaults", "-icount", "shift=6", "-serial", "pty"]
    command = [
        program,
        "-M",
        board.emulator.machine,
        "-kernel",
        cached_firmware(make_project(bundle, board)).elf,
        *options,
    ]
    x = frames_of(bundle, 20)
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            with BoardExecutor(bundle, _device_of(output.fileno())) as executor:
                got = executor.stages(x)
        finally:
            process.kill()
            process.wait()
    assert_equal(got, ReferenceExecutor(bundle.codec).stages(x), "pty")
    assert executor.statistics.bad_messages == 0


def _device_of(output: int) -> str:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = re.search(r"char device redirected to (\S+)", os.pread(output, 4096, 0).decode())
        if found:
            return found[1]
        time.sleep(0.05)
    raise AssertionError(os.pread(output, 4096, 0).decode())


def test_port_may_be_opened_again(bundle: Bundle) -> None:
    board = load_board("mps2-an386")
    x = frames_of(bundle, 4)
    with Emulator(board, cached_firmware(make_project(bundle, board)).elf) as emulator:
        for _ in range(3):
            with BoardExecutor(bundle, emulator.url) as executor:
                executor.encode(x)


def test_other_bundle_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    board = load_board("mps2-an386")
    other = small_bundle(tmp_path / "other", seed=1)
    with (
        Emulator(board, cached_firmware(make_project(bundle, board)).elf) as emulator,
        pytest.raises(DeviceError, match=f"holds bundle {bundle.digest[:12]}; expected {other.digest[:12]}"),
        BoardExecutor(other, emulator.url),
    ):
        pass


def test_emulator_killed_mid_run(bundle: Bundle) -> None:
    board = load_board("mps2-an386")
    x = np.repeat(frames_of(bundle, 20), 100, axis=0)
    with (
        Emulator(board, cached_firmware(make_project(bundle, board)).elf) as emulator,
        BoardExecutor(bundle, emulator.url) as executor,
    ):
        start = time.monotonic()

        def pull(done: int, total: int) -> None:
            if done == 10:
                emulator.stop()

        with pytest.raises(LinkError, match=r"^after \d+ of 2000 frames: port .*connection ended"):
            executor.stages(x, progress=pull)
        assert time.monotonic() - start < 10


def test_firmware_that_does_not_answer_is_told(bundle: Bundle) -> None:
    board = load_board("mps2-an386")
    other_uart = board.model_copy(update={"uart": board.uart.model_copy(update={"base": 0x40005000})})
    mute = cached_firmware(make_project(bundle, other_uart)).elf
    with (
        pytest.raises(DeviceError, match=r"mps2-an386: firmware .* did not answer within 1 s"),
        Emulator(board, mute, start_timeout_s=1.0),
    ):
        pass


def test_emulator_that_does_not_start_says_why(tmp_path: Path) -> None:
    board = load_board("mps2-an386")
    with pytest.raises(DeviceError, match=r"ended with status 1 .*none\.elf"), Emulator(board, tmp_path / "none.elf"):
        pass
    machine = board.model_copy(update={"emulator": board.emulator.model_copy(update={"machine": "no-such"})})
    with pytest.raises(DeviceError, match=r"ended with status 1 .*machine"), Emulator(machine, tmp_path / "none.elf"):
        pass
    with (
        pytest.raises(DeviceError, match="has no emulator"),
        Emulator(board.model_copy(update={"emulator": None}), tmp_path / "none.elf"),
    ):
        pass


def test_missing_emulator_names_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        pytest.raises(BuildError, match="install the Debian package qemu-system-arm"),
        Emulator(load_board("mps2-an386"), tmp_path / "x.elf"),
    ):
        pass


def test_interrupt_ends_the_emulator(bundle: Bundle) -> None:
    board = load_board("mps2-an386")
    elf = cached_firmware(make_project(bundle, board)).elf
    main = threading.main_thread().ident
    assert main is not None
    timer = threading.Timer(0.5, lambda: signal.pthread_kill(main, signal.SIGINT))
    urls = []

    def wait() -> None:
        with Emulator(board, elf) as emulator:
            urls.append(emulator.url)
            timer.start()
            time.sleep(10)

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        wait()
    assert time.monotonic() - start < 9
    with pytest.raises(LinkError, match="refused"), BoardExecutor(bundle, urls[0]):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_emulator_ends_with_a_killed_parent(bundle: Bundle) -> None:
    elf = cached_firmware(make_project(bundle, load_board("mps2-an386"))).elf
    program = (
        "import os, signal, sys\n"
        "from edgecodec.boards.load import load_board\n"
        "from edgecodec.device.emulator import Emulator\n"
        "with Emulator(load_board('mps2-an386'), sys.argv[1]) as emulator:\n"
        "    print(emulator.url, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, elf], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    time.sleep(0.5)
    with pytest.raises(LinkError, match="refused"), BoardExecutor(bundle, done.stdout.strip()):
        pass
