"""Runs firmware on a board that QEMU emulates, with its UART behind a TCP port of this machine."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO

from edgecodec import processes
from edgecodec.boards.schema import Board
from edgecodec.errors import BuildError, DeviceError
from edgecodec.interrupts import held
from edgecodec.link.protocol import FLUSH, Message, MessageReader, MessageType, hello_request

QEMU = "qemu-system-arm"
_INSTRUCTION_NS_SHIFT = 6
"""One instruction takes 2^6 virtual ns, whatever the host does, so counts repeat."""
_NO_ESCAPE = "256"
"""An escape character that no byte is."""
_POLL_S = 0.05
_LONGEST_HELLO_BYTES = 1024
"""Encoded bytes of a reply to HELLO, with some to spare."""


def find_qemu() -> str:
    """Path of QEMU. Raises BuildError when it is missing."""
    program = shutil.which(QEMU)
    if program is None:
        raise BuildError(f"{QEMU} not found", hint=f"install the Debian package {QEMU}")
    return program


class Emulator:
    """QEMU with ``elf`` on ``board``; a context manager, whose ``url`` a serial port opens.

    Starting waits until the firmware answers HELLO, at most ``start_timeout_s``. QEMU ends with the block, and,
    on Linux, with the thread that started it. Raises BuildError when QEMU is missing, DeviceError when the board
    has no emulator or the firmware does not answer, with what QEMU printed.
    """

    def __init__(self, board: Board, elf: str | os.PathLike[str], *, start_timeout_s: float = 30.0) -> None:
        self._board = board
        self._elf = Path(elf)
        self._start_timeout_s = start_timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None
        self._port = 0

    def __enter__(self) -> Emulator:
        try:
            self._start()
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """URL of the board's UART, for ``serial.serial_for_url``; only valid while the emulator runs."""
        return f"socket://127.0.0.1:{self._port}"

    def command(self, listener: str) -> list[str]:
        """QEMU's command line, its UART at ``listener``, such as ``host=127.0.0.1,port=5000`` or ``fd=3``.

        ``mux=on`` gives the UART a queue of 32 bytes instead of one; with it the link is two to three times
        faster, and bytes that come before the firmware runs do not stall it. ``-echr`` puts the escape
        character that comes with it out of the range of bytes. ``nodelay`` keeps single bytes from waiting
        for more. Raises DeviceError when the board has no emulator.
        """
        emulator = self._board.emulator
        if emulator is None:
            raise DeviceError(
                f"board {self._board.name} has no emulator", hint="flash the real one and pass its --port"
            )
        return [
            QEMU,
            *("-M", emulator.machine),
            *("-kernel", str(self._elf.absolute())),
            *("-display", "none"),
            *("-monitor", "none"),
            "-nodefaults",
            *("-icount", f"shift={_INSTRUCTION_NS_SHIFT}"),
            *("-chardev", f"socket,id=uart,{listener},server=on,wait=off,nodelay=on,mux=on"),
            *(word for _ in range(emulator.serial) for word in ("-serial", "null")),
            *("-serial", "chardev:uart"),
            *("-echr", _NO_ESCAPE),
            *emulator.args,
        ]

    def stop(self) -> None:
        """End QEMU. May be called twice."""
        process, self._process = self._process, None
        if process is not None:
            processes.end(process)
        if self._stderr is not None:
            self._stderr.close()
            self._stderr = None

    def _start(self) -> None:
        program = find_qemu()
        # QEMU inherits a listening socket, so no other process can take the port in between.
        with socket.create_server(("127.0.0.1", 0), backlog=1) as server:
            self._port = server.getsockname()[1]
            command = self.command(f"fd={server.fileno()}")
            self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
            with held():
                self._process = processes.start(
                    [program, *command[1:]],
                    stdout=self._stderr,
                    stderr=self._stderr,
                    pass_fds=[server.fileno()],
                    preexec_fn=_end_with_parent(),
                )

    def _wait(self) -> None:
        deadline = time.monotonic() + self._start_timeout_s
        reader = MessageReader(_LONGEST_HELLO_BYTES)
        with socket.create_connection(("127.0.0.1", self._port), timeout=self._start_timeout_s) as connection:
            connection.settimeout(_POLL_S)
            next_try = 0.0
            while time.monotonic() < deadline:
                if time.monotonic() >= next_try:
                    _send(connection, FLUSH + hello_request(0))
                    next_try = time.monotonic() + 5 * _POLL_S
                data = _receive(connection)
                if data == b"" or self._has_ended():
                    break
                if any(isinstance(m, Message) and m.type == MessageType.HELLO_REPLY for m in reader.feed(data or b"")):
                    return
        raise self._failure()

    def _has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _printed(self) -> str:
        """What QEMU has printed so far, on one line."""
        if self._stderr is None:
            return ""
        self._stderr.seek(0)
        return " ".join(self._stderr.read().decode(errors="replace").split())

    def _failure(self) -> DeviceError:
        """Why the firmware did not answer, with what QEMU printed."""
        said = self._printed()
        told = f" ({said})" if said else ""
        # QEMU closes the socket a moment before it ends.
        try:
            code = self._process.wait(1.0) if self._process is not None else None
        except subprocess.TimeoutExpired:
            return DeviceError(
                f"emulated board {self._board.name}: firmware {self._elf} did not answer within "
                f"{self._start_timeout_s:g} s{told}",
                hint="build it again for this board",
            )
        return DeviceError(f"emulated board {self._board.name}: {QEMU} ended with status {code}{told}")


def _send(connection: socket.socket, data: bytes) -> None:
    # A QEMU that ended is told by the next receive.
    try:
        connection.sendall(data)
    except OSError:
        return


def _receive(connection: socket.socket) -> bytes | None:
    """Bytes that have come, empty when the other side has closed, None when there are none yet."""
    try:
        return connection.recv(4096)
    except TimeoutError:
        return None
    except OSError:
        return b""


def _end_with_parent() -> Callable[[], None] | None:
    """Linux: have the kernel end the child when the thread that started it ends, even by SIGKILL."""
    if sys.platform != "linux":
        return None
    set_death_signal = 1
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(set_death_signal, signal.SIGKILL)
