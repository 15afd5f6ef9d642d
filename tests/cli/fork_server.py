"""Processes of the command line that need not import what it is made of: forks of one that has.

``python -m tests.cli.fork_server`` imports all of edgecodec but what imports Keras, and forks for each request on its
stdin, a Unix socket: JSON with ``arguments``, ``cwd`` and ``environment``, and the descriptors of the streams. A fork
runs what the script ``edgecodec`` runs, with its own folder, environment and streams, and ends as it does.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_LATER = ("edgecodec.__main__", "edgecodec.nn")
"""Modules that run, or import Keras."""
_MOST = 1 << 20
"""Bytes of a request."""


class ForkServer:
    """A process that forks, started with the first request; it ends with us."""

    def __init__(self) -> None:
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def run(
        self, arguments: list[str], cwd: Path | None, environment: Mapping[str, str], timeout_s: float
    ) -> subprocess.CompletedProcess[str]:
        """As ``subprocess.run`` of ``python -m edgecodec`` with both streams captured and no input.

        Raises subprocess.TimeoutExpired.
        """
        request = {"arguments": arguments, "cwd": os.fspath(cwd or Path.cwd()), "environment": dict(environment)}
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, Path(os.devnull).open() as null:
            server = self._started()
            streams = [null.fileno(), out.fileno(), err.fileno()]
            socket.send_fds(server, [json.dumps(request).encode()], streams)
            process = int(server.recv(32))
            server.settimeout(timeout_s)
            try:
                code = int(server.recv(32))
            except BaseException as error:
                # Its answer would be taken for the next one's: that gets a new server.
                os.kill(process, signal.SIGKILL)
                server.close()
                self._socket = None
                if isinstance(error, TimeoutError):
                    raise subprocess.TimeoutExpired(arguments, timeout_s) from None
                raise
            server.settimeout(None)
            texts = []
            for stream in (out, err):
                stream.seek(0)
                texts.append(stream.read().decode(errors="surrogateescape"))
        return subprocess.CompletedProcess(arguments, code, *texts)

    def _started(self) -> socket.socket:
        if self._socket is None:
            self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            command = [sys.executable, "-m", "tests.cli.fork_server"]
            nowhere = subprocess.DEVNULL
            with theirs:
                self._process = subprocess.Popen(command, cwd=ROOT, stdin=theirs, stdout=nowhere, stderr=nowhere)
        return self._socket


def main() -> None:
    """Serve until whoever started this has gone; forks return from here into the command line."""
    import edgecodec

    for module in pkgutil.walk_packages(edgecodec.__path__, "edgecodec."):
        if not module.name.startswith(_LATER):
            importlib.import_module(module.name)
    gc.freeze()  # forks would copy what they look at for garbage
    server = socket.socket(fileno=os.dup(0))
    while True:
        message, streams, _, _ = socket.recv_fds(server, _MOST, 3)
        if not message:
            return
        process = os.fork()
        if process == 0:
            break
        for stream in streams:
            os.close(stream)
        server.send(str(process).encode())
        _, status = os.waitpid(process, 0)
        server.send(str(os.waitstatus_to_exitcode(status)).encode())
    server.close()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    request = json.loads(message)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["edgecodec", *request["arguments"]]
    from edgecodec.cli import entry

    entry()


if __name__ == "__main__":
    main()
