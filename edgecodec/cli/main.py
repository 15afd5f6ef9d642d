"""The command group, which imports a command only when it runs, and the way from errors to exit codes."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from edgecodec import interrupts
from edgecodec._version import __version__
from edgecodec.cli.options import DEBUG_VARIABLE, common_options
from edgecodec.cli.output import Streams, plain_line
from edgecodec.errors import BuildError, EdgecodecError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

PROGRAM = "edgecodec"
COMPLETION_VARIABLE = "_EDGECODEC_COMPLETE"
"""Environment variable in which a shell asks for completions; README says how it is told to."""
DIFFERENT, UNDECIDED = 1, 2
COMMANDS = {
    "train": "Train a codec from a YAML configuration or a preset.",
    "check": "Show which layers of a model run, which are folded and which are refused.",
    "quantize": "Make a deployable bundle of integers from a trained codec.",
    "refit": "Fit a bundle's packets anew, without training.",
    "inspect": "Show layers, sizes, rates and memory of a bundle.",
    "generate": "Write the C library of a bundle.",
    "verify-host": "Compare the C on this machine with reference and oracles.",
    "build-firmware": "Build a bundle's firmware for a board.",
    "flash-and-verify": "Run a bundle on a board and compare every index.",
    "profile": "Show what each layer costs on a board.",
    "encode": "Encode recordings to a stream of packets.",
    "decode": "Turn packets, or codebook indices, back into PPG.",
    "evaluate": "Measure a bundle's quality and rate beside classical codecs.",
    "compare": "Show which figures changed from one document to another.",
    "boards": "List the boards that firmware can be built for.",
    "ports": "List the serial ports of this machine.",
    "doctor": "Check the tools that edgecodec uses.",
    "demo": "Run the whole road once on real PPG and an emulated board.",
}
"""Command to short help, in the order of the pipeline; each is ``command`` of its module."""


class LazyGroup(click.Group):
    """A group that knows its commands' names and short helps without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order of the pipeline."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"edgecodec.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that ``args`` start with. Raises UsageError, with the nearest, when there is none."""
        if not ctx.resilient_parsing and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            ctx.fail(f"no such command {args[0]!r}" + "".join(f"; did you mean {name}?" for name in near))
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands that start with ``incomplete``, none of them imported, and options."""
        from click.shell_completion import CompletionItem

        found = [CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)]
        return found + click.Command.shell_complete(self, ctx, incomplete)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from :data:`COMMANDS`."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    params=common_options(),
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="\b\nExit codes: 0 equal or fine, 1 different or over a size limit, 2 undecided (every error).\n"
    "Example:\n  edgecodec flash-and-verify bundle --board mps2-an386",
)
@click.version_option(__version__, prog_name=PROGRAM)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Deploy learned PPG codecs to microcontrollers, verified bit for bit."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; the only place where errors become exit codes."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    with Streams(as_json="--json" in arguments) as streams:
        streams.arguments = tuple(arguments)
        try:
            instruction = os.environ.get(COMPLETION_VARIABLE)
            if instruction:
                return _complete(instruction)
            streams.check()
            # click's own main ends the process for a shell's completion and for a reader that has gone.
            with cli.make_context(PROGRAM, arguments, obj=streams) as context:
                return int(cli.invoke(context) or 0)
        except click.exceptions.Exit as ended:
            return ended.exit_code
        except BaseException as error:
            return _fail(error, streams)


def _complete(instruction: str) -> int:
    """Print a shell's completion script, or what may come next on its command line."""
    from click.shell_completion import shell_complete

    return UNDECIDED if shell_complete(cli, {}, PROGRAM, COMPLETION_VARIABLE, instruction) else 0


def _fail(error: BaseException, streams: Streams) -> int:
    from edgecodec.cli.error_document import ErrorDocument

    if os.environ.get(DEBUG_VARIABLE) == "1":
        traceback.print_exception(error)
    if interrupts.have_come():
        error = interrupts.Interrupted()
    message, hint = _message(error)
    exceeded = False
    if isinstance(error, BuildError):
        if error.stderr and os.environ.get(DEBUG_VARIABLE) == "1":
            print(error.stderr.rstrip(), file=sys.stderr)
        elif error.stderr:
            message += " (--debug shows what the tool printed)"
        exceeded = _show_size(error, streams)
    print(f"{PROGRAM}: error: {message}{'' if hint is None else f'; {hint}'}", file=sys.stderr)
    verdict = "exceeded" if exceeded else "undecided"
    streams.fail(ErrorDocument(verdict, message, hint, type(error).__name__))
    return DIFFERENT if exceeded else UNDECIDED


def _show_size(error: BuildError, streams: Streams) -> bool:
    """Show what takes the space of a firmware that is too large; whether that is for a limit that was given.

    Then it is known: the build is a check that was asked for, and its answer is no.
    """
    # Not for other errors: an import that a signal cut short is none that can be made again.
    from edgecodec.firmware.limits import LimitExceededError, SizeLimitError

    if isinstance(error, SizeLimitError) and error.memory is not None:
        from edgecodec.cli.build_firmware import show_parts

        show_parts(streams.prose_console(), error.memory)
    return isinstance(error, LimitExceededError)


def _message(error: BaseException) -> tuple[str, str | None]:
    """What is wrong, on one line, and what to try."""
    if isinstance(error, EdgecodecError):
        return plain_line(error.message), None if error.hint is None else plain_line(error.hint)
    if isinstance(error, click.UsageError):
        command = error.ctx.command_path if error.ctx is not None else PROGRAM
        return plain_line(error.format_message()).rstrip("."), f"see: {command} --help"
    if isinstance(error, click.ClickException):
        return plain_line(error.format_message()), None
    if isinstance(error, (KeyboardInterrupt, click.Abort)):
        return "interrupted", None
    if isinstance(error, MemoryError):
        return "out of memory", "try fewer frames (--limit)"
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename is not None else ""
        return plain_line(f"{where}{error.strerror}"), None
    return (
        plain_line(f"internal error, {type(error).__name__}: {error}"),
        f"{DEBUG_VARIABLE}=1 shows where; please report it",
    )
