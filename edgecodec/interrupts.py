"""The signals that end a command: each is an exception in the main thread, at a moment when it does no harm."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
_AGAIN_S = 0.02
"""Until what amid a finaliser ends nothing comes again, by when that is over."""
_REPEAT_S = 1.0
"""What comes so soon after one is the same: ``timeout`` sends more than one, and the first is being tended to."""


class Interrupted(KeyboardInterrupt):
    """One of the signals came.

    A class of its own because of CPython: when a KeyboardInterrupt itself, and no subclass, leaves an ``exec`` of a
    text, as each dataclass does one, ``python -m`` ends by SIGINT and not with its exit code, though it is caught.
    """


class _Interrupts:
    """Signals that came, and whether they are held back."""

    def __init__(self) -> None:
        self._holds = 0
        self._is_waiting = False
        self._last_s = -_REPEAT_S
        self._number = int(signal.SIGINT)
        self.have_come = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Raise Interrupted, now or when the last hold ends."""
        self._number = number
        if self._holds:
            self._is_waiting = True
            return
        now = time.monotonic()
        if now - self._last_s >= _REPEAT_S:
            self._last_s = now
            self.have_come = True
            raise Interrupted

    @contextmanager
    def held(self) -> Iterator[None]:
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            if self._is_waiting and not self._holds:
                self._is_waiting = False
                self.handle(self._number, None)

    def send_again(self) -> None:
        """Send the last one to the main thread once more, a moment later."""
        self._last_s = -_REPEAT_S
        main = threading.main_thread().ident
        assert main is not None
        timer = threading.Timer(_AGAIN_S, signal.pthread_kill, (main, self._number))
        timer.daemon = True
        timer.start()


_interrupts = _Interrupts()


def install() -> None:
    """Let SIGINT, SIGTERM and SIGHUP end what runs, but for those that the caller ignores, as ``nohup`` does."""
    for number in _numbers():
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupts.handle)
    if sys.platform != "win32":
        sys.unraisablehook = _hear_unraisable


def _hear_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """What is raised amid a finaliser or the callback of a weak reference ends nothing: let it come again."""
    if unraisable.exc_type is Interrupted:
        _interrupts.send_again()
    else:
        sys.__unraisablehook__(unraisable)


def have_come() -> bool:
    """Whether one was raised: an error that comes behind it is what somebody made of it, as C extensions do."""
    return _interrupts.have_come


def ignore() -> None:
    """Let none of them change an outcome that is settled."""
    for number in _numbers():
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def held() -> Iterator[None]:
    """Keep them for the end of the block, which is short: what it makes and the note of it belong together.

    Other threads than the main one get none. Without :func:`install`, as in programs that use edgecodec as a library,
    nothing is kept.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with _interrupts.held():
        yield


def _numbers() -> list[signal.Signals]:
    return [signal.Signals[name] for name in _NAMES if name in signal.Signals.__members__]
