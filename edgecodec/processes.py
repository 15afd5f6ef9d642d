"""Programs that are run and end with us: each in a process group of its own, which nothing of it outlives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgecodec.interrupts import held

_GRACE_S = 1.0
"""How long programs have to remove what they have made, as compilers do, before they are killed."""


def run(
    command: Sequence[str | Path],
    *,
    merge: bool = False,
    timeout_s: float | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program without input to its end; what it printed comes as text, with ``merge`` all of it as stdout.

    When it takes longer than ``timeout_s``, or we are interrupted, it ends with all that it has started. Raises OSError
    when it cannot be run and subprocess.TimeoutExpired.
    """
    process: subprocess.Popen[Any] | None = None
    try:
        with held():
            process = start(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if merge else subprocess.PIPE,
                text=True,
                errors="replace",
                cwd=cwd,
                env=env,
            )
        stdout, stderr = process.communicate(timeout=timeout_s)
    except BaseException:
        if process is not None:
            end(process)
        raise
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def start(command: Sequence[str | Path], **options: Any) -> subprocess.Popen[Any]:
    """Start a program without input in a process group of its own; ``options`` are Popen's. Raises OSError."""
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, process_group=0, **options)


def end(process: subprocess.Popen[Any]) -> None:
    """End a program that :func:`start` started, and its group: asked first, killed when that is not enough."""
    with held():
        _signal(process, "SIGTERM", process.terminate)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_S)
        _signal(process, "SIGKILL", process.kill)
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _signal(process: subprocess.Popen[Any], name: str, single: Callable[[], None]) -> None:
    """Send a signal to the program's group, which its children may be in when it is gone itself."""
    if sys.platform == "win32":
        single()
        return
    # Gone already, or of another user by now: there is none left of ours.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.Signals[name])
