"""Options and parameter types that several commands share."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgecodec.boards.cores import CORES
from edgecodec.files.resources import firmware_dir, preset_files, shipped_bundles

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from edgecodec.signal.normalize import Normalization

DEBUG_VARIABLE = "EDGECODEC_DEBUG"
DEFAULT_BOARD = "mps2-an386"

F = TypeVar("F", bound=Callable[..., Any])


class PathType(click.Path):
    """A path that is not empty; whether it is there is for the reader to say, who knows what it is.

    One that is written ends in ``suffix``, because the file is of that kind whatever it is called, and is refused at
    once where it could not be written in the end.
    """

    def __init__(self, suffix: str | None = None) -> None:
        super().__init__(path_type=Path)
        self._suffix = suffix

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path."""
        if not str(value):
            self.fail("the path is empty", param, ctx)
        if self._suffix is not None and Path(value).suffix.lower() != self._suffix:
            self.fail(f"{str(value)!r} does not end in {self._suffix}, which is what is written", param, ctx)
        if self._suffix is not None:
            from edgecodec.files.atomic import check_output

            check_output(Path(value))
        return Path(value)


path = PathType()
"""A file or folder."""
npz_path = PathType(".npz")
"""A ``.npz`` to write."""
png_path = PathType(".png")
"""A ``.png`` to write."""


