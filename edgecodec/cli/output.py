"""Where commands print: results on stdout as text or one JSON document, progress and prose on stderr."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from edgecodec.documents import Document

if TYPE_CHECKING:
    from rich.console import Console

_PLAIN_WIDTH = 120
_UNDECIDED = 2
_PLAIN_INTERVAL_S = 10.0

Progress = Callable[..., None]
"""``progress(done, total, detail)``; detail may be left out, a text or a mapping of figures."""


def plain_line(text: str) -> str:
    """``text`` on one line, with control characters escaped: file names may hold any."""
    one_line = " ".join(part.strip() for part in text.splitlines() if part.strip()) or "unknown"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in one_line)


class Streams:
    """The streams of one command.

    With ``as_json``, stdout is kept for the one JSON document: whatever libraries print there, C code
    included, goes to stderr.
    """

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self._document_stream: TextIO = sys.stdout
        self._saved_stdout: TextIO = sys.stdout
        self._saved_fd: int | None = None
        self._written = False

    def __enter__(self) -> Streams:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        if self.as_json:
            self._reserve_stdout()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._saved_fd is not None:
            self._document_stream.close()
            os.dup2(self._saved_fd, 1)
            os.close(self._saved_fd)
        sys.stdout = self._saved_stdout

    def finish(self, document: Document, show: Callable[[Console], None], exit_code: int = 0) -> int:
        """Print ``document`` as JSON or let ``show`` print it as text; return ``exit_code``.

        When whoever read the output has gone, nobody can be told: the rest is dropped and the result is 2.
        """
        try:
            if self.as_json:
                self._write(document)
            else:
                show(_console())
                sys.stdout.flush()
        except BrokenPipeError:
            self._discard()
            return _UNDECIDED
        return exit_code

    def say(self, text: str) -> None:
        """Print prose on stderr."""
        print(plain_line(text), file=sys.stderr)

    def prose_console(self) -> Console:
        """A console on stderr, for what explains an error."""
        from rich.console import Console

        return Console(stderr=True, highlight=False, markup=False)

    def fail(self, document: Document) -> None:
        """Print the JSON document of an error, unless another one or no JSON went out."""
        if self.as_json and not self._written:
            try:
                self._write(document)
            except BrokenPipeError:
                self._discard()

    def _discard(self) -> None:
        """Send what is still buffered for stdout nowhere."""
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._document_stream.fileno())
        os.close(null)

    @contextmanager
    def progress(self, label: str) -> Iterator[Progress]:
        """Yield a callback ``(done, total, detail)``: a bar on a terminal, a line now and then elsewhere."""
        from rich.console import Console

        err = Console(stderr=True)
        if not err.is_terminal:
            yield _line_progress(label)
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            console=err,
        )
        with bar:
            task = bar.add_task(label, total=None, detail="")

            def update(done: int, total: int, detail: object = None) -> None:
                bar.update(task, completed=done, total=total, detail=_detail_text(detail))

            yield update

    def _reserve_stdout(self) -> None:
        sys.stdout.flush()
        try:
            real = sys.stdout.fileno() == 1
        except (OSError, ValueError, AttributeError):
            real = False
        if real:
            self._saved_fd = os.dup(1)
            self._document_stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
            os.dup2(2, 1)
        sys.stdout = sys.stderr

    def _write(self, document: Document) -> None:
        self._written = True
        self._document_stream.write(json.dumps(document.to_json(), indent=2, allow_nan=False) + "\n")
        self._document_stream.flush()


def _console() -> Console:
    """A console on stdout: as wide as the terminal, or wide enough for tables when there is none."""
    from rich.console import Console

    class PipeConsole(Console):
        """A console that lets the error of a closed pipe out, where rich would exit."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return PipeConsole(highlight=False, markup=False)
    return PipeConsole(highlight=False, markup=False, width=_PLAIN_WIDTH)


def _line_progress(label: str) -> Progress:
    last = time.monotonic()

    def update(done: int, total: int, detail: object = None) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _PLAIN_INTERVAL_S or done >= total:
            last = now
            print(plain_line(f"{label}: {done}/{total} {_detail_text(detail)}"), file=sys.stderr, flush=True)

    return update


def _detail_text(detail: object) -> str:
    if detail is None:
        return ""
    if isinstance(detail, Mapping):
        return " ".join(f"{key} {_figure(value)}" for key, value in detail.items())
    return str(detail)


def _figure(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
