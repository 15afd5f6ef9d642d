"""Work on many frames, dealt to threads: the C that does it lets the interpreter go."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from edgecodec.errors import InputError


def thread_count(threads: int | None) -> int:
    """``threads``, or one a CPU for None. Raises InputError for less than one."""
    if threads is None:
        return os.cpu_count() or 1
    if threads < 1:
        raise InputError(f"threads is {threads}; expected at least 1, or None for one a CPU")
    return threads


def deal(run: Callable[[slice], None], count: int, a_task: int, threads: int) -> None:
    """Call ``run`` with slices that cover ``range(count)``: ``a_task`` at a time by threads, or all at once by one.

    Raises what ``run`` raises.
    """
    if threads == 1 or count <= a_task:
        if count:
            run(slice(0, count))
        return
    parts = [slice(start, start + a_task) for start in range(0, count, a_task)]
    with ThreadPoolExecutor(min(threads, len(parts))) as pool:
        for _ in pool.map(run, parts):
            pass
