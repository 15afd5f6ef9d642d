"""Real firmware on emulated boards, over a real serial link."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edgecodec.bundle import Bundle
from edgecodec.device.boards import load_board
from edgecodec.device.build import cached_firmware
from edgecodec.device.emulator import Emulator
from edgecodec.device.harness import BoardExecutor
from edgecodec.errors import BuildError, DeviceError, LinkError
from edgecodec.host.reference import ReferenceExecutor
from tests.tflite_builder import ppg_frames, small_bundle

pytestmark = pytest.mark.emulated
ROOT = Path(__file__).resolve().parents[2]
BOARDS = ("mps2-an385", "mps2-an386")


def frames_of(bundle: Bundle, count: int) -> np.ndarray:
    rng = np.random.default_rng(5)
    wild = rng.integers(-32768, 32768, (count // 2, bundle.samples)).astype(np.int16)
    wild[0] = 7  # no variance
    return np.concatenate([ppg_frames(count - len(wild), bundle.samples), wild])


@pytest.mark.parametrize("name", BOARDS)
def test_every_byte_equals_the_reference(bundle: Bundle, name: str) -> None:
    board = load_board(name)
    firmware = cached_firmware(bundle, board)
    x = frames_of(bundle, 60)
    with Emulator(board, firmware.elf) as emulator, BoardExecutor(bundle, emulator.url) as executor:
        hello = executor.hello
        got = executor.stages(x)
        costs = executor.costs
    assert (hello.board, hello.digest, hello.window) == (name, bundle.digest, board.window)
    assert hello.state_bytes == firmware.codec_state_bytes
    want = ReferenceExecutor(bundle).stages(x)
    for stage in ("input", "latent", "indices", "sum", "variance"):
        np.testing.assert_array_equal(getattr(got, stage), getattr(want, stage), err_msg=stage)
    assert (executor.statistics.retries, executor.statistics.bad_messages) == (0, 0)
    # QEMU's clock runs at 2^6 ns an instruction, so a 25 MHz timer ticks 1.6 times in each.
    assert hello.per_tick == pytest.approx(1 / 1.6, rel=1e-4)
    assert costs is not None
    assert costs.unit == "instructions"
    assert bundle.graph.macs < costs.encoder < 100 * bundle.graph.macs


def test_instruction_counts_repeat(bundle: Bundle) -> None:
    board = load_board("mps2-an386")
    x = frames_of(bundle, 8)
    totals = []
    for _ in range(2):
        with (
            Emulator(board, cached_firmware(bundle, board).elf) as emulator,
            BoardExecutor(bundle, emulator.url) as executor,
        ):
            executor.stages(x)
            assert executor.costs is not None
            totals.append(executor.costs.total)
    assert totals[0] == pytest.approx(totals[1], abs=40)


def test_port_may_be_opened_again(bundle: Bundle) -> None:
    board = load_board("mps2-an386")
    x = frames_of(bundle, 4)
    with Emulator(board, cached_firmware(bundle, board).elf) as emulator:
        for _ in range(3):
            with BoardExecutor(bundle, emulator.url) as executor:
                executor.encode(x)


def test_other_bundle_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    board = load_board("mps2-an386")
    other = small_bundle(tmp_path / "other", seed=1)
    with (
        Emulator(board, cached_firmware(bundle, board).elf) as emulator,
        pytest.raises(DeviceError, match=f"holds bundle {bundle.digest[:12]}; expected {other.digest[:12]}"),
        BoardExecutor(other, emulator.url),
    ):
        pass


def test_emulator_killed_mid_run(bundle: Bundle) -> None:
    board = load_board("mps2-an386")
    x = np.repeat(frames_of(bundle, 20), 100, axis=0)
    with (
        Emulator(board, cached_firmware(bundle, board).elf) as emulator,
        BoardExecutor(bundle, emulator.url) as executor,
    ):
        start = time.monotonic()

        def pull(done: int, total: int) -> None:
            if done == 10:
                emulator.stop()

        with pytest.raises(LinkError, match=r"connection ended.* of 2000 frames were done"):
            executor.stages(x, progress=pull)
        assert time.monotonic() - start < 10


def test_firmware_that_does_not_answer_is_told(bundle: Bundle) -> None:
    board = load_board("mps2-an386")
    other_uart = board.model_copy(update={"uart": board.uart.model_copy(update={"base": 0x40005000})})
    mute = cached_firmware(bundle, other_uart).elf
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
    elf = cached_firmware(bundle, board).elf
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
    elf = cached_firmware(bundle, load_board("mps2-an386")).elf
    program = (
        "import os, signal, sys\n"
        "from edgecodec.device.boards import load_board\n"
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
