"""A line that does something wrong once, at any byte, between the harness and a server, in virtual time."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pytest

from edgecodec.errors import DeviceError, LinkError
from edgecodec.link import client
from edgecodec.link.client import BoardExecutor
from edgecodec.link.protocol import Message, encode_message
from tests.link.device import HostServer, expected, frames, stub_bundle

_FRAMES = frames(2)
_EXPECTED = expected(_FRAMES)
PATIENCE_S = 30.0
"""From the last sound answer to the end of a session, whatever the line does."""
RESTARTED = (3, 0x1234, 0x5679, 0x21000000, 0, 0, 0)
"""What a board says that restarted after a fault."""

Filter = Callable[["FaultyLine", bytes, bytes], None]
"""``fault(line, before, rest)``: what becomes of a piece of the stream, at the byte between ``before`` and ``rest``."""


@dataclass
class FaultyLine:
    """What stands in for :class:`~edgecodec.link.transport.SerialLink`.

    ``fault`` happens once, at byte ``at`` of what goes ``out`` to the device or comes back.
    """

    server: HostServer
    rng: random.Random
    fault: Filter
    out: bool
    at: int
    now: float = 0.0
    """Seconds since the start."""
    passed: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    """Bytes that went out and that came back."""
    history: dict[bool, bytes] = field(default_factory=lambda: {True: b"", False: b""})
    """Of the direction, what was last sent."""
    arriving: deque[tuple[float, bytes]] = field(default_factory=deque)
    """When, and what."""
    lag_s: float = 0.0
    """What comes back is later by this."""
    boots_at: float = 0.0
    """Before then, the device hears nothing."""
    is_cut: dict[bool, bool] = field(default_factory=lambda: {True: False, False: False})
    is_open: bool = False
    """Whether the device has answered HELLO, which it has five seconds for."""
    is_gone: bool = False
    floods: Callable[[random.Random], bytes] | None = None
    """What comes without end."""
    next_flood: float = 0.0
    """When more of it comes."""

    def write(self, data: bytes) -> None:
        """Send to the device."""
        self._check()
        self._carry(True, data)

    def read(self, timeout_s: float) -> bytes:
        """What comes within ``timeout_s``, in virtual time."""
        self._check()
        end = self.now + max(0.0, timeout_s)
        if self.arriving and self.arriving[0][0] <= end:
            at, data = self.arriving.popleft()
            self.now = max(self.now, at)
            return data
        if self.floods and self.next_flood <= end:
            self.now, self.next_flood = max(self.now, self.next_flood), self.next_flood + 0.5
            return self.floods(self.rng)
        self.now = end
        return b""

    def close(self) -> None:
        """Nothing is open."""

    def deliver(self, out: bool, data: bytes) -> None:
        """Hand ``data`` to whoever is at the end of the direction."""
        self.history[out] = (self.history[out] + data)[-300:]
        if not data or self.is_cut[out]:
            return
        if not out:
            self.arriving.append((self.now + self.lag_s, data))
        elif self.now >= self.boots_at:
            self._carry(False, self.server.exchange(data))

    def _carry(self, out: bool, data: bytes) -> None:
        first = self.passed[out]
        self.passed[out] += len(data)
        if out == self.out and first <= self.at < first + len(data):
            self.fault(self, data[: self.at - first], data[self.at - first :])
        else:
            self.deliver(out, data)

    def _check(self) -> None:
        if self.is_gone:
            raise LinkError("port: the connection ended")


def _sends(change: Callable[[FaultyLine, bytes, bytes], bytes]) -> Filter:
    """A fault that makes other bytes of a piece."""
    return lambda line, before, rest: line.deliver(line.out, change(line, before, rest))


def _flip(line: FaultyLine, before: bytes, rest: bytes) -> bytes:
    return before + bytes([rest[0] ^ 1 << line.rng.randrange(8)]) + rest[1:]


def _reorder(line: FaultyLine, before: bytes, rest: bytes) -> bytes:
    size = line.rng.randrange(1, 60)
    return before + rest[size : 2 * size] + rest[:size] + rest[2 * size :]


def _replay(line: FaultyLine, before: bytes, rest: bytes) -> bytes:
    return before + (line.history[line.out] + before)[-line.rng.randrange(1, 300) :] + rest


def _garbage(line: FaultyLine, before: bytes, rest: bytes) -> bytes:
    return before + line.rng.randbytes(line.rng.randrange(1, 300)) + rest


def _burst(line: FaultyLine, before: bytes, rest: bytes) -> bytes:
    return before + line.rng.randbytes(20_000) + rest


def _delay(line: FaultyLine, before: bytes, rest: bytes) -> None:
    """The rest, and all that comes later, by as much as a reply may take, and by more."""
    line.deliver(line.out, before)
    if line.out:
        line.now += line.rng.choice([0.01, 3.0, 4.9])
    else:
        line.lag_s = line.rng.choice([0.01, 4.9, 7.0] if line.is_open else [0.01, 4.0])
    line.deliver(line.out, rest)


def _cut(line: FaultyLine, before: bytes, rest: bytes) -> None:
    line.deliver(line.out, before)
    line.is_cut[line.out] = True


def _unplug(line: FaultyLine, before: bytes, rest: bytes) -> None:
    line.deliver(line.out, before)
    line.is_gone = True


_FLOODS: tuple[Callable[[random.Random], bytes], ...] = (
    lambda rng: rng.randbytes(1152),
    lambda rng: b"\0" * 1152,
    lambda rng: b"\x05xy\0" * 10,
    lambda rng: b"U" * 1152,
    lambda rng: encode_message(Message(rng.randrange(256), rng.randrange(0x10000), rng.randbytes(9))),
)


def _flood(line: FaultyLine, before: bytes, rest: bytes) -> None:
    """For ever, and nothing else."""
    line.deliver(line.out, before)
    line.is_cut[False] = True
    line.floods, line.next_flood = line.rng.choice(_FLOODS), line.now


def _reset(line: FaultyLine, before: bytes, rest: bytes, fault: tuple[int, ...] | None = None) -> None:
    """By a button: what the device had and would have sent is lost, and what comes while it starts."""
    line.deliver(line.out, before)
    line.server.restart(fault)
    line.boots_at = line.now + line.rng.choice([0.0, 0.5, 7.0] if line.is_open else [0.0, 0.5, 4.0])


def _crash(line: FaultyLine, before: bytes, rest: bytes) -> None:
    _reset(line, before, rest, RESTARTED)


MENDED: dict[str, Filter] = {
    "flip": _sends(_flip),
    "drop": _sends(lambda line, before, rest: before + rest[1:]),
    "double": _sends(lambda line, before, rest: before + rest[:1] + rest),
    "reorder": _sends(_reorder),
    "replay": _sends(_replay),
    "garbage": _sends(_garbage),
    "burst": _sends(_burst),
    "delay": _delay,
    "reset": _reset,
}
"""Faults behind which a session goes on to its end."""
ENDING: dict[str, Filter] = {"cut": _cut, "unplug": _unplug, "flood": _flood, "crash": _crash}
"""Faults that end it, unless it has all that it wants."""
FAULTS = MENDED | ENDING


def session(line: FaultyLine) -> tuple[LinkError | DeviceError | None, float]:
    """Say HELLO and have two frames encoded; why that ended early, and seconds since the last sound answer.

    Raises AssertionError when something else comes out of it than the frames' stages or one of these errors.
    """
    heard = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal heard
        heard = line.now

    line.server.restart()
    error = None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client, "SerialLink", lambda port, baud: line)
        patch.setattr(client, "time", SimpleNamespace(monotonic=lambda: line.now))
        try:
            with BoardExecutor(stub_bundle(), "port") as board:
                heard, line.is_open = line.now, True
                found = board.stages(_FRAMES, progress=progress)
        except (LinkError, DeviceError) as ended:
            error = ended
    if error is None:
        for stage in ("input", "latent", "indices", "offset", "spread", "packet"):
            np.testing.assert_array_equal(getattr(found, stage), getattr(_EXPECTED, stage), err_msg=stage)
    return error, line.now - heard


def bytes_of_a_session(server: HostServer) -> dict[bool, int]:
    """Bytes that go out and come back when nothing is wrong."""
    line = FaultyLine(server, random.Random(0), lambda *_: None, True, -1)
    assert session(line)[0] is None
    return line.passed


def attack(server: HostServer, kind: str, out: bool, at: int, seed: int) -> tuple[bool, float]:
    """One session with one fault. Returns whether it came to its end, and how long it took after the last answer.

    Raises AssertionError for wrong stages, a wait of more than :data:`PATIENCE_S`, an error where the session can go
    on, and none where the device is not there any more.
    """
    line = FaultyLine(server, random.Random(f"{kind} {out} {at} {seed}"), FAULTS[kind], out, at)
    error, waited_s = session(line)
    where = f"{kind} at byte {at} {'to' if out else 'from'} the device, seed {seed}: {error}"
    assert waited_s <= PATIENCE_S, where
    assert error is None or kind in ENDING, where
    return error is None, waited_s
