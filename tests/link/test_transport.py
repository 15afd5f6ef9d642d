"""Ports that are missing, busy, forbidden or no port at all."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest
import serial

from edgecodec.device.ports import list_ports
from edgecodec.errors import LinkError
from edgecodec.link.transport import SerialLink
from tests.link.device import pty_device, socket_device


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def fails(port: str, message: str) -> None:
    with pytest.raises(LinkError, match=message) as caught, SerialLink(port, 115200):
        pass
    assert str(caught.value).startswith(f"port {port}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("port", ["/dev/ttyNONE0", "COM77x"])
def test_missing_port(port: str) -> None:
    fails(port, "no such port; `edgecodec ports` lists")


def test_nobody_listens() -> None:
    fails(f"socket://127.0.0.1:{closed_port()}", "connection refused")


@pytest.mark.parametrize(
    "port", ["", "socket://", "socket://127.0.0.1", "socket://127.0.0.1:99999", "socket://127.0.0.1:x", "odd://x"]
)
def test_name_that_makes_no_sense(port: str) -> None:
    fails(port, "port")


def test_file_and_folder_are_no_ports(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x")
    fails(str(file), "cannot be opened")
    fails(str(tmp_path), "cannot be opened")
    assert file.read_bytes() == b"x"


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.EACCES, "permission denied.*dialout"),
        (errno.EBUSY, "in use by another program"),
        (errno.ENXIO, "no such port"),
        (errno.EIO, "cannot be opened"),
    ],
)
def test_reason_of_the_system(monkeypatch: pytest.MonkeyPatch, code: int, message: str) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise serial.SerialException(code, f"could not open port X: {os.strerror(code)}")

    monkeypatch.setattr(serial, "serial_for_url", refuse)
    fails("X", message)


def test_busy_port() -> None:
    with pty_device(lambda data: data) as path, SerialLink(path, 115200):
        fails(path, "in use by another program")


def test_bytes_come_back_and_the_end_is_told() -> None:
    sent = os.urandom(100_000)

    def answer(data: bytes) -> bytes | None:
        return None if data == b"end" else data

    with socket_device(answer) as url, SerialLink(url, 115200) as link:
        link.write(sent)
        got = b""
        while len(got) < len(sent):
            data = link.read(5.0)
            assert data
            got += data
        assert got == sent
        assert link.read(0.01) == b""
        link.write(b"end")
        for _ in range(2):
            with pytest.raises(LinkError, match="the connection ended"):
                link.read(5.0)


def test_closing_twice_is_fine() -> None:
    with socket_device(lambda data: data) as url, SerialLink(url, 115200) as link:
        link.close()


def test_ports_are_listed_by_name() -> None:
    names = [port.device for port in list_ports()]
    assert names == sorted(names)
