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

from edgecodec.codec.numerics import INT8, Numerics
from edgecodec.codec.stages import Shape
from edgecodec.entropy.packet import PacketFormat
from edgecodec.entropy.side_information import SideInformation

ROOT = Path(__file__).resolve().parents[2]
HOST = Path(__file__).resolve().parent / "host"
SAMPLES, POSITIONS, LEVELS, CHANNELS = 16, 3, 2, 4
DIGEST = bytes(range(32)).hex()
PACKETS = PacketFormat((4096, 4096), POSITIONS, DIGEST, SideInformation(SAMPLES, 8, 8, 2048, 12, 3))
"""Of the stub codec; its indices are below 1,792."""
WIDE_BYTES = 300
"""What the stub's layer 1 puts out, as host/edc_served_model.h says it."""
WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")

Damage = Callable[[bytes], bytes]


def stub_bundle(**changes: Any) -> Any:
    """What the harness looks at of a bundle, for the stub codec."""
    sizes = {"samples": SAMPLES, "positions": POSITIONS, "levels": LEVELS, "latent_channels": CHANNELS}
    shape = Shape(**{name: changes.pop(name, size) for name, size in sizes.items()})
    numerics = changes.pop("numerics", INT8)
    values = POSITIONS * CHANNELS
    sizes_bytes = (0, WIDE_BYTES, values * numerics.activation.itemsize)
    layers = [SimpleNamespace(output=SimpleNamespace(size_bytes=size)) for size in sizes_bytes]
    codec = SimpleNamespace(shape=shape, numerics=numerics, graph=SimpleNamespace(layers=layers))
    fields = {"digest": DIGEST, "codec": codec, "path": Path("stub")}
    fields["packets"] = lambda: PACKETS
    return SimpleNamespace(**fields | changes)


def frames(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-32768, 32768, (count, SAMPLES)).astype(np.int16)


def expected(x: np.ndarray, numerics: Numerics = INT8) -> SimpleNamespace:
    """The stub codec in numpy: see host/edc_served_model.h."""
    activations = x.astype(numerics.activation)  # wraps, as the next line does
    latent = activations[:, : POSITIONS * CHANNELS] + numerics.activation.type(1)
    low = latent[:, : POSITIONS * LEVELS].astype(np.uint16) & 0xFF
    codes = low + 256 * np.arange(1, 7, dtype=np.uint16)
    total = x.astype(np.int32).sum(axis=1, dtype=np.int32)
    spread = 2**40 + total.astype(np.int64)
    indices = codes.reshape(-1, POSITIONS, LEVELS)
    said = zip(indices, total.tolist(), spread.tolist(), strict=True)
    packets = [PACKETS.encode(*frame, number) for number, frame in enumerate(said)]
    return SimpleNamespace(
        input=activations,
        latent=latent.reshape(-1, POSITIONS, CHANNELS),
        indices=indices,
        offset=total,
        spread=spread.astype(np.uint64),
        packet=np.array(packets, np.object_),
    )


def activation_flag(numerics: Numerics) -> str:
    """What :func:`compile_host` is told for a stub codec of ``numerics``."""
    return f"-DEDC_SERVED_ACTIVATION_BYTES={numerics.activation.itemsize}"


def compile_host(out: Path, *flags: str, main: bool = False) -> Path:
    link = ROOT / "firmware" / "link"
    sources = [*(path for path in link.glob("*.c") if path.name != "edc_engine.c"), *HOST.glob("[hs]*.c")]
    codec = ("divide", "encoder", "model", "packet", "range", "side")
    sources += [ROOT / "firmware" / "codec" / f"edc_{name}.c" for name in codec]
    if main:
        sources.append(HOST / "replay.c")
    folders = [HOST, *(ROOT / "firmware" / name for name in ("codec", "link", "port"))]
    includes = [f"-I{folder}" for folder in folders]
    command = ["cc", "-std=c11", "-O1", "-g", *WARNINGS, *flags, *includes, *map(str, sources), "-o", str(out)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    return out


class HostServer:
    """``edc_server`` of this process, with a stub codec of ``numerics``: bytes in, bytes out."""

    def __init__(self, library: Path, numerics: Numerics = INT8) -> None:
        self.numerics = numerics
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
