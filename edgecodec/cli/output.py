"""Where commands print: results on stdout as text or one JSON document, progress and prose on stderr."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO, cast

from edgecodec.documents import Document, printable
from edgecodec.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

_PLAIN_WIDTH = 120
_PLAIN_INTERVAL_S = 10.0
_BAR_CELLS = 20

Progress = Callable[..., None]
"""``progress(done, total, detail)``; detail may be left out, a text or a mapping of figures."""


def plain_line(text: str) -> str:
    """``text`` on one line, with control characters escaped: file names may hold any."""
    return printable(" ".join(part.strip() for part in text.splitlines() if part.strip()) or "unknown")


class SafeStream:
    """A text stream whose failures leave the exit code to the command.

    A reader that has gone is no error, as with ``inspect bundle | head -1``: what is left goes nowhere. A full disk is
    an error on stdout, where results go, and none on stderr, where ``lossy`` drops the rest.
    """

    def __init__(self, stream: TextIO, name: str, *, lossy: bool = False) -> None:
        self._stream, self._name, self._lossy = stream, name, lossy
        self._failure: OSError | None = None

    def write(self, text: str) -> int:
        """Write ``text``. Raises InputError when it cannot be kept."""
        self._check()
        try:
            return self._stream.write(text)
        except OSError as error:
            self._give_up(error)
            return len(text)

    def flush(self) -> None:
        """Send what is buffered. Raises InputError when it cannot be kept."""
        self._check()
        try:
            self._stream.flush()
        except OSError as error:
            self._give_up(error)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of ``lines``. Raises InputError when one cannot be kept."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _check(self) -> None:
        if self._failure is not None:
            raise InputError(f"{self._name} cannot be written ({self._failure.strerror})")

    def _give_up(self, error: OSError) -> None:
        # What is still buffered would fail again when the interpreter ends, and set an exit code of its own.
        with suppress(OSError, ValueError):
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._stream.fileno())
            os.close(null)
        if not self._lossy and not isinstance(error, BrokenPipeError):
            self._failure = error
            self._check()


class Streams:
    """The streams of one command.

    With ``as_json``, stdout is kept for the one JSON document: whatever libraries print there, C code
    included, goes to stderr.
    """

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self.verbose = False
        """Show all that is known; set by ``-v``."""
        self.arguments: tuple[str, ...] = ()
        """The command line behind the program's name."""
        self.quiet = False
        """Show no progress and no notes; set by ``-q``."""
        self._saved = sys.stdout, sys.stderr
        self._closed = sys.stdout is None
        self._document_stream: TextIO = sys.stdout
        self._saved_fd: int | None = None
        self._written = False

    def __enter__(self) -> Streams:
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        sys.stdout, sys.stderr = _safe(sys.stdout, "stdout"), _safe(sys.stderr, "stderr", lossy=True)
        self._document_stream = sys.stdout
        if self.as_json:
            self._reserve_stdout()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(InputError):
            sys.stdout.flush()
        if self._saved_fd is not None:
            self._document_stream.close()
            os.dup2(self._saved_fd, 1)
            os.close(self._saved_fd)
        sys.stdout, sys.stderr = self._saved

    def check(self) -> None:
        """Raise InputError when there is no stdout to print results on."""
        if self._closed:
            raise InputError("stdout is closed", hint="send it to a file, or to /dev/null")

    def finish(self, document: Document, show: Callable[[Console], None], exit_code: int = 0) -> int:
        """Print ``document`` as JSON or let ``show`` print it as text; return ``exit_code``.

        That is also the result when whoever read the output has gone. Raises InputError when the disk is full.
        """
        if self.as_json:
            self._write(document)
        else:
            show(_console())
            sys.stdout.flush()
        return exit_code

    def say(self, text: str) -> None:
        """Print prose on stderr, unless nobody wants any."""
        if not self.quiet:
            print(plain_line(text), file=sys.stderr)

    def prose_console(self) -> Console:
        """A console on stderr, for what explains an error."""
        from rich.console import Console

        return Console(stderr=True, highlight=False, markup=False)

    def fail(self, document: Document) -> None:
        """Print the JSON document of an error, unless another one or no JSON went out."""
        if self.as_json and not self._written:
            with suppress(InputError):
                self._write(document)

    @contextmanager
    def progress(self, label: str) -> Iterator[Progress]:
        """Yield a callback ``(done, total, detail)``: a bar on a terminal, a line now and then elsewhere.

        A ``detail`` that is a text names what runs now and stands beside ``label``; a mapping holds figures. A total of
        0 is one that is not known.
        """
        from rich.console import Console

        if self.quiet:
            yield lambda done, total, detail=None: None
            return
        err = Console(stderr=True)
        if not err.is_terminal:
            yield _line_progress(label)
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(_BAR_CELLS),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}", markup=False),
            console=err,
        )
        with bar:
            task = bar.add_task(label, total=None, figures="")

            def update(done: int, total: int, detail: object = None) -> None:
                stage, figures = _detail(detail)
                description = f"{label}: {stage}" if stage else label
                bar.update(task, completed=done, description=description, figures=figures)
                # `update` takes None for "as it was", and a total that is not known is one.
                bar.tasks[0].total = total or None

            yield update

    def _reserve_stdout(self) -> None:
        sys.stdout.flush()
        try:
            real = sys.stdout.fileno() == 1
        except (OSError, ValueError, AttributeError):
            real = False
        if real:
            self._saved_fd = os.dup(1)
            self._document_stream = _safe(os.fdopen(os.dup(1), "w", encoding="utf-8"), "stdout")
            os.dup2(2, 1)
        sys.stdout = sys.stderr

    def _write(self, document: Document) -> None:
        self._written = True
        self._document_stream.write(json.dumps(document.to_json(), indent=2, allow_nan=False) + "\n")
        self._document_stream.flush()


def _safe(stream: TextIO | None, name: str, *, lossy: bool = False) -> TextIO:
    """``stream`` guarded; one that is closed swallows all."""
    opened = stream or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - open to the end
    # The stream's own attributes are found through it, so it is a TextIO to all who use it.
    return cast(TextIO, SafeStream(opened, name, lossy=lossy))


def _console() -> Console:
    """A console on stdout: as wide as the terminal, or wide enough for tables when there is none."""
    from rich.console import Console

    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return Console(highlight=False, markup=False)
    return Console(highlight=False, markup=False, width=_PLAIN_WIDTH)


def _line_progress(label: str) -> Progress:
    last, shown = time.monotonic(), ""

    def update(done: int, total: int, detail: object = None) -> None:
        nonlocal last, shown
        now = time.monotonic()
        stage, figures = _detail(detail)
        if stage != shown or now - last >= _PLAIN_INTERVAL_S or 0 < total <= done:
            last, shown = now, stage
            count = f"{done}/{total}" if total else ""
            print(
                plain_line(f"{label}: {' '.join(filter(None, (stage, count, figures)))}"), file=sys.stderr, flush=True
            )

    return update


def _detail(detail: object) -> tuple[str, str]:
    """What runs now, and figures."""
    if detail is None:
        return "", ""
    if isinstance(detail, Mapping):
        return "", " ".join(f"{key} {_figure(value)}" for key, value in detail.items())
    return str(detail), ""


def _figure(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