def complete_board(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Boards that start with ``incomplete``; for what looks like a path, the shell's files."""
    from click.shell_completion import CompletionItem

    if os.sep in incomplete:
        return [CompletionItem(incomplete, type="file")]
    names = sorted(file.stem for file in (firmware_dir() / "boards").glob("*.yaml"))
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_preset(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Presets that start with ``incomplete``."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(file.stem) for file in preset_files() if file.stem.startswith(incomplete)]


def complete_bundle(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Shipped bundles that start with ``incomplete``, and the shell's folders."""
    from click.shell_completion import CompletionItem

    shipped = [CompletionItem(name) for name in shipped_bundles() if name.startswith(incomplete)]
    return [*shipped, CompletionItem(incomplete, type="dir")]


class DebugOption(click.Option):
    """``--debug``, before or after the command's name: show tracebacks, as EDGECODEC_DEBUG=1 does."""

    def __init__(self) -> None:
        super().__init__(
            ["--debug"], is_flag=True, expose_value=False, callback=_set_debug, help="Show tracebacks of errors."
        )


def _set_debug(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        os.environ[DEBUG_VARIABLE] = "1"


class VerbosityOption(click.Option):
    """``-v`` and ``-q``, before or after the command's name; :class:`edgecodec.cli.output.Streams` acts on them."""

    def __init__(self, name: str, help_text: str) -> None:
        super().__init__(
            [f"-{name[0]}", f"--{name}"], is_flag=True, expose_value=False, callback=_set_verbosity, help=help_text
        )


def _set_verbosity(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and param.name is not None:
        setattr(ctx.obj, param.name, True)


def common_options() -> list[click.Parameter]:
    """Options that every command and the group have."""
    return [
        VerbosityOption("verbose", "Show all that is known, not only the summary."),
        VerbosityOption("quiet", "Show no progress and no notes."),
        DebugOption(),
    ]


def subcommand(name: str, example: str) -> Callable[[Callable[..., Any]], click.Command]:
    """A click command with the common options whose help ends with an example."""

    def wrap(function: Callable[..., Any]) -> click.Command:
        made = click.command(
            name,
            epilog="\b\nExample:\n" + "\n".join(f"  {line}" for line in example.splitlines()),
            context_settings={"help_option_names": ["-h", "--help"]},
        )(function)
        made.params.extend(common_options())
        return made

    return wrap


def bundle_argument(function: F) -> F:
    """BUNDLE, the folder or the name of a shipped one."""
    return click.argument("bundle", type=path, shell_complete=complete_bundle)(function)


def json_option(function: F) -> F:
    """``--json``; :class:`edgecodec.cli.output.Streams` acts on it."""
    option = click.option(
        "--json", is_flag=True, expose_value=False, help="Print one JSON document on stdout and nothing else."
    )
    return option(function)


def report_option(function: F) -> F:
    """``--report``, the folder of a report; :mod:`edgecodec.cli.report` writes it."""
    return click.option(
        "--report",
        type=path,
        metavar="DIR",
        help="Also write report.html, report.json and junit.xml into this folder; an earlier report is replaced.",
    )(function)


def force_option(function: F) -> F:
    """``--force``, to replace an output folder that holds other files."""
    return click.option("--force", is_flag=True, help="Replace an output folder that holds other files.")(function)


def output_option(help_text: str, required: bool = True) -> Callable[[F], F]:
    """``-o/--output``, the folder to write."""
    return click.option("-o", "--output", type=path, required=required, metavar="PATH", help=help_text)


def board_option(function: F) -> F:
    """``--board``, by name or the path of a board file, and ``--trust-board``."""
    for option in (
        click.option(
            "--trust-board", is_flag=True, help="Let a board file of your own give QEMU and OpenOCD any commands."
        ),
        click.option(
            "--board",
            default=DEFAULT_BOARD,
            show_default=True,
            metavar="NAME",
            shell_complete=complete_board,
            help="A board of `edgecodec boards`, or the path of a board file.",
        ),
    ):
        function = option(function)
    return function


def optimize_option(function: F) -> F:
    """``--optimize``; the names are those of :class:`edgecodec.compile.target.Optimize`."""
    return click.option(
        "--optimize",
        type=click.Choice(["speed", "balanced", "flash"]),
        default="balanced",
        show_default=True,
        help="Choose kernels and compiler flags for fewest instructions, least flash, or between.",
    )(function)


def core_option(function: F) -> F:
    """``--core``, to choose kernels for."""
    return click.option(
        "--core",
        type=click.Choice(CORES),
        help="Core to choose kernels for; by default such that run on Cortex-M3 and up.",
    )(function)


def attachment_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """How to reach a board: the function gets one ``attachment``, and ``dry_run``."""
    from edgecodec.device.flash import TOOLS

    @functools.wraps(function)
    def wrapper(
        *args: Any,
        port: str | None,
        probe: str | None,
        baud: int | None,
        flash_with: str | None,
        no_flash: bool,
        emulate: bool,
        **rest: Any,
    ) -> Any:
        from edgecodec.device.connect import Attachment

        attachment = Attachment(port, probe, baud, not no_flash, flash_with, emulate)
        return function(*args, attachment=attachment, **rest)

    options = (
        click.option(
            "--port",
            metavar="PORT",
            help="Serial port: /dev/ttyACM0, COM3, socket://HOST:PORT; on emulated "
            "boards, where one runs already. By default found by the board's USB IDs.",
        ),
        click.option(
            "--probe",
            metavar="SERIAL",
            help="Serial number of the board's USB device, when several are plugged in (UF2: its drive).",
        ),
        click.option("--baud", type=int, metavar="N", help="Rate of the link; the board's own by default."),
        click.option(
            "--flash-with",
            type=click.Choice([tool.name for tool in TOOLS]),
            help="How to flash; the first that this machine has by default.",
        ),
        click.option("--no-flash", is_flag=True, help="The firmware runs on the board already."),
        click.option(
            "--emulate", is_flag=True, help="Run a real board's firmware on the emulator that stands in for it."
        ),
        click.option("--dry-run", is_flag=True, help="Print the commands that would be run, and touch no board."),
    )
    wrapped: Callable[..., Any] = wrapper
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def normalization_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--normalization``, which the function gets as a normalisation, or None."""
    return click.option(
        "--normalization",
        metavar="KIND[:NUMBERS]",
        callback=_normalization,
        help="What the encoder's frames went through: zscore[:EPSILON], (x - mean) / sqrt(variance + epsilon), by "
        "default; minmax[:LOW,HIGH] of each frame, 0,1 by default; fixed:OFFSET,SCALE, (x - offset) / scale; none.",
    )(function)


def _normalization(ctx: click.Context, param: click.Parameter, value: str | None) -> Normalization | None:
    from edgecodec.errors import InputError
    from edgecodec.signal.normalize import NONE, Fixed, MinMax, ZScore

    if value is None:
        return None
    kind, colon, rest = value.partition(":")
    counts: dict[str, tuple[tuple[int, ...], Callable[..., Normalization]]] = {
        "zscore": ((0, 1), ZScore),
        "minmax": ((0, 2), MinMax),
        "fixed": ((2,), Fixed),
        "none": ((0,), lambda: NONE),
    }
    try:
        numbers = [float(number) for number in rest.split(",")] if colon else []
        allowed, make = counts[kind]
        if len(numbers) in allowed:
            return make(*numbers)
    except InputError as error:
        raise click.BadParameter(error.message) from error
    except (KeyError, ValueError):
        pass  # as for a wrong count of numbers
    raise click.BadParameter(f"{value!r}; expected zscore[:EPSILON], minmax[:LOW,HIGH], fixed:OFFSET,SCALE or none")


def reading_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What recordings do not say themselves: the function gets one ``reading``."""

    @functools.wraps(function)
    def wrapper(
        *args: Any,
        rate: float | None,
        column: str | None,
        channel: str | None,
        scale: float | None,
        **rest: Any,
    ) -> Any:
        from edgecodec.signal.reading import Reading

        return function(*args, reading=Reading(rate, column, channel, scale), **rest)

    positive = click.FloatRange(min=0, min_open=True)
    options = (
        click.option("--rate", type=positive, metavar="HZ", help="Sampling rate of recordings whose files say none."),
        click.option(
            "--column", metavar="NAME", help="Column of tables, by name or number from 1; array of .npz and .mat."
        ),
        click.option("--channel", metavar="NAME", help="Channel of EDF and WFDB records."),
        click.option("--scale", type=positive, metavar="X", help="What values are multiplied by to become ADC counts."),
    )
    wrapped: Callable[..., Any] = wrapper
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def verify_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What both verifying commands take."""
    function = reading_options(function)
    for option in (
        force_option,
        report_option,
        click.option(
            "--keras", is_flag=True, help="Also compare with the float Keras encoder; tells, never decides the verdict."
        ),
        click.option(
            "--indices-out",
            type=npz_path,
            metavar="FILE",
            help="Write the indices here (.npz), for `edgecodec decode`.",
        ),
        click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Use the first N frames only."),
        click.option(
            "--frames",
            type=path,
            metavar="FILE",
            help="Recordings, file or folder; the bundle's own frames by default.",
        ),
    ):
        function = option(function)
    return function
