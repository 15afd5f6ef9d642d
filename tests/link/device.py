"""Devices without hardware: the firmware's link and server built for this machine, behind a socket or pty."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from edgecodec.codec.numerics import INT8
from edgecodec.codec.stages import Shape

ROOT = Path(__file__).resolve().parents[2]
HOST = Path(__file__).resolve().parent / "host"
SAMPLES, POSITIONS, LEVELS, CHANNELS = 16, 3, 2, 4
DIGEST = bytes(range(32)).hex()
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")

Damage = Callable[[bytes], bytes]


def stub_bundle(**changes: Any) -> Any:
    """What the harness looks at of a bundle, for the stub codec."""
    sizes = {"samples": SAMPLES, "positions": POSITIONS, "levels": LEVELS, "latent_channels": CHANNELS}
    shape = Shape(**{name: changes.pop(name, size) for name, size in sizes.items()})
    fields = {"digest": DIGEST, "codec": SimpleNamespace(shape=shape, numerics=INT8), "path": Path("stub")}
    return SimpleNamespace(**fields | changes)


def frames(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-32768, 32768, (count, SAMPLES)).astype(np.int16)


def expected(x: np.ndarray) -> SimpleNamespace:
    """The stub codec in numpy: see host/edc_model.h."""
    low = (x.astype(np.int64) & 0xFF).astype(np.uint8)
    latent = low[:, : POSITIONS * CHANNELS] + np.uint8(1)
    codes = latent[:, : POSITIONS * LEVELS].astype(np.uint16) + 256 * np.arange(1, 7, dtype=np.uint16)
    total = x.astype(np.int32).sum(axis=1, dtype=np.int32)
    return SimpleNamespace(
        input=low.view(np.int8),
        latent=latent.view(np.int8).reshape(-1, POSITIONS, CHANNELS),
        indices=codes.reshape(-1, POSITIONS, LEVELS),
        offset=total,
        spread=(2**40 + total.astype(np.int64)).astype(np.uint64),
    )


def compile_host(out: Path, *flags: str, main: bool = False) -> Path:
    sources = [*(ROOT / "firmware" / "link").glob("*.c"), HOST / "edc_model.c", HOST / "host.c"]
    if main:
        sources.append(HOST / "fuzz.c")
    folders = [HOST, *(ROOT / "firmware" / name for name in ("codec", "link", "port"))]
    includes = [f"-I{folder}" for folder in folders]
    command = ["cc", "-std=c11", "-O1", "-g", *WARNINGS, *flags, *includes, *map(str, sources), "-o", str(out)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return out


class HostServer:
    """``edc_server`` of this process: bytes in, bytes out."""

    def __init__(self, library: Path) -> None:
        self._lib = ctypes.CDLL(str(library))
        self._lib.host_exchange.restype = ctypes.c_size_t
        self._lib.host_exchange.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
        self._lib.host_runs.restype = self._lib.host_fed.restype = ctypes.c_uint32
        self._out = ctypes.create_string_buffer(1 << 20)
        self.restart()

    def restart(self, fault: tuple[int, ...] | None = None) -> None:
        """Start anew, after a fault of seven words if one is given."""
        self._lib.host_start((ctypes.c_uint32 * 7)(*fault) if fault else None)

    @property
    def fed(self) -> int:
        """Times that the watchdog was fed."""
        return int(self._lib.host_fed())

    @property
    def runs(self) -> int:
        return int(self._lib.host_runs())

    def exchange(self, data: bytes) -> bytes:
        count = self._lib.host_exchange(data, len(data), self._out, len(self._out))
        return self._out.raw[:count]


@contextmanager
def socket_device(answer: Callable[[bytes], bytes | None]) -> Iterator[str]:
    """Serve ``answer(received) -> reply`` on a loopback port; None hangs up. Yields the URL."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            while True:
                try:
                    data = connection.recv(65536)
                    reply = answer(data) if data else None
                    if reply is None:
                        return
                    connection.sendall(reply)
                except OSError:
                    return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"socket://127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(10)
        assert not thread.is_alive()


@contextmanager
def pty_device(answer: Callable[[bytes], bytes]) -> Iterator[str]:
    """The same on a pseudo terminal, which has real terminal settings and small buffers."""
    master, slave = os.openpty()
    tty.setraw(slave)
    stop = threading.Event()

    def serve() -> None:
        import select

        while not stop.is_set():
            if select.select([master], [], [], 0.05)[0]:
                reply = answer(os.read(master, 4096))
                while reply:
                    reply = reply[os.write(master, reply) :]

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield os.ttyname(slave)
    finally:
        stop.set()
        thread.join(10)
        os.close(slave)
        os.close(master)
