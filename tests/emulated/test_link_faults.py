"""Faults of the line between the harness and an emulated board: a few of those of tests/link, in real time."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from edgecodec.boards.load import load_board
from edgecodec.bundle import Bundle
from edgecodec.codec.reference import ReferenceExecutor
from edgecodec.device.emulator import Emulator
from edgecodec.errors import DeviceError, LinkError
from edgecodec.firmware.build import cached_firmware
from edgecodec.firmware.project import make_project
from edgecodec.link import client
from edgecodec.link.client import BoardExecutor
from edgecodec.link.transport import SerialLink
from tests.tflite_builder import small_bundle

pytestmark = pytest.mark.emulated
BOARD = "mps2-an386"
FRAMES = 8
TRIES = 3
"""Of each fault in each direction."""

Damage = Callable[[bytes, int, random.Random], bytes]
DAMAGES: dict[str, Damage] = {
    "flip": lambda data, at, rng: data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :],
    "drop": lambda data, at, rng: data[:at] + data[at + 1 :],
    "double": lambda data, at, rng: data[:at] + data[at : at + 1] + data[at:],
    "reorder": lambda data, at, rng: data[at:] + data[:at],
    "replay": lambda data, at, rng: data + data,
    "lose": lambda data, at, rng: data[:at],
    "garbage": lambda data, at, rng: data[:at] + rng.randbytes(400) + data[at:],
}
"""Of one piece of the stream, at a byte of it."""


@pytest.fixture(scope="module")
def url(bundle: Bundle) -> Iterator[str]:
    board = load_board(BOARD)
    with Emulator(board, cached_firmware(make_project(bundle, board)).elf) as emulator:
        yield emulator.url


@pytest.fixture
def resettable(bundle: Bundle, tmp_path: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """The URL of an emulated board, and what presses its reset button: QEMU's ``system_reset``."""
    board = load_board(BOARD)
    assert board.emulator is not None
    control = tmp_path / "qmp"
    emulator = board.emulator.model_copy(update={"args": ("-qmp", f"unix:{control},server=on,wait=off")})
    elf = cached_firmware(make_project(bundle, board)).elf
    with (
        Emulator(board.model_copy(update={"emulator": emulator}), elf) as running,
        socket.socket(socket.AF_UNIX) as link,
        link.makefile("rw") as stream,
    ):
        link.settimeout(30.0)
        link.connect(str(control))
        assert "QMP" in json.loads(stream.readline())

        def execute(command: str) -> list[str]:
            """Names of the events until the answer."""
            stream.write(json.dumps({"execute": command}) + "\n")
            stream.flush()
            events: list[str] = []
            while "return" not in (answer := json.loads(stream.readline())):
                events.append(answer["event"])
            return events

        def press() -> None:
            events = execute("system_reset")
            while "RESET" not in events:
                events += execute("query-status")

        execute("qmp_capabilities")
        yield running.url, press


@contextmanager
def damaging(damage: Damage, out: bool, rng: random.Random) -> Iterator[None]:
    """Let ports that are opened damage one piece behind HELLO's, of what goes out or comes back."""
    pieces = rng.randrange(2, 6)

    def carry(direction: bool, data: bytes) -> bytes:
        nonlocal pieces
        if direction == out and data:
            pieces -= 1
            if pieces == 0:
                return damage(data, rng.randrange(len(data)), rng)
        return data

    class FaultyLink(SerialLink):
        def write(self, data: bytes) -> None:
            super().write(carry(True, data))

        def read(self, timeout_s: float) -> bytes:
            return carry(False, super().read(timeout_s))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "SerialLink", FaultyLink)
        yield


@pytest.mark.parametrize("name", DAMAGES)
@pytest.mark.parametrize("out", [True, False], ids=["to", "from"])
def test_damage_costs_time_alone(bundle: Bundle, url: str, name: str, out: bool) -> None:
    frames = bundle.frames()[:FRAMES]
    want = ReferenceExecutor(bundle.codec).stages(frames)
    for seed in range(TRIES):
        rng = random.Random(f"{name} {out} {seed}")
        with damaging(DAMAGES[name], out, rng), BoardExecutor(bundle, url, reply_timeout_s=2.0) as board:
            found = board.stages(frames)
        for stage in ("input", "latent", "indices", "offset", "spread"):
            np.testing.assert_array_equal(getattr(found, stage), getattr(want, stage))


def test_board_that_stands_is_given_up_and_goes_on_later(bundle: Bundle) -> None:
    board, frames = load_board(BOARD), bundle.frames()[:FRAMES]
    want = ReferenceExecutor(bundle.codec).stages(frames)
    with Emulator(board, cached_firmware(make_project(bundle, board)).elf) as emulator:
        process = emulator._process
        assert process is not None
        with BoardExecutor(bundle, emulator.url, reply_timeout_s=0.2) as executor:
            os.kill(process.pid, signal.SIGSTOP)
            told = r"^after 0 of 8 frames: port \S+: no answer for 1\.6 s at frame \d; check cable"
            with pytest.raises(LinkError, match=told):
                executor.stages(frames)
            os.kill(process.pid, signal.SIGCONT)
        with BoardExecutor(bundle, emulator.url) as executor:
            np.testing.assert_array_equal(executor.stages(frames).indices, want.indices)


@pytest.mark.skipif(sys.platform == "win32", reason="no sockets with names")
@pytest.mark.parametrize("after", [1, 3, 7])
def test_board_that_is_reset_mid_run_goes_on(
    bundle: Bundle, resettable: tuple[str, Callable[[], None]], after: int
) -> None:
    """Nothing that was in flight is lost or comes from before: an encoder object's stream as well."""
    url, press = resettable
    frames = bundle.frames()[:FRAMES]
    want = ReferenceExecutor(bundle.codec).stages(frames)

    def reset(done: int, _: int) -> None:
        if done == after:
            press()

    with BoardExecutor(bundle, url, reply_timeout_s=1.0) as executor:
        found = executor.stages(frames, progress=reset)
        for stage in ("input", "latent", "indices", "offset", "spread"):
            np.testing.assert_array_equal(getattr(found, stage), getattr(want, stage), err_msg=stage)
        assert executor.statistics.retries > 0
        assert executor.hello.fault is None


def test_board_that_is_exchanged_mid_run_is_seen(bundle: Bundle, url: str, tmp_path: Path) -> None:
    """For one that has the same sizes and another bundle."""
    board = load_board(BOARD)
    other = small_bundle(tmp_path / "other", seed=5)
    assert other.codec.shape == bundle.codec.shape
    with (
        Emulator(board, cached_firmware(make_project(other, board)).elf) as second,
        SerialLink(second.url, 115200) as changed,
        BoardExecutor(bundle, url) as executor,
    ):
        executor.stages(bundle.frames()[:FRAMES])
        first, executor._link = executor._link, changed
        told = f"a board with bundle {other.digest[:8]} answers now; it was one with {bundle.digest[:8]}; was the board"
        with pytest.raises(DeviceError, match=rf"^after 0 of 8 frames: port \S+: {told}"):
            executor.stages(bundle.frames()[:FRAMES])
        executor._link = first
