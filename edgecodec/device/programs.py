"""What programs of this machine print, and the version in it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence

from edgecodec import processes

_TIMEOUT_S = 10.0


def output_of(command: Sequence[str]) -> str:
    """What a command prints, on stderr when nothing on stdout; empty when it does not run or end in time."""
    try:
        result = processes.run(command, timeout_s=_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return result.stdout or result.stderr


def version_of(program: str) -> str | None:
    """The first thing that looks like a version in what ``program --version`` prints; None when nothing does."""
    # Distributions put their own version in brackets before the program's.
    text = re.sub(r"\([^)]*\)", " ", output_of([program, "--version"]))
    match = re.search(r"\d+\.\d+(\.\d+)*", text)
    return match.group() if match else None
