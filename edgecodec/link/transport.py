"""A serial port with bounded waits: COM ports, ``/dev/tty*``, ptys and ``socket://HOST:PORT`` alike."""

from __future__ import annotations

import errno
import io
import queue
import select
import threading
from contextlib import suppress
from types import TracebackType
from typing import Any

import serial

from edgecodec.errors import LinkError

_POLL_S = 0.05
_WRITE_TIMEOUT_S = 5.0
_CHUNK_BYTES = 65536
_END = b""
"""What is read last, when the port has gone."""
_CHUNKS = 256
"""That wait to be read: a device that floods the line waits behind 16 MiB."""


class SerialLink:
    """An open port.

    A thread reads all the time, so that a device that waits to send can never keep the host from sending, up to what no
    device has to say.
    Raises LinkError, which names the port, when it is missing, busy, forbidden or goes away.
    """

    def __init__(self, port: str, baud: int) -> None:
        self.port = port
        self._serial = _open(port, baud)
        self._received: queue.Queue[bytes] = queue.Queue(_CHUNKS)
        self._failure: Exception | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._receive, name=f"edgecodec {port}", daemon=True)
        self._thread.start()

    def __enter__(self) -> SerialLink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the port. May be called twice."""
        self._closing.set()
        self._thread.join()
        self._serial.close()

    def write(self, data: bytes) -> None:
        """Send ``data``. Raises LinkError when the port has gone or takes nothing for five seconds."""
        try:
            self._serial.write(data)
        except serial.SerialTimeoutException as error:
            raise LinkError(
                f"port {self.port}: took no byte for {_WRITE_TIMEOUT_S:g} s", hint="is the board running?"
            ) from error
        except (serial.SerialException, OSError) as error:
            raise self._gone(error) from error

    def read(self, timeout_s: float) -> bytes:
        """Bytes that have come, at the latest after ``timeout_s``; empty when there were none.

        Raises LinkError when the port has gone.
        """
        try:
            found = self._received.get(timeout=max(0.0, timeout_s))
        except queue.Empty:
            return b""
        if found == _END:
            self._keep(_END)
            assert self._failure is not None
            raise self._gone(self._failure) from self._failure
        return found

    def _receive(self) -> None:
        try:
            while not self._closing.is_set():
                data = self._read_some()
                if data:
                    self._keep(data)
        except (serial.SerialException, OSError, ValueError, TypeError) as error:
            self._failure = error
            self._keep(_END)

    def _keep(self, data: bytes) -> None:
        """Put ``data`` in the queue, waiting for room in it unless the port is closed meanwhile."""
        while not self._closing.is_set():
            with suppress(queue.Full):
                self._received.put(data, timeout=_POLL_S)
                return

    def _read_some(self) -> bytes:
        try:
            handle = self._serial.fileno()
        except (io.UnsupportedOperation, AttributeError):
            # Windows has no file descriptors for COM ports: wait for one byte, then take what there is.
            self._serial.timeout = _POLL_S
            return bytes(self._serial.read(max(1, self._serial.in_waiting)))
        if not select.select([handle], [], [], _POLL_S)[0]:
            return b""
        return bytes(self._serial.read(_CHUNK_BYTES))

    def _gone(self, error: Exception) -> LinkError:
        return LinkError(f"port {self.port}: the connection ended ({error})", hint="is the board still there?")


def _open(port: str, baud: int) -> Any:
    try:
        return serial.serial_for_url(port, baudrate=baud, timeout=0, write_timeout=_WRITE_TIMEOUT_S, exclusive=True)
    # pyserial lets ValueError, TypeError and termios.error out for odd names and files that are no port.
    except Exception as error:
        reason, hint = _explain(error)
        raise LinkError(f"port {port}: {reason}", hint=hint) from error


def _explain(error: Exception) -> tuple[str, str | None]:
    """Why a port cannot be opened, and what to try."""
    text = " ".join(str(error).split())
    code = getattr(error, "errno", None)
    if code in {errno.ENOENT, errno.ENODEV, errno.ENXIO} or "FileNotFoundError" in text:
        return "no such port", "`edgecodec ports` lists those of this machine"
    if code in {errno.EACCES, errno.EPERM}:
        return "permission denied", "add yourself to its group (dialout on Debian) and log in again"
    if code in {errno.EBUSY, errno.EAGAIN} or "exclusively lock" in text or "PermissionError" in text:
        return "in use by another program", "close it there first"
    if "refused" in text:
        return "nobody listens there (connection refused)", "start the board or emulator first"
    return f"cannot be opened ({text})", None
