"""Run the command line as a person does: another process, its exit code, its two streams."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.cli.fork_server import ForkServer

TIMEOUT_S = 280
ROOT = Path(__file__).resolve().parents[2]
_SERVER = ForkServer()
_TENSORFLOW = {"train", "quantize", "check", "demo"}
"""Commands that may import it, which is not to be trusted in a fork."""


def edgecodec(
    *arguments: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m edgecodec`` with ``arguments``.

    With ``env``, which replaces variables, and for commands that may import TensorFlow, it is a new process of Python;
    else a fork of one that has imported what it takes, which is several times quicker.
    """
    words = [os.fspath(argument) for argument in arguments]
    # The width is that of no terminal, whatever runs the tests.
    environment = {**os.environ, "COLUMNS": "120", "PYTHONPATH": str(ROOT), **(env or {})}
    if env is None and not _TENSORFLOW & set(words) and hasattr(os, "fork"):
        return _SERVER.run(words, cwd, environment, TIMEOUT_S)
    return subprocess.run(
        [sys.executable, "-m", "edgecodec", *words],
        capture_output=True,
        text=True,
        errors="surrogateescape",
        stdin=subprocess.DEVNULL,
        timeout=TIMEOUT_S,
        check=False,
        cwd=cwd,
        env=environment,
    )


def assert_one_error(result: subprocess.CompletedProcess[str], *expected: str) -> None:
    """Exit code 2, one line ``edgecodec: error: ...`` that holds ``expected``, no traceback."""
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    lines = result.stderr.splitlines()
    errors = [line for line in lines if line.startswith("edgecodec: error: ")]
    assert len(errors) == 1, result.stderr
    assert errors == lines[-1:], "the error is the last line"
    for text in expected:
        assert text in errors[0]
